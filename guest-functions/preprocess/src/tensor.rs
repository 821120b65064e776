//! A picture to a tensor.

use kinglet_image_input::{Format, Picture, Region, Rejection, ResizeError, decode};

use crate::config::{Config, Resize};

/// A normalised picture: `3 * height * width` numbers, all of red, then of green, then of blue, each
/// in rows from the top: shape `[1, 3, height, width]`, NCHW.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// `(sample / 255 - mean) / std`.
    pub values: Vec<f32>,
    /// The source's size in pixels, upright.
    pub source_size: (u32, u32),
    /// The source's format.
    pub source_format: Format,
}

/// Why there is no tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The input can't be used, now or later.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A fault of ours.
    #[error(transparent)]
    Resize(#[from] ResizeError),
}

/// Decodes, turns upright, converts to RGB, resizes in 8 bits, scales to 0..1 and normalises: what
/// these lines of Python do, each sample before scaling within 1 of 255 of theirs.
///
/// ```python
/// image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
/// pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
/// tensor = ((pixels / 255 - mean) / std).transpose(2, 0, 1)[np.newaxis]
/// ```
///
/// Transparency is dropped, as `convert("RGB")` does: models were trained on pictures that were
/// loaded that way. Decoding differs where Pillow's does: see `tests/corpus`.
///
/// # Errors
/// [`PreprocessError::Rejected`] when the bytes can't be used.
pub fn preprocess(bytes: &[u8], config: &Config) -> Result<Tensor, PreprocessError> {
    let picture = decode(bytes, &config.limits)?.without_alpha();
    let (source_size, source_format) = (picture.upright_size(), picture.format);
    let small = resize(picture, config)?.upright().into_rgb();

    let mut values = Vec::with_capacity(small.pixels.len());
    for (channel, (mean, std)) in config.mean.iter().zip(config.std).enumerate() {
        let samples = small.pixels.iter().skip(channel).step_by(3);
        values.extend(samples.map(|sample| (f32::from(*sample) / 255.0 - mean) / std));
    }
    let (width, height) = (config.width, config.height);
    Ok(Tensor {
        width,
        height,
        values,
        source_size,
        source_format,
    })
}

/// Resized in the orientation it is stored in.
fn resize(picture: Picture, config: &Config) -> Result<Picture, ResizeError> {
    let upright = picture.upright_size();
    let region = match config.resize {
        Resize::Stretch => Region::whole(upright),
        Resize::Crop => {
            let (w, h) = (f64::from(upright.0), f64::from(upright.1));
            let shape = f64::from(config.width) / f64::from(config.height);
            let (width, height) = (w.min(h * shape), h.min(w / shape));
            Region {
                left: (w - width) / 2.0,
                top: (h - height) / 2.0,
                width,
                height,
            }
        }
    };
    let stored = picture.stored_region(region);
    let size = picture.stored_size((config.width, config.height));
    picture.premultiply().resize(stored, size, config.filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: &[u8] = include_bytes!("../fixtures/picture.png");
    const TURNED: &[u8] = include_bytes!("../fixtures/turned.png");
    /// Red, green and blue planes of 24 x 16 samples for each, from Pillow (fixtures/make.py).
    type Golden = (
        &'static str,
        &'static [u8],
        &'static str,
        &'static str,
        &'static [u8],
    );
    const GOLDEN: [Golden; 5] = [
        (
            "bilinear",
            PICTURE,
            "bilinear",
            "stretch",
            include_bytes!("../fixtures/bilinear.bin"),
        ),
        (
            "bicubic",
            PICTURE,
            "bicubic",
            "stretch",
            include_bytes!("../fixtures/bicubic.bin"),
        ),
        (
            "lanczos",
            PICTURE,
            "lanczos",
            "stretch",
            include_bytes!("../fixtures/lanczos.bin"),
        ),
        (
            "cropped",
            PICTURE,
            "bilinear",
            "crop",
            include_bytes!("../fixtures/cropped.bin"),
        ),
        (
            "turned",
            TURNED,
            "bicubic",
            "stretch",
            include_bytes!("../fixtures/turned.bin"),
        ),
    ];

    #[test]
    fn samples_are_within_one_of_pillows() {
        for (name, picture, filter, resize, golden) in GOLDEN {
            let plain = [("size", "24x16"), ("mean", "0,0,0"), ("std", "1,1,1")];
            let settings = plain
                .into_iter()
                .chain([("filter", filter), ("resize", resize)]);
            let config = Config::from_pairs(settings).unwrap();
            let tensor = preprocess(picture, &config).unwrap();
            assert_eq!(tensor.values.len(), golden.len(), "{name}");
            for (at, (value, golden)) in tensor.values.iter().zip(golden).enumerate() {
                let apart = (value - f32::from(*golden) / 255.0).abs();
                assert!(
                    apart < 1.001 / 255.0,
                    "{name} at {at}: {} and {golden}",
                    value * 255.0
                );
            }
        }
    }

    #[test]
    fn normalises_by_mean_and_deviation() {
        let config =
            Config::from_pairs([("size", "24x16"), ("mean", "0.5,0,0"), ("std", "0.25,1,1")]);
        let normalised = preprocess(PICTURE, &config.unwrap()).unwrap();
        let config = Config::from_pairs([("size", "24x16"), ("mean", "0,0,0"), ("std", "1,1,1")]);
        let plain = preprocess(PICTURE, &config.unwrap()).unwrap();
        let plane = 24 * 16;
        for (at, (value, plain)) in normalised.values.iter().zip(&plain.values).enumerate() {
            let expected = if at < plane {
                (plain - 0.5) / 0.25
            } else {
                *plain
            };
            assert_eq!(*value, expected);
        }
    }

    #[test]
    fn rejects_with_the_decoders_reason() {
        let error = preprocess(b"words", &Config::default()).unwrap_err();
        assert!(matches!(
            error,
            PreprocessError::Rejected(Rejection::UnknownFormat { .. })
        ));
    }
}
