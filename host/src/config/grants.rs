//! Grants on buckets, with or without a prefix.

use std::fmt;

use serde::Deserialize;

use super::Grants;

/// A bucket, or the keys of it that start with a prefix: `photos`, `photos/2026/`, `photos/in*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Grant {
    /// The bucket's name.
    pub bucket: String,
    /// Keys start with this; empty for the whole bucket.
    pub prefix: String,
    /// Set where a `*` at the end says that names may go on after the prefix.
    pub open_ended: bool,
}

impl Grant {
    /// Whether it covers this key.
    pub fn covers(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && key.starts_with(&self.prefix)
    }
}

impl From<String> for Grant {
    fn from(text: String) -> Self {
        let (bucket, prefix) = text.split_once('/').unwrap_or((&text, ""));
        let open = prefix.strip_suffix('*');
        Self {
            bucket: bucket.to_owned(),
            prefix: open.unwrap_or(prefix).to_owned(),
            open_ended: open.is_some(),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket)?;
        if !self.prefix.is_empty() || self.open_ended {
            write!(f, "/{}", self.prefix)?;
        }
        f.write_str(if self.open_ended { "*" } else { "" })
    }
}

/// The subject of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// Reading and listing objects.
    Read,
    /// Writing and removing objects.
    Write,
    /// Publishing messages.
    Publish,
    /// A keyvalue bucket.
    KeyValue,
    /// Requests to elsewhere.
    Http,
}

impl Grants {
    /// Returns what to write into the manifest so that `value` is granted, as the end of a
    /// sentence.
    pub fn line_for(&self, kind: GrantKind, value: &str) -> String {
        let name = match (kind, self.of_spin) {
            (GrantKind::KeyValue, true) => "key_value_stores",
            (GrantKind::Http, true) => "allowed_outbound_hosts",
            (_, true) => {
                let no_place = "a `spin.toml` grants no buckets or topics; use a `kinglet.toml`";
                return no_place.to_owned();
            }
            (GrantKind::Read, false) => "read",
            (GrantKind::Write, false) => "write",
            (GrantKind::Publish, false) => "publish",
            (GrantKind::KeyValue, false) => "keyvalue",
            (GrantKind::Http, false) => "http",
        };
        match self.of_spin {
            true => format!("add `{name} = [{value:?}]` to its component"),
            false => format!("add `grants = {{ {name} = [{value:?}] }}` to it"),
        }
    }

    /// Tells whether a keyvalue bucket is granted.
    pub fn has_keyvalue(&self, name: &str) -> bool {
        let mut granted = self.keyvalue.iter();
        granted.any(|granted| keyvalue_bucket(granted) == keyvalue_bucket(name))
    }
}

/// Returns the bucket that guests open by this identifier. The empty one, which examples of other
/// hosts open, is the bucket `default`.
pub fn keyvalue_bucket(identifier: &str) -> &str {
    match identifier {
        "" => "default",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (grant, bucket, key, covers) in [
            ("photos", "photos", "a.jpg", true),
            ("photos", "photo", "a.jpg", false),
            ("photos/2026/", "photos", "2026/a.jpg", true),
            ("photos/2026/", "photos", "2025/a.jpg", false),
            ("photos/2026/", "photos", "2026", false),
            ("photos/in", "photos", "inner.txt", true),
            ("photos/in*", "photos", "inner.txt", true),
            ("photos/in*", "photos", "on.txt", false),
            ("photos/*", "photos", "a.jpg", true),
        ] {
            let found = Grant::from(grant.to_owned());
            assert_eq!(found.covers(bucket, key), covers, "{grant} {key}");
            assert_eq!(found.to_string(), grant);
        }
    }

    #[test]
    fn the_line_that_grants_is_one_of_its_manifest() {
        let mut grants = Grants::default();
        for (kind, spin, says) in [
            (GrantKind::Read, false, "`grants = { read = [\"x\"] }`"),
            (GrantKind::Write, false, "`grants = { write = [\"x\"] }`"),
            (
                GrantKind::Publish,
                false,
                "`grants = { publish = [\"x\"] }`",
            ),
            (
                GrantKind::KeyValue,
                false,
                "`grants = { keyvalue = [\"x\"] }`",
            ),
            (GrantKind::Http, false, "`grants = { http = [\"x\"] }`"),
            (GrantKind::KeyValue, true, "`key_value_stores = [\"x\"]`"),
            (GrantKind::Http, true, "`allowed_outbound_hosts = [\"x\"]`"),
            (GrantKind::Publish, true, "`kinglet.toml`"),
        ] {
            grants.of_spin = spin;
            let line = grants.line_for(kind, "x");
            assert!(line.contains(says), "{line}");
        }
    }
}
