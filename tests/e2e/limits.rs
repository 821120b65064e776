//! Guests that go too far: each meets its limit, by its name and with its figure, and harms nobody.

use serde_json::Value;

use crate::harness::{App, Host, Output, echo, guest, settled, text, waits};
use crate::objects::COPY;

/// A function `name` on the topic `name`, that isn't retried.
fn function(name: &str, component: &str, rest: &str) -> String {
    format!(
        r#"
        [[function]]
        name = "{name}"
        component = "guest:{component}"
        on = {{ message = "{name}" }}
        retry = {{ attempts = 1 }}
        {rest}
        "#
    )
}

/// Sends one message to the function, and gives its end.
fn outcome(app: &App, host: &mut Host, function: &str) -> Value {
    app.publish(function, "x");
    let outcome = host.outcome_of(function, function);
    assert_eq!(outcome["dead"], true, "{outcome}");
    outcome
}

#[test]
fn each_limit_is_named_with_its_figure() {
    let app = App::new(
        &[
            function("fuel", "spin", "limits = { fuel = 50_000_000 }"),
            function(
                "deadline",
                "spin",
                "limits = { fuel = 9_000_000_000_000_000_000, timeout = \"300ms\" }",
            ),
            function("blocked", "sleep", "limits = { timeout = \"250ms\" }"),
            function("memory", "allocate", "limits = { memory = \"16MiB\" }"),
        ]
        .concat(),
    );
    let mut host = app.up();
    for (name, of, member, limit) in [
        ("fuel", "fuel", "limit", 50_000_000),
        ("deadline", "deadline", "limit_ms", 300),
        ("blocked", "deadline", "limit_ms", 250),
        ("memory", "memory", "limit", 16 << 20),
    ] {
        let outcome = outcome(&app, &mut host, name);
        assert_eq!(outcome["outcome"], "limit", "{outcome}");
        assert_eq!(outcome["of"], of, "{outcome}");
        assert_eq!(outcome[member], limit, "{outcome}");
        let says = text(&outcome, "text");
        assert!(says.contains("raise `limits."), "{says}");
        match name {
            "fuel" => assert_eq!(outcome["cost"]["fuel"], limit, "{outcome}"),
            "memory" => {
                assert!(outcome["wanted"].as_i64().unwrap() > limit, "{outcome}");
                let peak = outcome["cost"]["peak_memory"].as_i64().unwrap();
                assert!(peak > limit / 2 && peak <= limit, "{outcome}");
            }
            _ => {}
        }
    }
    host.stop();
}

#[test]
fn traps_are_explained() {
    let app = App::new(
        &[
            function("recurse", "recurse", ""),
            function("exit", "exit", ""),
            "[buckets.in]".to_owned(),
            function("panic", "panic", "")
                .replace("message = \"panic\"", "object-created = \"in\""),
        ]
        .concat(),
    );
    let mut host = app.up();

    let recursed = outcome(&app, &mut host, "recurse");
    let says = text(&recursed, "text");
    let named = recursed["of"] == "stack" || (says.contains("deeper") && says.contains("stack"));
    assert!(named, "{recursed}");

    let exited = outcome(&app, &mut host, "exit");
    assert_eq!(exited["outcome"], "trap", "{exited}");
    assert!(text(&exited, "reason").contains("exit status"), "{exited}");

    app.put("in/dog.jpg", "");
    let panicked = host.outcome_of("panic", "dog.jpg");
    assert_eq!(panicked["outcome"], "trap", "{panicked}");
    let reason = text(&panicked, "reason");
    assert!(reason.contains("the cat is not a photo"), "{reason}");
    assert!(reason.contains("panic.rs:8:"), "{reason}");
    let frames = panicked["backtrace"].as_array().unwrap();
    assert!(
        frames
            .iter()
            .any(|frame| frame.as_str().unwrap().contains("panic")),
        "{panicked}"
    );
    host.stop();
}

