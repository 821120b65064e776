//! The manifests of the book are valid.
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

/// The manifest that a block stands for, if its mark says that it is one.
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
