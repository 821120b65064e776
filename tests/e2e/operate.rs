//! What an operator does with a running host, and with the files of a stopped one.

use serde_json::Value;

use crate::harness::{App, Host, echo, text, workspace};

const REJECTING: &str = r#"
    [[function]]
    name = "no"
    component = "guest:reject"
    on = { message = "in" }
"#;

/// Three dead letters.
fn dead(app: &App) -> Host {
    let mut host = app.up();
    for body in ["one", "two", "three"] {
        app.publish("in", body);
    }
    host.outcomes(3, "no");
    host
}

fn list(app: &App) -> Vec<Value> {
    app.kinglet(&["dlq", "list", "--json"]).expect(0).json()
}

/// The same commands, against a running host and against what it left.
#[test]
fn dead_letters_are_listed_shown_redriven_and_dropped() {
    for running in [true, false] {
        let app = App::new(REJECTING);
        let host = dead(&app);
        let host = if running {
            Some(host)
        } else {
            host.stop();
            None
        };
        let letters = list(&app);
        assert_eq!(letters.len(), 3);
        let number = letters[1]["delivery"]["seq"].to_string();
        let story = app.ok(&["dlq", "show", &number]);
        for word in [
            "dead letter",
            "on in",
            "two",
            "rejected",
            "attempt 1",
            "fuel",
        ] {
            assert!(story.contains(word), "{word} isn't in {story}");
        }
        let redriven = app.ok(&["dlq", "redrive", &number]);
        assert_eq!(redriven.trim(), "1 redriven");
        let mut host = host.unwrap_or_else(|| app.up());
        let again = host.until(|r| r["kind"] == "outcome" && r["attempt"] == 2);
        assert_eq!(text(&again, "text"), "rejected: no use for \"two\"");
        assert_eq!(list(&app).len(), 3);
        let story = app.ok(&["dlq", "show", &list(&app)[2]["delivery"]["seq"].to_string()]);
        assert!(story.contains("attempt 2"), "{story}");
        app.ok(&["dlq", "drop", "--function", "no"]);
        assert!(list(&app).is_empty());
        app.kinglet(&["dlq", "drop", "--all"]).expect(1);
        app.kinglet(&["dlq", "show", &number])
            .expect(2)
            .says(&[&number, "dlq list"]);
        host.stop();
    }
}

#[test]
fn which_dead_letters_must_be_said() {
    let app = App::new(REJECTING);
    app.kinglet(&["dlq", "drop"]).expect(2).says(&["--all"]);
    app.kinglet(&["dlq", "redrive", "--all", "--rate", "0"])
        .expect(2)
        .says(&["\"0\"", "a second"]);
}

#[test]
fn dead_letters_are_redriven_at_a_rate() {
    let app = App::new(REJECTING);
    let host = dead(&app);
    host.stop();
    app.ok(&["dlq", "redrive", "--all", "--rate", "0.001"]);
    let said = app.kinglet(&["status", "--json"]).expect(0).json();
    assert_eq!(
        (&said[0]["pending"], &said[0]["delayed"]),
        (&3.into(), &2.into())
    );
    let table = app.ok(&["status"]);
    assert!(table.contains("DELAYED") && table.contains("no"), "{table}");
    let events = app.ok(&["events", "no"]);
    assert!(
        events.contains("in 16 min") && events.contains("rejected"),
        "{events}"
    );
}

#[test]
fn a_paused_function_waits_and_others_go_on() {
    let app = App::new(&format!("{REJECTING}{}", echo("in")));
    let mut host = app.up();
    assert!(app.ok(&["pause", "no"]).contains("kinglet resume no"));
    assert!(app.ok(&["pause", "no"]).contains("already"));
    app.publish("in", "x");
    host.outcome_of("echo", "in");
    let ended = host.stop();
    assert!(ended.outcomes("no").is_empty());
    assert!(app.ok(&["status"]).contains("paused"));
    let mut host = app.up();
    app.publish("in", "y");
    host.outcome_of("echo", "in");
    app.ok(&["resume", "no"]);
    host.outcomes(2, "no");
    host.stop();
    app.kinglet(&["pause", "nobody"])
        .expect(2)
        .says(&["\"nobody\"", "no, echo"]);
}

