//! Instances are made ahead of their events, and nobody notices but by the time that it takes.

use std::time::{Duration, SystemTime};

use crate::harness::{App, echo, guest};
use crate::host::text;

const NOOP: &str = r#"
    [[function]]
    name = "noop"
    component = "guest:noop-message"
    on = { message = "in" }
    limits = { concurrency = 8 }
"#;

/// Fuel is given once for the start and the call: what is made ahead costs what is made on the way.
#[test]
fn an_event_costs_the_same_in_an_instance_that_was_ready() {
    let app = App::new(NOOP);
    let mut host = app.up();
    // One after the other: the next finds one that is ready. Then so many at once that most find none.
    for number in 0..5 {
        app.publish("in", &format!("{number:02}"));
        host.outcomes(number + 1, "noop");
    }
    app.publish_lines("in", (10..60).map(|number| format!("{number:02}")));
    let outcomes = host.outcomes(55, "noop");
    let fuels: std::collections::BTreeSet<u64> = outcomes
        .iter()
        .map(|outcome| outcome["cost"]["fuel"].as_u64().unwrap())
        .collect();
    assert_eq!(fuels.len(), 1, "{fuels:?}");
    host.stop();
}

/// A start that asks for the time would know that of the event before.
#[test]
fn a_start_that_asks_the_host_runs_when_its_event_is_there() {
    let app = App::new(
        r#"
        [[function]]
        name = "asks"
        component = "guest:asks-at-start"
        on = { message = "in" }
        "#,
    );
    let mut host = app.up();
    for number in 0..4 {
        let before = SystemTime::UNIX_EPOCH.elapsed().unwrap() - Duration::from_millis(1);
        app.publish("in", "x");
        host.outcomes(number + 1, "asks");
        let lines = host.until_many(number + 1, |record| record["kind"] == "output");
        let started = text(&lines[number], "text").strip_prefix("started ");
        let started = Duration::from_millis(started.unwrap().parse().unwrap());
        assert!(started >= before, "{started:?} is before {before:?}");
    }
    host.stop();
}

/// What a start finds in the cache it doesn't load before it is needed; that is what runs, whatever has become of
/// the file meanwhile.
#[test]
fn what_runs_is_what_was_there_at_the_start() {
    let app = App::bare();
    std::fs::copy(guest("echo"), app.path("function.wasm")).unwrap();
    app.manifest(&echo("in").replace("guest:echo", "function.wasm"));
    // Fills the cache.
    app.up().stop();
    let mut host = app.up();
    assert!(
        host.lines
            .iter()
            .any(|line| line.contains("from the cache"))
    );
    std::fs::copy(guest("noop-message"), app.path("new.wasm")).unwrap();
    std::fs::rename(app.path("new.wasm"), app.path("function.wasm")).unwrap();
    app.publish("in", "as it was");
    host.outcomes(1, "echo");
    host.until(|record| {
        record["text"]
            .as_str()
            .is_some_and(|text| text.contains("as it was"))
    });
    host.stop();

    let mut host = app.up();
    app.publish("in", "as it is");
    host.outcomes(1, "echo");
    let said = |record: &serde_json::Value| record["text"].as_str() == Some("as it is");
    assert!(!host.stop().records.iter().any(said));
}

/// A file that was there and is none any more, and one that is no component.
#[test]
fn a_component_that_is_gone_or_broken_is_told_at_the_start() {
    let app = App::bare();
    std::fs::copy(guest("echo"), app.path("function.wasm")).unwrap();
    app.manifest(&echo("in").replace("guest:echo", "function.wasm"));
    app.up().stop();
    std::fs::remove_file(app.path("function.wasm")).unwrap();
    app.kinglet(&["up"])
        .expect(2)
        .says(&["function.wasm", "build the component"]);
    std::fs::write(app.path("function.wasm"), b"\0asm\x01\0\0\0").unwrap();
    app.kinglet(&["up"])
        .expect(2)
        .says(&["echo", "core module"]);
}
