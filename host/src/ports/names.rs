//! Bounds of what senders and functions name: ids, sources, keys of order, attributes.

use thiserror::Error;

use crate::guard::{self, Guard};

/// The longest id, source, type, ordering key, media type or name of an attribute, in bytes.
const MAX_NAME: usize = 1_024;
/// The longest value of an attribute, in bytes.
const MAX_VALUE: usize = 8 << 10;
/// The most that the names and values of one event's attributes take together, in bytes.
const MAX_ATTRIBUTES: usize = 64 << 10;
/// How much of a name an error shows, in characters.
const SHOWN: usize = 80;

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
    if length <= most || !guard::holds(Guard::Names) {
        return Ok(());
    }
    let name = name();
    Err(TooLong { name, length, most })
}

fn quoted(name: &str) -> String {
    let mut shown = name.to_owned();
    cut(&mut shown, SHOWN);
    format!("`{shown}`")
}

/// Cuts a text to `most` characters, the last three of which then show that it was cut.
pub fn cut(text: &mut String, most: usize) {
    const MARK: &str = "...";
    // No text has more characters than bytes.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return;
    }
    let kept = most.saturating_sub(MARK.len());
    if let Some((end, _)) = text.char_indices().nth(kept) {
        text.truncate(end);
        text.push_str(MARK);
    }
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
        assert!(name.len() < 120 && name.ends_with("n...`"), "{name}");
    }

    #[test]
    fn a_cut_text_ends_within_no_character() {
        for (text, most, expected) in [
            ("abc", 3, "abc"),
            ("abcdef", 5, "ab..."),
            ("\u{732b}\u{732b}\u{732b}\u{732b}\u{732b}", 4, "\u{732b}..."),
            ("\u{732b}\u{732b}", 2, "\u{732b}\u{732b}"),
        ] {
            let mut text = text.to_owned();
            cut(&mut text, most);
            assert_eq!(text, expected);
        }
    }
}
