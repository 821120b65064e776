//! Functions that are initialised when they are built: `kinglet build` takes the snapshot, and the host runs
//! what came of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{App, Output, guest, workspace};
use crate::http;
use crate::new::with_cargo;

/// A function made of the fixture `source` in `tests/guests`, with lines of its own.
pub fn function(name: &str, source: &str, lines: &str) -> String {
    let source = workspace().join("tests/guests").join(source);
    let source = source.to_str().unwrap();
    format!(
        r#"
        [[function]]
        name = "{name}"
        source = "{source}"
        component = "{name}.wasm"
        on = {{ message = "in" }}
        {lines}
        "#
    )
}

/// A function whose init does this, with what it may ask for beside its `config`.
fn probe(does: &str, allow: &str, lines: &str) -> String {
    let lines = format!(
        "snapshot = {{ allow = [\"config\"{allow}] }}\nconfig = {{ init = \"{does}\" }}\n{lines}"
    );
    function("probe", "init-probe", &lines)
}

fn build(app: &App, arguments: &[&str]) -> Output {
    let arguments = [&["build"], arguments].concat();
    with_cargo(|| app.command(&arguments))
}

/// What a function says to one message, and what that cost.
fn invoke(app: &App, name: &str, body: &str) -> (String, Value) {
    let output = app.kinglet(&["invoke", name, "--body", body, "--json"]);
    let output = output.expect(0);
    let report = output.json().remove(0);
    (output.stderr, report["cost"].clone())
}

/// What a function printed to one message, without the time.
fn printed(app: &App, name: &str, body: &str) -> Vec<String> {
    let (said, _) = invoke(app, name, body);
    let lines = said.lines().filter_map(|line| {
        let (_, text) = line.split_once("std")?;
        Some(text.to_owned())
    });
    lines.collect()
}

#[test]
fn a_snapshot_answers_as_its_component_does_and_works_less() {
    let app = App::new(&function("table", "table", ""));
    let plain = build(&app, &["--no-snapshot", "--json"]).expect(0).json();
    assert_eq!(plain[0]["snapshot"], Value::Null);
    let bytes = |built: &Value| built["bytes"].as_u64().unwrap();
    assert!(bytes(&plain[0]) < 1 << 20, "{plain:?}");
    let answers = |app: &App| ["0", "1", "5242879"].map(|at| printed(app, "table", at));
    let expected = answers(&app);
    assert_eq!(
        expected[0],
        ["out: entry 0 is 723471715", "err: of 5242880"]
    );
    let (_, before) = invoke(&app, "table", "7");

    let built = build(&app, &["--json"]).expect(0);
    assert!(
        built
            .stderr
            .contains("info kinglet_test_table: 5242880 entries"),
        "{built:?}"
    );
    let built = built.json();
    assert_eq!(built[0]["snapshot"]["bytes_before"], plain[0]["bytes"]);
    assert!(bytes(&built[0]) > 20 << 20, "{built:?}");
    assert_eq!(answers(&app), expected);
    let (_, after) = invoke(&app, "table", "7");
    let fuel = |cost: &Value| cost["fuel"].as_u64().unwrap();
    assert!(fuel(&before) > 20_000_000, "{before}");
    assert!(fuel(&after) < 200_000, "{after}");

    // The init isn't for events, and isn't among what the function serves.
    let checked = app.kinglet(&["check", "--json"]).expect(0).json();
    assert_eq!(
        checked[0]["exports"].to_string(),
        r#"["kinglet:events/message@0.1.0"]"#
    );
    let mut host = app.up();
    app.publish("in", "7");
    let outcome = host.outcome_of("table", "in");
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    host.stop();
}

/// wasmtime maps what is dense. What it copies into each instance costs fuel by the byte.
#[test]
fn a_memory_that_is_mostly_zero_is_mapped_too() {
    let app = App::new(&probe("sparse", "", ""));
    build(&app, &[]).expect(0);
    let expected = ["out: init \"sparse\"", "out: sparse Some(7) Some(0)"];
    let said = printed(&app, "probe", "x");
    assert_eq!(said, expected);
    let (_, cost) = invoke(&app, "probe", "x");
    assert!(cost["fuel"].as_u64().unwrap() < 200_000, "{cost}");
    assert!(cost["peak_memory"].as_u64().unwrap() > 40 << 20, "{cost}");
}

#[test]
fn two_builds_make_the_same_bytes() {
    for manifest in [
        function("table", "table", ""),
        probe("random", ", \"random\"", "")
            .replace("probe", "table")
            .replace("init-table", "init-probe"),
    ] {
        let app = App::new(&manifest);
        let made = || {
            let said = build(&app, &[]).expect(0).stdout;
            assert!(said.contains(", initialised: "), "{said}");
            std::fs::read(app.path("table.wasm")).unwrap()
        };
        assert!(made() == made(), "{manifest}");
    }
}

