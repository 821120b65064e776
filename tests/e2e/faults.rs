//! Disks that are full, folders that can't be written, stores that are damaged: a clear error, and what was
//! accepted is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{App, Output, echo, text};

fn set_mode(app: &App, name: &str, mode: u32) {
    fs::set_permissions(app.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// In a file system of its own, which has room for the store and not for more.
#[test]
fn a_full_disk_is_said_and_what_was_accepted_comes_once_there_is_room() {
    let app = App::new(&echo("in"));
    let kinglet = app.command(&[]);
    let script = r#"
        set -e
        mkdir -p .kinglet
        mount -t tmpfs -o size=4m tmpfs .kinglet
        "$KINGLET" publish in --body kept
        head -c 8M /dev/zero > .kinglet/ballast 2>/dev/null || true
        # Until the last free page is used.
        for _ in $(seq 200); do
            head -c 65536 /dev/zero | "$KINGLET" publish in 2> refused || break
        done
        cat refused
        rm .kinglet/ballast
        "$KINGLET" publish in --body after
        "$KINGLET" events --json --limit 1000 | grep -c '"state":"pending"'
        "$KINGLET" up --json > said &
        host=$!
        for _ in $(seq 1200); do
            grep -q '"text":"after"' said && break
            sleep 0.05
        done
        kill -INT $host
        wait $host
        grep -o '"text":"kept"' said
        grep -o '"text":"after"' said
    "#;
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "--", "bash", "-c", script])
        .current_dir(app.path(""))
        .env("KINGLET", kinglet.get_program())
        .envs(
            kinglet
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ended = Output::of(command).expect(0);
    for said in ["free some space", r#""text":"kept""#, r#""text":"after""#] {
        assert!(
            ended.stdout.contains(said),
            "{said:?} isn't said in {ended:#?}"
        );
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let app = App::new(&echo("in"));
    app.publish("in", "x");
    set_mode(&app, ".kinglet", 0o500);
    set_mode(&app, ".kinglet/events.sqlite", 0o400);
    set_mode(&app, ".kinglet/lock", 0o400);
    let refused = Output::of(app.command_without_privileges(&["publish", "in", "--body", "y"]));
    set_mode(&app, ".kinglet", 0o700);
    set_mode(&app, ".kinglet/events.sqlite", 0o600);
    set_mode(&app, ".kinglet/lock", 0o600);
    refused.expect(2).says(&["can't write folder", ".kinglet"]);
    let mut host = app.up();
    host.outcome_of("echo", "in");
    host.stop();
}

/// The function's part is done; that the folder can't be written is the host's own fault, and uses up no
/// attempt.
#[test]
fn a_bucket_that_cannot_be_written_delays_and_loses_nothing() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in" }
        retry = { attempts = 1, backoff = "1ms..20ms" }
        grants = { read = ["in"], write = ["out"] }
        "#,
    );
    let mut host = app.up_without_privileges();
    app.put("in/first", "1");
    host.outcome_of("copy", "first");
    set_mode(&app, "out", 0o500);
    app.put("in/second", "2");
    host.until(|r| r["kind"] == "host" || (r["subject"] == "second" && r["kind"] == "outcome"));
    set_mode(&app, "out", 0o700);
    host.outcome_of("copy", "second");
    host.stop();
    assert_eq!(app.keys("out"), ["first", "second"]);
}

/// An event's effects were decided when its bucket failed and its host was killed: the next host starts all
/// the same, others' events go on, and the effects come when they can.
#[test]
fn what_was_decided_waits_for_its_bucket_and_for_nobody_else() {
    let app = App::new(&format!(
        "{}{}",
        echo("in"),
        r#"
        [buckets.files]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "files" }
        grants = { read = ["files"], write = ["out"] }
        "#
    ));
    let fails =
        |r: &serde_json::Value| r["kind"] == "host" && text(r, "text").contains("can't be applied");
    let mut host = app.up_without_privileges();
    set_mode(&app, "out", 0o500);
    app.put("files/first", "1");
    host.until(fails);
    host.kill();
    let mut host = app.up_without_privileges();
    host.until(fails);
    app.publish("in", "x");
    host.outcome_of("echo", "in");
    assert_eq!(app.keys("out"), [""; 0]);
    set_mode(&app, "out", 0o700);
    app.put("files/second", "2");
    host.outcome_of("copy", "second");
    host.stop();
    assert_eq!(app.keys("out"), ["first", "second"]);
}

#[test]
fn a_damaged_store_is_named_with_the_way_out() {
    for damage in ["truncated", "overwritten"] {
        let app = App::new(&echo("in"));
        app.ok(&["pause", "echo"]);
        app.publish_lines("in", ["a message of some length"; 500]);
        app.ok(&["backup", "whole"]);
        let path = app.path(".kinglet/events.sqlite");
        let mut store = fs::read(&path).unwrap();
        if damage == "truncated" {
            store.truncate(store.len() / 2);
        } else {
            store[4_096..].fill(0x55);
        }
        fs::write(&path, store).unwrap();
        let refused = app.kinglet(&["up"]).expect(2);
        refused.says(&["damaged", "backup"]);
        app.ok(&["restore", "whole"]);
        assert!(app.ok(&["status", "--json"]).contains(r#""pending":500"#));
    }
}
