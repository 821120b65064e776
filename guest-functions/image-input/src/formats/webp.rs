use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;

use super::decode_with;
use crate::budget::{Budget, Demand};
use crate::{Format, Picture, Rejection};

/// The output, and beside it the planes of lossy frames or the entropy codes of lossless ones.
const BYTES_PER_PIXEL: u64 = 4 + 3;

pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|error| {
        if is_cut_short(bytes) {
            return Rejection::Truncated {
                format: Format::WebP,
            };
        }
        Rejection::from_image(Format::WebP, &error)
    })?;
    let (width, height) = decoder.dimensions();
    Demand::per_pixel(width, height, BYTES_PER_PIXEL).check(budget)?;
    if is_cut_short(bytes) {
        return Err(Rejection::Truncated {
            format: Format::WebP,
        });
    }
    decode_with(Format::WebP, decoder, budget)
}

/// Whether the file is shorter than its RIFF header says. The decoder calls what it then meets a
/// broken bitstream.
fn is_cut_short(bytes: &[u8]) -> bool {
    const RIFF_HEADER_LEN: u64 = 8;
    let declared = bytes.get(4..).and_then(|rest| rest.first_chunk());
    declared.is_none_or(|declared| {
        (bytes.len() as u64) < RIFF_HEADER_LEN + u64::from(u32::from_le_bytes(*declared))
    })
}
