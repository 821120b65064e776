//! Rules of prose: openings of doc comments, ruled-out phrases, widths, names of types.

use std::collections::BTreeMap;

use super::{Findings, SourceFile, SourceFiles};

/// First words that a doc comment must not have.
const OPENINGS: [&str; 8] = ["What", "Whether", "Of", "Who", "That", "So", "Where", "How"];

/// Phrases that comments, docs and messages must not have.
const PHRASES: [&str; 18] = [
    "is told",
    "are told",
    "goes on",
    "go on as",
    "comes again",
    "come again",
    "gives way",
    "give way",
    "anew",
    "so many",
    "by now",
    "in place of",
    "by way of",
    "mend",
    "mends",
    "mended",
    "stand on",
    "stands on",
];

/// Columns of a line.
const MAX_COLUMNS: usize = 100;
/// Lines of a file.
const MAX_LINES: usize = 500;
/// Words of a cell of a Markdown table.
const MAX_CELL_WORDS: usize = 25;

pub(super) fn check(files: &SourceFiles, findings: &mut Findings) {
    for rule in [
        "doc-openings",
        "phrases",
        "columns",
        "lines",
        "cells",
        "types-of-one-word",
        "types-defined-twice",
    ] {
        findings.entry(rule).or_default();
    }
    let mut types: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for file in files.production() {
        check_rust(file, findings);
        for (line, name) in type_names(&file.text) {
            let place = format!("{}:{line} {name}", file.name());
            types.entry((crate_of(file), name)).or_default().push(place);
        }
    }
    for ((_, name), mut places) in types {
        if words_of(&name) == 1 {
            findings
                .entry("types-of-one-word")
                .or_default()
                .extend(places.first().cloned());
        }
        if places.len() > 1 {
            findings
                .entry("types-defined-twice")
                .or_default()
                .append(&mut places);
        }
    }
    for file in &files.markdown {
        check_markdown(file, findings);
    }
}

fn check_rust(file: &SourceFile, findings: &mut Findings) {
    let name = file.name();
    let mut previous_is_doc = false;
    for (line, text) in (1..).zip(file.text.lines()) {
        let trimmed = text.trim_start();
        let place = || format!("{name}:{line} {trimmed}");
        if text.chars().count() > MAX_COLUMNS {
            findings.entry("columns").or_default().push(place());
        }
        let doc = trimmed
            .strip_prefix("///")
            .or_else(|| trimmed.strip_prefix("//!"));
        if let Some(doc) = doc.filter(|_| !previous_is_doc)
            && OPENINGS.contains(&first_word(doc))
        {
            findings.entry("doc-openings").or_default().push(place());
        }
        previous_is_doc = doc.is_some();
        if (trimmed.contains("//") || trimmed.contains('"')) && has_phrase(trimmed) {
            findings.entry("phrases").or_default().push(place());
        }
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        findings
            .entry("lines")
            .or_default()
            .push(format!("{name} {lines}"));
    }
}

fn check_markdown(file: &SourceFile, findings: &mut Findings) {
    let name = file.name();
    let mut in_code = false;
    for (text, line) in file.text.lines().zip(1_usize..) {
        if text.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code {
            continue;
        }
        if text.starts_with('|') {
            let long = text
                .split('|')
                .any(|cell| cell.split_whitespace().count() > MAX_CELL_WORDS);
            if long {
                let start: String = text.chars().take(60).collect();
                findings
                    .entry("cells")
                    .or_default()
                    .push(format!("{name}:{line} {start}"));
            }
        } else if text.chars().count() > MAX_COLUMNS {
            findings
                .entry("columns")
                .or_default()
                .push(format!("{name}:{line}"));
        }
        if has_phrase(text) {
            findings
                .entry("phrases")
                .or_default()
                .push(format!("{name}:{line}"));
        }
    }
}

fn first_word(doc: &str) -> &str {
    let doc = doc.trim_start();
    let end = doc
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(doc.len());
    doc.get(..end).unwrap_or_default()
}

/// Finds a ruled-out phrase that stands as words of their own.
fn has_phrase(text: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    PHRASES.iter().any(|phrase| {
        text.match_indices(phrase).any(|(at, found)| {
            let (before, after) = (text.get(..at), text.get(at + found.len()..));
            let before = before.and_then(|text| text.chars().next_back());
            let after = after.and_then(|text| text.chars().next());
            !is_word(before) && !is_word(after)
        })
    })
}

/// The names of structs, enums and traits, with their lines.
fn type_names(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let mut words = line.split_whitespace();
        let mut word = words.next();
        while word.is_some_and(|word| word.starts_with("pub"))
            || word.is_some_and(|word| word.ends_with(')'))
        {
            word = words.next();
        }
        if !matches!(word, Some("struct" | "enum" | "trait")) {
            continue;
        }
        let name: String = words
            .next()
            .unwrap_or_default()
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        if name.starts_with(char::is_uppercase) {
            names.push((number, name));
        }
    }
    names
}

/// The crate that a file belongs to, as its folder.
fn crate_of(file: &SourceFile) -> &str {
    let path = file.path.to_str().unwrap_or_default();
    path.split_once("/src/").map_or(path, |(folder, _)| folder)
}

fn words_of(name: &str) -> usize {
    name.chars().filter(|c| c.is_uppercase()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_count_as_whole_words() {
        assert!(has_phrase("// it comes again by itself"));
        assert!(has_phrase("\"mended\""));
        assert!(!has_phrase("// recommended, amended"));
        assert!(!has_phrase("// the income again"));
    }

    #[test]
    fn names_of_types_are_found() {
        let text =
            "pub(super) struct Told {\n    enum Inner\npub trait Handler: Send\n// struct No\n";
        let names = type_names(text);
        let names: Vec<_> = names
            .iter()
            .map(|(line, name)| (*line, name.as_str()))
            .collect();
        assert_eq!(names, [(1, "Told"), (2, "Inner"), (3, "Handler")]);
        assert_eq!((words_of("Told"), words_of("RequestLabel")), (1, 2));
    }
}
