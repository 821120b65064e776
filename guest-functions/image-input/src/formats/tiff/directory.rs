//! The first image file directory: its tags, read without trusting one of them.

use crate::{Format, Rejection};

pub(super) mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const T4_OPTIONS: u16 = 292;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const JPEG_INTERCHANGE_FORMAT: u16 = 513;
    pub const CHROMA_SUBSAMPLING: u16 = 530;
    pub const XMP: u16 = 700;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// Up to eight bytes as one number.
    pub fn number(self, bytes: &[u8]) -> u64 {
        let shift_in = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, shift_in),
            Self::Big => bytes.iter().fold(0, shift_in),
        }
    }

    pub fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// Tags and where their values lie in the file.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    pub order: ByteOrder,
    entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    tag: u16,
    kind: u16,
    /// Whole values only; shorter than declared where the file ends before them.
    bytes: &'a [u8],
}

impl<'a> Directory<'a> {
    pub fn read(file: &'a [u8]) -> Result<Self, Rejection> {
        let truncated = Rejection::Truncated {
            format: Format::Tiff,
        };
        let order = if file.starts_with(b"II") {
            ByteOrder::Little
        } else {
            ByteOrder::Big
        };
        let at = |offset: u64, len: usize| -> Option<&'a [u8]> {
            let offset = usize::try_from(offset).ok()?;
            file.get(offset..offset.checked_add(len)?)
        };
        let number = |offset: u64, len: usize| at(offset, len).map(|bytes| order.number(bytes));

        // Widths of BigTIFF's and the classic format's fields, each in bytes.
        let big = number(2, 2) == Some(43);
        let (word, count_len) = if big { (8, 8) } else { (4, 2) };
        let entry_len = 4 + 2 * word as u64;
        let Some(start) = number(if big { 8 } else { 4 }, word) else {
            return Err(truncated);
        };
        let Some(count) = number(start, count_len) else {
            return Err(truncated);
        };

        let mut entries = Vec::new();
        for index in 0..count {
            let offset = start
                .saturating_add(count_len as u64)
                .saturating_add(index.saturating_mul(entry_len));
            let (Some(tag), Some(kind), Some(values)) = (
                number(offset, 2),
                number(offset + 2, 2),
                number(offset + 4, word),
            ) else {
                return Err(truncated);
            };
            let size = size_of_kind(kind as u16);
            let inline = offset + 4 + word as u64;
            let len = usize::try_from(values)
                .unwrap_or(usize::MAX)
                .saturating_mul(size);
            let start = if len <= word {
                inline
            } else {
                number(inline, word).unwrap_or(u64::MAX)
            };
            let rest = usize::try_from(start)
                .ok()
                .and_then(|start| file.get(start..));
            let rest = rest.unwrap_or_default();
            let len = len.min(rest.len()) / size.max(1) * size;
            let bytes = rest.get(..len).unwrap_or_default();
            entries.push(Entry {
                tag: tag as u16,
                kind: kind as u16,
                bytes,
            });
        }
        Ok(Self { order, entries })
    }

    pub fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries
            .iter()
            .find(|entry| entry.tag == tag)
            .map(|entry| entry.bytes)
    }

    /// Every value of a tag of whole numbers; empty when it is absent or of another kind.
    pub fn numbers(&self, tag: u16) -> Vec<u64> {
        const BYTE: u16 = 1;
        const SHORT: u16 = 3;
        const LONG: u16 = 4;
        const IFD: u16 = 13;
        const LONG8: u16 = 16;
        const IFD8: u16 = 18;
        let Some(entry) = self.entries.iter().find(|entry| entry.tag == tag) else {
            return Vec::new();
        };
        match entry.kind {
            BYTE | SHORT | LONG | IFD | LONG8 | IFD8 => entry
                .bytes
                .chunks_exact(size_of_kind(entry.kind))
                .map(|value| self.order.number(value))
                .collect(),
            _ => Vec::new(),
        }
    }

    pub fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag).first().copied()
    }

    pub fn number_or(&self, tag: u16, default: u64) -> u64 {
        self.number(tag).unwrap_or(default)
    }
}

/// Bytes for each value; TIFF 6.0 section 2 and the BigTIFF additions. 0 for a kind not known.
fn size_of_kind(kind: u16) -> usize {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}
