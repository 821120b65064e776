//! Bounds of what senders and functions name: ids, sources, keys of order, attributes.

use thiserror::Error;

use super::shorten;
use crate::guard::{self, Guard};

/// The longest id, source, type, ordering key, media type or name of an attribute, in bytes.
const MAX_NAME: usize = 1_024;
/// The longest value of an attribute, in bytes.
const MAX_VALUE: usize = 8 << 10;
/// The most that the names and values of one event's attributes take together, in bytes.
const MAX_ATTRIBUTES: usize = 64 << 10;
/// The part of a name that an error shows, in bytes.
const SHOWN: usize = 128;

/// A name or a value past its bound.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} has {length} bytes, and at most {most} are taken; use a shorter one")]
pub struct TooLong {
    /// The attribute's name, cut, in backquotes.
    pub name: String,
    /// Its length, in bytes.
    pub length: usize,
    /// The bound, in bytes.
    pub most: usize,
}

/// Checks the length of an id, a source, a type, an ordering key or a media type.
///
/// # Errors
/// Where it has more than 1,024 bytes.
pub fn check_name(name: &str, value: &str) -> Result<(), TooLong> {
    check(|| quoted(name), value.len(), MAX_NAME)
}

/// Checks the lengths of attributes or metadata, and of all of them together.
///
/// # Errors
/// Where a name has more than 1,024 bytes, a value more than 8 KiB, or all together more than 64
/// KiB.
pub fn check_attributes<'a>(
    attributes: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), TooLong> {
    let mut total = 0_usize;
    for (name, value) in attributes {
        let named = || format!("the name of attribute {}", quoted(name));
        check(named, name.len(), MAX_NAME)?;
        check(|| quoted(name), value.len(), MAX_VALUE)?;
        total = total.saturating_add(name.len() + value.len());
    }
    let all = || "the list of attributes".to_owned();
    check(all, total, MAX_ATTRIBUTES)
}

fn check(name: impl FnOnce() -> String, length: usize, most: usize) -> Result<(), TooLong> {
    if length <= most || !guard::holds(Guard::EventNames) {
        return Ok(());
    }
    let name = name();
    Err(TooLong { name, length, most })
}

fn quoted(name: &str) -> String {
    format!("`{}`", shorten(name, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_past_its_bound_is_told_with_its_length() {
        assert_eq!(check_name("id", &"x".repeat(1_024)), Ok(()));
        let error = check_name("id", &"x".repeat(1_025)).unwrap_err();
        let says = "`id` has 1025 bytes, and at most 1024 are taken; use a shorter one";
        assert_eq!(error.to_string(), says);
    }

    #[test]
    fn attributes_are_bounded_one_by_one_and_together() {
        let check = |attributes: &[(String, String)]| {
            let pairs = attributes.iter().map(|(name, value)| (name, value));
            check_attributes(pairs).map_err(|error| (error.name, error.length, error.most))
        };
        let pair = |name: &str, length: usize| (name.to_owned(), "v".repeat(length));
        assert_eq!(check(&[pair("a", 8_192)]), Ok(()));
        let long = Err(("`a`".to_owned(), 8_193, 8_192));
        assert_eq!(check(&[pair("b", 1), pair("a", 8_193)]), long);
        let many = vec![pair("a", 8_192); 8];
        let all = Err(("the list of attributes".to_owned(), 65_544, 65_536));
        assert_eq!(check(&many), all);
        let (name, length, most) = check(&[pair(&"n".repeat(2_000), 0)]).unwrap_err();
        assert_eq!((length, most), (2_000, 1_024));
        assert!(
            name.len() < 180 && name.ends_with("n... (2,000 bytes)`"),
            "{name}"
        );
    }
}