#[test]
fn a_flood_of_logs_is_bounded_and_harmless() {
    const LOG: usize = 20_000;
    let app = App::new(&function(
        "flood",
        "log-flood",
        &format!("limits = {{ log = {LOG} }}\nconfig = {{ lines = \"1000\" }}"),
    ));
    let mut host = app.up();
    app.publish("flood", "x");
    let outcome = host.outcome_of("flood", "flood");
    assert_eq!(outcome["outcome"], "done", "{outcome}");

    let ended = host.stop();
    let texts: Vec<&str> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "log" || r["kind"] == "output")
        .map(|r| text(r, "text"))
        .collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    // What is escaped gets longer, by no more than a few bytes for each of the few.
    assert!(bytes > LOG / 2 && bytes <= LOG + 200, "{bytes}");
    let full = |r: &&Value| r["kind"] == "host" && text(r, "text").contains("limits.log");
    assert_eq!(ended.records.iter().filter(full).count(), 1);

    for shown in [app.ok(&["logs"]), app.ok(&["logs", "--json"])] {
        let hostile = |c: char| {
            (c.is_control() && c != '\n' && c != '\t')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        let found = shown.chars().find(|c| hostile(*c));
        assert_eq!(found, None, "{shown:.2000}");
        let forged = shown.lines().find(|line| line.starts_with("forged"));
        assert_eq!(forged, None, "{shown:.2000}");
    }
}

#[test]
fn a_guest_that_spins_holds_nobody_up() {
    let spin = function(
        "spin",
        "spin",
        "limits = { fuel = 9_000_000_000_000_000_000, timeout = \"1h\", concurrency = 8 }",
    );
    let app = App::new(&format!("{COPY}{spin}"));
    let mut host = app.up();
    app.ok(&["publish", "spin", "--body", "1"]);
    app.publish_lines("spin", 2..=8);
    for file in 0..20 {
        app.put(&format!("in/{file}"), "x");
        host.outcome_of("copy", &file.to_string());
    }
    let ended = host.kill();
    assert_eq!(ended.outcomes("spin").len(), 0);
    assert_eq!(app.keys("out").len(), 20);
}

#[test]
fn no_more_run_at_once_than_the_limit() {
    let app = App::new(
        r#"
        [buckets.gate]
        [buckets.out]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { message = "gate" }
        limits = { concurrency = 3 }
        grants = { read = ["gate"], write = ["out"] }
        [[function]]
        name = "other"
        component = "guest:echo"
        on = { message = "other" }
        "#,
    );
    app.publish_lines("gate", 0..10);
    let mut host = app.up();
    host.waiting(3);
    // What is full leaves room for others.
    app.publish("other", "x");
    host.outcome_of("other", "other");
    app.put("gate/open", "");
    host.outcomes(10, "gate");
    let ended = host.stop();

    let (mut running, mut most) = (0, 0);
    for record in ended.records.iter().filter(|r| r["function"] == "gate") {
        if waits(record) {
            running += 1;
        } else if settled(record) {
            running -= 1;
        }
        most = most.max(running);
    }
    assert_eq!(most, 3);
    assert_eq!(app.keys("out").len(), 10);
}

#[test]
fn staging_is_bounded() {
    let staging = COPY.replace(
        "grants",
        "limits = { staging = 10_000 }\nretry = { attempts = 1 }\ngrants",
    );
    let app = App::new(&staging);
    let mut host = app.up();
    app.put("in/fits", [0; 5_000]);
    app.put("in/large", [0; 6_000]);
    assert_eq!(host.outcome_of("copy", "fits")["outcome"], "done");
    let outcome = host.outcome_of("copy", "large");
    assert_eq!(outcome["outcome"], "failed", "{outcome}");
    let reason = text(&outcome, "reason");
    assert!(
        reason.contains("limits.staging") && reason.contains("10000"),
        "{reason}"
    );
    assert_eq!(app.keys("out"), ["fits"]);
    assert_eq!(app.staged("out"), 0);
    host.stop();
}

