//! Events of one ordering key come one at a time, in order; others in parallel.

use std::collections::BTreeMap;

use crate::harness::{App, settled, text};

const RETRYING: &str = r#"
    [[function]]
    name = "retry"
    component = "guest:retry"
    on = { message = "in" }
    limits = { concurrency = 8 }
    retry = { attempts = 5, backoff = "1ms..5ms" }
    grants = { publish = ["out"] }
    config = { succeed-at = "3" }
"#;

/// Three failures of each event, eight at once: in parallel they would overtake one another.
#[test]
fn messages_of_a_key_are_settled_in_the_order_of_their_acceptance() {
    let app = App::new(RETRYING);
    let mut host = app.up();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..10 {
        for key in ["x", "y", "z"] {
            let id = format!("{key}-{number}");
            app.ok(&[
                "publish",
                "in",
                "--ordering-key",
                key,
                "--id",
                &id,
                "--body",
                "b",
            ]);
            expected.entry(key.to_owned()).or_default().push(id);
        }
    }
    host.outcomes(30, "retry");
    let ended = host.stop();
    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in ended.records.iter().filter(|r| settled(r)) {
        let id = text(record, "event");
        order
            .entry(id[..1].to_owned())
            .or_default()
            .push(id.to_owned());
    }
    assert_eq!(order, expected);
    // Between the first attempt at an event and its end there is no attempt at another of its key.
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    for record in ended.records.iter().filter(|r| r["kind"] == "outcome") {
        let id = text(record, "event");
        let before = open.insert(&id[..1], id);
        assert!(before.is_none_or(|before| before == id), "{before:?} {id}");
        if settled(record) {
            open.remove(&id[..1]);
        }
    }
}

/// A key's event that waits keeps back its own key and no other.
#[test]
fn other_keys_go_on_while_one_waits() {
    let app = App::new(
        r#"
        [buckets.out]
        [buckets.gate]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { message = "in", order-by = "attribute:customer" }
        limits = { concurrency = 4, timeout = "100s" }
        grants = { read = ["gate"], write = ["out"] }
        "#,
    );
    let mut host = app.up();
    for (customer, body) in [
        ("a", "a1"),
        ("a", "a2"),
        ("b", "b1"),
        ("a", "a3"),
        ("b", "b2"),
    ] {
        let attribute = format!("customer={customer}");
        app.ok(&["publish", "in", "--attribute", &attribute, "--body", body]);
    }
    host.waiting(2);
    let said = app.ok(&["status", "--json"]);
    assert!(
        said.contains(r#""pending":5,"running":2,"delayed":0,"waiting":3"#),
        "{said}"
    );
    let listed = app.kinglet(&["events", "--json"]).expect(0).json();
    let states: Vec<&str> = listed.iter().map(|event| text(event, "state")).collect();
    assert_eq!(
        states,
        ["running", "running", "waiting", "waiting", "waiting"]
    );
    app.put("gate/open", "");
    host.outcomes(5, "gate");
    host.stop();
    assert_eq!(app.keys("out"), ["a1", "a2", "a3", "b1", "b2"]);
}

#[test]
fn versions_of_an_object_and_all_events_of_a_function_can_be_put_in_order() {
    for order in ["key", "all"] {
        let app = App::new(&format!(
            r#"
            [buckets.in]
            [buckets.out]
            [buckets.gate]
            [[function]]
            name = "gate"
            component = "guest:gate"
            on = {{ object-created = "in", order-by = "{order}" }}
            limits = {{ concurrency = 4, timeout = "100s" }}
            grants = {{ read = ["gate"], write = ["out"] }}
            "#
        ));
        app.put_old("in/a", "");
        app.put_old("in/b", "");
        let mut host = app.up();
        host.waiting(if order == "key" { 2 } else { 1 });
        let said = app.ok(&["status", "--json"]);
        let running = if order == "key" { 2 } else { 1 };
        assert!(said.contains(&format!(r#""running":{running}"#)), "{said}");
        app.put("gate/open", "");
        host.outcomes(2, "gate");
        host.stop();
    }
}

#[test]
fn an_unknown_order_is_refused() {
    let app =
        App::new(&RETRYING.replace(r#"message = "in""#, r#"message = "in", order-by = "age""#));
    app.kinglet(&["check"])
        .expect(2)
        .says(&["\"age\"", "attribute:NAME"]);
}
