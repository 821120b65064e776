//! One-dimensional fax lines (ITU-T T.4), which the `fax` crate has the codes of but reads only
//! between end-of-line marks.

use ::fax::maps::{black, white};
use ::fax::{BitReader, Color};

/// Where colour changes in each of `rows` lines, white first. With `has_marks`, lines are found by
/// their end-of-line marks (Group 3), so that a broken one spoils only itself; without, each starts
/// at a byte (TIFF's run-length scheme). `None` when the data aren't such lines.
pub(super) fn decode_lines(
    packed: &[u8],
    width: u16,
    rows: u16,
    has_marks: bool,
) -> Option<Vec<Vec<u16>>> {
    let mut bits = Bits {
        bytes: packed,
        at: 0,
    };
    let mut lines = Vec::new();
    while lines.len() < usize::from(rows) && !bits.at_end() {
        if !has_marks {
            lines.push(line(&mut bits, width).ok()?);
            bits.at = bits.at.next_multiple_of(8);
            continue;
        }
        // Several marks in a row end the page.
        let mut marks = 0;
        while bits.skip_mark() {
            marks += 1;
        }
        if marks > 1 && !lines.is_empty() {
            break;
        }
        match line(&mut bits, width) {
            Ok(line) => lines.push(line),
            Err(broken) => {
                lines.push(broken);
                while !bits.at_end() && !bits.at_mark() {
                    bits.at += 1;
                }
            }
        }
    }
    if lines.is_empty() {
        return None;
    }
    // A page may be shorter than its declared rows; paper is white.
    lines.resize(rows.into(), Vec::new());
    Some(lines)
}

/// The runs of a line; what there was of it when a code isn't one.
fn line(bits: &mut Bits, width: u16) -> Result<Vec<u16>, Vec<u16>> {
    let mut changes = Vec::new();
    let (mut at, mut color) = (0u16, Color::White);
    while at < width {
        loop {
            let run = match color {
                Color::White => white::decode(bits),
                Color::Black => black::decode(bits),
            };
            let Some(sum) = run.and_then(|run| at.checked_add(run)) else {
                return Err(changes);
            };
            let is_last = sum - at < 64;
            at = sum;
            if is_last {
                break;
            }
        }
        changes.push(at.min(width));
        color = !color;
    }
    Ok(changes)
}

struct Bits<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    fn at_end(&self) -> bool {
        self.at >= self.bytes.len() * 8
    }

    /// Eleven zeros and a one; more zeros before it are fill.
    fn at_mark(&self) -> bool {
        self.peek(11) == Some(0)
    }

    fn skip_mark(&mut self) -> bool {
        if !self.at_mark() {
            return false;
        }
        while self.peek(1) == Some(0) {
            self.at += 1;
        }
        let found = !self.at_end();
        self.at += 1;
        found
    }
}

impl BitReader for Bits<'_> {
    type Error = ();

    fn peek(&self, bits: u8) -> Option<u16> {
        if self.at_end() {
            return None;
        }
        let byte = |nth: usize| self.bytes.get(self.at / 8 + nth).copied().unwrap_or(0);
        let three = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
        let shifted = three >> (24 - self.at % 8 - usize::from(bits));
        Some((shifted & ((1 << bits) - 1)) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), ()> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (self.at.next_multiple_of(8) - self.at) as u8
    }
}
