use image::metadata::Orientation;

use crate::{Format, Region};

/// How a pixel's bytes lie, 8 bits for each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One byte: luminance.
    Gray,
    /// Three bytes: red, green, blue.
    Rgb,
    /// Four bytes: red, green, blue and straight (not premultiplied) alpha.
    Rgba,
}

impl Layout {
    /// Bytes for each pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// A decoded picture, in the orientation it is stored in: rows from the top, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across, as stored.
    pub width: u32,
    /// Pixels down, as stored.
    pub height: u32,
    /// What each pixel's bytes are.
    pub layout: Layout,
    /// `width * height * layout.channels()` bytes, sRGB or whatever the file meant.
    pub pixels: Vec<u8>,
    /// What makes it upright, from EXIF, XMP or TIFF.
    pub orientation: Orientation,
    /// The file's format.
    pub format: Format,
}

impl Picture {
    /// Width and height in pixels once upright.
    pub fn upright_size(&self) -> (u32, u32) {
        if swaps_sides(self.orientation) {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        }
    }

    /// The width and height as stored of what is to have this upright size.
    pub fn stored_size(&self, (width, height): (u32, u32)) -> (u32, u32) {
        if swaps_sides(self.orientation) {
            (height, width)
        } else {
            (width, height)
        }
    }

    /// Turns and mirrors the pixels as the orientation says. Takes a second copy of the picture
    /// unless it is upright already, so downscale first.
    #[must_use]
    pub fn upright(self) -> Self {
        use Orientation::*;
        let Self {
            width,
            height,
            layout,
            ..
        } = self;
        let (w, h, n) = (width as usize, height as usize, layout.channels());
        if self.orientation == NoTransforms || self.pixels.is_empty() {
            return Self {
                orientation: NoTransforms,
                ..self
            };
        }
        let (new_width, new_height) = self.upright_size();
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..new_height as usize {
            for x in 0..new_width as usize {
                let (from_x, from_y) = match self.orientation {
                    NoTransforms => (x, y),
                    FlipHorizontal => (w - 1 - x, y),
                    Rotate180 => (w - 1 - x, h - 1 - y),
                    FlipVertical => (x, h - 1 - y),
                    Rotate90FlipH => (y, x),
                    Rotate90 => (y, h - 1 - x),
                    Rotate270FlipH => (w - 1 - y, h - 1 - x),
                    Rotate270 => (w - 1 - y, x),
                };
                let start = (from_y * w + from_x) * n;
                pixels.extend_from_slice(self.pixels.get(start..start + n).unwrap_or_default());
            }
        }
        Self {
            width: new_width,
            height: new_height,
            pixels,
            orientation: NoTransforms,
            ..self
        }
    }

    /// The stored pixels below a region of the upright picture: what is cut there and turned
    /// upright afterwards is the region.
    pub fn stored_region(&self, upright: Region) -> Region {
        use Orientation::*;
        let Region {
            left,
            top,
            width,
            height,
        } = upright;
        let (w, h) = (f64::from(self.width), f64::from(self.height));
        let (left, top) = match self.orientation {
            NoTransforms => (left, top),
            FlipHorizontal => (w - left - width, top),
            Rotate180 => (w - left - width, h - top - height),
            FlipVertical => (left, h - top - height),
            Rotate90FlipH => (top, left),
            Rotate90 => (top, h - left - width),
            Rotate270FlipH => (w - top - height, h - left - width),
            Rotate270 => (w - top - height, left),
        };
        let (width, height) = if swaps_sides(self.orientation) {
            (height, width)
        } else {
            (width, height)
        };
        Region {
            left,
            top,
            width,
            height,
        }
    }

    /// Copies whole pixels out of the stored picture; what reaches beyond its edge is left out.
    #[must_use]
    pub fn cut(&self, left: u32, top: u32, width: u32, height: u32) -> Self {
        let n = self.layout.channels();
        let width = width.min(self.width.saturating_sub(left));
        let height = height.min(self.height.saturating_sub(top));
        let row = self.width as usize * n;
        let columns = left as usize * n..(left as usize + width as usize) * n;
        let pixels = self
            .pixels
            .chunks_exact(row.max(1))
            .skip(top as usize)
            .take(height as usize)
            .filter_map(|row| row.get(columns.clone()))
            .flatten()
            .copied()
            .collect();
        Self {
            width,
            height,
            pixels,
            ..*self
        }
    }

    /// Drops alpha, without blending: what Pillow's `convert("RGB")` does.
    #[must_use]
    pub fn without_alpha(mut self) -> Self {
        if self.layout == Layout::Rgba {
            keep_leading(&mut self.pixels, 4, 3);
            self.layout = Layout::Rgb;
        }
        self
    }

    /// Blends alpha onto a background of one colour.
    #[must_use]
    pub fn flattened_onto(mut self, background: [u8; 3]) -> Self {
        if self.layout == Layout::Rgba {
            for pixel in self.pixels.as_chunks_mut::<4>().0 {
                let [r, g, b, alpha] = *pixel;
                let blend = |over: u8, under: u8| {
                    divide_by_255(
                        u32::from(over) * u32::from(alpha)
                            + u32::from(under) * u32::from(255 - alpha),
                    )
                };
                let [under_r, under_g, under_b] = background;
                *pixel = [blend(r, under_r), blend(g, under_g), blend(b, under_b), 255];
            }
        }
        self.without_alpha()
    }

    /// Three channels, whatever it was; alpha is dropped.
    #[must_use]
    pub fn into_rgb(self) -> Self {
        match self.layout {
            Layout::Gray => Self {
                layout: Layout::Rgb,
                pixels: self.pixels.iter().flat_map(|&gray| [gray; 3]).collect(),
                ..self
            },
            Layout::Rgb | Layout::Rgba => self.without_alpha(),
        }
    }

    /// An alpha channel that hides nothing costs memory and keeps JPEG from being chosen.
    pub(crate) fn without_idle_alpha(self) -> Self {
        let idle = self.layout == Layout::Rgba
            && self
                .pixels
                .as_chunks::<4>()
                .0
                .iter()
                .all(|[.., alpha]| *alpha == 255);
        if idle { self.without_alpha() } else { self }
    }
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::*;
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

/// Keeps the first `kept` of every `channels` bytes, in place.
pub(crate) fn keep_leading(pixels: &mut Vec<u8>, channels: usize, kept: usize) {
    let count = pixels.len() / channels;
    for pixel in 0..count {
        let from = pixel * channels;
        pixels.copy_within(from..from + kept, pixel * kept);
    }
    pixels.truncate(count * kept);
}

/// `value / 255`, rounded to the nearest, for up to 255 * 255. Blinn's formula, as in Pillow.
pub(crate) fn divide_by_255(value: u32) -> u8 {
    let biased = value + 128;
    (((biased >> 8) + biased) >> 8).min(255) as u8
}
