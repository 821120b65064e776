//! Files whose names, kinds or places make them no objects, and strange ones that are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use crate::harness::{App, Ended, Host, text};
use crate::objects::COPY;

/// Puts a last file, and gives the keys of all outcomes until its own.
fn subjects_until_last(app: &App, mut host: Host) -> (Vec<String>, Ended) {
    app.put("in/zz-last", "");
    host.outcome_of("copy", "zz-last");
    let ended = host.stop();
    let outcomes = ended.outcomes("copy");
    let mut subjects: Vec<String> = outcomes
        .iter()
        .map(|o| text(o, "subject").to_owned())
        .collect();
    subjects.sort_unstable();
    (subjects, ended)
}

fn warned(records: &[Value], word: &str) -> bool {
    records
        .iter()
        .any(|r| r["kind"] == "host" && r["level"] == "warn" && text(r, "text").contains(word))
}

#[test]
fn strange_names_are_kept_as_they_are() {
    let app = App::new(COPY);
    let mut host = app.up();
    let longest = "x".repeat(255);
    let names = [
        "-rf",
        "--help",
        " leading and trailing ",
        "Zoë.txt",
        // The same name to people, another to the file system.
        "Zoe\u{308}.txt",
        "猫/写真 & \"quotes\" $(x) `y` 'z'.png",
        "back\\slash",
        "*?[a]{b}",
        "con.txt",
        "😀",
        "a.b.c..d",
        "%2e%2e%2f",
        longest.as_str(),
    ];
    for name in names {
        app.put(&format!("in/{name}"), name);
    }
    for name in names {
        let outcome = host.outcome_of("copy", name);
        assert_eq!(outcome["outcome"], "done", "{outcome}");
    }
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(app.keys("out"), expected);
    for (key, body) in app.objects("out") {
        assert_eq!(body, key.as_bytes());
    }
    host.stop();
}

#[test]
fn hidden_and_unfinished_files_are_no_objects() {
    let app = App::new(COPY);
    app.put_old("in/.hidden-before", "");
    app.put_old("in/before.part", "");
    let host = app.up();
    for name in [
        ".hidden",
        ".git/config",
        "folder/.hidden/file",
        "a.jpg.part",
        "a.tmp",
        "A.TMP",
        "a.crdownload",
        "a~",
        "~$letter.docx",
        "folder/.a.swp",
        "a.swp",
        "a.partial",
    ] {
        app.put(&format!("in/{name}"), "");
    }
    let (subjects, _) = subjects_until_last(&app, host);
    assert_eq!(subjects, ["zz-last"]);
    assert_eq!(app.keys("out"), ["zz-last"]);
}

#[test]
fn a_finished_download_is_one_event() {
    let app = App::new(COPY);
    let mut host = app.up();
    for (unfinished, finished) in [
        ("in/a.jpg.part", "in/a.jpg"),
        ("in/.b.jpg.x7Yz", "in/b.jpg"),
        ("in/new/c.tmp", "in/new/c.jpg"),
    ] {
        app.put(unfinished, finished);
        fs::rename(app.path(unfinished), app.path(finished)).unwrap();
    }
    for key in ["a.jpg", "b.jpg", "new/c.jpg"] {
        host.outcome_of("copy", key);
        assert_eq!(app.read(&format!("out/{key}")), format!("in/{key}"));
    }
    let (subjects, _) = subjects_until_last(&app, host);
    assert_eq!(subjects, ["a.jpg", "b.jpg", "new/c.jpg", "zz-last"]);
}

#[test]
fn names_that_cannot_be_keys_are_named_and_passed_over() {
    let app = App::new(COPY);
    app.put_old("in/before\nforged line", "");
    fs::write(app.path("in").join(OsStr::from_bytes(b"not-\xff-utf8")), "").unwrap();
    let mut host = app.up();
    app.put("in/after\u{7}bell", "");
    app.put("in/deep/after\u{1b}[31m", "");
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("[31m"));
    let (subjects, ended) = subjects_until_last(&app, host);
    assert_eq!(subjects, ["zz-last"]);
    for word in [
        "before\\nforged",
        "not-\\xFF-utf8",
        "after\\u{7}bell",
        "rename",
    ] {
        assert!(warned(&ended.records, word), "{word}: {:#?}", ended.records);
    }
    let shown = app.ok(&["logs"]);
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{7}'),
        "{shown:?}"
    );
    assert!(!shown.contains("\nforged"), "{shown:?}");
}

#[test]
fn links_out_of_the_bucket_are_not_read() {
    let app = App::new(COPY);
    app.put_old("secret/password", "hunter2");
    app.put_old("in/real", "inside");
    fs::create_dir_all(app.path("in/folder")).unwrap();
    for (target, link) in [
        ("/etc/passwd", "in/absolute"),
        ("../secret/password", "in/relative"),
        ("../../secret/password", "in/folder/relative"),
        ("../secret", "in/whole-folder"),
        ("nowhere", "in/broken"),
        ("circle", "in/circle"),
        (".", "in/itself"),
        ("real", "in/inside"),
    ] {
        symlink(target, app.path(link)).unwrap();
    }
    let mut host = app.up();
    host.outcome_of("copy", "inside");
    // A link that comes later, moved in as a finished file would be.
    symlink("../secret/password", app.path("moved")).unwrap();
    fs::rename(app.path("moved"), app.path("in/moved")).unwrap();
    let (subjects, ended) = subjects_until_last(&app, host);
    assert_eq!(subjects, ["inside", "real", "zz-last"]);
    for word in [
        "\"absolute\"",
        "\"relative\"",
        "\"folder/relative\"",
        "\"whole-folder\"",
        "\"broken\"",
        "\"circle\"",
        "\"itself\"",
    ] {
        assert!(warned(&ended.records, word), "{word}: {:#?}", ended.records);
    }
    let everything = app.objects("out");
    assert!(
        everything
            .values()
            .all(|body| body.is_empty() || body == b"inside")
    );
}

#[test]
fn what_is_no_file_holds_nobody_up() {
    let app = App::new(COPY);
    fs::create_dir_all(app.path("in")).unwrap();
    make_pipe(&app, "in/pipe-before");
    let host = app.up();
    make_pipe(&app, "pipe");
    fs::rename(app.path("pipe"), app.path("in/pipe-after")).unwrap();
    let (subjects, ended) = subjects_until_last(&app, host);
    assert_eq!(subjects, ["zz-last"]);
    assert!(
        warned(&ended.records, "\"pipe-before\""),
        "{:#?}",
        ended.records
    );
}

fn make_pipe(app: &App, name: &str) {
    let status = Command::new("mkfifo").arg(app.path(name)).status();
    assert!(status.unwrap().success());
}

/// A folder without permission is named, and its siblings go on.
#[test]
fn a_folder_that_cannot_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let app = App::new(COPY);
    app.put_old("in/closed/a", "");
    let closed = app.path("in/closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let host = app.up_without_privileges();
    let (subjects, ended) = subjects_until_last(&app, host);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(subjects, ["zz-last"]);
    assert!(warned(&ended.records, "closed"), "{:#?}", ended.records);
}
