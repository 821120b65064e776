//! What the host does while a part of it fails: a disk that isn't mounted, a folder that can't be written, no
//! room to stage. No event is lost, and no attempt is used up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{App, Output, text};

const COPY: &str = r#"
    [buckets.in]
    [buckets.out]
    [[function]]
    name = "copy"
    component = "guest:copy"
    on = { object-created = "in" }
    retry = { attempts = 1, backoff = "1ms..20ms" }
    grants = { read = ["in"], write = ["out"] }
"#;

fn set_mode(app: &App, name: &str, mode: u32) {
    fs::set_permissions(app.path(name), Permissions::from_mode(mode)).unwrap();
}

fn said_by_host(part: &str) -> impl Fn(&Value) -> bool {
    move |record| record["kind"] == "host" && text(record, "text").contains(part)
}

/// A machine came up without the disk: the folder was empty, and every event that waited was settled, since
/// its object was "deleted".
#[test]
fn a_bucket_whose_disk_is_not_mounted_is_not_taken_for_an_empty_one() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.out]
        [buckets.gate]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { object-created = "in" }
        limits = { timeout = "100s" }
        grants = { read = ["gate"], write = ["out"] }
        "#,
    );
    app.put_old("in/a", "1");
    let mut host = app.up();
    host.waiting(1);
    host.kill();
    fs::rename(app.path("in"), app.path("unmounted")).unwrap();
    for empty in [false, true] {
        if empty {
            fs::create_dir(app.path("in")).unwrap();
        }
        app.kinglet(&["up"])
            .expect(2)
            .says(&["\"in\"", "Mount the disk", "buckets.json"]);
    }
    fs::remove_dir(app.path("in")).unwrap();
    fs::rename(app.path("unmounted"), app.path("in")).unwrap();
    app.put("gate/open", "");
    let mut host = app.up();
    assert_eq!(host.outcome_of("gate", "a")["outcome"], "done");
    host.stop();
    // On purpose, by the way that the error tells.
    fs::remove_dir_all(app.path("out")).unwrap();
    app.kinglet(&["up"]).expect(2).says(&["\"out\""]);
    fs::remove_file(app.path(".kinglet/buckets.json")).unwrap();
    app.up().stop();
}

/// The folder was removed and made anew: through the old handle it is empty for ever, and nobody said so.
#[test]
fn a_folder_that_is_replaced_under_the_host_is_told() {
    let app = App::new(COPY);
    let mut host = app.up();
    fs::remove_dir_all(app.path("in")).unwrap();
    app.put_old("in/a", "1");
    host.until(said_by_host("without the bucket's mark"));
    host.stop();
    fs::remove_file(app.path(".kinglet/buckets.json")).unwrap();
    let mut host = app.up();
    host.outcome_of("copy", "a");
    host.stop();
}

/// Nothing can be staged: the function is told, fails with it, and that isn't its failure.
#[test]
fn what_cannot_be_staged_is_tried_again_and_not_counted() {
    let app = App::new(COPY);
    let mut host = app.up_without_privileges();
    let staging = fs::read_dir(app.path("out/.kinglet-staging")).unwrap();
    let owner = staging
        .map(|owner| owner.unwrap().file_name())
        .next()
        .unwrap();
    let staging = format!("out/.kinglet-staging/{}", owner.to_str().unwrap());
    set_mode(&app, &staging, 0o500);
    app.put("in/a", "1");
    let failed = host.until(|r| r["kind"] == "outcome" && r["subject"] == "a");
    assert_eq!(failed["outcome"], "fault", "{failed}");
    assert!(text(&failed, "text").contains("can't stage"), "{failed}");
    set_mode(&app, &staging, 0o700);
    host.until(|r| r["kind"] == "outcome" && r["outcome"] == "done");
    host.stop();
    assert_eq!(app.keys("out"), ["a"]);
}

