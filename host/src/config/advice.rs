//! What a valid manifest says and probably doesn't mean.

use super::{Function, Grant, Manifest, Source, Trigger};

impl Manifest {
    /// Sentences about one function: nothing is wrong with it, and something of it may do nothing.
    pub fn advice(&self, function: &Function) -> Vec<String> {
        let mut advice = Vec::new();
        if let Source::Bucket(bucket) = function.on.source()
            && !function
                .grants
                .read
                .iter()
                .any(|grant| grant.bucket == bucket)
        {
            advice.push(format!(
                "objects in {bucket:?} wake it and it may not read them; add `grants = {{ read = \
                 [\"{bucket}\"] }}`"
            ));
        }
        if let Some(bucket) = &function.on.object_created {
            let suffixes = function.on.suffix.iter();
            for suffix in suffixes.filter(|suffix| self.is_unfinished(bucket, suffix)) {
                advice.push(format!(
                    "names that end with {suffix:?} are of unfinished files, which wake nobody; list the endings \
                     that are in `buckets.{bucket}.unfinished`"
                ));
            }
        }
        for topic in &function.grants.publish {
            if self.woken_by_message(topic).is_empty() {
                advice.push(format!(
                    "it may publish to {topic:?}, which wakes no function: such messages are gone"
                ));
            }
        }
        if let Source::Schedule(schedule) = function.on.source() {
            advice.extend(schedule.long_steps());
        }
        advice.extend(function.on.unmatched());
        let grants = &function.grants;
        for (name, granted) in [("read", &grants.read), ("write", &grants.write)] {
            advice.extend(granted.iter().filter_map(|grant| doubtful(name, grant)));
        }
        advice
    }
}

impl Trigger {
    /// Finds what of `prefix` and `suffix` no key has, or only keys that nobody means.
    fn unmatched(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(prefix) = &self.prefix {
            if let Some(problem) = never_in_keys(prefix) {
                let instead = usual(prefix);
                found.push(format!(
                    "no key begins with its `prefix = {prefix:?}`, as {problem}; write {instead:?}"
                ));
            } else if prefix.contains('*') || prefix.starts_with('^') {
                found.push(as_it_is("prefix", prefix, prefix.trim_matches(['*', '^'])));
            }
        }
        for suffix in &self.suffix {
            if suffix.ends_with('/') || suffix.contains("//") || suffix.contains("/.") {
                found.push(format!(
                    "no key ends with its `suffix = {suffix:?}`: keys name files; write an ending \
                     as \".jpg\""
                ));
            } else if suffix.contains(['*', '\\']) || suffix.ends_with('$') {
                let plain = suffix.trim_matches(['*', '\\', '$', '^']);
                found.push(as_it_is("suffix", suffix, plain));
            }
        }
        found
    }
}

/// Says that a text is no pattern.
fn as_it_is(name: &str, text: &str, instead: &str) -> String {
    format!(
        "its `{name} = {text:?}` is compared with keys as it is, and is no pattern; write \
         {instead:?}"
    )
}

/// A grant that covers more than it seems to, or nothing.
fn doubtful(name: &str, grant: &Grant) -> Option<String> {
    let Grant { bucket, prefix, .. } = grant;
    if let Some(problem) = never_in_keys(prefix) {
        let instead = usual(prefix);
        return Some(format!(
            "its `grants.{name} = \"{grant}\"` covers no key, as {problem}; write \
             \"{bucket}/{instead}\""
        ));
    }
    if prefix.contains('*') {
        let granted = format!("grants.{name}");
        let (instead, _) = prefix.split_once('*').unwrap_or((prefix, ""));
        return Some(as_it_is(
            &granted,
            &grant.to_string(),
            &format!("{bucket}/{instead}*"),
        ));
    }
    if prefix.is_empty() || prefix.ends_with('/') || grant.open_ended {
        return None;
    }
    Some(format!(
        "its `grants.{name} = \"{grant}\"` covers every key that begins so, as {:?}; write \
         \"{grant}/\" for a folder, \
         or \"{grant}*\" if that is meant",
        format!("{prefix}-2")
    ))
}

