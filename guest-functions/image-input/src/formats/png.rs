use std::borrow::Cow;
use std::io::Cursor;

use png::{ColorType, Transformations};

use crate::budget::{Budget, Demand};
use crate::error::tidy;
use crate::orientation::orientation_of;
use crate::{Format, Layout, Picture, Rejection};

/// The `png` crate itself, below `image`: it drops 16 bits to 8 row by row, where `image` would
/// hold the whole picture at 16.
pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    if bytes
        .get(FIRST_CHUNK..)
        .is_some_and(|chunk| chunk.starts_with(b"CgBI"))
    {
        return Err(Rejection::unsupported(
            Format::Png,
            "Apple's CgBI variant, which Xcode makes for apps; convert it, as with \
             `sips -s format png`, or use the original",
        ));
    }
    let fail = |error: png::DecodingError| match &error {
        png::DecodingError::LimitsExceeded => Rejection::corrupt(
            Format::Png,
            "its chunks take more memory than its size accounts for",
        ),
        // It names no source.
        png::DecodingError::IoError(error) => Rejection::from_codec(Format::Png, error),
        _ => rejection(&error.to_string()),
    };
    // Bounds what compressed text and profiles may unpack to; the picture itself isn't counted.
    let mut decoder = png::Decoder::new_with_limits(
        Cursor::new(bytes),
        png::Limits {
            bytes: usize::try_from(budget.left()).unwrap_or(usize::MAX),
        },
    );
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(fail)?.size();
    Demand::per_pixel(width, height, 1).check(budget)?;
    let mut reader = decoder.read_info().map_err(fail)?;

    let (color, _) = reader.output_color_type();
    let (layout, bytes_per_pixel) = match color {
        ColorType::Grayscale => (Layout::Gray, 1),
        ColorType::Rgb => (Layout::Rgb, 3),
        ColorType::Rgba => (Layout::Rgba, 4),
        // Both the two channels that come and the four they become.
        ColorType::GrayscaleAlpha => (Layout::Rgba, 2 + 4),
        ColorType::Indexed => {
            return Err(Rejection::corrupt(
                Format::Png,
                "a palette picture without a palette",
            ));
        }
    };
    Demand::per_pixel(width, height, bytes_per_pixel).check(budget)?;
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    reader.next_frame(&mut pixels).map_err(fail)?;
    if color == ColorType::GrayscaleAlpha {
        let hidden = hidden_gray(reader.info());
        pixels = pixels
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[gray, alpha]| [gray, if hidden == Some(gray) { 0 } else { alpha }])
            .flat_map(|[gray, alpha]| [gray, gray, gray, alpha])
            .collect();
    }
    // EXIF may follow the pixels; what is wrong behind them doesn't matter.
    let _ = reader.finish();
    let info = reader.info();
    let exif = info
        .exif_metadata
        .as_deref()
        .map(Cow::Borrowed)
        .or_else(|| raw_exif(info));
    let orientation = orientation_of(exif.as_deref(), xmp(info).as_deref().map(str::as_bytes));
    Ok(Picture {
        width,
        height,
        layout,
        pixels,
        orientation,
        format: Format::Png,
    })
}

/// The place of the first chunk's name.
const FIRST_CHUNK: usize = 12;

/// Puts the decoder's error into words, because its own shows how it keeps the names of chunks.
fn rejection(text: &str) -> Rejection {
    const SHORT: [&str; 2] = ["does not have enough data for image", "InsufficientInput"];
    const NAME: &str = "ChunkType { type: ";
    if SHORT.into_iter().any(|short| text.contains(short)) {
        return Rejection::Truncated {
            format: Format::Png,
        };
    }
    if text.starts_with("Corrupt deflate stream") {
        return Rejection::corrupt(Format::Png, "its compressed data are broken");
    }
    let mut reason = String::new();
    let mut rest = text.trim_end_matches('.');
    while let Some((before, named)) = rest.split_once(NAME) {
        reason.push_str(before);
        let name_ends = named.find([',', ' ', '}']).unwrap_or(named.len());
        let (name, behind) = named.split_at(name_ends);
        reason.push_str(name);
        rest = behind.split_once('}').map_or("", |(_, rest)| rest);
    }
    reason.push_str(rest);
    Rejection::corrupt(Format::Png, tidy(&reason))
}

/// The gray that a tRNS chunk makes transparent, where its unused high bits are set: readers must
/// mask them (PNG 11.3.2.1), which the decoder doesn't.
fn hidden_gray(info: &png::Info) -> Option<u8> {
    let bits = info.bit_depth as u32;
    if info.color_type != ColorType::Grayscale || bits > 8 {
        return None;
    }
    let most = u8::MAX >> (8 - bits);
    let value = *info.trns.as_deref()?.last()?;
    (value > most).then_some((value & most) * (u8::MAX / most))
}

/// What text of metadata may unpack to.
const MAX_TEXT_BYTES: usize = 1 << 20;

fn xmp(info: &png::Info) -> Option<String> {
    let mut chunk = info
        .utf8_text
        .iter()
        .find(|c| c.keyword == "XML:com.adobe.xmp")?
        .clone();
    chunk.decompress_text_with_limit(MAX_TEXT_BYTES).ok()?;
    chunk.get_text().ok()
}

/// EXIF as ImageMagick wrote it before PNG had a chunk for it: a name, a length and hexadecimal.
fn raw_exif<'a>(info: &png::Info) -> Option<Cow<'a, [u8]>> {
    let is_exif = |keyword: &str| keyword == "Raw profile type exif";
    let compressed = info
        .compressed_latin1_text
        .iter()
        .find(|chunk| is_exif(&chunk.keyword));
    let text = match compressed {
        Some(chunk) => {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(MAX_TEXT_BYTES).ok()?;
            chunk.get_text().ok()?
        }
        None => {
            let chunk = info
                .uncompressed_latin1_text
                .iter()
                .find(|c| is_exif(&c.keyword))?;
            chunk.text.clone()
        }
    };
    let digits: Vec<u8> = text
        .trim_start()
        .lines()
        .skip(2)
        .flat_map(str::chars)
        .filter_map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect();
    Some(
        digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[high, low]| high << 4 | low)
            .collect(),
    )
}
