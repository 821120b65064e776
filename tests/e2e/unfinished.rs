//! Files that aren't finished wake nobody.

use crate::harness::App;

fn copy(bucket: &str) -> App {
    App::new(&format!(
        r#"
        [buckets.in]
        {bucket}
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = {{ object-created = "in" }}
        grants = {{ read = ["in"], write = ["out"] }}
        "#
    ))
}

/// Files that programs leave while they download, transfer, edit and back up woke functions.
#[test]
fn unfinished_files_wake_nobody_until_they_are_renamed() {
    let app = copy("");
    app.put_old("in/there.jpg.filepart", "1");
    let mut host = app.up();
    for name in [
        "a.jpg.filepart",
        "a.download",
        "a.opdownload",
        "a.crdownload",
        "a.bak",
        "a.part",
        "a.jpg~",
        "A.TMP",
    ] {
        app.put(&format!("in/{name}"), "1");
    }
    std::fs::rename(app.path("in/a.jpg.filepart"), app.path("in/a.jpg")).unwrap();
    host.outcome_of("copy", "a.jpg");
    app.put("in/last", "1");
    host.outcome_of("copy", "last");
    host.stop();
    assert_eq!(app.keys("out"), ["a.jpg", "last"]);
}

#[test]
fn a_bucket_may_name_its_own_endings() {
    let app = copy("unfinished = [\".upload\"]");
    app.put_old("in/a.upload", "1");
    app.put_old("in/b.bak", "1");
    let mut host = app.up();
    app.put("in/c.UPLOAD", "1");
    app.put("in/d", "1");
    host.outcome_of("copy", "b.bak");
    host.outcome_of("copy", "d");
    host.stop();
    app.ok(&["run", "copy", "in"]);
    assert_eq!(app.keys("out"), ["b.bak", "d"]);
    let app = copy("unfinished = [\"\"]\nsettle = \"48h\"");
    app.kinglet(&["check"])
        .expect(2)
        .says(&["buckets.in.unfinished", "buckets.in.settle"]);
}

/// A function that waits for such names is never woken, and `check` says so.
#[test]
fn a_suffix_of_unfinished_files_is_noted() {
    let app = App::new(
        r#"
        [buckets.in]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in", suffix = [".jpg", ".bak"] }
        grants = { read = ["in"] }
        "#,
    );
    app.kinglet(&["check"])
        .expect(0)
        .says(&["\".bak\" are of unfinished files", "buckets.in.unfinished"]);
}

/// A file that is written in several opens was an object after the first.
#[test]
fn an_object_is_one_once_it_stood_still() {
    use std::io::Write;
    let app = copy("settle = \"5s\"");
    app.put_old("in/old", "1");
    let mut host = app.up();
    host.outcome_of("copy", "old");
    let mut whole = String::new();
    for part in 0..20 {
        let part = format!("{part},");
        whole.push_str(&part);
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(app.path("in/parts"))
            .unwrap();
        file.write_all(part.as_bytes()).unwrap();
        // Who sets its time back, as `rsync --times` does, doesn't make it older.
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        file.set_modified(old).unwrap();
    }
    host.outcome_of("copy", "parts");
    assert_eq!(app.read("out/parts"), whole);
    let ended = host.stop();
    assert_eq!(ended.outcomes("copy").len(), 2);
}
