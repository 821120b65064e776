use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;

use super::decode_with;
use crate::budget::Demand;
use crate::{Format, Limits, Picture, Rejection};

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Rejection> {
    let decoder = BmpDecoder::new(Cursor::new(bytes))
        .map_err(|error| Rejection::from_image(Format::Bmp, &error))?;
    let (width, height) = decoder.dimensions();
    Demand::per_pixel(width, height, 4).check(limits)?;
    decode_with(Format::Bmp, decoder, limits)
}
