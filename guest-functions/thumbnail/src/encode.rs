//! Pixels to files.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use kinglet_image_input::{Format as InputFormat, Layout, Picture};

/// What the operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG for opaque pictures that came as JPEG or WebP; PNG for the rest, which has transparency
    /// or sharp edges to keep.
    Auto,
    /// Transparency is blended onto white.
    Jpeg,
    /// Without loss.
    Png,
    /// Without loss: `quality` doesn't apply. Of the encoders with loss in Rust, one is under the
    /// AGPL, and webp-rust 0.3 writes broken files at a quality of 95.
    WebP,
}

impl Format {
    pub(crate) const NAMES: [(&str, Self); 4] = [
        ("auto", Self::Auto),
        ("jpeg", Self::Jpeg),
        ("png", Self::Png),
        ("webp", Self::WebP),
    ];

    /// What is written for this picture.
    pub fn choose(self, picture: &Picture) -> Encoded {
        match self {
            Self::Jpeg => Encoded::Jpeg,
            Self::Png => Encoded::Png,
            Self::WebP => Encoded::WebP,
            Self::Auto => match (picture.format, picture.layout) {
                (_, Layout::Rgba) => Encoded::Png,
                (InputFormat::Jpeg | InputFormat::WebP, _) => Encoded::Jpeg,
                _ => Encoded::Png,
            },
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoded {
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
    /// `image/webp`
    WebP,
}

impl Encoded {
    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
        }
    }

    /// The file extension, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }
}

/// An encoder failed on pixels of our own making.
#[derive(Debug, thiserror::Error)]
#[error("writing {} failed", .format.content_type())]
#[non_exhaustive]
pub struct EncodeError {
    /// What was to be written.
    pub format: Encoded,
    /// What the encoder said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Writes an upright picture; `quality` is JPEG's, 1 to 100.
///
/// # Errors
/// [`EncodeError`] when a side is 0 or over the format's limit.
pub fn encode(picture: Picture, format: Encoded, quality: u8) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    let result = match format {
        Encoded::Jpeg => encode_jpeg(picture, quality, &mut bytes),
        Encoded::Png => {
            let encoder = PngEncoder::new_with_quality(
                &mut bytes,
                CompressionType::Default,
                FilterType::Adaptive,
            );
            encode_lossless(&picture, encoder)
        }
        Encoded::WebP => encode_lossless(&picture, WebPEncoder::new_lossless(&mut bytes)),
    };
    result
        .map(|()| bytes)
        .map_err(|source| EncodeError { format, source })
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn encode_jpeg(picture: Picture, quality: u8, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let picture = picture.flattened_onto([255; 3]);
    let color = match picture.layout {
        Layout::Gray => jpeg_encoder::ColorType::Luma,
        Layout::Rgb | Layout::Rgba => jpeg_encoder::ColorType::Rgb,
    };
    let (width, height) = (
        u16::try_from(picture.width)?,
        u16::try_from(picture.height)?,
    );
    // Halves chroma below a quality of 90. Tables of the picture's own would save 3%, take twice the
    // time, and put each component in a scan of its own, which some readers get wrong.
    let encoder = jpeg_encoder::Encoder::new(bytes, quality);
    Ok(encoder.encode(&picture.pixels, width, height, color)?)
}

fn encode_lossless(picture: &Picture, encoder: impl ImageEncoder) -> Result<(), Failure> {
    let color = match picture.layout {
        Layout::Gray => ExtendedColorType::L8,
        Layout::Rgb => ExtendedColorType::Rgb8,
        Layout::Rgba => ExtendedColorType::Rgba8,
    };
    Ok(encoder.write_image(&picture.pixels, picture.width, picture.height, color)?)
}
