use std::borrow::Cow;
use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::gif::GifDecoder;

use super::decode_with;
use crate::budget::{Budget, Demand};
use crate::{Format, Picture, Rejection};

/// The logical screen and the frame that is put on it, both RGBA.
const BYTES_PER_PIXEL: u64 = 4 + 4;

pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let decoder = GifDecoder::new(Cursor::new(with_palette(bytes)))
        .map_err(|error| Rejection::from_image(Format::Gif, &error))?;
    let (width, height) = decoder.dimensions();
    Demand::per_pixel(width, height, BYTES_PER_PIXEL).check(budget)?;
    decode_with(Format::Gif, decoder, budget)
}

/// A file without a global palette leaves the colours to the reader: indices are grays then, as
/// Pillow has it. A frame's own palette still comes first.
fn with_palette(bytes: &[u8]) -> Cow<'_, [u8]> {
    const FLAGS_AT: usize = 10;
    const HEADER_LEN: usize = 13;
    const HAS_256_COLORS: u8 = 0x87;
    let (Some(header), Some(rest)) = (bytes.first_chunk::<HEADER_LEN>(), bytes.get(HEADER_LEN..))
    else {
        return Cow::Borrowed(bytes);
    };
    let mut header = *header;
    match header.get_mut(FLAGS_AT) {
        Some(flags) if *flags & 0x80 == 0 => *flags |= HAS_256_COLORS,
        _ => return Cow::Borrowed(bytes),
    }
    let grays: Vec<u8> = (0..=255).flat_map(|gray| [gray; 3]).collect();
    Cow::Owned([&header, &*grays, rest].concat())
}
