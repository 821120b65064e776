//! Texts from outside, cut to a length that logs, stores and people can bear.

use std::fmt::{self, Display, Write};

use crate::guard::visible;

/// A cut text ends with its mark, which takes at most so many bytes.
const MARK_BYTES: usize = 48;

/// Returns `text` with at most `most` bytes. A longer text is cut, and ends with its true length, as in
/// `abc... (4,000,000 bytes)`.
pub fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let kept = text.floor_char_boundary(most.saturating_sub(MARK_BYTES));
    marked(text.get(..kept).unwrap_or_default(), text.len())
}

/// Makes control characters of `text` visible, and cuts it as [`shorten`] does.
pub fn visible_short(text: &str, most: usize) -> String {
    let start = text.get(..text.floor_char_boundary(most)).unwrap_or(text);
    let escaped = visible(start);
    if start.len() == text.len() && escaped.len() <= most {
        return escaped;
    }
    let kept = escaped.floor_char_boundary(most.saturating_sub(MARK_BYTES));
    marked(escaped.get(..kept).unwrap_or_default(), text.len())
}

/// Cuts a text in place, as [`shorten`] does.
pub fn shorten_in_place(text: &mut String, most: usize) {
    if text.len() > most {
        *text = shorten(text, most);
    }
}

/// Formats `value` with at most `most` bytes of memory, and cuts it as [`shorten`] does.
pub fn format_short(value: impl Display, most: usize) -> String {
    let mut short = Short {
        text: String::new(),
        most,
        length: 0,
    };
    // A value that fails to format has the text that it wrote so far.
    let _ = write!(short, "{value}");
    let Short {
        mut text, length, ..
    } = short;
    if length <= most {
        return text;
    }
    text.truncate(text.floor_char_boundary(most.saturating_sub(MARK_BYTES)));
    marked(&text, length)
}

/// Returns whether `value` has at most `most` bytes.
pub fn is_within(value: impl Display, most: usize) -> bool {
    let mut short = Short {
        text: String::new(),
        most: 0,
        length: 0,
    };
    write!(short, "{value}").is_ok() && short.length <= most
}

fn marked(kept: &str, length: usize) -> String {
    let mut digits = length.to_string();
    let mut place = digits.len();
    while place > 3 {
        place -= 3;
        digits.insert(place, ',');
    }
    format!("{kept}... ({digits} bytes)")
}

/// A writer that keeps the start of a text, and counts the rest.
struct Short {
    text: String,
    most: usize,
    length: usize,
}

impl Write for Short {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.most.saturating_sub(self.text.len());
        // A part that was cut leaves no room for later ones.
        if self.length <= self.most {
            let kept = part.floor_char_boundary(room.min(part.len()));
            self.text.push_str(part.get(..kept).unwrap_or_default());
        }
        self.length = self.length.saturating_add(part.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_tells_its_length() {
        assert_eq!(shorten("short", 5), "short");
        let name = "N".repeat(4_000_000);
        let cut = shorten(&name, 256);
        assert!(cut.starts_with("NNN") && cut.len() <= 256, "{cut}");
        assert!(cut.ends_with("N... (4,000,000 bytes)"), "{cut}");
        assert_eq!(shorten(&cut, 256), cut, "once is enough");
        assert_eq!(format_short(&name, 256), cut);
        assert!(is_within("short", 5) && !is_within(&name, 256));
        let twice = format_short(format_args!("{name}{name}"), 64);
        assert!(twice.len() <= 64 && twice.contains("8,000,000"), "{twice}");
        let escapes = visible_short(&"\u{1b}".repeat(1_000), 100);
        assert!(escapes.starts_with("\\u{1b}") && escapes.len() <= 100);
        assert!(escapes.ends_with("(1,000 bytes)"), "{escapes}");
        assert_eq!(visible_short("a\u{1b}", 100), "a\\u{1b}");
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for most in 60..80 {
            let text = "\u{e9}".repeat(100);
            let cut = shorten(&text, most);
            assert!(cut.len() <= most && cut.contains("(200 bytes)"), "{cut}");
            assert_eq!(format_short(format_args!("{text}"), most), cut);
            let parts = format_args!("x{text}{text}").to_string();
            assert_eq!(format_short(&parts, most), shorten(&parts, most));
        }
    }
}
