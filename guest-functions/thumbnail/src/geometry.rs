//! Which part of a picture becomes how many pixels.

use kinglet_image_input::Region;

use crate::config::Size;

/// How a picture meets its box. The words are imgproxy's; CSS's `object-fit` is in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The whole picture within the box, its shape kept; one side may come out shorter than the
    /// box. \[contain]
    Fit,
    /// Exactly the box's shape: scaled until it covers the box, then cut about its centre. \[cover]
    ///
    /// A picture too small to cover the box without enlarging gives the largest output of the
    /// box's shape that it does cover.
    Fill,
    /// Cut about the centre, without scaling; a side shorter than the box's stays as it is.
    /// `upscale` changes nothing. \[none]
    Crop,
}

impl Mode {
    pub(crate) const NAMES: [(&str, Self); 3] = [
        ("fit", Self::Fit),
        ("fill", Self::Fill),
        ("crop", Self::Crop),
    ];
}

/// Part of the upright picture, and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What is taken, in pixels of the upright picture.
    pub region: Region,
    /// What it becomes, in pixels.
    pub size: Size,
}

impl Plan {
    /// Plans one output of a picture of `width` x `height` upright pixels.
    pub fn new((width, height): (u32, u32), target: Size, mode: Mode, upscale: bool) -> Self {
        let (w, h) = (f64::from(width), f64::from(height));
        let (across, down) = (f64::from(target.width) / w, f64::from(target.height) / h);
        let rounded = |side: f64| side.round().max(1.0) as u32;
        match mode {
            Mode::Fit => {
                let scale = if upscale {
                    across.min(down)
                } else {
                    across.min(down).min(1.0)
                };
                let size = Size {
                    width: rounded(w * scale),
                    height: rounded(h * scale),
                };
                Self {
                    region: Region::whole((width, height)),
                    size,
                }
            }
            Mode::Fill if !upscale && across.max(down) >= 1.0 => {
                let scale = across.max(down);
                let shape = Size {
                    width: rounded(f64::from(target.width) / scale),
                    height: rounded(f64::from(target.height) / scale),
                };
                Self::cut((width, height), shape)
            }
            Mode::Fill => {
                let scale = across.max(down);
                let (region_w, region_h) = (
                    (f64::from(target.width) / scale).min(w),
                    (f64::from(target.height) / scale).min(h),
                );
                let region = Region {
                    left: (w - region_w) / 2.0,
                    top: (h - region_h) / 2.0,
                    width: region_w,
                    height: region_h,
                };
                Self {
                    region,
                    size: target,
                }
            }
            Mode::Crop => Self::cut((width, height), target),
        }
    }

    /// Whether pixels are copied as they are.
    pub fn is_unscaled(&self) -> bool {
        let Region {
            left,
            top,
            width,
            height,
        } = self.region;
        (width, height) == (f64::from(self.size.width), f64::from(self.size.height))
            && left.fract() == 0.0
            && top.fract() == 0.0
    }

    fn cut((width, height): (u32, u32), target: Size) -> Self {
        let size = Size {
            width: target.width.min(width),
            height: target.height.min(height),
        };
        let region = Region {
            left: ((width - size.width) / 2).into(),
            top: ((height - size.height) / 2).into(),
            width: size.width.into(),
            height: size.height.into(),
        };
        Self { region, size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_regions() {
        use Mode::*;
        let cases = [
            // picture, box, mode, upscale, output, region
            (
                (400, 200),
                (100, 100),
                Fit,
                false,
                (100, 50),
                (0.0, 0.0, 400.0, 200.0),
            ),
            (
                (200, 400),
                (100, 100),
                Fit,
                false,
                (50, 100),
                (0.0, 0.0, 200.0, 400.0),
            ),
            (
                (40, 20),
                (100, 100),
                Fit,
                false,
                (40, 20),
                (0.0, 0.0, 40.0, 20.0),
            ),
            (
                (40, 20),
                (100, 100),
                Fit,
                true,
                (100, 50),
                (0.0, 0.0, 40.0, 20.0),
            ),
            (
                (9000, 1),
                (100, 100),
                Fit,
                false,
                (100, 1),
                (0.0, 0.0, 9000.0, 1.0),
            ),
            ((1, 1), (16383, 1), Fit, true, (1, 1), (0.0, 0.0, 1.0, 1.0)),
            (
                (400, 200),
                (100, 100),
                Fill,
                false,
                (100, 100),
                (100.0, 0.0, 200.0, 200.0),
            ),
            (
                (401, 200),
                (100, 100),
                Fill,
                false,
                (100, 100),
                (100.5, 0.0, 200.0, 200.0),
            ),
            (
                (200, 400),
                (100, 50),
                Fill,
                false,
                (100, 50),
                (0.0, 150.0, 200.0, 100.0),
            ),
            (
                (101, 50),
                (300, 300),
                Fill,
                false,
                (50, 50),
                (25.0, 0.0, 50.0, 50.0),
            ),
            (
                (100, 50),
                (300, 300),
                Fill,
                true,
                (300, 300),
                (25.0, 0.0, 50.0, 50.0),
            ),
            (
                (400, 80),
                (200, 100),
                Fill,
                false,
                (160, 80),
                (120.0, 0.0, 160.0, 80.0),
            ),
            (
                (400, 201),
                (100, 100),
                Crop,
                false,
                (100, 100),
                (150.0, 50.0, 100.0, 100.0),
            ),
            (
                (400, 80),
                (100, 100),
                Crop,
                true,
                (100, 80),
                (150.0, 0.0, 100.0, 80.0),
            ),
        ];
        for (picture, (width, height), mode, upscale, output, (left, top, w, h)) in cases {
            let plan = Plan::new(picture, Size { width, height }, mode, upscale);
            let expected = Plan {
                region: Region {
                    left,
                    top,
                    width: w,
                    height: h,
                },
                size: Size {
                    width: output.0,
                    height: output.1,
                },
            };
            assert_eq!(
                plan, expected,
                "{picture:?} in {width}x{height} by {mode:?}"
            );
        }
    }
}
