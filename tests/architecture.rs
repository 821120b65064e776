//! The arrows of `ARCHITECTURE.md` hold: each room of the host uses only those that the map allows.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as it does")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const MAP: &str = include_str!("../ARCHITECTURE.md");

/// Room by room what it may use, from the lines `room -> room, room` of the map.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    MAP.lines()
        .filter_map(|line| line.split_once(" -> "))
        .filter(|(room, _)| room.chars().all(|c| c.is_ascii_lowercase()))
        .map(|(room, uses)| (room, uses.split(", ").map(str::trim).collect()))
        .collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in path.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("templates") {
                rust_files(&path, files);
            }
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        files.push(path.to_owned());
    }
}

/// The room that a file belongs to: the folder or file right below `src`.
fn room_of(file: &Path) -> String {
    let below = file.strip_prefix(source()).unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// A text's lines without their comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
}

/// Whether a text names rooms in a way that `uses` doesn't see: `crate::{a, b}`, `crate::*`.
fn hides_uses(text: &str) -> bool {
    code(text).any(|line| line.contains("crate::{") || line.contains("crate::*"))
}

/// The rooms that a text names, as `crate::room`.
fn uses(text: &str) -> BTreeSet<String> {
    code(text)
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect()
        })
        .filter(|room: &String| !room.is_empty())
        .collect()
}

#[test]
fn every_room_uses_only_what_the_map_allows() {
    let allowed = allowed();
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        let room = room_of(&file);
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(room.as_str()) else {
            problems.push(format!("room {room:?} isn't on the map"));
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        if hides_uses(&text) {
            problems.push(format!(
                "{} uses several rooms in one `crate::{{...}}`; name each as `crate::room`",
                file.display()
            ));
        }
        for used in uses(&text) {
            if used != room && !may.contains(used.as_str()) {
                problems.push(format!(
                    "{} uses {used}, and {room} may not",
                    file.display()
                ));
            }
        }
        seen.insert(room);
    }
    for room in allowed.keys().filter(|room| !seen.contains(**room)) {
        problems.push(format!("the map has room {room:?}, and the source hasn't"));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen.len() >= 10, "the source was looked at: {seen:?}");
}

#[test]
fn a_use_is_recognised() {
    let text = "use crate::ports::Queue; // crate::cli\nlet x = crate::clock::Clock::system();";
    assert_eq!(
        uses(text),
        BTreeSet::from(["ports".to_owned(), "clock".to_owned()])
    );
    assert!(!hides_uses(text));
}

#[test]
fn a_use_that_would_be_overlooked_is_refused() {
    for (text, hides) in [
        ("use crate::{cli, app};", true),
        ("pub use crate::{\n    cli,\n};", true),
        ("use crate::*;", true),
        (
            "use crate::ports::{Bucket, Queue}; // not crate::{cli}",
            false,
        ),
    ] {
        assert_eq!(hides_uses(text), hides, "{text}");
    }
}
