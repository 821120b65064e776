//! What is wrong is refused, with the value that is wrong and what to do about it.

use std::fs;

use crate::harness::{App, guest};

const MANIFEST: &str = r#"
[buckets.in]
[buckets.out]
[[function]]
name = "copy"
component = "guest:copy"
on = { object-created = "in" }
limits = { memory = "64MiB", timeout = "10s" }
retry = { attempts = 5, backoff = "200ms..30s" }
grants = { read = ["in"], write = ["out"] }
[[function]]
name = "echo"
component = "guest:echo"
on = { message = "in" }
"#;

/// The unit tests have every bad value; here are some on their way to the terminal.
#[test]
fn a_bad_manifest_is_refused_by_every_command() {
    for (old, new, says) in [
        (
            r#"memory = "64MiB""#,
            r#"memory = "lots""#,
            vec![
                "kinglet.toml:10:21: ",
                "`function.limits.memory`",
                "\"lots\"",
                "64MiB",
            ],
        ),
        (
            "retry = {",
            "retry = { colour = 3,",
            vec![
                "kinglet.toml:11:11: ",
                "`colour`",
                "`function.retry`",
                "attempts",
            ],
        ),
        (
            r#"read = ["in"]"#,
            r#"read = ["inn"]"#,
            vec!["\"inn\"", "[buckets.inn]"],
        ),
        (
            r#"write = ["out"]"#,
            r#"write = ["in"]"#,
            vec!["never come to rest", "allow-loop"],
        ),
        ("[buckets.out]", "[buckets.out", vec!["kinglet.toml:5:"]),
        (
            r#"name = "echo""#,
            r#"name = "copy""#,
            vec!["\"copy\"", "rename"],
        ),
    ] {
        assert!(MANIFEST.contains(old), "{old}");
        let app = App::new(&MANIFEST.replacen(old, new, 1));
        for command in [
            &["check"][..],
            &["up"],
            &["logs"],
            &["build"],
            &["publish", "in", "--body", "x"],
            &["invoke", "copy"],
            &["run", "copy", "in"],
            &["status"],
            &["events"],
            &["dlq", "list"],
            &["pause", "copy"],
            &["resume", "copy"],
            &["backup", "kept"],
            &["restore", "kept"],
        ] {
            let output = app
                .kinglet(command)
                .expect(2)
                .says(&["kinglet.toml"])
                .says(&says);
            assert_eq!(output.stdout, "", "{command:?}");
            assert!(output.stderr.starts_with("error: "), "{output:?}");
        }
        assert!(!app.path(".kinglet").exists(), "{new}: nothing was begun");
    }
}

#[test]
fn a_missing_manifest_is_named() {
    let app = App::bare();
    app.kinglet(&["up"])
        .expect(2)
        .says(&["kinglet.toml", "--manifest"]);
    app.kinglet(&["check", "--manifest", "no/where.toml"])
        .expect(2)
        .says(&["no/where.toml"]);
}

#[test]
fn a_manifest_is_found_by_its_folder_and_from_elsewhere() {
    let app = App::new(MANIFEST);
    let elsewhere = App::bare();
    let (folder, file) = (app.path(""), app.path("kinglet.toml"));
    for manifest in [folder, file] {
        elsewhere.ok(&["check", "--manifest", manifest.to_str().unwrap()]);
    }
    let mut command = elsewhere.command(&["check"]);
    command.env("KINGLET_MANIFEST", app.path("kinglet.toml"));
    let output = crate::harness::finish(command.spawn().unwrap(), b"");
    output.expect(0);
}

