use std::borrow::Cow;
use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::gif::GifDecoder;

use super::decode_with;
use crate::budget::{Budget, Demand};
use crate::{Format, Picture, Rejection};

/// The logical screen and the frame that is put on it, both RGBA.
const BYTES_PER_PIXEL: u64 = 4 + 4;
const HEADER_LEN: usize = 13;
/// Places in the header of the screen's width and height.
const WIDTH_AT: usize = 6;
const HEIGHT_AT: usize = 8;
const FLAGS_AT: usize = 10;
/// A palette of 256 colours follows.
const HAS_256_COLORS: u8 = 0x87;

pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let fail = |error| Rejection::from_image(Format::Gif, &error);
    let repaired = repaired(bytes);
    let decoder = GifDecoder::new(Cursor::new(&repaired)).map_err(fail)?;
    let (width, height) = decoder.dimensions();
    let mut demand = Demand::per_pixel(width, height, BYTES_PER_PIXEL);
    if let Cow::Owned(copy) = &repaired {
        demand.bytes = demand.bytes.saturating_add(copy.len() as u64);
    }
    demand.check(budget)?;
    if width == 0 || height == 0 {
        let size = format!("a size of {width}x{height}");
        return Err(Rejection::corrupt(Format::Gif, size));
    }
    decode_with(Format::Gif, decoder, budget)
}

/// Repairs what the decoder reads otherwise than Pillow. A screen that is smaller than its first
/// frame becomes as large. A file without a global palette leaves the colours to the reader, and
/// has grays. A frame's own palette still comes first.
fn repaired(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (Some(header), Some(rest)) = (bytes.first_chunk::<HEADER_LEN>(), bytes.get(HEADER_LEN..))
    else {
        return Cow::Borrowed(bytes);
    };
    let mut fixed = *header;
    let mut palette = Vec::new();
    let flags = header.get(FLAGS_AT).copied().unwrap_or_default();
    if flags & 0x80 == 0 {
        palette = (0..=255).flat_map(|gray| [gray; 3]).collect();
        put(&mut fixed, FLAGS_AT, &[flags | HAS_256_COLORS]);
    }
    if let Some(frame) = first_frame(bytes, flags) {
        for (at, end) in [(WIDTH_AT, frame.0), (HEIGHT_AT, frame.1)] {
            let screen = short(bytes, at).unwrap_or_default();
            put(&mut fixed, at, &screen.max(end).to_le_bytes());
        }
    }
    match fixed == *header {
        true => Cow::Borrowed(bytes),
        false => Cow::Owned([&fixed, &*palette, rest].concat()),
    }
}

fn put(header: &mut [u8; HEADER_LEN], at: usize, value: &[u8]) {
    if let Some(into) = header.get_mut(at..at + value.len()) {
        into.copy_from_slice(value);
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Finds the right and lower end of the first frame; none where a screen can't be as large.
fn first_frame(bytes: &[u8], flags: u8) -> Option<(u16, u16)> {
    const EXTENSION: u8 = 0x21;
    const FRAME: u8 = 0x2c;
    let palette = match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut at = HEADER_LEN + palette;
    loop {
        match *bytes.get(at)? {
            FRAME => {
                let end =
                    |offset, size| short(bytes, at + offset)?.checked_add(short(bytes, at + size)?);
                return Some((end(1, 5)?, end(3, 7)?));
            }
            EXTENSION => {
                // Its label, and blocks to the one of no length.
                at += 2;
                loop {
                    let len = usize::from(*bytes.get(at)?);
                    at += 1 + len;
                    if len == 0 {
                        break;
                    }
                }
            }
            // As decoders do: padding is passed over.
            0 => at += 1,
            _ => return None,
        }
    }
}
