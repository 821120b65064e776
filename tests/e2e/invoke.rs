//! `kinglet invoke`: what a function would do, and nothing done.

use serde_json::{Value, json};

use crate::harness::{App, Output};
use crate::objects::COPY;

fn report(output: &Output) -> Value {
    let mut reports = output.json();
    assert_eq!(reports.len(), 1, "{output:#?}");
    reports.remove(0)
}

const FUNCTIONS: &str = r#"
[[function]]
name = "echo"
component = "guest:echo"
on = { message = "in" }
grants = { publish = ["end"] }
config = { to = "end" }
[[function]]
name = "retry"
component = "guest:retry"
on = { message = "retry" }
config = { succeed-at = "3" }
grants = { publish = ["out"] }
[[function]]
name = "panic"
component = "guest:panic"
on = { object-created = "in" }
[[function]]
name = "spin"
component = "guest:spin"
on = { message = "spin" }
limits = { fuel = 1_000_000 }
[[function]]
name = "writes"
component = "guest:fail-after-writes"
on = { message = "writes" }
grants = { read = ["out"], write = ["out"], publish = ["out"] }
config = { how = "ok" }
"#;

fn app() -> App {
    App::new(&format!("{COPY}{FUNCTIONS}"))
}

#[test]
fn an_object_from_everywhere() {
    let app = app();
    app.put("in/deep/there.json", "{}");
    app.put("elsewhere/file.txt", "a file");
    app.put("event.json", r#"{"object": "in/deep/there.json"}"#);
    for (arguments, key, size, content_type) in [
        (
            vec!["--object", "in/deep/there.json"],
            "deep/there.json",
            2,
            "application/json",
        ),
        (
            vec!["--event", "event.json"],
            "deep/there.json",
            2,
            "application/json",
        ),
        (
            vec!["--file", "elsewhere/file.txt"],
            "file.txt",
            6,
            "text/plain",
        ),
        (
            vec!["--file", "elsewhere/file.txt", "--key", "a/b.png"],
            "a/b.png",
            6,
            "image/png",
        ),
        (vec![], "sample.png", 11_305, "image/png"),
    ] {
        let output = app.kinglet(&[&["invoke", "copy", "--json"], &arguments[..]].concat());
        let report = report(&output.expect(0));
        assert_eq!(report["outcome"], "done", "{report}");
        assert!(report["cost"]["fuel"].as_u64().unwrap() > 0, "{report}");
        let effect = json!({
            "effect": "write", "bucket": "out", "key": key, "size": size, "content_type": content_type
        });
        assert_eq!(report["effects"], json!([effect]), "{arguments:?}");
    }
    assert_eq!(app.keys("out"), [""; 0], "effects are shown, not kept");
    assert_eq!(app.staged("out"), 0);
    assert_eq!(app.keys("in"), ["deep/there.json"]);
}

#[test]
fn a_message_from_everywhere() {
    let app = app();
    app.put("body.txt", "from a file");
    app.put("event.json", r#"{"message": {"body": "from an event"}}"#);
    app.put("empty.json", r#"{"message": {}}"#);
    for (arguments, text) in [
        (vec!["--body", "from an argument"], "from an argument"),
        (vec!["--body", ""], ""),
        (vec!["--file", "body.txt"], "from a file"),
        (vec!["--event", "event.json"], "from an event"),
        (vec!["--event", "empty.json"], ""),
        (vec![], "42"),
    ] {
        let output = app.kinglet(&[&["invoke", "echo", "--json"], &arguments[..]].concat());
        let output = output.expect(0);
        let effect =
            json!({ "effect": "publish", "topic": "end", "size": text.len(), "text": text });
        assert_eq!(report(&output)["effects"], json!([effect]), "{arguments:?}");
        // What it logs isn't part of the result.
        assert!(output.stderr.contains(text), "{output:?}");
    }
}

#[test]
fn effects_are_shown_and_can_be_saved() {
    let app = app();
    let output = app
        .kinglet(&["invoke", "writes", "--body", "ab", "--save", "saved"])
        .expect(0);
    for line in [
        "would write out/pieces, 6 B",
        "would write out/whole, 2 B, text/plain",
        "would remove out/old",
        "would publish to out, 2 B: ab",
        "would publish to out, 5 B: third",
    ] {
        assert!(output.stdout.contains(line), "{line}: {output:#?}");
    }
    output.says(&["saved saved/out/pieces"]);
    assert_eq!(app.read("saved/out/pieces"), "ababab");
    assert_eq!(app.read("saved/out/whole"), "ab");
    assert_eq!(app.keys("out"), [""; 0]);
    assert_eq!(app.staged("out"), 0);
}

#[test]
fn a_failure_is_a_negative_result() {
    let app = app();
    for (arguments, outcome, words) in [
        (
            &["panic"][..],
            "trap",
            vec!["the cat is not a photo", "panic.rs:8:", "  in "],
        ),
        (
            &["spin"],
            "limit",
            vec!["fuel, 1000000 units", "limits.fuel"],
        ),
        (
            &["retry"],
            "failed",
            vec!["asked for a retry", "attempt 1 of 3"],
        ),
        (
            &["retry", "--attempt", "2"],
            "failed",
            vec!["attempt 2 of 3"],
        ),
    ] {
        let shown = app.kinglet(&[&["invoke"], arguments].concat()).expect(1);
        for word in words {
            assert!(shown.stdout.contains(word), "{word}: {shown:#?}");
        }
        let output = app
            .kinglet(&[&["invoke", "--json"], arguments].concat())
            .expect(1);
        let report = report(&output);
        assert_eq!(report["outcome"], outcome, "{report}");
        assert_eq!(report["effects"], json!([]), "{report}");
    }
    app.ok(&["invoke", "retry", "--attempt", "3"]);
}

#[test]
fn it_needs_no_host_and_disturbs_none() {
    let app = app();
    let mut host = app.up();
    app.ok(&["invoke", "copy"]);
    app.ok(&["invoke", "echo"]);
    app.put("in/after", "");
    host.outcome_of("copy", "after");
    let ended = host.stop();
    assert_eq!(ended.outcomes("copy").len(), 1);
    assert_eq!(ended.outcomes("echo").len(), 0);
    assert_eq!(app.keys("out"), ["after"]);
}
