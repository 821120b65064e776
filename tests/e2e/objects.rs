//! Files that appear in a folder, in every way that files appear.

use std::fs::{self, File};
use std::io::Write;

use crate::harness::{App, settled, text};

/// Every object in `in` is copied to `out`.
pub const COPY: &str = r#"
[buckets.in]
[buckets.out]
[[function]]
name = "copy"
component = "guest:copy"
on = { object-created = "in" }
grants = { read = ["in"], write = ["out"] }
"#;

/// Objects wait at the gate one at a time, while `hello` tells that they were accepted.
const GATE: &str = r#"
[buckets.in]
[buckets.out]
[buckets.gate]
[[function]]
name = "gate"
component = "guest:gate"
on = { object-created = "in" }
limits = { concurrency = 1 }
grants = { read = ["gate"], write = ["out"] }
[[function]]
name = "hello"
component = "guest:hello-object"
on = { object-created = "in" }
"#;

#[test]
fn files_that_are_there_at_the_start_and_files_that_come() {
    let app = App::new(COPY);
    app.put_old("in/old.txt", "old");
    app.put("in/just-written.txt", "new");
    let mut host = app.up();
    app.put("in/later.txt", "later");
    for key in ["old.txt", "just-written.txt", "later.txt"] {
        let outcome = host.outcome_of("copy", key);
        assert_eq!(outcome["outcome"], "done", "{outcome}");
        assert_eq!(outcome["outputs"][0], format!("out/{key}"), "{outcome}");
    }
    assert_eq!(app.read("out/old.txt"), "old");
    assert_eq!(app.read("out/later.txt"), "later");
    assert_eq!(host.stop().outcomes("copy").len(), 3);
}

#[test]
fn a_file_that_is_moved_in_is_one_event() {
    let app = App::new(COPY);
    let mut host = app.up();
    app.put("outside/cat.jpg", "a cat");
    fs::rename(app.path("outside/cat.jpg"), app.path("in/cat.jpg")).unwrap();
    host.outcome_of("copy", "cat.jpg");
    app.put("in/last", "");
    host.outcome_of("copy", "last");
    assert_eq!(app.read("out/cat.jpg"), "a cat");
    assert_eq!(host.stop().outcomes("copy").len(), 2);
}

#[test]
fn a_file_is_taken_once_its_writer_is_done() {
    let app = App::new(COPY);
    let mut host = app.up();
    let mut file = File::create(app.path("in/slow.txt")).unwrap();
    file.write_all(b"one half").unwrap();
    file.sync_all().unwrap();
    app.put("in/quick.txt", "quick");
    host.outcome_of("copy", "quick.txt");
    file.write_all(b" and the other").unwrap();
    drop(file);
    host.outcome_of("copy", "slow.txt");
    assert_eq!(app.read("out/slow.txt"), "one half and the other");
    app.put("in/last", "");
    host.outcome_of("copy", "last");
    let outcomes = host.stop().outcomes("copy").len();
    assert_eq!(outcomes, 3, "quick.txt, slow.txt and last, once each");
}

#[test]
fn a_changed_file_is_another_event() {
    let app = App::new(COPY);
    let mut host = app.up();
    app.put("in/a.txt", "first");
    host.outcomes(1, "copy");
    assert_eq!(app.read("out/a.txt"), "first");

    // Replaced by another file of the same name.
    app.put("new/a.txt", "second");
    fs::rename(app.path("new/a.txt"), app.path("in/a.txt")).unwrap();
    host.outcomes(2, "copy");
    assert_eq!(app.read("out/a.txt"), "second");

    // Edited in place.
    let mut file = File::options()
        .append(true)
        .open(app.path("in/a.txt"))
        .unwrap();
    file.write_all(b", and more").unwrap();
    drop(file);
    host.outcomes(3, "copy");
    assert_eq!(app.read("out/a.txt"), "second, and more");

    // The same bytes again are a deliberate upload.
    app.put("in/a.txt", "second, and more");
    let outcomes = host.outcomes(4, "copy");
    let ids: std::collections::BTreeSet<&str> = outcomes.iter().map(|o| text(o, "event")).collect();
    assert_eq!(ids.len(), 4, "each version has an id of its own: {ids:?}");
    assert_eq!(host.stop().outcomes("copy").len(), 4);
}

#[test]
fn a_deleted_file_that_comes_back_is_another_event() {
    let app = App::new(COPY);
    let mut host = app.up();
    app.put("in/a.txt", "a");
    host.outcomes(1, "copy");
    fs::remove_file(app.path("in/a.txt")).unwrap();
    app.put("in/a.txt", "a");
    host.outcomes(2, "copy");
    assert_eq!(host.stop().outcomes("copy").len(), 2);
}

