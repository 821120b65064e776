//! What a function asks for and isn't granted: it left no trace in any log.

use serde_json::Value;

use crate::harness::{App, text};
use crate::host::Host;
use crate::http::{PROBES, get, up};

/// The lines about denials.
fn denials(records: &[Value]) -> Vec<&str> {
    let of_host = records.iter().filter(|record| record["kind"] == "host");
    let lines = of_host.map(|record| text(record, "text"));
    lines.filter(|line| line.starts_with("denied: ")).collect()
}

fn denied(record: &Value) -> bool {
    record["kind"] == "host" && text(record, "text").starts_with("denied: ")
}

/// Waits until a line about a denial has this in it.
#[track_caller]
fn logged(host: &mut Host, words: &str) {
    let line = host.until(|record| denied(record) && text(record, "text").contains(words));
    assert_eq!(line["level"], "warn", "{line}");
}

#[test]
fn objects_topics_and_keys_that_are_not_granted_are_logged_with_the_line_that_grants_them() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in" }
        retry = { attempts = 1 }
        grants = { read = ["in/yes/"], write = ["out/yes/"] }
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "in" }
        retry = { attempts = 1 }
        config = { to = "out" }
        [[function]]
        name = "keys"
        component = "guest:kv-probe"
        on = { message = "keys" }
        grants = { keyvalue = "counters" }
        "#,
    );
    app.put_old("in/no/a", "x");
    app.publish("in", "x");
    let open = "open \"\"; ".to_owned() + &"open secret; ".repeat(100) + "open secret";
    app.publish("keys", &open);
    let mut host = app.up();
    for words in [
        "reading \"no/a\" of bucket \"in\" isn't granted to this function; add `grants = { read = \
         [\"in/no/\"] }` to it",
        "publishing to topic \"out\" isn't granted to this function; add `grants = { publish = \
         [\"out\"] }` to it",
        "keyvalue bucket \"secret\" isn't granted to this function; add `grants = { keyvalue = \
         [\"secret\"] }` to it",
        "keyvalue bucket \"\", which is \"default\", isn't granted to this function; add `grants \
         = { keyvalue = [\"default\"] }`",
    ] {
        logged(&mut host, words);
    }
    host.outcome_of("keys", "keys");
    let ended = host.stop();
    let lines = denials(&ended.records);
    let secret = lines.iter().filter(|line| line.contains("secret"));
    assert_eq!(secret.count(), 1, "each thing is logged once: {lines:#?}");
    // Dead letters have the last lines, these too.
    let dead = app.ok(&["dlq", "list", "--json"]);
    assert!(dead.contains("denied: reading"), "{dead}");
}

#[test]
fn requests_that_are_not_granted_are_logged_without_what_may_be_secret() {
    let fetching = |guest: &str, granted: &str| {
        App::new(&format!(
            r#"
            [[function]]
            name = "fetch"
            component = "guest:{guest}"
            on = {{ http = "/..." }}
            grants = {{ http = {granted} }}
            "#
        ))
    };
    for guest in PROBES {
        for granted in ["[]", r#"["https://api.example.com"]"#] {
            let app = fetching(guest, granted);
            let mut host = up(&app);
            get(
                &host,
                "/fetch/http://Elsewhere.example.com:8080/path?token=secret",
            );
            logged(
                &mut host,
                "a request to http://elsewhere.example.com:8080 isn't granted to this function; \
                 add `grants = { http = \
                 [\"http://elsewhere.example.com:8080\"] }` to it",
            );
            let ended = host.stop();
            let lines = denials(&ended.records);
            assert!(!lines.concat().contains("secret"), "{lines:?}");
        }
        let app = fetching(guest, r#"["http://*:*"]"#);
        let mut host = up(&app);
        get(&host, "/fetch/http://127.0.0.1:1/");
        logged(
            &mut host,
            "no `*` reaches, isn't granted to this function; add",
        );
        host.stop();
    }
}

/// Examples of other hosts open it.
#[test]
fn the_keyvalue_bucket_without_a_name_is_the_default_one_where_that_is_granted() {
    for granted in ["default", ""] {
        let app = App::new(&format!(
            r#"
            [[function]]
            name = "keys"
            component = "guest:kv-probe"
            on = {{ message = "in" }}
            grants = {{ keyvalue = ["{granted}"] }}
            "#
        ));
        let mut host = app.up();
        app.publish("in", "open \"\"; set a 1; open default; get a");
        host.outcome_of("keys", "in");
        let ended = host.stop();
        let said = ended.records.iter().filter(|r| r["kind"] == "log");
        let said: Vec<&str> = said.map(|record| text(record, "text")).collect();
        assert_eq!(said.last(), Some(&"get a: 1"), "{said:?}");
    }
}