/// A function that goes on with one kind of host call for ever.
fn carry(limits: &str) -> App {
    let app = App::new(&format!(
        r#"
        [buckets.in]
        [[function]]
        name = "carry"
        component = "guest:carry"
        on = {{ message = "carry" }}
        retry = {{ attempts = 1 }}
        limits = {{ memory = "32MiB", {limits} }}
        grants = {{ read = ["in"], write = ["in"], keyvalue = ["keys"] }}
        allow-loop = 1
        config = {{ text = "{}" }}
        "#,
        "y".repeat(4_000)
    ));
    app.put_old("in/object", "z".repeat(4_000));
    // A list of short names moves so little that a busy machine makes too few of them in time.
    for name in ["k", "l", "m"] {
        app.put_old(&format!("in/{}", name.repeat(200)), "");
    }
    app
}

#[track_caller]
fn carried(app: &App, host: &mut Host, way: &str) -> Value {
    app.ok(&["publish", "carry", "--body", way, "--id", way]);
    host.until(|r| settled(r) && r["event"] == way)
}

#[test]
fn what_host_calls_move_is_bounded_whatever_the_call() {
    const LIMIT: u64 = 2_000_000;
    let app = carry(&format!("host-calls = {LIMIT}"));
    let mut host = app.up();
    for way in [
        "print", "log", "config", "random", "insecure", "read", "list", "key", "write",
    ] {
        let outcome = carried(&app, &mut host, way);
        assert_eq!(outcome["outcome"], "limit", "{way}: {outcome}");
        assert_eq!(outcome["of"], "host-calls", "{way}: {outcome}");
        assert_eq!(outcome["limit"], LIMIT, "{way}: {outcome}");
        let says = text(&outcome, "text");
        assert!(says.contains("raise `limits.host-calls`"), "{says}");
    }
    let failed = app.ok(&["logs", "--failed"]);
    assert!(failed.contains("limits.host-calls"), "{failed}");
    let dead = app.ok(&["dlq", "list", "--json"]);
    assert!(dead.contains("host-calls"), "{dead}");
    host.stop();

    let app = carry(&format!("host-calls = {LIMIT}, fuel = 100_000_000"));
    let mut host = app.up_without("host-calls");
    let outcome = carried(&app, &mut host, "config");
    assert_eq!(outcome["of"], "fuel", "{outcome}");
    host.stop();
}

#[test]
fn one_call_takes_no_more_than_the_guest_can_have() {
    let app = carry("concurrency = 1");
    let mut host = app.up();
    let outcome = carried(&app, &mut host, "arguments");
    assert_eq!(outcome["of"], "arguments", "{outcome}");
    assert_eq!(outcome["limit"], 32 << 20, "{outcome}");
    host.stop();

    let app = carry("fuel = 100_000_000, host-calls = \"200MiB\"");
    let mut host = app.up_without("host-calls");
    let outcome = carried(&app, &mut host, "arguments");
    assert_ne!(outcome["of"], "arguments", "{outcome}");
    host.stop();
}

#[test]
fn handles_are_bounded() {
    let app = carry("concurrency = 1");
    let mut host = app.up();
    let outcome = carried(&app, &mut host, "handles");
    assert_eq!(outcome["of"], "handles", "{outcome}");
    assert_eq!(outcome["limit"], 4_096, "{outcome}");
    assert!(text(&outcome, "text").contains("close"), "{outcome}");
    host.stop();

    let app = carry("fuel = 100_000_000");
    let mut host = app.up_without("handles");
    let outcome = carried(&app, &mut host, "handles");
    assert_ne!(outcome["of"], "handles", "{outcome}");
    host.stop();
}

/// Where the host calls the guest for memory it is on the same stack, and has a part of it to itself.
#[test]
fn a_native_stack_that_runs_out_ends_the_attempt_alone() {
    let app = App::new(&function("recurse", "recurse-native", ""));
    let mut host = app.up();
    for body in ["handler", "allocator"] {
        app.ok(&["publish", "recurse", "--body", body, "--id", body]);
        let outcome = host.until(|r| settled(r) && r["event"] == body);
        assert_eq!(outcome["of"], "stack", "{body}: {outcome}");
        assert_eq!(outcome["limit"], 512 << 10, "{body}: {outcome}");
    }
    host.stop();
}

