//! Hosts that stop, and hosts that are stopped: what was accepted is done, once.

use std::collections::BTreeSet;

use crate::harness::{App, Host, settled, text, waits};
use crate::objects::COPY;

/// Messages wait at the gate.
fn gate(concurrency: u32) -> App {
    App::new(&format!(
        r#"
        [buckets.gate]
        [buckets.out]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = {{ message = "in" }}
        limits = {{ concurrency = {concurrency}, timeout = "10min" }}
        grants = {{ read = ["gate"], write = ["out"] }}
        "#
    ))
}

fn publish(app: &App, count: usize) {
    publish_from(app, 0, count);
}

fn publish_from(app: &App, first: usize, count: usize) {
    app.publish_lines("in", (first..first + count).map(|line| format!("m{line}")));
}

#[test]
fn a_killed_host_loses_nothing_and_repeats_no_effect() {
    let app = gate(3);
    publish(&app, 8);
    let mut host = app.up();
    host.waiting(3);
    assert_eq!(
        app.staged("out"),
        3,
        "each of those that wait has staged an object"
    );
    // Accepted by the host itself, on the way to its end.
    app.publish("in", "late");
    host.kill();
    assert_eq!(app.keys("out"), [""; 0]);

    app.put("gate/open", "");
    let mut host = app.up();
    host.outcomes(9, "gate");
    assert_eq!(host.stop().outcomes("gate").len(), 9);
    assert_eq!(app.staged("out"), 0);
    assert_eq!(app.keys("out").len(), 9);
}

/// Kills the host again and again in the middle of commits. Each message writes an object and
/// publishes a message; those wait behind the gate until no host is killed any more, and are counted.
#[test]
fn effects_commit_once_however_often_the_host_is_killed() {
    const ROUND: usize = 30;
    let app = App::new(
        r#"
        [buckets.gate]
        [buckets.out]
        [[function]]
        name = "batch"
        component = "guest:batch"
        on = { message = "in", batch-size = 3 }
        grants = { write = ["out"], publish = ["out"] }
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { message = "out" }
        limits = { concurrency = 1, timeout = "10min" }
        grants = { read = ["gate"], write = ["out"] }
        "#,
    );
    let rounds = [1, 7, 20, 3, 11];
    for (round, done) in rounds.into_iter().enumerate() {
        publish_from(&app, round * ROUND, ROUND);
        let mut host = app.up();
        host.outcomes(done, "batch");
        host.kill();
    }
    let messages = rounds.len() * ROUND;
    app.put("gate/open", "");
    let mut host = app.up();
    host.outcomes(messages, "gate");
    // Behind whatever else there may be: one comes after the other.
    app.publish("out", "last");
    host.until(|r| settled(r) && r["outputs"][0] == "out/last");
    let ended = host.stop();
    let passed: Vec<&str> = ended
        .outcomes("gate")
        .iter()
        .map(|outcome| outcome["outputs"][0].as_str().unwrap())
        .collect();
    let expected: BTreeSet<String> = (0..messages)
        .map(|n| format!("out/m{n}"))
        .chain(["out/last".to_owned()])
        .collect();
    assert_eq!(passed.len(), expected.len(), "{passed:?}");
    let passed: BTreeSet<&str> = passed.into_iter().collect();
    assert!(passed.iter().eq(expected.iter()), "{passed:?}");
    assert_eq!(app.keys("out").len(), messages + 1);
    assert_eq!(app.staged("out"), 0);
}

