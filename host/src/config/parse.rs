//! Text of a manifest to values. What doesn't fit is named by its place, its key and its value,
//! with the form that it has and an example.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, visible};

/// Characters of a value that an error shows.
const SHOWN: usize = 60;

/// Reads a manifest's text; `name` is the file's, for errors.
pub(super) fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| {
            let (line, column) = position(text, span.start);
            format!(":{line}:{column}")
        });
        ConfigError::Parse {
            path: format!("{name}{place}"),
            message: visible(&explain(text, &error)),
        }
    })
}

/// Line and column of a byte, both from 1; the column in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    let lines = before.matches('\n').count();
    (lines + 1, line.chars().count() + 1)
}

fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim_end();
    // What is missing is so of a whole table.
    let whole = message.starts_with("missing field");
    let found = error.span();
    let Some(found) = found.and_then(|span| FaultyValue::at(text, &span, whole)) else {
        return format!("{message}; correct the syntax, as https://toml.io has it");
    };
    let FaultyValue { path, value } = &found;
    if let Some((field, known)) = after(message, "unknown field `", "`, expected ") {
        let known = known.trim_start_matches("one of ");
        let table = path.strip_suffix(field).unwrap_or(path);
        let table = shown_table(table.trim_end_matches('.'));
        return format!("there is no key `{field}` in {table}; known are {known}");
    }
    if let Some((field, _)) = after(message, "missing field `", "`") {
        let table = shown_table(path);
        let path = format!("{path}.{field}");
        let example = example(&path).unwrap_or("\"...\"");
        return format!(
            "{table} has no `{field}`; add it, as {}",
            assigned(field, example)
        );
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    let wrong = ["invalid type: ", "invalid value: ", "unknown variant `"]
        .iter()
        .find_map(|kind| after(message, kind, ", expected "))
        .map(|(_, expected)| expected)
        .or_else(|| message.strip_prefix("expected "))
        .or_else(|| message.strip_prefix("wanted "));
    let Some(expected) = wrong else {
        return format!("`{path}`: {message}");
    };
    let (form, usual) = form(expected);
    let example = example(path).unwrap_or(usual);
    format!(
        "`{path}` is {value}, which isn't {form}; write it as {}",
        assigned(key, example)
    )
}

fn shown_table(path: &str) -> String {
    match path {
        "" => "the manifest".to_owned(),
        path => format!("`{path}`"),
    }
}

/// A key with an example of its value; of a table that has a section of its own, the section.
fn assigned(key: &str, example: &str) -> String {
    match example.starts_with('[') && example.ends_with(']') && !example.contains('"') {
        true => format!("`{example}`"),
        false => format!("`{key} = {example}`"),
    }
}

/// Splits a message into the text between two others, and the text behind the second.
fn after<'a>(message: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(start)?.split_once(end)
}

/// Puts a type that serde names into words, with an example of it.
fn form(expected: &str) -> (&str, &str) {
    match expected {
        "u64" | "u32" | "usize" | "u16" => ("a whole number of 0 or more", "100"),
        "a boolean" => ("true or false", "true"),
        "a string" | "str" | "path string" | "string or table" => ("text", "\"...\""),
        "a sequence" => ("a list", "[]"),
        "a map" | "a table" => ("a table", "{}"),
        other if other.starts_with("struct ") => ("a table", "{}"),
        other => (other, "\"...\""),
    }
}

/// A value of a document that an error is about.
struct FaultyValue {
    /// Keys with dots between them, without places in lists.
    path: String,
    /// The value as an error shows it.
    value: String,
}

impl FaultyValue {
    /// Finds the innermost key whose value, or whose name, is where an error is; of a `whole` value
    /// the one that is just there.
    fn at(text: &str, span: &Range<usize>, whole: bool) -> Option<Self> {
        let document = DeTable::parse(text).ok()?;
        let mut found = Self {
            path: String::new(),
            value: "a table".to_owned(),
        };
        let mut narrowest = usize::MAX;
        walk_table(document.get_ref(), "", &mut |path, around, value| {
            let covers =
                around.start <= span.start && span.start < around.end.max(around.start + 1);
            // Of what begins at one place the innermost comes last.
            if covers && around.len() <= narrowest && (!whole || around == *span) {
                narrowest = around.len();
                found.path = path.to_owned();
                found.value = shown(text, value);
            }
        });
        Some(found)
    }
}