#[test]
fn what_is_deleted_or_replaced_before_its_turn_is_superseded() {
    let app = App::new(GATE);
    let mut host = app.up();
    app.put("in/1", "");
    host.waiting(1);
    for key in ["in/2", "in/3", "in/4"] {
        app.put(key, "first");
    }
    host.outcomes(4, "hello");
    fs::remove_file(app.path("in/2")).unwrap();
    app.put("in/3", "second");
    host.outcomes(5, "hello");
    app.put("gate/open", "");

    let outcomes = host.outcomes(5, "gate");
    let of = |key: &str| -> Vec<&str> {
        let of_key = outcomes.iter().filter(|o| o["subject"] == key);
        of_key.map(|o| text(o, "outcome")).collect()
    };
    assert_eq!(of("1"), ["done"]);
    assert_eq!(of("2"), ["superseded"]);
    assert_eq!(of("3"), ["superseded", "done"]);
    assert_eq!(of("4"), ["done"]);
    let deleted = outcomes.iter().find(|o| o["subject"] == "2").unwrap();
    assert_eq!(deleted["dead"], false);
    assert!(text(deleted, "reason").contains("deleted"), "{deleted}");
    assert_eq!(app.keys("out"), ["1", "3", "4"]);
    host.stop();
}

#[test]
fn trees_that_are_made_at_once_and_trees_that_are_moved_in() {
    let app = App::new(COPY);
    let mut host = app.up();
    let mut expected = Vec::new();
    for folder in ["a", "a/b/c", "d/e", "f/g/h/i/j"] {
        for file in 0..10 {
            let key = format!("{folder}/{file}.txt");
            app.put(&format!("in/{key}"), &key);
            expected.push(key);
        }
    }
    for file in 0..10 {
        let key = format!("moved/{}/{file}.txt", file % 3);
        app.put(&format!("elsewhere/{key}"), &key);
        expected.push(key);
    }
    fs::rename(app.path("elsewhere/moved"), app.path("in/moved")).unwrap();
    expected.sort();

    host.outcomes(expected.len(), "copy");
    assert_eq!(app.keys("out"), expected);
    for (key, body) in app.objects("out") {
        assert_eq!(body, key.as_bytes());
    }
    app.put("in/last", "");
    host.outcome_of("copy", "last");
    assert_eq!(host.stop().outcomes("copy").len(), expected.len() + 1);
}

#[test]
fn a_folder_that_is_renamed_is_still_watched() {
    let app = App::new(COPY);
    app.put_old("in/before/deep/1", "");
    let mut host = app.up();
    host.outcome_of("copy", "before/deep/1");
    fs::rename(app.path("in/before"), app.path("in/after")).unwrap();
    host.outcome_of("copy", "after/deep/1");
    app.put("in/after/deep/2", "");
    host.outcome_of("copy", "after/deep/2");
    host.stop();
}

#[test]
fn prefixes_and_suffixes_choose() {
    let choosy = COPY.replace(
        r#"object-created = "in""#,
        r#"object-created = "in", prefix = "photos/", suffix = [".jpg", ".tar.gz"]"#,
    );
    let app = App::new(&choosy);
    let mut host = app.up();
    for key in [
        "photos/a.JPG",
        "photos/deep/b.tar.gz",
        "photos/c.png",
        "photos/jpg",
        "other/d.jpg",
        "e.jpg",
        "photos/last.jpg",
    ] {
        app.put(&format!("in/{key}"), "");
    }
    host.outcome_of("copy", "photos/last.jpg");
    host.outcomes(3, "copy");
    host.stop();
    assert_eq!(
        app.keys("out"),
        ["photos/a.JPG", "photos/deep/b.tar.gz", "photos/last.jpg"]
    );
}

#[test]
fn two_functions_on_a_bucket_have_an_event_each() {
    let app = App::new(&format!(
        "{COPY}\n[[function]]\nname = \"hello\"\ncomponent = \"guest:hello-object\"\non = {{ object-created = \"in\" }}\n"
    ));
    let mut host = app.up();
    app.put("in/a", "");
    host.outcome_of("copy", "a");
    host.outcome_of("hello", "a");
    host.until(|r| r["kind"] == "log" && r["function"] == "hello" && r["text"] == "hello a");
    assert_eq!(host.stop().records.iter().filter(|r| settled(r)).count(), 2);
}

#[test]
fn an_object_larger_than_the_functions_memory_is_read_in_pieces() {
    let app = App::new(
        r#"
        [buckets.in]
        [[function]]
        name = "sum"
        component = "guest:big-read"
        on = { object-created = "in" }
        limits = { memory = "4MiB" }
        grants = { read = ["in"], publish = ["out"] }
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "out" }
        "#,
    );
    let mut host = app.up();
    app.put("in/large", vec![7; 24 << 20]);
    let outcome = host.outcome_of("sum", "large");
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    assert!(outcome["cost"]["peak_memory"].as_u64().unwrap() <= 4 << 20);
    let said = host.until(|r| r["kind"] == "log" && r["function"] == "echo");
    let (count, sum) = (24 << 20, 7 * (24_u64 << 20));
    assert_eq!(said["text"], format!("{count} bytes, sum {sum}, last [7]"));
    host.stop();
}