#[test]
fn what_runs_is_finished_and_what_waits_is_kept() {
    let app = gate(2);
    publish(&app, 6);
    let mut host = app.up();
    host.waiting(2);
    host.interrupt();
    host.said("stopping");
    app.put("gate/open", "");
    let ended = host.end();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    assert_eq!(ended.outcomes("gate").len(), 2);
    assert_eq!(app.keys("out").len(), 2);
    assert!(ended.lines.iter().any(|line| line.starts_with("stopped")));

    let mut host = app.up();
    host.outcomes(4, "gate");
    assert_eq!(host.stop().outcomes("gate").len(), 4);
    assert_eq!(app.keys("out").len(), 6);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let app = gate(1);
    publish(&app, 2);
    let mut host = app.up();
    host.waiting(1);
    host.interrupt();
    host.said("stopping");
    host.interrupt();
    let ended = host.end();
    assert_eq!(ended.code, Some(130), "{:#?}", ended.lines);
    assert_eq!(ended.outcomes("gate").len(), 0);
    assert_eq!(app.keys("out"), [""; 0]);

    app.put("gate/open", "");
    let mut host = app.up();
    let outcomes = host.outcomes(2, "gate");
    assert!(
        outcomes.iter().all(|o| o["outcome"] == "done"),
        "{outcomes:#?}"
    );
    host.stop();
    assert_eq!(app.staged("out"), 0);
    assert_eq!(app.keys("out"), ["m0", "m1"]);
}

#[test]
fn an_application_has_one_host() {
    let app = App::new(COPY);
    let mut host = app.up();
    let second = app.kinglet(&["up"]).expect(2);
    let second = second.says(&["in use by process", ".kinglet"]);
    assert_eq!(second.stdout, "");
    // The first goes on.
    app.put("in/a", "");
    host.outcome_of("copy", "a");
    host.stop();
    app.up().stop();
}

#[test]
fn files_that_come_while_a_host_is_killed_are_found() {
    let app = App::new(COPY);
    let mut host = app.up();
    for file in 0..40 {
        app.put_old(&format!("in/{file:02}"), "x");
    }
    host.outcomes(5, "copy");
    host.kill();
    app.put_old("in/meanwhile", "x");
    let mut host = app.up();
    host.outcome_of("copy", "meanwhile");
    wait_for_keys(&mut host, &app, 41);
    host.stop();
    assert_eq!(app.staged("out"), 0);
}

/// Waits until the bucket `out` has so many objects: each outcome is a reason to look again.
fn wait_for_keys(host: &mut Host, app: &App, count: usize) {
    let mut done = 0;
    while app.keys("out").len() < count {
        done += 1;
        host.outcomes(done, "copy");
    }
}

#[test]
fn a_socket_and_a_lock_that_a_killed_host_left_are_no_hindrance() {
    let app = gate(1);
    let mut host = app.up();
    app.publish("in", "a");
    host.waiting(1);
    host.kill();
    assert!(app.path(".kinglet/control.sock").exists());
    app.publish("in", "b");
    app.put("gate/open", "");
    let mut host = app.up();
    host.outcomes(2, "gate");
    let ended = host.stop();
    let keys: Vec<&str> = ended
        .records
        .iter()
        .filter(|r| waits(r))
        .map(|r| text(r, "text"))
        .collect();
    assert_eq!(keys, ["waiting a", "waiting b"]);
}

/// An event during which the host ends again and again is taken for the cause, and holds nobody up any more.
#[test]
fn an_event_that_seems_to_end_the_host_is_dead_lettered() {
    let app = gate(1);
    app.publish("in", "fatal");
    let mut host = app.up();
    host.waiting(1);
    host.kill();
    // What a host's end leaves, forty-nine times more: each command here opens the store as a host does.
    let running = std::fs::read(app.path(".kinglet/running")).unwrap();
    for _ in 1..50 {
        app.ok(&["status"]);
        app.put(".kinglet/running", &running);
    }
    let mut host = app.up();
    let outcome = host.until(|r| r["kind"] == "outcome");
    assert_eq!(
        (&outcome["outcome"], &outcome["dead"]),
        (&"undeliverable".into(), &true.into())
    );
    assert!(
        text(&outcome, "text").contains("the host ended 50 times"),
        "{outcome}"
    );
    let story = app.ok(&["dlq", "show", "1"]);
    assert!(
        story.contains("attempt 50, ") && story.contains("the host ended before"),
        "{story}"
    );
    app.put("gate/open", "");
    app.ok(&["dlq", "redrive", "1"]);
    host.outcomes(2, "gate");
    host.stop();
    assert_eq!(app.keys("out"), ["fatal"]);
}
