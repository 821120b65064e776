//! What a function writes and publishes: all of it with success, nothing without.

use std::fs::File;

use crate::harness::{App, Host, echo, text};
use crate::objects::COPY;

/// The fixture `fail-after-writes`, once for each way of ending, and who would hear of it.
fn endings(ways: &[&str]) -> String {
    let mut manifest = String::from("[buckets.out]\n");
    for how in ways {
        manifest.push_str(&format!(
            r#"
            [[function]]
            name = "{how}"
            component = "guest:fail-after-writes"
            on = {{ message = "{how}" }}
            limits = {{ memory = "16MiB", fuel = 50_000_000 }}
            retry = {{ attempts = 1 }}
            grants = {{ read = ["out"], write = ["out"], publish = ["out"] }}
            config = {{ how = "{how}" }}
            "#
        ));
    }
    manifest + &heard_in_order()
}

/// Who hears of what is published to `out`: one message at a time, in their order.
fn heard_in_order() -> String {
    echo("out") + "limits = { concurrency = 1 }\n"
}

/// What `echo` logged.
fn heard(host: &mut Host, count: usize) -> Vec<String> {
    let logs = host.until_many(count, |r| r["kind"] == "log" && r["function"] == "echo");
    logs.iter()
        .map(|log| text(log, "text").to_owned())
        .collect()
}

#[test]
fn nothing_is_left_of_a_handler_that_fails() {
    let ways = ["error", "reject", "panic", "exit", "spin", "allocate"];
    let app = App::new(&endings(&ways));
    app.put("out/old", "old");
    let mut host = app.up();
    for how in ways {
        app.publish(how, "body");
        let outcome = host.outcome_of(how, how);
        assert_eq!(outcome["dead"], true, "{how}: {outcome}");
        assert!(outcome.get("outputs").is_none(), "{how}: {outcome}");
        assert_eq!(app.keys("out"), ["old"], "{how}");
        assert_eq!(app.staged("out"), 0, "{how}");
    }
    app.publish("out", "from outside");
    assert_eq!(heard(&mut host, 1), ["from outside"]);
    assert_eq!(host.stop().outcomes("echo").len(), 1);
}

#[test]
fn all_is_there_of_a_handler_that_succeeds() {
    let app = App::new(&endings(&["ok"]));
    app.put("out/old", "old");
    let mut host = app.up();
    app.publish("ok", "body");
    let outcome = host.outcome_of("ok", "ok");
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    assert_eq!(
        outcome["outputs"],
        serde_json::json!(["out/pieces", "out/whole"])
    );
    assert_eq!(heard(&mut host, 3), ["body", "second", "third"]);
    assert_eq!(app.keys("out"), ["pieces", "whole"]);
    assert_eq!(app.read("out/pieces"), "bodybodybody");
    assert_eq!(app.staged("out"), 0);
    host.stop();
}

#[test]
fn conditions_are_checked() {
    let app = App::new(&format!(
        r#"
        [buckets.out]
        [[function]]
        name = "conditional"
        component = "guest:conditional"
        on = {{ message = "in" }}
        limits = {{ concurrency = 1 }}
        grants = {{ read = ["out"], write = ["out"], publish = ["out"] }}
        {}
        "#,
        heard_in_order()
    ));
    let mut host = app.up();
    app.publish("in", "first");
    assert_eq!(heard(&mut host, 1), ["written not-found changed"]);
    app.put("out/swap", "from outside");
    app.publish("in", "second");
    assert_eq!(heard(&mut host, 2)[1], "changed written changed");
    assert_eq!(app.read("out/once"), "first");
    assert_eq!(app.read("out/swap"), "second");
    host.stop();
}

/// Many at once want to be the first: the condition holds at the commit, too, so one is.
#[test]
fn a_condition_is_won_by_one() {
    let app = App::new(&format!(
        r#"
        [buckets.out]
        [[function]]
        name = "conditional"
        component = "guest:conditional"
        on = {{ message = "in" }}
        limits = {{ concurrency = 8 }}
        retry = {{ attempts = 9, backoff = "1ms..5ms" }}
        grants = {{ read = ["out"], write = ["out"], publish = ["out"] }}
        {}
        "#,
        heard_in_order()
    ));
    app.publish_lines("in", 0..24);
    let mut host = app.up();
    host.outcomes(24, "conditional");
    let heard = heard(&mut host, 24);
    let first = heard.iter().filter(|said| said.starts_with("written"));
    assert_eq!(first.count(), 1, "{heard:?}");
    host.stop();
    assert_eq!(app.staged("out"), 0);
}

