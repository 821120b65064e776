//! `kinglet run`: a function over what is already there.

use serde_json::json;

use crate::harness::App;
use crate::objects::COPY;

/// `copy`, and a function that rejects all it sees.
fn app() -> App {
    let app = App::new(&format!(
        r#"{COPY}
        [buckets.other]
        [[function]]
        name = "reject"
        component = "guest:reject"
        on = {{ object-created = "other", suffix = [".jpg"] }}
        "#
    ));
    for key in ["2025/a", "2026/b", "2026/c", "20"] {
        app.put_old(&format!("in/{key}"), key);
    }
    app
}

#[test]
fn it_runs_without_a_host() {
    let app = app();
    let output = app
        .kinglet(&["run", "copy", "in/2026/", "--json"])
        .expect(0);
    let tally = json!({ "total": 2, "done": 2, "superseded": 0, "dead": 0 });
    assert_eq!(output.json(), [tally]);
    assert_eq!(app.keys("out"), ["2026/b", "2026/c"]);
    let output = app.kinglet(&["run", "copy", "in"]).expect(0);
    assert_eq!(output.stdout, "4 objects: 4 done, 0 dead-lettered\n");
    assert_eq!(app.keys("out").len(), 4);
    let nothing = app.ok(&["run", "copy", "in/nothing/"]);
    assert_eq!(nothing, "0 objects: 0 done, 0 dead-lettered\n");
}

#[test]
fn it_runs_through_the_host_that_is_there() {
    let app = app();
    let mut host = app.up();
    host.outcomes(4, "copy");
    let output = app
        .kinglet(&["run", "copy", "in/2026/", "--json"])
        .expect(0);
    assert_eq!(output.json()[0]["done"], 2);
    let outcomes = host.outcomes(6, "copy");
    let source = outcomes[5]["source"].as_str().unwrap();
    assert!(source.starts_with("run/"), "{source}");
    assert_eq!(host.stop().outcomes("copy").len(), 6);
}

#[test]
fn dead_letters_are_a_negative_result() {
    let app = app();
    for key in ["a.jpg", "b.JPG", "c.png"] {
        app.put_old(&format!("other/{key}"), "");
    }
    let output = app.kinglet(&["run", "reject", "other", "--json"]).expect(1);
    let tally = json!({ "total": 2, "done": 0, "superseded": 0, "dead": 2 });
    assert_eq!(output.json(), [tally]);
    let output = output.says(&["kinglet logs --function reject --failed"]);
    let failed = app.ok(&["logs", "--function", "reject", "--failed"]);
    assert_eq!(failed.lines().count(), 2, "{failed} {output:?}");
}

#[test]
fn a_bucket_that_does_not_wake_the_function_is_refused() {
    let refused = app().kinglet(&["run", "copy", "other"]).expect(2);
    refused.says(&["\"in\"", "\"other\"", "kinglet run copy in"]);
}

/// The host stopped while a run waited for it, and the run waited on for ever.
#[test]
fn a_run_ends_when_its_host_does_and_says_that_nothing_is_lost() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.gate]
        [buckets.out]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { object-created = "in" }
        limits = { concurrency = 1, timeout = "100s" }
        grants = { read = ["gate"], write = ["out"] }
        "#,
    );
    app.put_old("in/a", "");
    let mut host = app.up();
    host.waiting(1);
    let run = app.command(&["run", "gate", "in"]).spawn().unwrap();
    let pending = || app.kinglet(&["status", "--json"]).json()[0]["pending"].clone();
    while pending() != 2 {}
    host.interrupt();
    host.said("stopping");
    app.put("gate/open", "");
    let output = run.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("what is left is kept"), "{stderr}");
    let ended = host.end();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    assert_eq!(app.read("out/a"), "1");
}
