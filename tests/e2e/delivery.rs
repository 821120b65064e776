//! Messages from publishing to their end: retries, dead letters, duplicates, delays.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{App, echo, settled, text};

/// The fixture `retry` with these settings, and `echo` for what it publishes.
fn retrying(config: &str, retry: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "retry"
        component = "guest:retry"
        on = {{ message = "in" }}
        retry = {retry}
        grants = {{ publish = ["out"] }}
        config = {config}
        {}
        "#,
        echo("out")
    ))
}

/// The attempts of `retry` in order.
fn attempts(records: &[Value]) -> Vec<&Value> {
    let of = |r: &&Value| r["kind"] == "outcome" && r["function"] == "retry";
    records.iter().filter(of).collect()
}

#[test]
fn a_failed_event_comes_again_until_it_succeeds() {
    for how in ["", ", how = \"error\""] {
        let app = retrying(
            &format!("{{ succeed-at = \"4\"{how} }}"),
            r#"{ attempts = 9, backoff = "1ms..20ms" }"#,
        );
        let mut host = app.up();
        app.publish("in", "x");
        let said = host.until(|r| r["kind"] == "log" && r["function"] == "echo");
        assert_eq!(said["text"], "4");
        let ended = host.stop();
        let attempts = attempts(&ended.records);
        let numbers: Vec<u64> = attempts
            .iter()
            .filter_map(|a| a["attempt"].as_u64())
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        for failed in &attempts[..3] {
            assert_eq!(failed["outcome"], "failed", "{failed}");
            assert_eq!(failed["settled"], false, "{failed}");
            assert!(failed["retry_in_ms"].as_u64().unwrap() <= 20, "{failed}");
        }
        assert_eq!(attempts[3]["outcome"], "done");
        let events: BTreeSet<&str> = attempts.iter().map(|a| text(a, "event")).collect();
        assert_eq!(events.len(), 1);
    }
}

#[test]
fn a_guest_may_ask_for_a_wait_within_bounds() {
    for (asked, given) in [(7, 7), (3_600_000, 40)] {
        let app = retrying(
            &format!("{{ succeed-at = \"2\", after-ms = \"{asked}\" }}"),
            r#"{ attempts = 2, backoff = "30ms..40ms" }"#,
        );
        let mut host = app.up();
        app.publish("in", "x");
        host.outcomes(1, "retry");
        let ended = host.stop();
        let first = attempts(&ended.records)[0];
        assert_eq!(first["retry_in_ms"], given, "{first}");
        assert_eq!(first["failure"], "retry", "{first}");
    }
}

