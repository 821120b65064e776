//! One module for each format: read the header, check the budget, decode.

pub(crate) mod bmp;
pub(crate) mod gif;
pub(crate) mod jpeg;
pub(crate) mod png;
pub(crate) mod tiff;
pub(crate) mod webp;

use image::{ColorType, ImageDecoder};

use crate::budget::{Budget, Demand};
use crate::{Format, Layout, Picture, Rejection};

/// What the decoders of the `image` crate have in common.
fn decode_with(
    format: Format,
    mut decoder: impl ImageDecoder,
    budget: &Budget,
) -> Result<Picture, Rejection> {
    let (width, height) = decoder.dimensions();
    let layout = match decoder.color_type() {
        ColorType::L8 => Layout::Gray,
        ColorType::Rgb8 => Layout::Rgb,
        ColorType::Rgba8 => Layout::Rgba,
        other => return Err(Rejection::unsupported(format, format!("{other:?} samples"))),
    };
    let exif = decoder.exif_metadata().unwrap_or_default();
    let xmp = decoder.xmp_metadata().unwrap_or_default();
    let orientation = crate::orientation::orientation_of(exif.as_deref(), xmp.as_deref());
    let fail = |error| Rejection::from_image(format, &error);
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(budget.left());
    decoder.set_limits(bounds).map_err(fail)?;

    let demand = Demand::per_pixel(width, height, layout.channels() as u64);
    demand.check(budget)?;
    let mut pixels = vec![0; demand.bytes as usize];
    decoder.read_image(&mut pixels).map_err(fail)?;
    Ok(Picture {
        width,
        height,
        layout,
        pixels,
        orientation,
        format,
    })
}
