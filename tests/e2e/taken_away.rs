//! A store or a bucket that is taken away under the host: it says once what to do, accepts nothing that it
//! couldn't keep, and continues when what was taken is back.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{App, Output, echo, text};
use crate::host::Host;
use crate::http::{send, up};

const COPY: &str = r#"
    [buckets.photos]
    [buckets.out]
    [[function]]
    name = "copy"
    component = "guest:copy"
    on = { object-created = "photos" }
    retry = { attempts = 1, backoff = "1ms..20ms" }
    grants = { read = ["photos"], write = ["out"] }
"#;

/// `echo` logs what is posted to `/orders`.
fn orders() -> App {
    App::new(&format!(
        "{}\n[[ingress]]\npath = \"/orders\"\nformat = \"cloudevents\"\ntopic = \"in\"\nauth = \"none\"\n",
        echo("in")
    ))
}

fn post(host: &Host, id: &str) -> String {
    let event = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"order","datacontenttype":"text/plain","data":"{id}"}}"#
    );
    let length = event.len();
    send(
        host,
        &format!(
            "POST /orders HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: application/cloudevents+json\r\n\r\n{event}"
        ),
    )
}

/// Nothing is accepted by any way.
#[track_caller]
fn refuses(app: &App, host: &Host, says: &[&str]) {
    let answer = post(host, "refused");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("the store of events was removed"),
        "{answer}"
    );
    app.bounded(&["publish", "in", "--body", "refused"])
        .expect(2)
        .says(says);
    app.bounded(&["status"])
        .expect(1)
        .says(&["problem: "])
        .says(says);
}

#[track_caller]
fn accepts(app: &App, host: &mut Host, id: &str) {
    let answer = post(host, id);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    app.bounded(&["publish", "in", "--body", "x"]).expect(0);
    app.bounded(&["status"]).expect(0);
    host.until(|r| r["kind"] == "log" && r["text"] == id);
}

fn never_refused(records: &[Value]) {
    // The host's own words have it too.
    let refused = |r: &&Value| r["kind"] == "log" && text(r, "text").contains("refused");
    assert_eq!(records.iter().find(refused), None);
}

/// The file was removed: 202 was answered, and the events were gone at the next start.
#[test]
fn a_store_that_is_removed_accepts_nothing_until_it_is_back() {
    let app = orders();
    let mut host = up(&app);
    accepts(&app, &mut host, "before");
    for name in ["events.sqlite", "events.sqlite-wal"] {
        let (store, away) = (app.path(&format!(".kinglet/{name}")), app.path("away"));
        fs::rename(&store, &away).unwrap();
        refuses(&app, &host, &[name, "was removed", "Put it back"]);
        host.until(|r| r["kind"] == "host" && text(r, "text").contains(name));
        // Another in its place isn't it.
        fs::copy(&away, &store).unwrap();
        refuses(&app, &host, &[name, "was replaced", "stop the host"]);
        fs::rename(&away, &store).unwrap();
        accepts(&app, &mut host, &format!("after {name}"));
    }
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("is back"));
    never_refused(&host.stop().records);
    let mut host = up(&app);
    accepts(&app, &mut host, "again");
    host.stop();
}

/// A backup has what the host of a removed store still has.
#[test]
fn what_a_removed_store_had_can_be_saved() {
    let app = orders();
    app.ok(&["pause", "echo"]);
    let host = up(&app);
    assert!(post(&host, "kept").starts_with("HTTP/1.1 202"));
    fs::remove_file(app.path(".kinglet/events.sqlite")).unwrap();
    refuses(&app, &host, &["kinglet backup"]);
    app.bounded(&["backup", "saved"]).expect(0);
    host.stop();
    app.bounded(&["restore", "saved"]).expect(0);
    app.ok(&["resume", "echo"]);
    let mut host = up(&app);
    host.until(|r| r["kind"] == "log" && r["text"] == "kept");
    host.stop();
}

/// The log was removed: what a clean stop writes into the store is there at the next start.
#[test]
fn a_stop_saves_what_a_removed_log_had() {
    let app = orders();
    app.ok(&["pause", "echo"]);
    let host = up(&app);
    assert!(post(&host, "kept").starts_with("HTTP/1.1 202"));
    fs::remove_file(app.path(".kinglet/events.sqlite-wal")).unwrap();
    refuses(&app, &host, &["events.sqlite-wal", "stop the host"]);
    host.stop();
    app.ok(&["resume", "echo"]);
    let mut host = up(&app);
    host.until(|r| r["kind"] == "log" && r["text"] == "kept");
    host.stop();
}

/// The host's whole folder, away, back, and replaced by a copy.
#[test]
fn a_state_folder_that_is_removed_is_not_made_again_beside_the_host() {
    let app = orders();
    let mut host = up(&app);
    accepts(&app, &mut host, "before");
    let (state, away) = (app.path(".kinglet"), app.path("away"));
    fs::rename(&state, &away).unwrap();
    let answer = post(&host, "refused");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    for command in [
        &["publish", "in", "--body", "refused"] as &[&str],
        &["status"],
    ] {
        app.bounded(command)
            .expect(2)
            .says(&[".kinglet was removed under the host", "put it back"]);
    }
    assert!(!state.exists());
    host.warned("was removed under the host");
    fs::rename(&away, &state).unwrap();
    accepts(&app, &mut host, "after");
    // A copy that was put back is another store. Once the host's socket is in it, commands hear so.
    let copied = Command::new("cp")
        .args(["-a", ".kinglet", "copy"])
        .current_dir(app.path("."))
        .status();
    assert!(copied.unwrap().success());
    fs::rename(&state, &away).unwrap();
    fs::rename(app.path("copy"), &state).unwrap();
    host.warned("is made again");
    refuses(&app, &host, &["events.sqlite was replaced"]);
    never_refused(&host.stop().records);
    // The next start continues with it.
    let mut host = up(&app);
    accepts(&app, &mut host, "again");
    host.stop();
}