#[test]
fn what_would_leak_the_build_is_refused_by_its_name() {
    for (does, import, next) in [
        ("random", "wasi:random/", "\"random\""),
        ("time", "wasi:clocks/wall-clock", "\"clock\""),
        ("instant", "wasi:clocks/monotonic-clock", "\"clock\""),
        ("sleep", "wasi:clocks/monotonic-clock", "\"clock\""),
        ("file", "wasi:filesystem/", "`include_bytes!`"),
        (
            "bucket",
            "kinglet:events/objects@0.1.0#[static]bucket.open",
            "the handler",
        ),
        (
            "topic",
            "kinglet:events/topics@0.1.0#[static]topic.open",
            "the handler",
        ),
        (
            "keyvalue",
            "wasi:keyvalue/store@0.2.0-draft2#open",
            "the handler",
        ),
    ] {
        refused(&probe(does, "", ""), &[import, next]);
    }
    for does in ["environment", "arguments"] {
        let manifest = probe(does, "", "environment = { HOME = \"/\" }");
        refused(&manifest, &["wasi:cli/environment", "`environment`"]);
    }
    let unasked = probe("nothing", "", "").replace("allow = [\"config\"]", "allow = []");
    refused(
        &unasked,
        &["wasi:config/store", "\"config\"", "`snapshot.allow`"],
    );
}

#[test]
fn an_init_that_cannot_be_kept_says_why() {
    for (does, words) in [
        (
            "print",
            [
                r"`table \u{1b}[31mready` and more, and",
                "`kinglet_sdk::info!`",
            ],
        ),
        (
            "print-unfinished",
            ["`table ready`, and", "`kinglet_sdk::info!`"],
        ),
        ("input", ["holds a stream", "drop it"]),
        ("panic", ["panicked at", "the table has no sizes"]),
        (
            "error",
            ["the size: invalid digit found in string", "`--no-snapshot`"],
        ),
        ("exit", ["exit status 1", "`--no-snapshot`"]),
    ] {
        refused(&probe(does, "", ""), &words);
    }
}

#[test]
fn an_init_keeps_to_its_limits() {
    let limits = "limits = { memory = \"32MiB\" }";
    refused(
        &probe("allocate", "", limits),
        &["`limits.memory`", "\"32MiB\"", "raise it"],
    );
    let quick = |does, allow| {
        let manifest = probe(does, allow, "");
        manifest.replace("snapshot = {", "snapshot = { timeout = \"300ms\",")
    };
    for manifest in [quick("spin", ""), quick("sleep", ", \"clock\"")] {
        refused(&manifest, &["\"300ms\"", "`snapshot.timeout`"]);
    }
}

/// Fails unless the function can't be built, says these words, and leaves no component.
fn refused(manifest: &str, words: &[&str]) {
    let app = App::new(manifest);
    let output = build(&app, &[])
        .expect(2)
        .says(&["function \"probe\""])
        .says(words);
    assert!(!output.stderr.contains("RUST_BACKTRACE"), "{output:?}");
    assert!(!app.path("probe.wasm").exists());
}

#[test]
fn a_function_whose_init_is_refused_works_without_a_snapshot() {
    let app = App::new(&probe("print", "", ""));
    build(&app, &["--no-snapshot"]).expect(0);
    app.ok(&["check"]);
    assert_eq!(printed(&app, "probe", "x")[0], "out: init \"print\"");
}

/// What cargo makes is under our control, and what else there is in a component isn't.
#[test]
fn a_component_that_cannot_be_taken_apart_is_refused() {
    let app = App::new(&function("probe", "table", ""));
    build(&app, &["--no-snapshot"]).expect(0);
    let sound = std::fs::read(app.path("probe.wasm")).unwrap();
    // (module (table 1 funcref) (func i32.const 0 ref.null func table.set 0))
    let table_set = [
        1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 4, 4, 1, 0x70, 0, 1, 10, 10, 1, 8, 0, 0x41, 0, 0xd0, 0x70,
        0x26, 0, 0xb,
    ];
    // (module (memory 1)), and an instance of it: nothing of it is exported, so that it can't be read.
    let memory = [5, 3, 1, 0, 1];
    let instance = [2, 4, 1, 0, modules(&sound), 0];
    for (module, rest, word) in [
        (table_set.as_slice(), [].as_slice(), "table.set"),
        (&memory, &instance, "can't be put into its component"),
    ] {
        let module = [b"\0asm\x01\0\0\0", module].concat();
        let section = [1, u8::try_from(module.len()).unwrap()];
        let odd = [&sound, section.as_slice(), &module, rest].concat();
        app.put("odd.wasm", odd);
        std::fs::remove_file(app.path("probe.wasm")).unwrap_or_default();
        let refused = build_of(&app, &app.path("odd.wasm"), &[]).expect(2);
        refused.says(&["function \"probe\"", word, "`--no-snapshot`"]);
        assert!(!app.path("probe.wasm").exists());
        // It is a component that the host runs.
        build_of(&app, &app.path("odd.wasm"), &["--no-snapshot"]).expect(0);
        app.ok(&["check"]);
    }
}