/// Says why no key begins with this, or has it within.
fn never_in_keys(prefix: &str) -> Option<&'static str> {
    if prefix.starts_with('/') {
        Some("keys begin without a slash")
    } else if prefix.contains("//") {
        Some("keys have no two slashes side by side")
    } else if prefix.split('/').any(|part| part.starts_with('.')) {
        Some("no part of a key begins with a dot")
    } else {
        None
    }
}

/// The nearest prefix that keys may have.
fn usual(prefix: &str) -> String {
    let end = if prefix.ends_with('/') { "/" } else { "" };
    let parts = prefix.split('/').map(|part| part.trim_start_matches('.'));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    match parts.is_empty() {
        true => String::new(),
        false => parts.join("/") + end,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Each was valid and did nothing, or more than it seemed to, without a word.
    #[test]
    fn what_matches_nothing_or_more_than_meant_is_noted() {
        for (on, grants, says) in [
            (
                "prefix = \"/in/\"",
                "",
                "`prefix = \"/in/\"`, as keys begin without a slash; write \"in/\"",
            ),
            ("prefix = \"./in\"", "", "write \"in\""),
            ("prefix = \"in//\"", "", "two slashes"),
            ("prefix = \"/\"", "", "write \"\""),
            ("prefix = \"in/*\"", "", "is no pattern; write \"in/\""),
            (
                "suffix = \"*.jpg\"",
                "",
                "`suffix = \"*.jpg\"` is compared with keys as it is, and is no pattern; write \
                 \".jpg\"",
            ),
            ("suffix = [\".png\", \"\\\\.jpg$\"]", "", "write \".jpg\""),
            ("suffix = \".jpg/\"", "", "no key ends with"),
            (
                "prefix = \"in\"",
                "read = \"photos/in\"",
                "write \"photos/in/\" for a folder, or \"photos/in*\" if that is meant",
            ),
            (
                "prefix = \"in\"",
                "read = \"photos\", write = \"thumbs/small\"",
                "`grants.write = \"thumbs/small\"` covers every key",
            ),
            (
                "prefix = \"in\"",
                "read = \"photos//in/\"",
                "covers no key, as keys begin without a slash; write \"photos/in/\"",
            ),
            (
                "prefix = \"in\"",
                "read = \"photos/*/x\"",
                "write \"photos/*\"",
            ),
        ] {
            let advice = advice(on, grants);
            assert!(
                advice.iter().any(|sentence| sentence.contains(says)),
                "{on} {grants}: {advice:?}"
            );
        }
        for (on, grants) in [
            (
                "prefix = \"in/\", suffix = [\".jpg\", \"x.JPG\", \"jpg\"]",
                "read = [\"photos\", \"thumbs/in/\"]",
            ),
            (
                "prefix = \"in\"",
                "read = [\"photos/in*\", \"thumbs/*\"], write = \"thumbs/a/b/\"",
            ),
        ] {
            assert_eq!(advice(on, grants), Vec::<String>::new(), "{on} {grants}");
        }
    }

    fn advice(on: &str, grants: &str) -> Vec<String> {
        let grants = if grants.is_empty() {
            "read = \"photos\""
        } else {
            grants
        };
        let text = format!(
            "[app]\nname = \"a\"\n[buckets.photos]\n[buckets.thumbs]\n[[function]]\nname = \"f\"\n\
             component = \"f.wasm\"\non = {{ object-created = \"photos\", {on} }}\nallow-loop = 1\n\
             grants = {{ {grants} }}"
        );
        let manifest = Manifest::parse(&text, Path::new("/app"), "kinglet.toml").unwrap();
        manifest.advice(&manifest.functions[0])
    }
}