type VisitValue<'v> = dyn FnMut(&str, Range<usize>, &Spanned<DeValue<'_>>) + 'v;

fn walk_table(table: &DeTable<'_>, path: &str, visit: &mut VisitValue<'_>) {
    for (key, value) in table {
        let path = match path {
            "" => key.get_ref().to_string(),
            path => format!("{path}.{}", key.get_ref()),
        };
        visit(&path, key.span(), value);
        walk(value, &path, visit);
    }
}

fn walk(value: &Spanned<DeValue<'_>>, path: &str, visit: &mut VisitValue<'_>) {
    visit(path, value.span(), value);
    match value.get_ref() {
        DeValue::Table(table) => walk_table(table, path, visit),
        DeValue::Array(values) => values.iter().for_each(|value| walk(value, path, visit)),
        _ => {}
    }
}

fn shown(text: &str, value: &Spanned<DeValue<'_>>) -> String {
    let written = text.get(value.span()).unwrap_or_default();
    match value.get_ref() {
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        _ => match written.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}...", written.get(..end).unwrap_or_default()),
            None => written.to_owned(),
        },
    }
}

/// An example for each key, by the end of its path. A test sees to it that each key of the manifest
/// is here.
const EXAMPLES: &[(&str, &str)] = &[
    ("app", "[app]"),
    ("app.name", "\"photos\""),
    ("buckets", "[buckets.photos]"),
    ("topics", "[topics.orders]"),
    ("http", "[http]"),
    ("queue", "[queue]"),
    ("compile", "[compile]"),
    ("host", "[host]"),
    ("function", "[[function]]"),
    ("ingress", "[[ingress]]"),
    ("path", "\"/var/lib/photos\""),
    ("url", "\"s3://photos\""),
    ("unfinished", "[\".part\", \".tmp\"]"),
    ("settle", "\"2s\""),
    ("http.listen", "\"127.0.0.1:3000\""),
    (
        "http.tls",
        "{ certificate = \"cert.pem\", key = \"key.pem\" }",
    ),
    ("tls.certificate", "\"cert.pem\""),
    ("tls.key", "\"key.pem\""),
    ("http.max-connections", "1024"),
    ("http.access-log", "true"),
    ("queue.duplicate-window", "\"24h\""),
    ("queue.max-events", "1_000_000"),
    ("queue.max-bytes", "\"64GiB\""),
    ("queue.max-staging", "\"16GiB\""),
    ("queue.max-dead-letters", "100_000"),
    ("queue.max-answers", "\"1GiB\""),
    ("queue.dead-letter-age", "\"30days\""),
    ("timeout", "\"30s\""),
    ("memory", "\"256MiB\""),
    ("function.name", "\"thumbnail\""),
    ("function.component", "\"thumbnail.wasm\""),
    ("function.source", "\"thumbnail\""),
    ("function.snapshot", "{ allow = [\"random\"] }"),
    ("snapshot.allow", "[\"random\", \"clock\"]"),
    ("function.on", "{ message = \"orders\" }"),
    ("function.limits", "{ memory = \"256MiB\" }"),
    ("function.retry", "{ attempts = 5 }"),
    (
        "function.grants",
        "{ read = [\"photos\"], write = [\"thumbs\"] }",
    ),
    ("function.targets", "[\"spin\", \"wasmtime\"]"),
    ("function.config", "{ sizes = \"256\" }"),
    ("function.environment", "{ LANG = \"C\" }"),
    ("function.allow-loop", "3"),
    ("on.object-created", "\"photos\""),
    ("on.prefix", "\"in/\""),
    ("on.suffix", "[\".jpg\", \".png\"]"),
    ("on.message", "\"orders\""),
    ("on.http", "\"/orders/{id}\""),
    ("on.methods", "[\"GET\", \"POST\"]"),
    ("on.hosts", "\"api.example.com\""),
    ("on.spin-headers", "true"),
    ("reuse", "100"),
    ("on.schedule", "\"0 3 * * *\""),
    ("on.time-zone", "\"Europe/Berlin\""),
    ("on.missed", "\"once\""),
    ("on.batch-size", "100"),
    ("on.batch-window", "\"2s\""),
    ("on.order-by", "\"key\""),
    ("limits.fuel", "10_000_000_000"),
    ("limits.concurrency", "8"),
    ("limits.effects", "10_000"),
    ("limits.staging", "\"256MiB\""),
    ("limits.log", "\"64KiB\""),
    ("limits.host-calls", "\"1GiB\""),
    ("limits.request", "\"1GiB\""),
    ("limits.response", "\"1GiB\""),
    ("limits.requests", "100"),
    ("retry.attempts", "5"),
    ("retry.backoff", "\"200ms..30s\""),
    ("retry.max-age", "\"24h\""),
    ("grants.read", "[\"photos\"]"),
    ("grants.write", "[\"thumbs\"]"),
    ("grants.publish", "[\"orders\"]"),
    ("grants.keyvalue", "[\"counters\"]"),
    ("grants.http", "[\"https://api.example.com\"]"),
    ("ingress.path", "\"/events/orders\""),
    ("ingress.format", "\"cloudevents\""),
    ("ingress.topic", "\"orders\""),
    ("ingress.topics", "{ \"com.example.order\" = \"orders\" }"),
    ("ingress.buckets", "{ uploads = \"photos\" }"),
    ("ingress.keys", "\"encoded\""),
    (
        "ingress.sns",
        "{ topics = \"arn:aws:sns:eu-west-1:123456789012:photos\" }",
    ),
    (
        "sns.topics",
        "\"arn:aws:sns:eu-west-1:123456789012:photos\"",
    ),
    ("sns.confirm", "\"https://sns.example.com\""),
    ("ingress.auth", "{ bearer = \"tokens.txt\" }"),
    ("auth.bearer", "\"tokens.txt\""),
    ("auth.hmac", "\"keys.txt\""),
    ("auth.basic", "\"passwords.txt\""),
    ("auth.header", "\"x-hub-signature-256\""),
    ("ingress.max-body", "\"1MiB\""),
];

