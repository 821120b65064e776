//! Which strings can be keys.

use crate::guard::{self, Guard};

/// The longest key, in bytes: what S3 allows.
const MAX_KEY_BYTES: usize = 1_024;
/// The longest part between two slashes, in bytes: what file systems allow.
const MAX_PART_BYTES: usize = 255;

/// Says what is wrong with `key`, naming it.
///
/// # Errors
/// A sentence for the person who made the key.
pub fn validate_key(key: &str) -> Result<(), String> {
    if !guard::holds(Guard::ObjectKeys) {
        return Ok(());
    }
    let problem = if key.is_empty() {
        "is empty"
    } else if key.len() > MAX_KEY_BYTES {
        "is longer than 1,024 bytes"
    } else if key.starts_with('/') {
        "begins with a slash; leave it out"
    } else if key.chars().any(char::is_control) {
        "has a control character"
    } else {
        match key.split('/').find_map(part_problem) {
            Some(problem) => problem,
            None => return Ok(()),
        }
    };
    let shown: String = key.chars().take(80).collect();
    Err(format!("key {shown:?} {problem}"))
}

fn part_problem(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        Some("has an empty part between slashes")
    } else if part == "." || part == ".." {
        Some("has a part `.` or `..`; write the whole key")
    } else if part.starts_with('.') {
        Some("has a part that begins with a dot; hidden files aren't objects")
    } else if part.len() > MAX_PART_BYTES {
        Some("has a part longer than 255 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for good in [
            "a",
            "a/b.jpg",
            "Zoë/猫 & dog.png",
            "a b",
            "x..y",
            "back\\slash",
            "-rf",
        ] {
            assert_eq!(validate_key(good), Ok(()), "{good:?}");
        }
        let long = "x".repeat(1_025);
        let long_part = "x".repeat(256);
        for (bad, says) in [
            ("", "empty"),
            ("/etc/passwd", "slash"),
            ("a//b", "empty part"),
            ("a/", "empty part"),
            ("../a", "`..`"),
            ("a/./b", "`.`"),
            (".ssh/id", "dot"),
            ("a\nb", "control"),
            ("a\0b", "control"),
            (long.as_str(), "1,024"),
            (long_part.as_str(), "255"),
        ] {
            let error = validate_key(bad).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