#[test]
fn a_backup_is_made_and_restored_while_the_host_runs() {
    let app = App::new(REJECTING);
    let mut host = dead(&app);
    app.ok(&["backup", "kept"]);
    app.kinglet(&["backup", "kept"])
        .expect(2)
        .says(&["kept is there already"]);
    app.ok(&["dlq", "drop", "--all"]);
    for no_backup in ["kinglet.toml", "missing"] {
        app.kinglet(&["restore", no_backup])
            .expect(2)
            .says(&[no_backup]);
    }
    assert!(list(&app).is_empty());
    app.ok(&["restore", "kept"]);
    assert_eq!(list(&app).len(), 3);
    // The host goes on, with the backup.
    app.publish("in", "once more");
    host.outcomes(4, "no");
    assert_eq!(list(&app).len(), 4);
    host.stop();
    assert_eq!(list(&app).len(), 4);
}

/// Commands waited for the store while the host compiled, and while it finished what ran.
#[test]
fn a_host_answers_while_it_compiles_and_while_it_finishes() {
    let app = App::new(
        r#"
        [buckets.gate]
        [buckets.out]
        [buckets.photos]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { message = "in" }
        limits = { timeout = "100s" }
        grants = { read = ["gate"], write = ["out"] }
        [[function]]
        name = "thumbnail"
        component = "guest:thumbnail"
        on = { object-created = "photos" }
        grants = { read = ["photos"], write = ["out"] }
        "#,
    );
    let mut starting = app.command(&["up", "--json", "--cache-dir", "cache"]);
    starting.env_remove("KINGLET_CACHE_DIR");
    let mut host = Host::start(starting);
    host.said("compiling");
    let answered = app.kinglet(&["publish", "in", "--body", "x"]).expect(0);
    assert!(!answered.stderr.contains("waiting"), "{answered:?}");
    host.said("ready");
    host.waiting(1);
    host.interrupt();
    host.said("stopping");
    let answered = app.kinglet(&["status", "--json"]).expect(0);
    assert!(!answered.stderr.contains("waiting"), "{answered:?}");
    assert_eq!(answered.json()[0]["running"], 1);
    app.put("gate/open", "");
    host.end();
    assert_eq!(app.keys("out"), ["x"]);
}

#[test]
fn a_backup_is_restored_when_no_host_runs() {
    let app = App::new(REJECTING);
    let host = dead(&app);
    app.ok(&["backup", "kept"]);
    app.ok(&["dlq", "drop", "--all"]);
    host.stop();
    assert!(list(&app).is_empty());
    app.ok(&["restore", "kept"]);
    assert_eq!(list(&app).len(), 3);
    app.kinglet(&["restore", "kinglet.toml"])
        .expect(2)
        .says(&["kinglet.toml"]);
    assert_eq!(list(&app).len(), 3);
}

/// A store that version 0.1.0 wrote before ordering keys were kept: two events wait and two are dead letters.
#[test]
fn a_store_of_an_older_version_is_migrated_and_nothing_is_lost() {
    let app = App::new(
        r#"
        [[function]]
        name = "no"
        component = "guest:reject"
        on = { message = "refused" }
        [[function]]
        name = "later"
        component = "guest:echo"
        on = { message = "delayed" }
        "#,
    );
    let old = workspace().join("tests/e2e/fixtures/events-1.sqlite");
    app.put(".kinglet/events.sqlite", std::fs::read(old).unwrap());
    let letters = list(&app);
    assert_eq!(letters.len(), 2);
    assert_eq!(text(&letters[0]["delivery"]["event"], "id"), "first");
    let mut host = app.up();
    let said = host.until_many(2, |r| r["kind"] == "log" && r["function"] == "later");
    let mut bodies: Vec<&str> = said.iter().map(|r| text(r, "text")).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["after the stop", "later"]);
    let again = app.ok(&["publish", "refused", "--id", "new"]);
    assert_eq!(again.trim(), "new");
    host.outcome_of("no", "refused");
    let ended = host.stop();
    assert_eq!(ended.code, Some(0));
}