/// One file that the host may not read is that event's own matter: it is dead-lettered with the reason.
#[test]
fn an_object_that_cannot_be_read_is_named_in_its_outcome() {
    let app = App::new(COPY);
    app.put_old("in/secret", "1");
    set_mode(&app, "in/secret", 0o000);
    let mut host = app.up_without_privileges();
    let outcome = host.until(|r| r["kind"] == "outcome" && r["subject"] == "secret");
    assert!(
        text(&outcome, "text").contains("may not read \"secret\""),
        "{outcome}"
    );
    assert_eq!(outcome["dead"], true);
    host.stop();
}

/// The host was told to stop while effects couldn't be applied, and waited for ever.
#[test]
fn a_stop_does_not_wait_for_a_folder_that_cannot_be_written() {
    let app = App::new(COPY);
    let mut host = app.up_without_privileges();
    set_mode(&app, "out", 0o500);
    app.put("in/a", "1");
    host.until(said_by_host("can't be applied"));
    host.stop();
    set_mode(&app, "out", 0o700);
    app.up().stop();
    assert_eq!(app.keys("out"), ["a"]);
}

/// Two events that each stage 600 KiB, and room for one: the other comes again when the first is done.
#[test]
fn events_that_find_no_room_to_stage_come_again() {
    let app = App::new(
        r#"
        [queue]
        max-staging = "1MiB"
        [buckets.in]
        [buckets.out]
        [buckets.gate]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { object-created = "in", prefix = "gate" }
        limits = { staging = "1MiB" }
        grants = { write = ["out"], read = ["gate"] }
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in", prefix = "copy" }
        limits = { staging = "1MiB", concurrency = 1 }
        retry = { attempts = 1, backoff = "1ms..20ms" }
        grants = { read = ["in"], write = ["out"] }
        "#,
    );
    app.kinglet(&["check"]).expect(0);
    let mut host = app.up();
    app.put("in/gate", "");
    host.until(|r| r["kind"] == "log" && r["function"] == "gate");
    app.put("in/copy", vec![7; (1 << 20) - 4_600]);
    let crowded = host.until(|r| r["kind"] == "outcome" && r["function"] == "copy");
    assert_eq!(crowded["outcome"], "fault", "{crowded}");
    assert!(text(&crowded, "text").contains("max-staging"), "{crowded}");
    app.put("gate/open", "");
    host.until(|r| r["kind"] == "outcome" && r["function"] == "copy" && r["outcome"] == "done");
    host.stop();
    assert_eq!(app.keys("out"), ["copy", "gate"]);
}

/// Two sources may give one id; what follows from their events has ids of one source.
#[test]
fn what_follows_from_equal_ids_of_two_sources_differs() {
    let app = App::new(
        r#"
        [[function]]
        name = "both"
        component = "guest:both"
        on = { message = "in" }
        grants = { publish = ["out"] }
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "out" }
        "#,
    );
    for source in ["//a", "//b"] {
        app.ok(&[
            "publish", "in", "--body", "x", "--id", "1", "--source", source,
        ]);
    }
    let mut host = app.up();
    let outcomes = host.outcomes(2, "echo");
    assert_ne!(outcomes[0]["event"], outcomes[1]["event"]);
    host.stop();
}

#[test]
fn a_run_passes_over_unfinished_files() {
    let app = App::new(COPY);
    app.put_old("in/a", "1");
    app.put_old("in/b.part", "2");
    app.ok(&["run", "copy", "in"]);
    assert_eq!(app.keys("out"), ["a"]);
}

/// A store that is read-only was refused as damaged.
#[test]
fn a_backup_may_be_read_only() {
    let app = App::new(COPY);
    app.ok(&["pause", "copy"]);
    app.ok(&["backup", "kept"]);
    set_mode(&app, "kept", 0o444);
    Output::of(app.command_without_privileges(&["restore", "kept"])).expect(0);
    assert!(app.ok(&["status"]).contains("paused"));
}