#[test]
fn an_event_that_never_succeeds_is_a_dead_letter_after_its_attempts() {
    let app = retrying("{}", r#"{ attempts = 3, backoff = "1ms..2ms" }"#);
    let mut host = app.up();
    app.publish("in", "x");
    let dead = host.outcome_of("retry", "in");
    assert_eq!(dead["dead"], true, "{dead}");
    assert_eq!(dead["attempt"], 3, "{dead}");
    let ended = host.stop();
    assert_eq!(attempts(&ended.records).len(), 3);
    // It doesn't come again.
    app.publish("out", "last");
    let mut host = app.up();
    host.outcome_of("echo", "out");
    assert_eq!(attempts(&host.stop().records).len(), 0);
}

/// Retries were forgotten where the function had room for another event: its dispatcher slept, and
/// settling the failure didn't wake it. It took the next event, or a minute, to bring them back.
#[test]
fn a_retry_needs_no_other_event_to_come() {
    let app = retrying(
        r#"{ succeed-at = "2" }"#,
        r#"{ attempts = 2, backoff = "1ms..1ms" }"#,
    );
    let mut host = app.up();
    app.publish("in", "x");
    assert_eq!(host.outcome_of("retry", "in")["outcome"], "done");
    host.stop();
}

#[test]
fn a_rejected_event_is_a_dead_letter_at_once() {
    let app = App::new(
        r#"
        [buckets.in]
        [[function]]
        name = "message"
        component = "guest:reject"
        on = { message = "in" }
        retry = { attempts = 9 }
        [[function]]
        name = "object"
        component = "guest:reject"
        on = { object-created = "in" }
        "#,
    );
    let mut host = app.up();
    app.publish("in", "junk");
    app.put("in/junk.jpg", "");
    for (function, subject, reason) in [
        ("message", "in", "no use for \"junk\""),
        ("object", "junk.jpg", "no use for \"junk.jpg\""),
    ] {
        let outcome = host.until(|r| r["kind"] == "outcome" && r["function"] == function);
        assert_eq!(outcome["subject"], subject, "{outcome}");
        assert_eq!(outcome["failure"], "reject", "{outcome}");
        assert_eq!(outcome["dead"], true, "{outcome}");
        assert_eq!(outcome["attempt"], 1, "{outcome}");
        assert_eq!(outcome["reason"], reason, "{outcome}");
    }
    host.stop();
}

#[test]
fn a_message_of_a_known_id_is_not_delivered_again() {
    let app = App::new(&echo("in"));
    let publish = ["publish", "in", "--body", "x", "--id", "order-7", "--json"];
    let accepted = |output: String| -> Value { serde_json::from_str(&output).unwrap() };
    let first = accepted(app.ok(&publish));
    assert_eq!(
        first,
        serde_json::json!({ "id": "order-7", "accepted": "new" })
    );
    assert_eq!(accepted(app.ok(&publish))["accepted"], "duplicate");
    let mut host = app.up();
    host.outcome_of("echo", "in");
    // Done long ago, and through the running host.
    assert_eq!(accepted(app.ok(&publish))["accepted"], "duplicate");
    assert!(app.ok(&publish[..6]).contains("duplicate"));
    app.ok(&["publish", "in", "--body", "x", "--id", "order-8"]);
    let outcomes = host.outcomes(2, "echo");
    assert_eq!(outcomes[1]["event"], "order-8");
    assert_eq!(host.stop().outcomes("echo").len(), 2);
}

#[test]
fn every_line_is_a_message_delivered_once() {
    let app = App::new(&echo("in"));
    let publish =
        |numbers: Range<u32>| app.publish_lines("in", numbers.map(|n| format!("line {n}")));
    // A hundred that wait for the host, a hundred through it.
    let printed = publish(0..100);
    assert_eq!(printed.lines().count(), 100);
    let mut host = app.up();
    publish(100..200);
    host.outcomes(200, "echo");
    let ended = host.stop();
    assert_eq!(ended.outcomes("echo").len(), 200);
    let said: Vec<&Value> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "log")
        .collect();
    assert_eq!(said.len(), 200);
    let texts: BTreeSet<&str> = said.iter().map(|r| text(r, "text")).collect();
    let expected: BTreeSet<String> = (0..200).map(|n| format!("line {n}")).collect();
    assert!(texts.iter().eq(expected.iter()), "{texts:?}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a lower bound needs the time before"
)]
fn a_delayed_message_comes_when_it_is_due() {
    let app = App::new(&echo("in"));
    let mut host = app.up();
    app.ok(&["publish", "in", "--body", "never", "--delay", "1day"]);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    app.ok(&["publish", "in", "--body", "soon", "--delay", "700ms"]);
    app.publish("in", "now");
    let soon = host.until(|r| r["text"] == "soon");
    assert!(
        u128::from(soon["time"].as_u64().unwrap()) >= before.as_millis() + 700,
        "{soon}"
    );
    host.outcomes(2, "echo");
    let ended = host.stop();
    assert!(ended.records.iter().any(|r| r["text"] == "now"));
    assert_eq!(ended.outcomes("echo").len(), 2);

    // A host that starts later knows of it, and still waits.
    app.publish("in", "last");
    let mut host = app.up();
    host.outcomes(1, "echo");
    let ended = host.stop();
    let said = ended.records.iter().find(|r| r["kind"] == "log").unwrap();
    assert_eq!(said["text"], "last");
    assert_eq!(ended.records.iter().filter(|r| settled(r)).count(), 1);
}

#[test]
fn a_message_that_nobody_waits_for_is_taken_and_noted() {
    let app = App::new(&format!("[topics.unheard]\n{}", echo("in")));
    let output = app
        .kinglet(&["publish", "unheard", "--body", "x"])
        .expect(0);
    output.says(&["no function is woken by topic \"unheard\""]);
}