#[test]
fn a_full_store_refuses_and_says_what_to_do() {
    let app = App::new(&format!("[queue]\nmax-events = 2\n{REJECTING}"));
    app.publish("in", "1");
    app.publish("in", "2");
    let refused = app.kinglet(&["publish", "in", "--body", "3"]).expect(2);
    refused.says(&["2 events wait", "queue.max-events"]);
    let mut host = app.up();
    host.outcomes(2, "no");
    app.publish("in", "3");
    host.outcomes(3, "no");
    host.stop();
}

#[test]
fn a_quota_that_is_nearly_used_up_is_said() {
    let app = App::new(&format!("[queue]\nmax-dead-letters = 4\n{REJECTING}"));
    dead(&app).stop();
    app.publish("in", "fourth");
    let mut host = app.up();
    let said = host.until(|r| r["kind"] == "host" && text(r, "text").contains("are used"));
    assert!(
        text(&said, "text").contains("of 4 of `queue.max-dead-letters`"),
        "{said}"
    );
    host.outcome_of("no", "in");
    app.publish("in", "held");
    assert!(app.ok(&["status"]).contains("held: too many dead letters"));
    app.ok(&["dlq", "drop", "--all"]);
    host.outcomes(2, "no");
    host.stop();
}

/// Ids are told apart by their source, as CloudEvents says.
#[test]
fn a_message_of_the_same_source_and_id_is_a_duplicate() {
    let app = App::new(REJECTING);
    let publish = |source: &str| app.ok(&["publish", "in", "--id", "1", "--source", source]);
    assert!(!publish("//a").contains("duplicate"));
    assert!(!publish("//b").contains("duplicate"));
    assert!(publish("//a").contains("duplicate"));
    let mut host = app.up();
    let outcomes = host.outcomes(2, "no");
    let mut sources: Vec<&str> = outcomes.iter().map(|o| text(o, "source")).collect();
    sources.sort_unstable();
    assert_eq!(sources, ["//a", "//b"]);
    host.stop();
}

/// Files stay where they are while the store is full, and are accepted when it isn't.
#[test]
fn a_full_store_leaves_files_at_their_source() {
    let app = App::new(&format!(
        "[queue]\nmax-events = 2\n{REJECTING}{}",
        r#"
        [buckets.in]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in" }
        grants = { read = ["in"], write = ["out"] }
        "#
    ));
    app.ok(&["pause", "no"]);
    app.publish("in", "1");
    app.publish("in", "2");
    app.put_old("in/a", "");
    let mut host = app.up();
    let said = host.until(|r| r["kind"] == "host" && text(r, "text").contains("is full"));
    assert!(text(&said, "text").contains("queue.max-events"), "{said}");
    assert!(app.keys("out").is_empty());
    app.ok(&["resume", "no"]);
    host.outcome_of("copy", "a");
    host.stop();
    assert_eq!(app.keys("out"), ["a"]);
}

#[test]
fn an_event_that_is_too_old_is_not_tried() {
    let app = App::new(&REJECTING.replace("on =", "retry = { max-age = \"1ms\" }\non ="));
    app.publish("in", "x");
    let mut host = app.up();
    let outcome = host.outcome_of("no", "in");
    assert_eq!(
        (&outcome["outcome"], &outcome["dead"]),
        (&"undeliverable".into(), &true.into())
    );
    assert!(text(&outcome, "text").contains("max-age"), "{outcome}");
    host.stop();
}