#[test]
fn a_handler_lists_the_bucket_as_it_will_be() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.out]
        [[function]]
        name = "list"
        component = "guest:list"
        on = { message = "list" }
        limits = { concurrency = 1 }
        grants = { read = ["in"], write = ["in", "out"] }
        "#,
    );
    for (key, body) in [
        ("a/b", "1"),
        ("a-b", "22"),
        ("removed", "x"),
        (".hidden", "x"),
    ] {
        app.put(&format!("in/{key}"), body);
    }
    let mut host = app.up();
    app.ok(&["publish", "list", "--body", "", "--attribute", "stage=yes"]);
    host.outcomes(1, "list");
    assert_eq!(app.read("out/listing.txt"), "a-b 2\na/b 1\nstaged 1\n");
    assert_eq!(app.keys("in"), ["a-b", "a/b", "staged"]);
    app.publish("list", "a/");
    host.outcomes(2, "list");
    assert_eq!(app.read("out/listing.txt"), "a/b 1\n");
    // More than a page.
    for number in 0..1_234 {
        app.put(&format!("in/many/{number:05}"), "");
    }
    app.publish("list", "many/");
    host.outcomes(3, "list");
    let listing = app.read("out/listing.txt");
    let lines: Vec<String> = (0..1_234)
        .map(|number| format!("many/{number:05} 0"))
        .collect();
    assert_eq!(listing.lines().collect::<Vec<_>>(), lines);
    host.stop();
}

#[test]
fn the_type_and_the_metadata_stay_with_the_object() {
    let app = App::new(COPY);
    let mut host = app.up();
    app.put("in/a.json", "{}");
    host.outcomes(1, "copy");
    let file = File::open(app.path("out/a.json")).unwrap();
    let mut stored = [0; 1024];
    let length = rustix::fs::fgetxattr(&file, "user.kinglet.metadata", &mut stored[..]).unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&stored[..length]).unwrap();
    assert_eq!(stored, serde_json::json!([["copied-from", "in"]]));
    host.stop();
}

#[test]
fn only_what_is_granted_is_reached() {
    let none = COPY.replace(r#"write = ["out"]"#, "");
    let read_prefix = COPY.replace(r#"read = ["in"]"#, r#"read = ["in/yes/"]"#);
    let write_prefix = COPY.replace(r#"write = ["out"]"#, r#"write = ["out/yes/"]"#);
    for (manifest, key, denied) in [
        (COPY, "no/a", None),
        (none.as_str(), "no/a", Some("\"out\" isn't granted")),
        (read_prefix.as_str(), "yes/a", None),
        (read_prefix.as_str(), "no/a", Some("reading \"no/a\"")),
        (read_prefix.as_str(), "yes", Some("reading \"yes\"")),
        (write_prefix.as_str(), "yes/a", None),
        (write_prefix.as_str(), "no/a", Some("writing \"no/a\"")),
    ] {
        let app = App::new(&manifest.replace("grants", "retry = { attempts = 1 }\ngrants"));
        app.put_old(&format!("in/{key}"), "x");
        let mut host = app.up();
        let outcome = host.outcome_of("copy", key);
        match denied {
            None => assert_eq!(outcome["outcome"], "done", "{key} {manifest}: {outcome}"),
            Some(denied) => {
                let reason = text(&outcome, "reason");
                assert!(reason.contains(denied), "{key} {manifest}: {reason}");
                assert_eq!(app.keys("out"), [""; 0], "{key} {manifest}");
            }
        }
        host.stop();
    }
}

#[test]
fn publishing_is_granted_by_topic() {
    let app = App::new(
        r#"
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "in" }
        retry = { attempts = 1 }
        grants = { publish = ["other"] }
        config = { to = "out" }
        "#,
    );
    let mut host = app.up();
    app.publish("in", "x");
    let outcome = host.outcome_of("echo", "in");
    assert!(
        text(&outcome, "reason").contains("\"out\" isn't granted"),
        "{outcome}"
    );
    host.stop();
}

#[test]
fn a_key_under_a_file_is_refused_with_its_reason() {
    let app = App::new(&COPY.replace("grants", "retry = { attempts = 1 }\ngrants"));
    app.put("out/a", "a file");
    let mut host = app.up();
    app.put("in/a/b", "x");
    let outcome = host.outcome_of("copy", "a/b");
    assert_eq!(outcome["dead"], true, "{outcome}");
    assert!(text(&outcome, "text").contains("a/b"), "{outcome}");
    assert_eq!(app.read("out/a"), "a file");
    assert_eq!(app.staged("out"), 0);
    host.stop();
}
