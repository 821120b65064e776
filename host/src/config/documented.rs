//! The manifests of the book are valid, and its reference has every key.
//!
//! A block marked `toml,manifest` is a manifest, whose `[app]` may be missing. A block marked
//! `toml,function` has keys of one function.

use std::path::{Path, PathBuf};

use super::Manifest;

/// Parts that a block may leave out.
const APP: &str = "[app]\nname = \"documented\"\n";
const FUNCTION: &str = "[buckets.photos]\n[buckets.thumbs]\n[[function]]\nname = \"documented\"\n\
                        component = \"documented.wasm\"\n";
const TRIGGER: &str = "on = { message = \"orders\" }\n";

fn pages(folder: &Path, pages: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            self::pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// Completes the manifest that a block is a part of, if its mark says that it is one.
fn manifest(mark: &str, block: &str) -> Option<String> {
    let starts = |key: &str| block.lines().any(|line| line.starts_with(key));
    match mark {
        "toml,manifest" if starts("[app]") => Some(block.to_owned()),
        "toml,manifest" => Some(format!("{APP}{block}")),
        "toml,function" if starts("on ") => Some(format!("{APP}{FUNCTION}{block}")),
        "toml,function" => Some(format!("{APP}{FUNCTION}{TRIGGER}{block}")),
        _ => None,
    }
}

#[test]
fn every_manifest_of_the_book_is_valid() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = vec![repository.join("README.md")];
    pages(&repository.join("docs/src"), &mut paths);
    let mut seen = 0;
    let mut problems = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        for fenced in text.split("\n```").skip(1).step_by(2) {
            let (mark, block) = fenced.split_once('\n').unwrap_or((fenced, ""));
            let Some(manifest) = manifest(mark, block) else {
                continue;
            };
            seen += 1;
            if let Err(error) = Manifest::parse(&manifest, Path::new("/app"), "kinglet.toml") {
                problems.push(format!("{}: {error}\n{manifest}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen > 60, "only {seen} manifests were found");
}

/// Tables of a manifest, with the prefix that the reference gives their keys.
const TABLES: [(&str, &str); 13] = [
    ("", ""),
    ("[buckets.photos]", "buckets.NAME."),
    ("[http]", "http."),
    ("[queue]", "queue."),
    ("[compile]", "compile."),
    ("[host]", "host."),
    ("[[function]]", ""),
    ("[function.on]", "on."),
    ("[function.limits]", "limits."),
    ("[function.retry]", "retry."),
    ("[function.grants]", "grants."),
    ("[function.snapshot]", "snapshot."),
    ("[[ingress]]", "ingress."),
];

/// Reads the keys of a table from the error about an unknown one.
fn keys(table: &str) -> Vec<String> {
    let function = match table.starts_with("[function.") {
        true => FUNCTION,
        false => "",
    };
    let text = match table {
        "" => format!("unknown = 1\n{APP}"),
        table => format!("{APP}{function}{table}\nunknown = 1\n"),
    };
    let error = Manifest::parse(&text, Path::new("/app"), "kinglet.toml").unwrap_err();
    let error = error.to_string();
    let (_, known) = error.rsplit_once("known are ").unwrap();
    known
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_reference_has_every_key() {
    const PAGE: &str = include_str!("../../../docs/src/reference/manifest.md");
    /// A key that is only refused.
    const REFUSED: &str = "buckets.NAME.url";
    let headings: Vec<&str> = PAGE.lines().filter(|line| line.starts_with('#')).collect();
    let mut seen = 0;
    for (table, prefix) in TABLES {
        for key in keys(table) {
            let key = format!("{prefix}{key}");
            // A table's own heading has brackets.
            let forms = [format!("`{key}`"), format!("[{key}")];
            let has = |form: &String| headings.iter().any(|heading| heading.contains(form));
            assert!(
                key == REFUSED || forms.iter().any(has),
                "the reference has no heading for `{key}`"
            );
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} keys were found");
}