#[test]
fn arguments_that_name_nothing_are_refused() {
    let app = App::new(MANIFEST);
    app.put("not-an-event.json", "{\"thing\": 1}");
    for (arguments, says) in [
        (
            vec!["publish", "nowhere", "--body", "x"],
            vec!["\"nowhere\"", "in"],
        ),
        (
            vec!["publish", "in", "--body", "x", "--attribute", "novalue"],
            vec!["novalue", "name=value"],
        ),
        (
            vec!["publish", "in", "--body", "x", "--delay", "soon"],
            vec!["soon", "--delay"],
        ),
        (
            vec!["publish", "in", "--file", "no-such-file"],
            vec!["no-such-file"],
        ),
        (
            vec!["publish", "in", "--body", "x", "--lines"],
            vec!["--body", "--lines"],
        ),
        (vec!["invoke", "nobody"], vec!["\"nobody\"", "copy, echo"]),
        (
            vec!["invoke", "copy", "--file", "no-such-file"],
            vec!["no-such-file"],
        ),
        (
            vec!["invoke", "copy", "--object", "nowhere/a"],
            vec!["\"nowhere\"", "in, out"],
        ),
        (vec!["invoke", "copy", "--object", "in"], vec!["BUCKET/KEY"]),
        (
            vec!["invoke", "copy", "--object", "in/no-such-key"],
            vec!["no-such-key"],
        ),
        (
            vec!["invoke", "copy", "--object", "in/../kinglet.toml"],
            vec!["`..`"],
        ),
        (
            vec!["invoke", "copy", "--body", "x"],
            vec!["objects", "--file"],
        ),
        (
            vec!["invoke", "copy", "--file", "kinglet.toml", "--key", "/a"],
            vec!["\"/a\"", "slash"],
        ),
        (
            vec!["invoke", "copy", "--event", "not-an-event.json"],
            vec!["not-an-event.json", "thing"],
        ),
        (
            vec!["invoke", "copy", "--attempt", "0"],
            vec!["--attempt", "0"],
        ),
        (
            vec!["invoke", "echo", "--object", "in/a"],
            vec!["messages", "--body"],
        ),
        (
            vec!["run", "nobody", "in"],
            vec!["\"nobody\"", "copy, echo"],
        ),
        (
            vec!["run", "copy", "nowhere"],
            vec!["\"nowhere\"", "in, out"],
        ),
        (
            vec!["run", "echo", "in"],
            vec!["messages", "kinglet publish in"],
        ),
        (
            vec!["logs", "--function", "nobody"],
            vec!["\"nobody\"", "copy, echo"],
        ),
        (
            vec!["logs", "--since", "yesterday"],
            vec!["yesterday", "--since"],
        ),
        (vec!["build", "nobody"], vec!["\"nobody\""]),
        (vec!["build", "copy"], vec!["`source`", "copy"]),
        (
            vec!["new", "1st", "--on", "message"],
            vec!["\"1st\"", "letter"],
        ),
        (
            vec!["new", "a", "--on", "queue"],
            vec!["queue", "object-created"],
        ),
        (
            vec!["new", "a", "--on", "message", "--path", "."],
            vec!["--path"],
        ),
        (vec!["fly"], vec!["fly", "--help"]),
        (vec![], vec!["Usage"]),
    ] {
        let output = app.kinglet(&arguments).expect(2).says(&says);
        assert_eq!(output.stdout, "", "{arguments:?}");
    }
}

#[test]
fn good_functions_are_good() {
    let app = App::new(MANIFEST);
    let output = app.kinglet(&["check"]).expect(0);
    assert!(
        output
            .stdout
            .contains("good: serves kinglet:events/object-created"),
        "{output:#?}"
    );
    let findings = app.kinglet(&["check", "--json"]).expect(0).json();
    assert_eq!(findings.len(), 2);
    for (finding, name, handler) in [
        (&findings[0], "copy", "kinglet:events/object-created@0.1.0"),
        (&findings[1], "echo", "kinglet:events/message@0.1.0"),
    ] {
        assert_eq!(finding["function"], name);
        assert!(finding["problem"].is_null(), "{finding}");
        assert_eq!(finding["exports"], serde_json::json!([handler]));
        assert!(
            !finding["imports"].as_array().unwrap().is_empty(),
            "{finding}"
        );
    }
    app.ok(&["check", "--manifest", "kinglet.toml"]);
}

