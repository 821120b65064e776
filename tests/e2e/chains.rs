//! One function's effects are another's events.

use std::collections::BTreeSet;

use crate::harness::{App, text};

#[test]
fn from_object_to_message_to_message() {
    let app = App::new(
        r#"
        [buckets.in]
        [[function]]
        name = "both"
        component = "guest:both"
        on = { object-created = "in" }
        grants = { publish = ["out"] }
        [[function]]
        name = "pass-on"
        component = "guest:echo"
        on = { message = "out" }
        grants = { publish = ["end"] }
        config = { to = "end" }
        [[function]]
        name = "end"
        component = "guest:echo"
        on = { message = "end" }
        [[function]]
        name = "end-too"
        component = "guest:echo"
        on = { message = "end" }
        "#,
    );
    let mut host = app.up();
    for file in 0..10 {
        app.put(&format!("in/{file}"), "");
    }
    for function in ["both", "pass-on", "end", "end-too"] {
        host.outcomes(10, function);
    }
    let ended = host.stop();
    let said: BTreeSet<&str> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "log" && r["function"] == "end")
        .map(|r| text(r, "text"))
        .collect();
    let expected: Vec<String> = (0..10).map(|file| format!("object {file}")).collect();
    assert!(said.iter().eq(expected.iter()), "{said:?}");
    for function in ["both", "pass-on", "end", "end-too"] {
        assert_eq!(ended.outcomes(function).len(), 10, "{function}");
    }
}

#[test]
fn from_bucket_to_bucket_each_object_is_one_event() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in" }
        grants = { read = ["in"], write = ["out"] }
        [[function]]
        name = "hello"
        component = "guest:hello-object"
        on = { object-created = "out" }
        "#,
    );
    let mut host = app.up();
    for file in 0..50 {
        app.put(&format!("in/{}/{file}", file % 7), "");
    }
    host.outcomes(50, "hello");
    // From outside, after all: its event is the last that the folder's watch gives.
    app.put("out/zz-last", "");
    host.outcome_of("hello", "zz-last");
    assert_eq!(host.stop().outcomes("hello").len(), 51);

    // What a function wrote isn't found again as new.
    app.put_old("out/zzz-later", "");
    let mut host = app.up();
    host.outcome_of("hello", "zzz-later");
    assert_eq!(host.stop().outcomes("hello").len(), 1);
}

/// A function that wakes itself, over three hops.
pub fn looping() -> App {
    App::new(
        r#"
        [[function]]
        name = "ping"
        component = "guest:echo"
        on = { message = "ball" }
        allow-loop = 3
        grants = { publish = ["ball"] }
        config = { to = "ball" }
        "#,
    )
}

#[test]
fn a_loop_that_is_allowed_ends_after_its_hops() {
    let app = looping();
    let mut host = app.up();
    app.publish("ball", "x");
    let dead = host.until(|r| r["dead"] == true);
    assert!(text(&dead, "reason").contains("allow-loop"), "{dead}");
    let ended = host.stop();
    let outcomes = ended.outcomes("ping");
    let done = outcomes.iter().filter(|o| o["outcome"] == "done").count();
    assert_eq!(done, 4, "the event from outside, and three hops");
}

/// Hops were counted for single events only: in a batch of several a loop never ended.
#[test]
fn a_loop_of_batches_ends_after_its_hops() {
    let app = App::new(
        r#"
        [buckets.out]
        [[function]]
        name = "ping"
        component = "guest:batch"
        on = { message = "out", batch-size = 2 }
        allow-loop = 3
        limits = { concurrency = 1 }
        grants = { write = ["out"], publish = ["out"] }
        "#,
    );
    app.publish_lines("out", ["a", "b"]);
    let mut host = app.up();
    host.until_many(2, |r| r["dead"] == true || looped(r));
    let ended = host.stop();
    let outcomes = ended.outcomes("ping");
    let dead: Vec<_> = outcomes.iter().filter(|o| o["dead"] == true).collect();
    assert_eq!(dead.len(), 2, "{outcomes:#?}");
    assert!(text(dead[0], "reason").contains("allow-loop"), "{dead:#?}");
    assert_eq!(
        outcomes.len(),
        2 * 4 + 2,
        "each from outside, three hops, and its end"
    );
}

/// Whether an event came further than any loop here may: each hop adds to its id.
fn looped(record: &serde_json::Value) -> bool {
    let event = record["event"].as_str().unwrap_or_default();
    event.matches("/ping/").count() > 5
}

#[test]
fn a_message_keeps_what_it_carries() {
    let app = App::new(
        r#"
        [topics.end]
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "in" }
        grants = { publish = ["end"] }
        config = { to = "end" }
        [[function]]
        name = "probe"
        component = "guest:echo"
        on = { message = "end" }
        "#,
    );
    let mut host = app.up();
    app.kinglet_with(&["publish", "in"], "from standard input, ☃".as_bytes())
        .expect(0);
    let said = host.until(|r| r["kind"] == "log" && r["function"] == "probe");
    assert_eq!(said["text"], "from standard input, ☃");
    // Bytes that are no text arrive as well: the log shows them as it can.
    app.kinglet_with(&["publish", "in"], b"\xff\xfe").expect(0);
    let logs = host.until_many(2, |r| r["kind"] == "log" && r["function"] == "probe");
    assert_eq!(logs[1]["text"], "\u{fffd}\u{fffd}");
    host.stop();
}
