//! Grants on buckets, with or without a prefix.

use std::fmt;

use serde::Deserialize;

/// A bucket, or the keys of it that start with a prefix: `photos`, `photos/2026/`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Grant {
    /// The bucket's name.
    pub bucket: String,
    /// Keys start with this; empty for the whole bucket.
    pub prefix: String,
}

impl Grant {
    /// Whether it covers this key.
    pub fn covers(&self, bucket: &str, key: &str) -> bool {
        self.bucket == bucket && key.starts_with(&self.prefix)
    }
}

impl From<String> for Grant {
    fn from(text: String) -> Self {
        match text.split_once('/') {
            Some((bucket, prefix)) => Self {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            },
            None => Self {
                bucket: text,
                prefix: String::new(),
            },
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket)?;
        if self.prefix.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.prefix)
        }
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
        ] {
            assert_eq!(
                Grant::from(grant.to_owned()).covers(bucket, key),
                covers,
                "{grant} {key}"
            );
        }
    }
}