/// Builds an application's only function of this component.
pub fn build_of(app: &App, component: &Path, arguments: &[&str]) -> Output {
    let mut command = app.command(&[&["build"], arguments].concat());
    command.env("CARGO", fake_cargo(app, component));
    Output::of(command)
}

/// A program that says what cargo does when it has made this.
fn fake_cargo(app: &App, made: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let manifest = workspace().join("tests/guests/table/Cargo.toml");
    let said = serde_json::json!({
        "manifest_path": manifest.canonicalize().unwrap(),
        "filenames": [made],
    });
    let path = app.path("cargo");
    app.put("cargo", format!("#!/bin/sh\necho '{said}'\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// How many core modules a component has, from the headers of its sections: an id, and a size in LEB128.
fn modules(component: &[u8]) -> u8 {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        count += u8::from(component[at] == 1);
        at += 1;
        let mut size = 0;
        for shift in (0..).step_by(7) {
            let byte = component[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += size;
    }
    count
}

#[test]
fn what_is_allowed_is_frozen_and_works() {
    let said = |app: &App, name: &str| -> Vec<String> {
        let lines = printed(app, "probe", "x").into_iter();
        lines
            .filter(|line| line.starts_with(&format!("out: {name} ")))
            .collect()
    };
    let app = App::new(&probe("random", ", \"random\"", ""));
    build(&app, &[]).expect(0);
    let keys = said(&app, "keys");
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(said(&app, "keys"), keys, "the map's keys are frozen");
    assert_eq!(said(&app, "sum"), ["out: sum 2910"]);
    assert_ne!(
        said(&app, "time"),
        said(&app, "time"),
        "the handler has its own clock"
    );
    // What the manifest says since isn't what was snapshotted.
    app.manifest(&probe("nothing", "", ""));
    assert_eq!(said(&app, "init"), ["out: init \"random\""]);

    build(&app, &[]).expect(0);
    assert_eq!(said(&app, "init"), ["out: init \"nothing\""]);
    assert_ne!(
        said(&app, "keys"),
        said(&app, "keys"),
        "a map of the handler's has fresh keys"
    );

    app.manifest(&probe("time", ", \"clock\"", ""));
    build(&app, &[]).expect(0);
    assert_eq!(said(&app, "time"), said(&app, "time"));

    app.manifest(&probe("log", "", ""));
    build(&app, &[])
        .expect(0)
        .says(&["probe: warning kinglet_test_init_probe: table ready"]);
    assert_eq!(said(&app, "event"), ["out: event x"]);
}

/// A function without an `environment` finds an empty one at each event too.
#[test]
fn an_init_finds_an_empty_environment() {
    for does in ["environment", "arguments"] {
        let app = App::new(&probe(does, "", ""));
        build(&app, &[]).expect(0);
        let said = format!("out: init \"{does}\"");
        assert_eq!(printed(&app, "probe", "x")[0], said);
    }
}

#[test]
fn a_snapshot_that_leaves_no_room_is_found_before_it_runs() {
    let app = App::new(&function("table", "table", ""));
    build(&app, &[]).expect(0);
    app.ok(&["check"]);
    let tight = function("table", "table", "limits = { memory = \"16MiB\" }");
    app.manifest(&tight);
    let words = ["begins with", "`limits.memory`", "\"16MiB\"", "raise it"];
    let checked = app.kinglet(&["check"]).expect(1);
    for word in words {
        assert!(
            checked.stdout.contains(word),
            "{word:?} isn't said: {checked:?}"
        );
    }
    // From what is noted, and from the component.
    app.kinglet(&["up"]).expect(2).says(&words);
    std::fs::write(
        app.path("other.wasm"),
        std::fs::read(app.path("table.wasm")).unwrap(),
    )
    .unwrap();
    app.manifest(&tight.replace("\"table.wasm\"", "\"other.wasm\""));
    app.kinglet(&["up"]).expect(2).says(&words);
}

#[test]
fn a_function_that_answers_requests_can_have_an_init_too() {
    let manifest = function("told", "table", "").replace("message = \"in\"", "http = \"/\"");
    let app = App::new(&manifest);
    for (arguments, answer) in [
        (["--json"].as_slice(), "made at the build\n"),
        (&["--json", "--no-snapshot"], ""),
    ] {
        build_of(&app, &guest("init-http"), arguments).expect(0);
        let host = http::up(&app);
        for _ in 0..3 {
            http::expect(&http::get(&host, "/"), "200", answer);
        }
        host.stop();
    }
}
