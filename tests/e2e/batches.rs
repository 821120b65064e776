//! Functions that take several messages at once: each has its own end, and its own effects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{App, echo, settled, text};

/// Messages that are published before a host runs make one batch.
fn batching(component: &str, rest: &str) -> App {
    App::new(&format!(
        r#"
        [buckets.out]
        [[function]]
        name = "batch"
        component = "guest:{component}"
        on = {{ message = "in", batch-size = 10 }}
        limits = {{ concurrency = 1 }}
        retry = {{ attempts = 2, backoff = "1ms..5ms" }}
        grants = {{ read = ["out"], write = ["out"], publish = ["out"] }}
        {rest}
        {}
        "#,
        echo("out")
    ))
}

/// How many outcomes of each kind there are.
fn tally<'a>(records: impl IntoIterator<Item = &'a Value>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for record in records {
        *tally.entry(text(record, "outcome").to_owned()).or_default() += 1;
    }
    tally
}

#[test]
fn only_what_failed_comes_again_and_only_what_succeeded_has_effects() {
    let app = batching("batch", "");
    let good = ["a", "b", "c", "d"];
    app.publish_lines("in", ["a", "bad", "b", "reject", "c", "d"]);
    let mut host = app.up();
    host.outcomes(6, "batch");
    host.outcomes(4, "echo");
    let ended = host.stop();

    let attempts: Vec<&Value> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "outcome" && r["function"] == "batch")
        .collect();
    let first: Vec<&Value> = attempts
        .iter()
        .copied()
        .filter(|r| r["attempt"] == 1)
        .collect();
    assert_eq!(first.len(), 6);
    let costs: Vec<&Value> = first.iter().map(|r| &r["cost"]).collect();
    assert!(
        costs.windows(2).all(|pair| pair[0] == pair[1]),
        "one call for all: {costs:?}"
    );
    assert_eq!(
        tally(first),
        BTreeMap::from([("done".to_owned(), 4), ("failed".to_owned(), 2)])
    );
    let second: Vec<&Value> = attempts
        .iter()
        .copied()
        .filter(|r| r["attempt"] == 2)
        .collect();
    assert_eq!(second.len(), 1, "{second:#?}");
    assert_eq!(second[0]["dead"], true);
    assert_eq!(second[0]["reason"], "a bad message");

    assert_eq!(app.keys("out"), good);
    assert_eq!(app.staged("out"), 0);
    let mut heard: Vec<&str> = ended
        .records
        .iter()
        .filter(|r| r["kind"] == "log")
        .map(|r| text(r, "text"))
        .collect();
    heard.sort_unstable();
    assert_eq!(heard, good);
}

#[test]
fn a_trap_brings_the_whole_batch_down() {
    let app = batching("batch", "");
    app.publish_lines("in", ["a", "panic", "b"]);
    let mut host = app.up();
    let outcomes = host.outcomes(3, "batch");
    for outcome in &outcomes {
        assert_eq!(outcome["outcome"], "trap", "{outcome}");
        assert_eq!(outcome["dead"], true, "{outcome}");
        assert!(
            text(outcome, "reason").contains("a message to panic over"),
            "{outcome}"
        );
    }
    assert_eq!(app.keys("out"), [""; 0]);
    assert_eq!(app.staged("out"), 0);
    assert_eq!(host.stop().records.iter().filter(|r| settled(r)).count(), 3);
}

#[test]
fn a_batch_as_a_whole() {
    for (config, lines, outcome, keys) in [
        ("", ["a", "b", "c"], "done", vec!["a", "b", "c", "size"]),
        // What belongs to no message commits only when all succeed; the others' own effects do.
        ("", ["a", "bad", "c"], "", vec!["a", "c"]),
        (
            "config = { how = \"fail\" }",
            ["a", "b", "c"],
            "failed",
            vec![],
        ),
        (
            "config = { how = \"short\" }",
            ["a", "b", "c"],
            "failed",
            vec![],
        ),
    ] {
        let app = batching("batch-whole", config);
        app.publish_lines("in", lines);
        let mut host = app.up();
        let outcomes = host.outcomes(3, "batch");
        let matching = outcomes.iter().filter(|o| o["outcome"] == outcome).count();
        assert!(
            outcome.is_empty() || matching == 3,
            "{config}: {outcomes:#?}"
        );
        assert_eq!(app.keys("out"), keys, "{config} {lines:?}");
        if config.contains("short") {
            let reason = text(&outcomes[0], "reason");
            assert!(reason.contains("2 results for 3 messages"), "{reason}");
        }
        host.stop();
    }
}

#[test]
fn a_batch_is_no_larger_than_its_size() {
    let app = batching("batch-whole", "");
    let lines: Vec<String> = (0..25).map(|n| format!("m{n:02}")).collect();
    app.publish_lines("in", &lines);
    let mut host = app.up();
    host.outcomes(25, "batch");
    host.stop();
    let objects = app.objects("out");
    // The last batch's size, and each message's place in its own batch.
    assert_eq!(objects["size"], b"5");
    let places: Vec<&[u8]> = lines.iter().map(|line| objects[line].as_slice()).collect();
    let expected: Vec<Vec<u8>> = (0..25)
        .map(|n: u32| (n % 10).to_string().into_bytes())
        .collect();
    assert_eq!(places, expected);
}