#[test]
fn logs_whose_folder_is_removed_go_to_a_new_one() {
    let app = App::new(&echo("in"));
    let mut host = app.up();
    app.publish("in", "before");
    host.outcomes(1, "echo");
    fs::remove_dir_all(app.path(".kinglet/logs")).unwrap();
    app.publish("in", "after");
    host.outcomes(2, "echo");
    let logs = app.ok(&["logs"]);
    assert!(logs.contains("after") && !logs.contains("before"), "{logs}");
    host.stop();
}

fn said(host: &mut Host, part: &str) -> String {
    let record = host
        .until(|r| r["kind"] == "host" && r["level"] == "error" && text(r, "text").contains(part));
    text(&record, "text").to_owned()
}

/// Does what the host says.
fn follow(app: &App, advice: &str) {
    let (_, command) = advice.split_once("deleted: ").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(app.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Output::of(shell).expect(0);
}

/// Counts what the host said.
fn times(records: &[Value], part: &str) -> usize {
    let fits = |r: &&Value| r["kind"] == "host" && text(r, "text").contains(part);
    records.iter().filter(fits).count()
}

/// The results were removed with their folder: nothing was ever written there again.
#[test]
fn a_bucket_that_is_removed_is_in_use_again_once_it_is_back() {
    let app = App::new(COPY);
    let mut host = app.up();
    app.put("photos/a", "1");
    host.outcome_of("copy", "a");
    fs::remove_dir_all(app.path("out")).unwrap();
    app.put("photos/b", "1");
    let failed = host.until(|r| r["kind"] == "outcome" && r["subject"] == "b");
    assert_eq!(failed["outcome"], "fault", "{failed}");
    let advice = said(&mut host, "out was removed");
    app.bounded(&["status"])
        .expect(1)
        .says(&["out was removed"]);
    follow(&app, &advice);
    assert_eq!(host.outcome_of("copy", "b")["outcome"], "done");
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("\"out\" is back"));
    app.bounded(&["status"]).expect(0);
    let ended = host.stop();
    assert_eq!(times(&ended.records, "out was removed"), 1);
    assert_eq!(app.keys("out"), ["b"]);
    // The next start takes it.
    app.up().stop();
}

/// A folder that was removed and made again, as where a disk isn't mounted: the host looked at the old one for
/// ever, with an error a second.
#[test]
fn an_empty_folder_is_not_taken_for_the_bucket_and_the_bucket_is_when_it_is_back() {
    let app = App::new(COPY);
    let mut host = app.up();
    app.put("photos/a", "1");
    host.outcome_of("copy", "a");
    let (photos, away) = (app.path("photos"), app.path("away"));
    fs::rename(&photos, &away).unwrap();
    fs::create_dir(&photos).unwrap();
    let advice = said(&mut host, "without the bucket's mark");
    assert!(advice.contains("mkdir -p '"), "{advice}");
    // What appears there is in no bucket.
    app.put("photos/stranger", "1");
    app.bounded(&["run", "copy", "photos"])
        .expect(2)
        .says(&["without the bucket's mark"]);
    fs::remove_dir_all(&photos).unwrap();
    fs::rename(&away, &photos).unwrap();
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("\"photos\" is back"));
    app.put("photos/b", "1");
    host.outcome_of("copy", "b");
    let wrong = |r: &&Value| r["subject"] == "stranger" || r["outcome"] == "superseded";
    assert_eq!(host.records.iter().find(wrong), None);
    // A copy that bears the mark is as good.
    let copied = Command::new("cp")
        .args(["-a", "photos", "copy"])
        .current_dir(app.path("."))
        .status();
    assert!(copied.unwrap().success());
    fs::rename(&photos, &away).unwrap();
    fs::rename(app.path("copy"), &photos).unwrap();
    app.put("photos/c", "1");
    host.outcome_of("copy", "c");
    // And so is what somebody takes on purpose.
    fs::remove_dir_all(&photos).unwrap();
    fs::create_dir(&photos).unwrap();
    let advice = said(&mut host, "without the bucket's mark");
    follow(&app, &advice);
    app.put("photos/d", "1");
    host.outcome_of("copy", "d");
    let ended = host.stop();
    assert!(times(&ended.records, "without the bucket's mark") <= 4);
    app.up().stop();
}

/// Staged files were removed, with the bucket's mark: nothing could be written any more.
#[test]
fn a_folder_of_staged_objects_that_is_removed_is_made_again() {
    let app = App::new(COPY);
    let mut host = app.up();
    fs::remove_dir_all(app.path("out/.kinglet-staging")).unwrap();
    app.put("photos/a", "1");
    assert_eq!(host.outcome_of("copy", "a")["outcome"], "done");
    host.stop();
    app.up().stop();
}