#[test]
fn components_that_cannot_serve_are_refused() {
    const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
    let object = fs::read(guest("copy")).unwrap();
    let message = fs::read(guest("echo")).unwrap();
    let batch = fs::read(guest("batch")).unwrap();
    let stranger = component(
        "acme:magic/wand@1.0.0",
        "kinglet:events/object-created@0.1.0",
    );
    let nothing = component("wasi:cli/environment@0.2.0", "acme:magic/wand@1.0.0");
    let truncated = &object[..object.len() / 2];
    let on_object = r#"{ object-created = "in" }"#;
    let on_message = r#"{ message = "in" }"#;
    let on_batch = r#"{ message = "in", batch-size = 3 }"#;
    for (bytes, on, says) in [
        (
            &b"some text"[..],
            on_object,
            vec![
                "it.wasm isn't WebAssembly: it begins with \"some text\"",
                "`component`",
            ],
        ),
        (b"", on_object, vec!["isn't WebAssembly", "`component`"]),
        (
            CORE_MODULE,
            on_object,
            vec!["core module", "--target wasm32-wasip2"],
        ),
        (truncated, on_object, vec!["breaks off"]),
        (
            b"(component)",
            on_object,
            vec!["text format", "wasm-tools parse"],
        ),
        (
            b"\x7fELF\x02\x01",
            on_object,
            vec!["program of a machine", "--target wasm32-wasip2"],
        ),
        (b"<!doctype html>", on_object, vec!["download that failed"]),
        (
            &object,
            on_message,
            vec![
                "exports kinglet:events/object-created",
                "kinglet_sdk::message",
            ],
        ),
        (
            &message,
            on_object,
            vec!["exports kinglet:events/message", "object_created"],
        ),
        (&message, on_batch, vec!["batch", "message_batch"]),
        (&batch, on_object, vec!["message-batch", "object_created"]),
        (
            &stranger,
            on_object,
            vec!["acme:magic/wand", "this host has"],
        ),
        (&nothing, on_message, vec!["exports acme:magic/wand"]),
    ] {
        let app = App::new(&format!(
            "[buckets.in]\n[[function]]\nname = \"suspect\"\ncomponent = \"it.wasm\"\non = {on}\n"
        ));
        app.put("it.wasm", bytes);
        let checked = app.kinglet(&["check"]).expect(1);
        let findings = app.kinglet(&["check", "--json"]).expect(1).json();
        let up = app.kinglet(&["up"]).expect(2);
        let problem = findings[0]["problem"].as_str().unwrap();
        for word in says.iter().chain(&["suspect"]) {
            for text in [&checked.stdout, problem, &up.stderr] {
                assert!(!text.contains("0x"), "bytes are dumped: {text}");
                assert!(text.contains(word), "{word:?} isn't said: {text}");
            }
        }
    }
}

#[test]
fn a_component_that_is_not_there_yet_is_to_be_built() {
    for (source, next) in [
        ("", "build the component"),
        ("source = \".\"", "run `kinglet build` first"),
    ] {
        let app = App::new(&format!(
            "[buckets.in]\n[[function]]\nname = \"f\"\ncomponent = \"f.wasm\"\n{source}\non = {{ object-created = \"in\" }}\n"
        ));
        app.kinglet(&["up"])
            .expect(2)
            .says(&["\"f\"", "f.wasm", next]);
        let checked = app.kinglet(&["check"]).expect(1);
        assert!(checked.stdout.contains(next), "{checked:?}");
    }
}

#[test]
fn an_application_without_functions_has_nothing_to_run() {
    let app = App::new("[buckets.in]\n");
    app.kinglet(&["up"]).expect(2).says(&["[[function]]"]);
}

#[test]
fn a_function_without_a_crate_cannot_be_built() {
    let app = App::new(&MANIFEST.replacen("on =", "source = \"nowhere\"\non =", 1));
    app.kinglet(&["build"])
        .expect(2)
        .says(&["nowhere", "`source`"]);
}

/// A component in binary: it imports an instance that has one function, and exports an empty one. The
/// format is that of the component model's `Binary.md`.
fn component(import: &str, export: &str) -> Vec<u8> {
    let name = |name: &str| {
        let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
        bytes.extend(name.as_bytes());
        bytes
    };
    let section = |id: u8, parts: &[&[u8]]| {
        let content = parts.concat();
        let mut bytes = vec![id, u8::try_from(content.len()).unwrap()];
        assert!(content.len() < 128, "one byte of LEB128 has to do");
        bytes.extend(content);
        bytes
    };
    let function_type: &[u8] = &[0x01, 0x40, 0, 0x01, 0];
    [
        b"\0asm\x0d\0\x01\0".to_vec(),
        section(
            7,
            &[&[1, 0x42, 2], function_type, &[4], &name("wave"), &[1, 0]],
        ),
        section(10, &[&[1], &name(import), &[5, 0]]),
        section(5, &[&[1, 1, 0]]),
        section(11, &[&[1], &name(export), &[5, 1, 0]]),
    ]
    .concat()
}
