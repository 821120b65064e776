use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::gif::GifDecoder;

use super::decode_with;
use crate::budget::Demand;
use crate::{Format, Limits, Picture, Rejection};

/// The logical screen and the frame that is put on it, both RGBA.
const BYTES_PER_PIXEL: u64 = 4 + 4;

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Rejection> {
    let decoder = GifDecoder::new(Cursor::new(bytes))
        .map_err(|error| Rejection::from_image(Format::Gif, &error))?;
    let (width, height) = decoder.dimensions();
    Demand::per_pixel(width, height, BYTES_PER_PIXEL).check(limits)?;
    decode_with(Format::Gif, decoder, limits)
}
