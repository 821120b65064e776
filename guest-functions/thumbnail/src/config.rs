//! What the operator sets, from strings to types.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `to` | `thumbs` | the bucket that thumbnails go to |
//! | `sizes` | `256` | boxes in pixels, with commas: `256` (square) or `1024x768` |
//! | `mode` | `fit` | `fit`, `fill` or `crop`: see [`Mode`] |
//! | `format` | `auto` | `jpeg`, `png`, `webp` or `auto`: see [`Format`] |
//! | `quality` | `85` | 1 to 100, of JPEG; PNG and WebP are written without loss |
//! | `upscale` | `false` | whether small pictures are enlarged |
//! | `max-pixels` | `50000000` | larger pictures are rejected unread |
//! | `max-memory` | `224MiB` | most that the file and decoding may take, in bytes or with KiB, MiB, GiB |

use std::fmt;

use kinglet_image_input::Limits;
use kinglet_image_input::settings::{Setting, SettingError};

use crate::encode::Format;
use crate::geometry::Mode;

/// Most pixels of one output: 4096 x 4096, so that `upscale` can't outgrow the function's memory.
pub const MAX_OUTPUT_PIXELS: u64 = 1 << 24;
/// Most pixels of one side, WebP's limit.
pub const MAX_SIDE: u32 = 16_383;
/// Most sizes made of one picture.
pub const MAX_SIZES: usize = 16;

/// The function's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bucket that thumbnails go to.
    pub to: String,
    /// The boxes to make, each once.
    pub sizes: Vec<Size>,
    /// How a picture meets a box.
    pub mode: Mode,
    /// What is written.
    pub format: Format,
    /// JPEG's quality, 1 to 100.
    pub quality: u8,
    /// Whether a picture smaller than its box is enlarged.
    pub upscale: bool,
    /// What an input may take.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            to: "thumbs".into(),
            sizes: vec![Size {
                width: 256,
                height: 256,
            }],
            mode: Mode::Fit,
            format: Format::Auto,
            quality: 85,
            upscale: false,
            limits: Limits::default(),
        }
    }
}

/// A box in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

const KEYS: [&str; 8] = [
    "to",
    "sizes",
    "mode",
    "format",
    "quality",
    "upscale",
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
    /// use thumbnail::config::Config;
    ///
    /// let config = Config::from_pairs([("sizes", "128, 1024x768"), ("mode", "fill")])?;
    /// assert_eq!(config.sizes.len(), 2);
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
                "sizes" => {
                    config.sizes = parse_sizes(setting.value).map_err(|fix| setting.bad(fix))?;
                }
                "mode" => config.mode = setting.choose(&Mode::NAMES)?,
                "format" => config.format = setting.choose(&Format::NAMES)?,
                "quality" => config.quality = setting.number(1..=100)?,
                "upscale" => {
                    config.upscale = setting.choose(&[("true", true), ("false", false)])?
                }
                "max-pixels" => config.limits.max_pixels = setting.number(1..=u64::MAX)?,
                _ => config.limits.max_bytes = setting.bytes()?,
            }
        }
        Ok(config)
    }
}

fn parse_sizes(value: &str) -> Result<Vec<Size>, String> {
    let mut sizes = Vec::new();
    for part in value.split(',').map(str::trim) {
        let (width, height) = part.split_once('x').unwrap_or((part, part));
        let (Ok(width), Ok(height)) = (width.trim().parse(), height.trim().parse()) else {
            return Err(format!(
                "write \"{part}\" as 256 or 1024x768, several with commas"
            ));
        };
        let size = Size { width, height };
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(format!(
                "sides of {size} must be from 1 to {MAX_SIDE} pixels"
            ));
        }
        if u64::from(width) * u64::from(height) > MAX_OUTPUT_PIXELS {
            return Err(format!(
                "{size} is over {MAX_OUTPUT_PIXELS} pixels; make it smaller"
            ));
        }
        if sizes.contains(&size) {
            return Err(format!("name {size} only once"));
        }
        sizes.push(size);
    }
    if sizes.len() > MAX_SIZES {
        return Err(format!("name at most {MAX_SIZES} sizes"));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_setting() {
        let config = Config::from_pairs([
            ("to", "small"),
            ("sizes", "256, 1024x768"),
            ("mode", "crop"),
            ("format", "webp"),
            ("quality", "70"),
            ("upscale", "true"),
            ("max-pixels", "1000000"),
            ("max-memory", "64MiB"),
        ]);
        let expected = Config {
            to: "small".into(),
            sizes: vec![
                Size {
                    width: 256,
                    height: 256,
                },
                Size {
                    width: 1024,
                    height: 768,
                },
            ],
            mode: Mode::Crop,
            format: Format::WebP,
            quality: 70,
            upscale: true,
            limits: Limits {
                max_pixels: 1_000_000,
                max_bytes: 64 << 20,
            },
        };
        assert_eq!(config, Ok(expected));
        assert_eq!(Config::from_pairs([]), Ok(Config::default()));
    }

    #[test]
    fn bad_values_name_the_fix() {
        let cases = [
            (
                "sizes",
                "",
                "`sizes` can't be \"\"; write \"\" as 256 or 1024x768",
            ),
            (
                "sizes",
                "256,big",
                "write \"big\" as 256 or 1024x768, several with commas",
            ),
            ("sizes", "0", "sides of 0x0 must be from 1 to 16383 pixels"),
            (
                "sizes",
                "16384x1",
                "sides of 16384x1 must be from 1 to 16383 pixels",
            ),
            ("sizes", "16383", "16383x16383 is over 16777216 pixels"),
            ("sizes", "256,256x256", "name 256x256 only once"),
            (
                "sizes",
                "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
                "name at most 16 sizes",
            ),
            (
                "mode",
                "stretch",
                "`mode` can't be \"stretch\"; write one of fit, fill, crop",
            ),
            ("format", "gif", "write one of auto, jpeg, png, webp"),
            ("quality", "0", "write a whole number from 1 to 100"),
            ("quality", "high", "`quality` can't be \"high\""),
            ("upscale", "yes", "write one of true, false"),
            ("max-pixels", "-1", "write a whole number from 1"),
            ("max-memory", "lots", "as in 192MiB"),
            ("max-memory", "99999999999GiB", "as in 192MiB"),
            (
                "size",
                "256",
                "no setting is called `size`; known are to, sizes, mode",
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
