//! `kinglet logs`: what functions said and how events ended, then and now.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{App, Host, text};

fn app() -> App {
    App::new(
        r#"
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "in" }
        [[function]]
        name = "reject"
        component = "guest:reject"
        on = { message = "in" }
        [[function]]
        name = "stdout"
        component = "guest:stdout"
        on = { message = "print" }
        "#,
    )
}

/// Three messages through `echo` and `reject`.
fn busy() -> App {
    let app = app();
    for id in ["one", "two", "three"] {
        app.ok(&["publish", "in", "--body", id, "--id", id]);
    }
    let mut host = app.up();
    host.outcomes(3, "echo");
    host.outcomes(3, "reject");
    host.stop();
    app
}

#[test]
fn records_are_kept_and_chosen() {
    let app = busy();
    for (arguments, count) in [
        (&[][..], 9),
        (&["--function", "echo"], 6),
        (&["--function", "reject"], 3),
        (&["--event", "two"], 3),
        (&["--event", "two", "--function", "echo"], 2),
        (&["--failed"], 3),
        (&["--failed", "--event", "one"], 1),
        (&["--failed", "--function", "echo"], 0),
        (&["--since", "1h"], 9),
        (&["--since", "0s"], 0),
    ] {
        let json = app
            .kinglet(&[&["logs", "--json"], arguments].concat())
            .expect(0)
            .json();
        assert_eq!(json.len(), count, "{arguments:?}: {json:#?}");
        let shown = app.ok(&[&["logs"], arguments].concat());
        assert_eq!(shown.lines().count(), count, "{arguments:?}: {shown}");
    }
    let shown = app.ok(&["logs", "--event", "two"]);
    assert!(shown.contains("echo in: info echo: two"), "{shown}");
    assert!(shown.contains("rejected: no use for \"two\""), "{shown}");
    assert!(shown.contains("dead-lettered"), "{shown}");
}

#[test]
fn what_the_host_shows_is_what_is_kept() {
    let app = app();
    app.publish("in", "x");
    app.publish("print", "x");
    let mut host = app.up();
    for function in ["echo", "reject", "stdout"] {
        host.outcomes(1, function);
    }
    let shown = host.stop().records;
    assert_eq!(app.kinglet(&["logs", "--json"]).expect(0).json(), shown);
}

#[test]
fn levels_and_streams_are_told_apart() {
    let app = app();
    app.publish("print", "x");
    let mut host = app.up();
    host.outcomes(1, "stdout");
    let ended = host.stop();
    let logged: Vec<(&str, &str)> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "log")
        .map(|r| (text(r, "level"), text(r, "text")))
        .collect();
    let levels = ["trace", "debug", "info", "warn", "error", "critical"];
    let expected: Vec<String> = levels.iter().map(|level| format!("at {level}")).collect();
    assert!(
        logged.iter().map(|(level, _)| *level).eq(levels),
        "{logged:?}"
    );
    assert!(
        logged.iter().map(|(_, text)| *text).eq(expected.iter()),
        "{logged:?}"
    );
    let printed: Vec<(&str, &str)> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "output")
        .map(|r| (text(r, "stream"), text(r, "text")))
        .collect();
    assert_eq!(
        printed,
        [
            ("stdout", "to standard output"),
            ("stderr", "to standard error"),
            ("stdout", "without an end of line"),
        ]
    );
}

#[test]
fn records_are_followed_across_hosts() {
    let app = busy();
    let mut follower = Host::start(app.command(&["logs", "-f", "--json", "--function", "echo"]));
    follower.outcomes(3, "echo");
    app.publish("in", "a fourth");
    let mut host = app.up();
    follower.outcomes(4, "echo");
    host.outcomes(1, "echo");
    host.stop();
    app.publish("in", "a fifth");
    let host = app.up();
    let followed = follower.outcomes(5, "echo");
    assert!(
        followed.iter().all(|r| r["outcome"] == "done"),
        "{followed:#?}"
    );
    host.stop();
    let only_echo = |r: &Value| r["function"] == "echo";
    assert!(follower.records.iter().all(only_echo));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let app = busy();
    for arguments in [&["logs"][..], &["logs", "-f"]] {
        let mut child = app
            .command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdout.take().unwrap();
        pipe.read_exact(&mut [0]).unwrap();
        drop(pipe);
        // Something more to show, for the one that follows.
        app.publish("in", "more");
        let mut host = app.up();
        host.outcomes(1, "echo");
        host.stop();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn before_the_first_start_there_are_none() {
    let app = app();
    let output = app.kinglet(&["logs"]).expect(0).says(&["kinglet up"]);
    assert_eq!(output.stdout, "");
}