/// Returns the example whose path is the longest end of this one.
fn example(path: &str) -> Option<&'static str> {
    let ends = EXAMPLES.iter().filter(|(end, _)| {
        path.strip_suffix(end)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    ends.max_by_key(|(end, _)| end.len())
        .map(|(_, example)| *example)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Manifest;
    use super::*;

    fn error(text: &str) -> String {
        let manifest = Manifest::parse(text, Path::new("/app"), "kinglet.toml");
        manifest.unwrap_err().to_string()
    }

    /// The keys of a table, as the error about one that there isn't names them.
    fn keys(before: &str, header: &str) -> Vec<String> {
        let error = error(&format!("{before}{header}\nzzz = 1\n"));
        assert!(error.contains("there is no key `zzz`"), "{error}");
        let (_, known) = error.rsplit_once("known are ").unwrap();
        let names = known.split('`').skip(1).step_by(2);
        names.map(str::to_owned).collect()
    }

    /// `fuel = "10M"` was answered with "expected u64".
    #[test]
    fn a_value_of_a_wrong_type_is_named_with_its_place_and_an_example() {
        let function = "[app]\nname = \"a\"\n[[function]]\nname = \"f\"\ncomponent = \"f.wasm\"\n";
        for (text, says) in [
            (
                "limits = { fuel = \"10M\" }",
                "kinglet.toml:6:19: `function.limits.fuel` is \"10M\", which isn't a whole number \
                 of 0 or more; write it as \
                 `fuel = 10_000_000_000`",
            ),
            (
                "[function.limits]\nfuel = -1",
                "kinglet.toml:7:8: `function.limits.fuel` is -1, which",
            ),
            (
                "limits = { memory = true }",
                "`function.limits.memory` is true, which isn't a size, as \"64MiB\"; write it as \
                 `memory = \"256MiB\"`",
            ),
            (
                "limits = { memory = \"64 potatoes\" }",
                "kinglet.toml:6:21: `function.limits.memory`: \"64 potatoes\" isn't a size",
            ),
            (
                "limits = { timeout = 10 }",
                "`function.limits.timeout`: 10 has no unit",
            ),
            (
                "limits = 5",
                "`function.limits` is 5, which isn't a table; write it as `limits = { memory = \
                 \"256MiB\" }`",
            ),
            (
                "on = { missed = \"never\" }",
                "`function.on.missed` is \"never\", which isn't one of `once`, `all`, `skip`",
            ),
            (
                "on = { suffix = [\".jpg\", 7] }",
                "isn't text, or a list of texts; write it as `suffix = [\".jpg\", \".png\"]`",
            ),
            (
                "config = [\"a\"]",
                "`function.config` is a list, which isn't a table",
            ),
            (
                "fuel = 5",
                "kinglet.toml:6:1: there is no key `fuel` in `function`; known are `name`",
            ),
            (
                "on = { message = \"t\" }\n[[function]]\nname = \"g\"",
                "kinglet.toml:7:1: `function` has no `component`; add it, as `component = \
                 \"thumbnail.wasm\"`",
            ),
            (
                "on = { message = \"t\" }\n[http]\nlisten = 3000",
                "`http.listen` is 3000, which isn't text; write it as `listen = \
                 \"127.0.0.1:3000\"`",
            ),
            ("[http", "unclosed table"),
        ] {
            let error = error(&format!("{function}{text}\n"));
            assert!(error.contains(says), "{text}: {error}");
            assert!(
                !error.contains("u64") && !error.contains("struct"),
                "{error}"
            );
        }
    }

    /// No type takes `1.5`.
    #[test]
    fn every_key_says_what_it_takes() {
        let app = "[app]\nname = \"a\"\n";
        let function = "[[function]]\nname = \"f\"\ncomponent = \"f.wasm\"\n";
        let ingress = "[[ingress]]\npath = \"/e\"\nformat = \"s3\"\n";
        let mut seen = 0;
        for (before, header) in [
            ("", ""),
            ("", "[app]"),
            (app, "[buckets.b]"),
            (app, "[http]"),
            (app, "[http.tls]"),
            (app, "[queue]"),
            (app, "[compile]"),
            (app, "[host]"),
            (app, "[[function]]"),
            (function, "[function.snapshot]"),
            (function, "[function.on]"),
            (function, "[function.limits]"),
            (function, "[function.retry]"),
            (function, "[function.grants]"),
            (app, "[[ingress]]"),
            (ingress, "[ingress.sns]"),
            (ingress, "[ingress.auth]"),
        ] {
            for key in keys(before, header) {
                let line = before.matches('\n').count() + 2;
                let error = error(&format!("{before}{header}\n{key} = 1.5\n"));
                let place = format!("kinglet.toml:{line}:{}: ", key.len() + 4);
                assert!(error.starts_with(&place), "{header} {key}: {error}");
                let section = header
                    .trim_matches(['[', ']'])
                    .replace("buckets.b", "buckets");
                let path = format!("{section}.{key}");
                let example = example(path.trim_start_matches('.'));
                let example = example.unwrap_or_else(|| panic!("{path} has no example"));
                assert!(
                    error.contains(&format!("{key}` is 1.5, which isn't"))
                        && error.contains(&format!("write it as {}", assigned(&key, example))),
                    "{header} {key}: {error}"
                );
                seen += 1;
            }
        }
        assert!(seen > 80, "{seen}");
    }

    /// An example that is no good would be worse than none.
    #[test]
    fn every_example_is_of_its_form() {
        for (path, example) in EXAMPLES {
            let key = path.rsplit('.').next().unwrap();
            let text = match example.starts_with('[') && !example.contains('"') {
                true => (*example).to_owned(),
                false => format!("{key} = {example}"),
            };
            assert!(text.parse::<toml::Table>().is_ok(), "{path}: {text}");
        }
    }
}
