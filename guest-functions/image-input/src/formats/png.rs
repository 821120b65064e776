use std::io::Cursor;

use png::{ColorType, Transformations};

use crate::budget::Demand;
use crate::orientation::orientation_of;
use crate::{Format, Layout, Limits, Picture, Rejection};

/// The `png` crate itself, below `image`: it drops 16 bits to 8 row by row, where `image` would
/// hold the whole picture at 16.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Rejection> {
    let fail = |error: png::DecodingError| match &error {
        png::DecodingError::LimitsExceeded => {
            Rejection::corrupt(Format::Png, "its chunks take more memory than its size accounts for")
        }
        _ => Rejection::from_codec(Format::Png, &error),
    };
    // Bounds what compressed text and profiles may unpack to; the picture itself isn't counted.
    let mut decoder = png::Decoder::new_with_limits(
        Cursor::new(bytes),
        png::Limits { bytes: usize::try_from(limits.max_bytes).unwrap_or(usize::MAX) },
    );
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(fail)?.size();
    Demand::per_pixel(width, height, 1).check(limits)?;
    let mut reader = decoder.read_info().map_err(fail)?;

    let (color, _) = reader.output_color_type();
    let (layout, bytes_per_pixel) = match color {
        ColorType::Grayscale => (Layout::Gray, 1),
        ColorType::Rgb => (Layout::Rgb, 3),
        ColorType::Rgba => (Layout::Rgba, 4),
        // Both the two channels that come and the four they become.
        ColorType::GrayscaleAlpha => (Layout::Rgba, 2 + 4),
        ColorType::Indexed => {
            return Err(Rejection::corrupt(Format::Png, "a palette picture without a palette"));
        }
    };
    Demand::per_pixel(width, height, bytes_per_pixel).check(limits)?;
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    reader.next_frame(&mut pixels).map_err(fail)?;
    if color == ColorType::GrayscaleAlpha {
        pixels = pixels
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|&[gray, alpha]| [gray, gray, gray, alpha])
            .collect();
    }
    let info = reader.info();
    let orientation = orientation_of(info.exif_metadata.as_deref(), None);
    Ok(Picture { width, height, layout, pixels, orientation, format: Format::Png })
}
