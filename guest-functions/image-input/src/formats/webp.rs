use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;

use super::decode_with;
use crate::budget::Demand;
use crate::{Format, Limits, Picture, Rejection};

/// The output, and beside it the planes of lossy frames or the entropy codes of lossless ones.
const BYTES_PER_PIXEL: u64 = 4 + 3;

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Rejection> {
    let decoder = WebPDecoder::new(Cursor::new(bytes))
        .map_err(|error| Rejection::from_image(Format::WebP, &error))?;
    let (width, height) = decoder.dimensions();
    Demand::per_pixel(width, height, BYTES_PER_PIXEL).check(limits)?;
    decode_with(Format::WebP, decoder, limits)
}
