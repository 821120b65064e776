//! What the operator sets, from strings to types.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `to` | `tensors` | the bucket that tensors go to |
//! | `size` | `224` | of the tensor in pixels: `224` (square) or `320x240` (width by height) |
//! | `resize` | `stretch` | `stretch` or `crop`: see [`Resize`] |
//! | `filter` | `bilinear` | `bilinear`, `bicubic` or `lanczos`, antialiased as in Pillow |
//! | `mean` | `0.485,0.456,0.406` | of red, green and blue, at the scale 0..1 |
//! | `std` | `0.229,0.224,0.225` | likewise, above 0 |
//! | `max-pixels` | `50000000` | larger pictures are rejected unread |
//! | `max-memory` | `224MiB` | most that the file and decoding may take, in bytes or with KiB, MiB, GiB |

use kinglet_image_input::settings::{Setting, SettingError};
use kinglet_image_input::{Filter, Limits};

/// Most pixels of a side: the tensor of 2048 squared takes 48 MiB.
const MAX_SIDE: u32 = 2048;

/// The function's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The bucket that tensors go to.
    pub to: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How a picture gets the tensor's shape.
    pub resize: Resize,
    /// How pixels are resampled.
    pub filter: Filter,
    /// Subtracted from red, green and blue at the scale 0..1.
    pub mean: [f32; 3],
    /// Divides what is left.
    pub std: [f32; 3],
    /// What an input may take.
    pub limits: Limits,
}

/// How a picture gets the tensor's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The whole picture, its shape not kept: Pillow's `Image.resize(size, filter)`.
    Stretch,
    /// The largest part about the centre that has the tensor's shape: Pillow's
    /// `ImageOps.fit(image, size, filter)`.
    Crop,
}

pub(crate) const RESIZES: [(&str, Resize); 2] =
    [("stretch", Resize::Stretch), ("crop", Resize::Crop)];
pub(crate) const FILTERS: [(&str, Filter); 3] = [
    ("bilinear", Filter::Bilinear),
    ("bicubic", Filter::Bicubic),
    ("lanczos", Filter::Lanczos),
];

impl Default for Config {
    /// What models trained on ImageNet expect.
    fn default() -> Self {
        Self {
            to: "tensors".into(),
            width: 224,
            height: 224,
            resize: Resize::Stretch,
            filter: Filter::Bilinear,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            limits: Limits::default(),
        }
    }
}

const KEYS: [&str; 8] = [
    "to",
    "size",
    "resize",
    "filter",
    "mean",
    "std",
    "max-pixels",
    "max-memory",
];

impl Config {
    /// Reads settings as the host hands them over; what is absent keeps its default.
    ///
    /// # Errors
    /// [`SettingError`], naming the key, the value and what to write instead.
    ///
    /// ```
    /// use preprocess::config::Config;
    ///
    /// let config = Config::from_pairs([("size", "320x240"), ("mean", "0.5,0.5,0.5")])?;
    /// assert_eq!((config.width, config.height), (320, 240));
    /// # Ok::<(), kinglet_image_input::settings::SettingError>(())
    /// ```
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, SettingError> {
        let mut config = Self::default();
        for pair in pairs {
            let setting = Setting::new(pair, &KEYS)?;
            match setting.key {
                "to" => config.to = setting.name()?,
                "size" => (config.width, config.height) = parse_size(&setting)?,
                "resize" => config.resize = setting.choose(&RESIZES)?,
                "filter" => config.filter = setting.choose(&FILTERS)?,
                "mean" => config.mean = parse_colors(&setting, |_| true)?,
                "std" => config.std = parse_colors(&setting, |value| value > 0.0)?,
                "max-pixels" => config.limits.max_pixels = setting.number(1..=u64::MAX)?,
                _ => config.limits.max_bytes = setting.bytes()?,
            }
        }
        Ok(config)
    }
}

fn parse_size(setting: &Setting) -> Result<(u32, u32), SettingError> {
    let value = setting.value;
    let (width, height) = value.split_once('x').unwrap_or((value, value));
    let side = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|side| (1..=MAX_SIDE).contains(side))
            .ok_or_else(|| {
                setting.bad(format!(
                    "write 224 or 320x240, with sides from 1 to {MAX_SIDE}"
                ))
            })
    };
    Ok((side(width)?, side(height)?))
}

fn parse_colors(setting: &Setting, fits: fn(f32) -> bool) -> Result<[f32; 3], SettingError> {
    let numbers: Vec<f32> = setting
        .value
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .filter(|number: &f32| number.is_finite() && fits(*number))
        .collect();
    match (
        <[f32; 3]>::try_from(numbers),
        setting.value.split(',').count(),
    ) {
        (Ok(colors), 3) => Ok(colors),
        _ => {
            let above = if fits(0.0) { "" } else { " above 0" };
            Err(setting.bad(format!(
                "write three numbers{above} for red, green and blue, as in 0.485,0.456,0.406"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_setting() {
        let config = Config::from_pairs([
            ("to", "features"),
            ("size", "320x240"),
            ("resize", "crop"),
            ("filter", "bicubic"),
            ("mean", "0, 0.5, 1"),
            ("std", "1,1,2"),
            ("max-pixels", "1000"),
            ("max-memory", "1MiB"),
        ]);
        let expected = Config {
            to: "features".into(),
            width: 320,
            height: 240,
            resize: Resize::Crop,
            filter: Filter::Bicubic,
            mean: [0.0, 0.5, 1.0],
            std: [1.0, 1.0, 2.0],
            limits: Limits {
                max_pixels: 1000,
                max_bytes: 1 << 20,
            },
        };
        assert_eq!(config, Ok(expected));
        assert_eq!(Config::from_pairs([]), Ok(Config::default()));
    }

    #[test]
    fn bad_values_name_the_fix() {
        let cases = [
            ("size", "0", "with sides from 1 to 2048"),
            (
                "size",
                "224x",
                "`size` can't be \"224x\"; write 224 or 320x240",
            ),
            ("size", "4096", "with sides from 1 to 2048"),
            ("resize", "fit", "write one of stretch, crop"),
            (
                "filter",
                "nearest",
                "write one of bilinear, bicubic, lanczos",
            ),
            ("mean", "0.5", "write three numbers for red, green and blue"),
            (
                "mean",
                "a,b,c",
                "write three numbers for red, green and blue",
            ),
            (
                "mean",
                "1,2,3,x",
                "write three numbers for red, green and blue",
            ),
            (
                "mean",
                "nan,0,0",
                "write three numbers for red, green and blue",
            ),
            (
                "std",
                "1,1,0",
                "write three numbers above 0 for red, green and blue",
            ),
            (
                "width",
                "224",
                "no setting is called `width`; known are to, size",
            ),
        ];
        for (key, value, expected) in cases {
            let error = Config::from_pairs([(key, value)])
                .expect_err(value)
                .to_string();
            assert!(error.contains(expected), "{key}={value}: {error}");
        }
    }
}
