//! What a guest finds around it: itself, fresh, and nothing that wasn't granted.

use crate::harness::{App, text};

#[test]
fn every_event_has_an_instance_of_its_own() {
    let app = App::new(
        r#"
        [buckets.out]
        [[function]]
        name = "state"
        component = "guest:state"
        on = { message = "in" }
        limits = { concurrency = 2 }
        grants = { write = ["out"] }
        "#,
    );
    app.publish_lines("in", 0..100);
    let mut host = app.up();
    host.outcomes(100, "state");
    host.stop();
    let objects = app.objects("out");
    assert_eq!(objects.len(), 100);
    for (event, calls) in objects {
        assert_eq!(calls, b"1", "{event}");
    }
}

#[test]
fn nothing_is_there_that_was_not_granted() {
    let app = App::new(
        r#"
        [buckets.not-granted]
        [topics.not-granted]
        [[function]]
        name = "probe"
        component = "guest:probe"
        on = { message = "in" }
        grants = { publish = ["out"] }
        config = { width = "256", word = "a \"b\" ☃" }
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "out" }
        "#,
    );
    let mut command = app.command(&["up", "--json"]);
    command.env("SECRET", "hunter2");
    let mut host = crate::harness::Host::start(command);
    host.said("ready");
    app.ok(&["publish", "in", "--body", "x", "--id", "the-id"]);
    let said = host.until(|r| r["kind"] == "log" && r["function"] == "echo");
    host.stop();
    let said = text(&said, "text");
    let seen = |name: &str| {
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {said}"))
    };
    assert_eq!(seen("env"), "[]");
    assert_eq!(seen("args"), "[]");
    assert!(!said.contains("hunter2"));
    assert_eq!(seen("stdin"), "ok 0", "standard input is empty");
    for closed in [
        "list /",
        "read /etc/passwd",
        "write /tmp/probe",
        "connect",
        "udp",
        "resolve",
        "bucket",
        "topic",
    ] {
        assert!(
            seen(closed).starts_with("error "),
            "{closed}: {}",
            seen(closed)
        );
    }
    assert!(seen("bucket").contains("Denied"), "{}", seen("bucket"));
    assert!(seen("topic").contains("Denied"), "{}", seen("topic"));
    assert!(seen("config").contains(r#""width""#) && seen("config").contains(r#""256""#));
    assert!(
        seen("config").contains(r#"a \"b\" ☃"#),
        "{}",
        seen("config")
    );
    assert!(seen("delivery").contains("the-id"), "{}", seen("delivery"));
    assert!(
        seen("time").starts_with("ok "),
        "a clock and random numbers are there"
    );
}
