//! What is synced stays, and what isn't goes: real file operations under the shim, then a discard.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kinglet_powercut::{Choice, Class, ENVIRONMENT, Faults, Log, Plan, Record, Snapshot, discard};

const OPERATIONS: &str = env!("CARGO_BIN_EXE_file-operations");

struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// With a file `old` that says "old", and an empty folder `folder`.
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let disk = Self { dir };
        fs::create_dir_all(disk.root().join("folder")).unwrap();
        fs::write(disk.root().join("old"), "old").unwrap();
        disk
    }

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("root")
    }

    fn undo(&self) -> PathBuf {
        self.dir.path().join("undo")
    }

    fn plan(&self) -> Plan {
        Plan {
            root: self.root(),
            undo: self.undo(),
            seed: 1,
            kill: None,
            without: None,
            faults: None,
            idle: false,
        }
    }

    fn run(&self, plan: &Plan, operations: &[&str]) -> Output {
        Command::new(OPERATIONS)
            .args(operations)
            .current_dir(self.root())
            .env("LD_PRELOAD", shim())
            .env(ENVIRONMENT, plan.to_text().unwrap())
            .output()
            .unwrap()
    }

    /// Runs operations that must succeed, and that the shim must see all of.
    #[track_caller]
    fn ok(&self, plan: &Plan, operations: &[&str]) {
        let before = Snapshot::of(&self.root()).unwrap();
        let output = self.run(plan, operations);
        assert!(output.status.success(), "{output:?}");
        let after = Snapshot::of(&self.root()).unwrap();
        let unseen = before.unseen(&after, &Log::read(&self.undo()).unwrap());
        assert!(unseen.is_empty(), "{operations:?}: {unseen:?}");
    }

    /// Files with their text, folders with a slash.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        gather(&self.root(), "", &mut tree);
        tree
    }
}

fn gather(dir: &Path, base: &str, tree: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{base}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            gather(&path, &format!("{name}/"), tree);
            tree.insert(format!("{name}/"), String::new());
        } else {
            tree.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// Beside the programs of this package, where cargo puts libraries.
fn shim() -> PathBuf {
    let beside = Path::new(OPERATIONS).parent().unwrap();
    let name = "libkinglet_shim.so";
    let places = [beside.join("deps").join(name), beside.join(name)];
    places
        .into_iter()
        .find(|path| path.is_file())
        .expect("the shim is built; run `cargo xtask test`")
}

/// Runs operations on a new disk, discards, and compares what is left of it.
#[track_caller]
fn check(operations: &[&str], expected: &[(&str, &str)]) {
    let disk = Disk::new();
    disk.ok(&disk.plan(), operations);
    discard(&disk.root(), &disk.undo(), Choice::All).unwrap();
    let expected: BTreeMap<String, String> = expected
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    assert_eq!(disk.tree(), expected, "{operations:?}");
    assert!(!disk.undo().exists(), "the notes are ended");
}

const AS_BEFORE: &[(&str, &str)] = &[("folder/", ""), ("old", "old")];

#[test]
fn what_is_not_synced_goes() {
    for operations in [
        &["append old er"][..],
        &["write old new"],
        &["write-at old 1 xyz"],
        &["write-at old 9 far"],
        &["truncate old 1"],
        &["truncate old 100"],
        &["remove old"],
        &["rename old new"],
        &["rename old folder/new"],
        &["link old new"],
        &["mkdir made"],
        &["remove folder"],
        &["write made text"],
        &["openat2 made"],
        &["copy old made"],
        &[
            "mkdir made",
            "write made/file text",
            "sync made/file",
            "sync made",
        ],
        &["write made text", "sync made"],
        &["write made text", "rename made old", "sync folder"],
        &[
            "write made text",
            "sync-data made",
            "rename made folder/made",
        ],
        &["remove old", "write old other", "append old more"],
        &["rename old other", "write old new", "remove other"],
        &[
            "append old 1",
            "append old 2",
            "truncate old 2",
            "append old 3",
        ],
        &["remove folder", "mkdir folder", "write folder/file text"],
        &["attribute old value"],
    ] {
        check(operations, AS_BEFORE);
    }
}

#[test]
fn what_is_synced_stays() {
    for (operations, expected) in [
        (
            &["append old er", "sync old", "append old est"][..],
            &[("folder/", ""), ("old", "older")][..],
        ),
        (
            &["write old new", "sync-data old", "truncate old 1"],
            &[("folder/", ""), ("old", "new")],
        ),
        // The name without the contents.
        (
            &["write made text", "sync ."],
            &[("folder/", ""), ("made", ""), ("old", "old")],
        ),
        (
            &["write made text", "sync made", "sync ."],
            &[("folder/", ""), ("made", "text"), ("old", "old")],
        ),
        (&["remove old", "sync ."], &[("folder/", "")]),
        (
            &["rename old new", "sync .", "rename new newer"],
            &[("folder/", ""), ("new", "old")],
        ),
        // A rename stands with the folder of its new name.
        (
            &["rename old folder/new", "sync folder"],
            &[("folder/", ""), ("folder/new", "old")],
        ),
        (
            &["write made text", "sync made", "rename made old", "sync ."],
            &[("folder/", ""), ("old", "text")],
        ),
        (
            &["mkdir made", "sync .", "write made/file text"],
            &[("folder/", ""), ("made/", ""), ("old", "old")],
        ),
        (
            &["remove folder", "sync .", "mkdir folder"],
            &[("old", "old")],
        ),
    ] {
        check(operations, expected);
    }
}

#[test]
fn the_time_of_a_change_goes_with_it() {
    let disk = Disk::new();
    let modified = || {
        let metadata = fs::metadata(disk.root().join("old")).unwrap();
        metadata.modified().unwrap()
    };
    let before = modified();
    disk.ok(&disk.plan(), &["append old er", "truncate old 2"]);
    assert_ne!(modified(), before);
    discard(&disk.root(), &disk.undo(), Choice::All).unwrap();
    assert_eq!(modified(), before);
}

#[test]
fn an_attribute_is_as_its_file() {
    let value = |disk: &Disk| {
        let mut value = [0; 16];
        rustix::fs::getxattr(disk.root().join("old"), "user.test", &mut value)
            .map(|length| value.get(..length).unwrap_or_default().to_vec())
    };
    let disk = Disk::new();
    let operations = ["attribute old one", "sync old", "attribute old two"];
    disk.ok(&disk.plan(), &operations);
    assert_eq!(value(&disk).unwrap(), b"two");
    discard(&disk.root(), &disk.undo(), Choice::All).unwrap();
    assert_eq!(value(&disk).unwrap(), b"one");
}

#[test]
fn notes_go_on_over_processes() {
    let disk = Disk::new();
    disk.ok(&disk.plan(), &["append old er"]);
    disk.ok(&disk.plan(), &["append old est", "rename old new"]);
    discard(&disk.root(), &disk.undo(), Choice::All).unwrap();
    let tree = disk.tree();
    assert_eq!(tree.get("old").map(String::as_str), Some("old"), "{tree:?}");
}

/// The harness looks for what went past the shim in this way.
#[test]
fn a_change_past_the_shim_is_found() {
    let disk = Disk::new();
    let before = Snapshot::of(&disk.root()).unwrap();
    disk.ok(&disk.plan(), &["write seen text"]);
    fs::write(disk.root().join("folder/unseen"), "").unwrap();
    fs::write(disk.root().join("old"), "changed").unwrap();
    let after = Snapshot::of(&disk.root()).unwrap();
    let unseen = before.unseen(&after, &Log::read(&disk.undo()).unwrap());
    assert_eq!(
        unseen,
        ["folder/unseen", "old"].map(|name| disk.root().join(name))
    );
}

#[test]
fn a_lie_syncs_nothing() {
    let disk = Disk::new();
    let plan = Plan {
        without: Some(Class::Other),
        ..disk.plan()
    };
    disk.ok(&plan, &["append old er", "sync old"]);
    discard(&disk.root(), &disk.undo(), Choice::All).unwrap();
    assert_eq!(disk.tree().get("old").map(String::as_str), Some("old"));
}

#[test]
fn some_of_it_may_stay() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let disk = Disk::new();
        disk.ok(
            &disk.plan(),
            &["append old 1", "append old 2", "remove folder"],
        );
        discard(&disk.root(), &disk.undo(), Choice::Some { seed }).unwrap();
        let tree = disk.tree();
        seen.insert((tree.get("old").cloned(), tree.contains_key("folder/")));
    }
    assert_eq!(seen.len(), 6, "each of three by each of two: {seen:?}");
}

