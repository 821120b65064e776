//! Keyvalue buckets: seen by their handler at once, by everybody with the event's acknowledgement.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{App, Host, echo, text};

const PROBE: &str = r#"
    [buckets.gate]
    [[function]]
    name = "probe"
    component = "guest:kv-probe"
    on = { message = "in" }
    limits = { timeout = "100s" }
    retry = { attempts = 1 }
    grants = { keyvalue = ["counters", "other"], read = ["gate"] }
"#;

/// The results of commands, one for each.
fn probe(app: &App, host: &mut Host, id: &str, commands: &str) -> Vec<String> {
    app.ok(&["publish", "in", "--id", id, "--body", commands]);
    host.until(|r| r["kind"] == "outcome" && r["event"] == id);
    said(&host.records, id)
}

fn said(records: &[Value], id: &str) -> Vec<String> {
    let of = |r: &&Value| r["kind"] == "log" && r["event"] == id;
    let lines = records.iter().filter(of).map(|r| text(r, "text"));
    lines
        .map(|line| {
            line.split_once(": ")
                .map_or(line, |(_, result)| result)
                .to_owned()
        })
        .collect()
}

#[test]
fn a_handler_sees_its_own_changes_and_the_next_one_those_that_committed() {
    let app = App::new(PROBE);
    let mut host = app.up();
    let own = "set a 1; get a; incr a 4; exists a; set b x; delete b; get b; keys; cas c z; race d w; open other; keys";
    assert_eq!(
        probe(&app, &mut host, "own", own),
        [
            "ok",
            "1",
            "5",
            "true",
            "ok",
            "ok",
            "none",
            "a",
            "none",
            "none raced",
            "ok",
            ""
        ]
    );
    assert_eq!(
        probe(&app, &mut host, "after", "keys; get a; get b; get d"),
        ["a c d", "5", "none", "w"]
    );
    assert_eq!(
        probe(&app, &mut host, "lost", "set a lost; delete c; fail")[..2],
        ["ok", "ok"]
    );
    let ended = host.stop();
    assert_eq!(ended.code, Some(0));
    let mut host = app.up();
    assert_eq!(
        probe(&app, &mut host, "kept", "keys; get a"),
        ["a c d", "5"]
    );
    host.stop();
}

#[test]
fn what_cannot_be_is_an_error_and_harms_nobody() {
    let app = App::new(PROBE);
    let mut host = app.up();
    let results = probe(
        &app,
        &mut host,
        "bad",
        "set n text; incr n 1; set \"\" x; set k*1025 x; set m 9223372036854775807; incr m 1; get n; open secret",
    );
    for (at, says) in [
        (1, "isn't a decimal number"),
        (2, "a key of 0 bytes"),
        (3, "a key of 1025 bytes"),
        (5, "9223372036854775807 + 1"),
        (7, "grants.keyvalue"),
    ] {
        assert!(
            results[at].contains(says),
            "{says} isn't said in {results:#?}"
        );
    }
    assert_eq!(results[6], "text");
    host.stop();
}

const COUNTERS: &str = r#"
    [[function]]
    name = "counter"
    component = "guest:counter"
    on = { message = "in" }
    limits = { concurrency = 8 }
    retry = { backoff = "1ms..5ms" }
    grants = { keyvalue = ["counters"], publish = ["out"] }
    config = { fail-first = "true", publish = "true" }
    [[function]]
    name = "batch"
    component = "guest:counter-batch"
    on = { message = "batch", batch-size = 10 }
    retry = { backoff = "1ms..5ms" }
    grants = { keyvalue = ["counters"] }
    [[function]]
    name = "probe"
    component = "guest:kv-probe"
    on = { message = "probe" }
    grants = { keyvalue = ["counters"] }
"#;

/// Forty increments of one key, eight at once, each failing once after it incremented: none is lost, none
/// counts twice, and no two were told the same number.
#[test]
fn increments_of_one_key_all_count_once() {
    let app = App::new(&(COUNTERS.to_owned() + &echo("out")));
    app.publish_lines("in", ["k"; 40]);
    app.publish_lines("batch", ["k"; 20]);
    let mut host = app.up();
    host.outcomes(40, "counter");
    host.outcomes(20, "batch");
    host.outcomes(40, "echo");
    app.ok(&["publish", "probe", "--id", "sum", "--body", "get k"]);
    host.outcome_of("probe", "probe");
    let ended = host.stop();
    assert_eq!(said(&ended.records, "sum"), ["60"]);
    let is_told = |r: &&Value| r["kind"] == "log" && r["function"] == "echo";
    let told: Vec<&str> = ended
        .records
        .iter()
        .filter(is_told)
        .map(|r| text(r, "text"))
        .collect();
    let different: BTreeSet<&str> = told.iter().copied().collect();
    assert_eq!((told.len(), different.len()), (40, 40), "{told:?}");
    assert!(
        ended
            .outcomes("counter")
            .iter()
            .all(|o| o["outcome"] == "done")
    );
}

/// Two handlers read the same value; the one that commits second is tried again with the new one.
#[test]
fn a_change_meanwhile_is_a_conflict_and_no_failure() {
    let app = App::new(PROBE);
    let mut host = app.up();
    app.ok(&["publish", "in", "--id", "first", "--body", "incr k 1; wait"]);
    app.ok(&[
        "publish",
        "in",
        "--id",
        "second",
        "--body",
        "incr k 1; wait",
    ]);
    host.until_many(2, |r| {
        r["kind"] == "log" && text(r, "text").starts_with("incr")
    });
    app.put("gate/open", "");
    host.outcomes(2, "probe");
    assert_eq!(probe(&app, &mut host, "sum", "get k"), ["2"]);
    let ended = host.stop();
    let conflicts: Vec<&Value> = ended
        .records
        .iter()
        .filter(|r| r["outcome"] == "conflict")
        .collect();
    assert_eq!(conflicts.len(), 1, "{:#?}", ended.records);
    assert_eq!(conflicts[0]["settled"], false);
}

/// Two messages of a batch rely on one key, and shared effects make them commit together or not at all: they
/// were tried again for ever.
#[test]
fn messages_that_can_never_commit_together_end_as_failures() {
    let app = App::new(
        r#"
        [[function]]
        name = "batch"
        component = "guest:counter-batch"
        on = { message = "batch", batch-size = 2, batch-window = "50ms" }
        limits = { concurrency = 1 }
        retry = { attempts = 2, backoff = "1ms..1ms" }
        grants = { keyvalue = ["counters"] }
        config = { shared = "all" }
        "#,
    );
    app.publish_lines("batch", ["k", "k"]);
    let mut host = app.up();
    let outcomes = host.outcomes(2, "batch");
    let told = |o: &&Value| text(o, "text").contains("another message of the batch");
    // The window may part them, and then both succeed.
    let failed = host
        .records
        .iter()
        .filter(|r| r["kind"] == "outcome")
        .filter(told)
        .count();
    assert!(failed >= 2, "{outcomes:#?}");
    host.stop();
}

#[test]
fn an_invocation_shows_the_changes_that_it_would_make() {
    let app = App::new(PROBE);
    let shown = app.ok(&["invoke", "probe", "--body", "set a 1; delete b"]);
    for line in [
        "would set \"a\" in keyvalue bucket counters, 1 B: 1",
        "would delete \"b\"",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}