/// A component of so many core modules, each with what a section says, and an instance of each.
fn of_modules(count: u8, section: &[u8]) -> Vec<u8> {
    let module = [b"\0asm\x01\0\0\0", section].concat();
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..count {
        component.extend([1, u8::try_from(module.len()).unwrap()]);
        component.extend(&module);
    }
    component.extend([2, 1 + 3 * count, count]);
    (0..count).for_each(|module| component.extend([0, module, 0]));
    component
}

#[test]
fn a_component_with_too_much_in_it_is_refused_with_the_figures() {
    let app = App::new(&function("large", "noop-message", ""));
    let manifest = app.read("kinglet.toml");
    let path = guest("noop-message").display().to_string();
    std::fs::write(
        app.path("kinglet.toml"),
        manifest.replace(&path, "large.wasm"),
    )
    .unwrap();
    for (count, section, figures) in [
        (9, &[5, 3, 1, 0, 1][..], ["9 linear memories", "may have 8"]),
        (33, &[4, 4, 1, 0x70, 0, 1], ["33 tables", "may have 32"]),
    ] {
        app.put("large.wasm", of_modules(count, section));
        let refused = app.kinglet(&["up"]).expect(2);
        refused.says(&["function \"large\"", figures[0], figures[1], "fewer"]);
        let checked = app.kinglet(&["check"]).expect(1);
        assert!(checked.stdout.contains(figures[0]), "{checked:?}");
    }
    // Without the guard it goes on to what else is wrong with it.
    let checked = Output::of(app.command_without(&["check"], "instances")).expect(1);
    assert!(checked.stdout.contains("no handler at all"), "{checked:?}");
}

/// With one thread for all: what spins gives way, so that others are done before its fuel is.
#[test]
fn on_one_thread_a_guest_that_computes_gives_way() {
    let spin = function(
        "spin",
        "spin",
        "limits = { fuel = 3_000_000_000, timeout = \"1h\" }",
    );
    for (without, first) in [(None, "echo"), (Some("yields"), "spin")] {
        let app = App::new(&format!("{spin}{}", echo("echo")));
        let mut command = app.command_without(&["up", "--json"], without);
        command.env("TOKIO_WORKER_THREADS", "1");
        let mut host = Host::start(command);
        host.said("ready");
        // Both are loaded when they have had one.
        for function in ["spin", "echo"] {
            app.publish(function, "not at all");
            host.outcomes(1, function);
        }
        app.publish("spin", "x");
        app.publish("echo", "x");
        host.outcomes(2, "spin");
        host.outcomes(2, "echo");
        let ended = host.records.iter().filter(|r| settled(r)).nth(2).unwrap();
        assert_eq!(ended["function"], first, "without {without:?}: {ended}");
        host.stop();
    }
}

/// What each test of a limit stands on: without the guard the guest gets over it.
#[test]
fn a_guard_can_be_off_in_a_test_and_that_is_said() {
    let staging = COPY.replace(
        "grants",
        "limits = { staging = 10_000 }\nretry = { attempts = 1 }\ngrants",
    );
    let app = App::new(&staging);
    let mut host = app.up_without("staging");
    let warned = |line: &String| line.contains("`staging` is OFF");
    assert!(host.lines.iter().any(warned), "{:?}", host.lines);
    app.put("in/large", [0; 20_000]);
    assert_eq!(host.outcome_of("copy", "large")["outcome"], "done");
    host.stop();

    let refused = Output::of(app.command_without(&["check"], "gravity")).expect(2);
    refused.says(&["KINGLET_TEST_WITHOUT", "gravity", "fuel", "object-keys"]);
}

#[test]
fn an_object_that_cannot_fit_into_memory_is_not_read() {
    let small = COPY.replace(
        "grants",
        "limits = { memory = \"2MiB\" }\nretry = { attempts = 1 }\ngrants",
    );
    let app = App::new(&small);
    let mut host = app.up();
    app.put("in/large", vec![0; 3 << 20]);
    let outcome = host.outcome_of("copy", "large");
    assert_eq!(outcome["outcome"], "failed", "{outcome}");
    let reason = text(&outcome, "reason");
    assert!(
        reason.contains("limits.memory") && reason.contains("3145728"),
        "{reason}"
    );
    host.stop();
}