#[test]
fn calls_fail_as_planned() {
    let disk = Disk::new();
    let all = 1_000_000;
    let faults = |writes, short_writes, syncs| Plan {
        faults: Some(Faults {
            writes,
            short_writes,
            syncs,
        }),
        ..disk.plan()
    };
    for (plan, operation) in [
        (faults(all, 0, 0), "append old er"),
        (faults(0, 0, all), "sync old"),
    ] {
        let output = disk.run(&plan, &[operation]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("Os { code"), "{said}");
        assert_eq!(disk.tree().get("old").map(String::as_str), Some("old"));
    }
    // Its writer goes on where a short write ended.
    disk.ok(&faults(0, all, 0), &["append old 0123456789"]);
    let log = Log::read(&disk.undo()).unwrap();
    let writes = |record: &Record| matches!(record, Record::Bytes { .. });
    let writes = log.records.iter().filter(|(_, record)| writes(record));
    assert!(writes.count() > 1);
    assert_eq!(
        disk.tree().get("old").map(String::as_str),
        Some("old0123456789")
    );
}

#[test]
fn a_process_without_power_changes_nothing() {
    let disk = Disk::new();
    let plan = Plan {
        idle: true,
        ..disk.plan()
    };
    for operation in ["append old er", "remove old", "mkdir made", "sync old"] {
        let output = disk.run(&plan, &[operation]);
        assert_eq!(output.status.signal(), Some(9), "{operation}");
    }
    let tree = disk.tree();
    assert_eq!(tree.get("old").map(String::as_str), Some("old"), "{tree:?}");
    assert!(Log::read(&disk.undo()).unwrap().records.is_empty());
}

#[test]
fn a_mapping_to_write_through_is_refused() {
    let disk = Disk::new();
    let output = disk.run(&disk.plan(), &["map old"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("mapped to be written"),
        "{said}"
    );
}