/// One function `many` that has as many effects as its message says, and `echo`, which hears what
/// it publishes.
fn many(limits: &str) -> App {
    App::new(&format!(
        r#"
        [buckets.out]
        {}
        [[function]]
        name = "many"
        component = "guest:publish-many"
        on = {{ message = "many" }}
        limits = {{ timeout = "10min", {limits} }}
        grants = {{ write = ["out"], publish = ["out"], keyvalue = ["out"] }}
        "#,
        echo("out")
    ))
}

/// One call that published a million messages held the store for ten seconds.
#[test]
fn effects_are_bounded() {
    let app = many("effects = 50");
    let mut host = app.up();
    for (kind, fails) in [("messages", 1), ("objects", 2), ("values", 3)] {
        app.publish("many", &format!("{kind} 50"));
        let outcome = host.outcomes(2 * fails - 1, "many").pop().unwrap();
        assert_eq!(outcome["outcome"], "done", "{outcome}");
        app.publish("many", &format!("{kind} 51"));
        let outcome = host.outcomes(2 * fails, "many").pop().unwrap();
        let reason = text(&outcome, "reason");
        let says = "effects are limited to 50 in one attempt";
        assert!(
            reason.contains(says) && reason.contains("limits.effects"),
            "{outcome}"
        );
        if kind == "values" {
            // The interface of keys has no kinds of errors.
            break;
        }
        assert_eq!(
            (&outcome["dead"], &outcome["attempt"]),
            (&true.into(), &1.into())
        );
    }
    assert_eq!(app.keys("out").len(), 50);
    host.outcomes(50, "echo");
    host.stop();
}

/// What one event publishes comes in order, also where the store accepts it in many steps, and the
/// journal lists the first of it.
#[test]
fn many_messages_of_one_event_come_once_and_in_order() {
    const MANY: usize = 2_345;
    let app = many("effects = 100_000");
    app.ok(&["pause", "echo"]);
    let mut host = app.up();
    app.publish("many", &format!("messages {MANY}"));
    let outcome = host.outcome_of("many", "many");
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    assert_eq!(outcome["published"].as_array().unwrap().len(), 1_000);
    assert_eq!(outcome["left_out"], MANY - 1_000);
    let waiting = app
        .kinglet(&["events", "echo", "--limit", "5000", "--json"])
        .expect(0)
        .json();
    let ids: Vec<&str> = waiting.iter().map(|event| text(event, "id")).collect();
    assert_eq!(ids.len(), MANY);
    for (number, id) in ids.iter().enumerate() {
        assert!(id.ends_with(&format!("/many/{number}")), "{id}");
    }
    host.stop();
}

/// Lines that are many are accepted all, once, as few are.
#[test]
fn many_published_lines_are_accepted_once_each() {
    const MANY: usize = 1_234;
    let app = many("");
    app.ok(&["pause", "echo"]);
    let host = app.up();
    let told = app.publish_lines("out", 0..MANY);
    assert_eq!(told.lines().count(), MANY);
    let told: Vec<String> = told.lines().map(str::to_owned).collect();
    let waiting = app
        .kinglet(&["events", "echo", "--limit", "5000", "--json"])
        .expect(0)
        .json();
    let ids: Vec<&str> = waiting.iter().map(|event| text(event, "id")).collect();
    assert_eq!(ids, told);
    host.stop();
}

/// A function that writes where it may not was tried five times.
#[test]
fn what_no_attempt_can_help_is_tried_once() {
    let denied = COPY.replace("write = [\"out\"]", "write = [\"out/other\"]");
    assert_ne!(denied, COPY);
    let app = App::new(&denied);
    let mut host = app.up();
    app.put("in/a", "x");
    let outcome = host.outcome_of("copy", "a");
    assert_eq!(
        (&outcome["dead"], &outcome["attempt"]),
        (&true.into(), &1.into()),
        "{outcome}"
    );
    assert!(text(&outcome, "text").contains("denied"), "{outcome}");
    host.stop();
}
