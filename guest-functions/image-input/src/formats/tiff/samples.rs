//! What samples mean: bits to bytes, and the colour models to gray, RGB or RGBA.

use super::directory::{ByteOrder, Directory, tag};
use crate::picture::{divide_by_255, keep_leading};
use crate::{Format, Layout, Rejection};

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// 1, 2, 4, 8 or 12 bits, most significant first.
    Packed(u32),
    /// 16 bits in the file's byte order.
    Wide,
    /// 32-bit float in the file's byte order, 1.0 being white.
    Float,
}

impl Depth {
    pub fn bits(self) -> usize {
        match self {
            Self::Packed(bits) => bits as usize,
            Self::Wide => 16,
            Self::Float => 32,
        }
    }

    pub fn of(directory: &Directory) -> Result<Self, Rejection> {
        const UINT: u64 = 1;
        const FLOAT: u64 = 3;
        const UNDEFINED: u64 = 4;
        let bits = directory.numbers(tag::BITS_PER_SAMPLE);
        let first = bits.first().copied().unwrap_or(1);
        let samples = directory.number_or(tag::SAMPLES_PER_PIXEL, 1).max(1) as usize;
        if bits.iter().take(samples).any(|&other| other != first) {
            let feature = format!("samples of different depths, {bits:?} bits");
            return Err(Rejection::unsupported(Format::Tiff, feature));
        }
        match (directory.number_or(tag::SAMPLE_FORMAT, UINT), first) {
            (UINT | UNDEFINED, 1 | 2 | 4 | 8 | 12) => Ok(Self::Packed(first as u32)),
            (UINT | UNDEFINED, 16) => Ok(Self::Wide),
            (FLOAT, 32) => Ok(Self::Float),
            (format, bits) => {
                let kind = match format {
                    2 => "signed ",
                    FLOAT => "float ",
                    5 | 6 => "complex ",
                    _ => "",
                };
                let feature = format!("{kind}samples of {bits} bits");
                Err(Rejection::unsupported(Format::Tiff, feature))
            }
        }
    }

    /// The first `wanted` samples of a row, one byte each. `scale` spreads few bits over 0..=255,
    /// which an index into a palette must not be.
    pub fn expand(self, row: &[u8], order: ByteOrder, wanted: usize, scale: bool) -> Vec<u8> {
        match self {
            Self::Packed(8) => row.iter().take(wanted).copied().collect(),
            Self::Packed(12) => row
                .chunks(3)
                .flat_map(|chunk| {
                    let [a, b, c] = [0, 1, 2].map(|at| chunk.get(at).copied().unwrap_or(0));
                    [a, b << 4 | c >> 4]
                })
                .take(wanted)
                .collect(),
            Self::Packed(bits) => {
                let mask = (1u32 << bits) - 1;
                let factor = if scale { 255 / mask } else { 1 };
                row.iter()
                    .flat_map(|&byte| {
                        (1..=8 / bits).map(move |nth| u32::from(byte) >> (8 - nth * bits))
                    })
                    .map(|value| ((value & mask) * factor) as u8)
                    .take(wanted)
                    .collect()
            }
            Self::Wide => {
                let samples = row.as_chunks::<2>().0.iter();
                samples
                    .take(wanted)
                    .map(|&sample| (order.u16(sample) >> 8) as u8)
                    .collect()
            }
            Self::Float => {
                let samples = row.as_chunks::<4>().0.iter();
                samples
                    .take(wanted)
                    .map(|bytes| f32::from_bits(order.number(bytes) as u32))
                    .map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8)
                    .collect()
            }
        }
    }
}

/// Undoes horizontal differencing, TIFF 6.0 section 14, in one row of `channels` samples a pixel.
pub(super) fn undo_differencing(
    row: &mut [u8],
    depth: Depth,
    order: ByteOrder,
    channels: usize,
) -> Result<(), Rejection> {
    match depth {
        Depth::Packed(8) => {
            let mut left = vec![0u8; channels];
            for pixel in row.chunks_mut(channels) {
                for (sample, left) in pixel.iter_mut().zip(&mut left) {
                    *left = left.wrapping_add(*sample);
                    *sample = *left;
                }
            }
        }
        Depth::Wide => {
            let mut left = vec![0u16; channels];
            for pixel in row.as_chunks_mut::<2>().0.chunks_mut(channels) {
                for (sample, left) in pixel.iter_mut().zip(&mut left) {
                    *left = left.wrapping_add(order.u16(*sample));
                    *sample = match order {
                        ByteOrder::Little => left.to_le_bytes(),
                        ByteOrder::Big => left.to_be_bytes(),
                    };
                }
            }
        }
        other => {
            let feature = format!("differencing of {}-bit samples", other.bits());
            return Err(Rejection::unsupported(Format::Tiff, feature));
        }
    }
    Ok(())
}

/// What the samples of a pixel are, in the order they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Colors {
    Gray {
        white_is_zero: bool,
        alpha: Option<Alpha>,
    },
    Rgb {
        alpha: Option<Alpha>,
    },
    YCbCr,
    Cmyk,
    /// CIE L*a*b* under D50; `signed` a* and b* as TIFF has them, offset by 128 as ICC has them.
    Lab {
        signed: bool,
    },
    Palette {
        colors: Vec<[u8; 3]>,
        alpha: Option<Alpha>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpha {
    Straight,
    Premultiplied,
}

impl Colors {
    pub fn of(directory: &Directory) -> Result<Self, Rejection> {
        let unsupported = |feature: String| Err(Rejection::unsupported(Format::Tiff, feature));
        let samples = directory.number_or(tag::SAMPLES_PER_PIXEL, 1);
        let alpha_after = |colors: u64| match directory.number(tag::EXTRA_SAMPLES) {
            _ if samples <= colors => None,
            Some(0) => None,
            Some(1) => Some(Alpha::Premultiplied),
            // Absent, or a value of some program's own: alpha, as Pillow and libtiff have it.
            _ => Some(Alpha::Straight),
        };
        let photometric = directory.number_or(tag::PHOTOMETRIC, 0);
        let colors = match photometric {
            0 | 1 => Self::Gray {
                white_is_zero: photometric == 0,
                alpha: alpha_after(1),
            },
            2 => Self::Rgb {
                alpha: alpha_after(3),
            },
            3 => Self::Palette {
                colors: color_map(&directory.numbers(tag::COLOR_MAP)),
                alpha: alpha_after(1),
            },
            5 => Self::Cmyk,
            6 => Self::YCbCr,
            8 | 9 => Self::Lab {
                signed: photometric == 8,
            },
            10 => return unsupported("ITU L*a*b* colours".into()),
            other => return unsupported(format!("photometric interpretation {other}")),
        };
        if samples < colors.channels() as u64 {
            let reason = format!("{samples} samples for each pixel, too few for its colours");
            return Err(Rejection::corrupt(Format::Tiff, reason));
        }
        Ok(colors)
    }

    /// Samples of each pixel that are used; any after them are left out.
    pub fn channels(&self) -> usize {
        match self {
            Self::Gray { alpha, .. } | Self::Palette { alpha, .. } => {
                1 + usize::from(alpha.is_some())
            }
            Self::Rgb { alpha } => 3 + usize::from(alpha.is_some()),
            Self::YCbCr | Self::Lab { .. } => 3,
            Self::Cmyk => 4,
        }
    }

    /// Whether samples are numbers to be scaled rather than indices.
    pub fn scales(&self) -> bool {
        !matches!(self, Self::Palette { .. })
    }

    /// Bytes for each pixel that [`Colors::render`] needs beside the samples.
    pub fn bytes_to_render(&self) -> u64 {
        match self {
            Self::Gray { alpha: None, .. } => 0,
            Self::Rgb { .. } | Self::YCbCr | Self::Cmyk | Self::Lab { .. } => 0,
            Self::Palette { alpha: None, .. } => 3,
            Self::Gray { .. } | Self::Palette { .. } => 4,
        }
    }

    /// Samples of `channels()` bytes a pixel to a picture's.
    pub fn render(&self, mut samples: Vec<u8>) -> (Layout, Vec<u8>) {
        let look_up = |colors: &[[u8; 3]], index: u8| {
            colors.get(usize::from(index)).copied().unwrap_or_default()
        };
        match self {
            Self::Gray {
                white_is_zero,
                alpha,
            } => {
                let gray = |sample: u8| if *white_is_zero { 255 - sample } else { sample };
                match alpha {
                    None => {
                        samples
                            .iter_mut()
                            .for_each(|sample| *sample = gray(*sample));
                        (Layout::Gray, samples)
                    }
                    Some(alpha) => {
                        let pixels = samples.as_chunks::<2>().0.iter();
                        let rgba = pixels.flat_map(|&[sample, a]| {
                            let gray = gray(sample);
                            alpha.straighten([gray, gray, gray, a])
                        });
                        (Layout::Rgba, rgba.collect())
                    }
                }
            }
            Self::Rgb { alpha: None } => (Layout::Rgb, samples),
            Self::Rgb { alpha: Some(alpha) } => {
                for pixel in samples.as_chunks_mut::<4>().0 {
                    *pixel = alpha.straighten(*pixel);
                }
                (Layout::Rgba, samples)
            }
            Self::YCbCr => {
                for pixel in samples.as_chunks_mut::<3>().0 {
                    *pixel = ycbcr_to_rgb(*pixel);
                }
                (Layout::Rgb, samples)
            }
            Self::Cmyk => {
                for pixel in samples.as_chunks_mut::<4>().0 {
                    let [c, m, y, k] = pixel.map(u32::from);
                    let paper = |ink: u32| divide_by_255((255 - ink) * (255 - k));
                    *pixel = [paper(c), paper(m), paper(y), 0];
                }
                keep_leading(&mut samples, 4, 3);
                (Layout::Rgb, samples)
            }
            Self::Lab { signed } => {
                let flip = if *signed { 0x80 } else { 0 };
                for pixel in samples.as_chunks_mut::<3>().0 {
                    let [l, a, b] = *pixel;
                    *pixel = lab_to_rgb([l, a ^ flip, b ^ flip]);
                }
                (Layout::Rgb, samples)
            }
            Self::Palette {
                colors,
                alpha: None,
            } => (
                Layout::Rgb,
                samples
                    .iter()
                    .flat_map(|&index| look_up(colors, index))
                    .collect(),
            ),
            Self::Palette {
                colors,
                alpha: Some(_),
            } => {
                let pixels = samples.as_chunks::<2>().0.iter();
                let rgba = pixels.flat_map(|&[index, alpha]| {
                    let [r, g, b] = look_up(colors, index);
                    [r, g, b, alpha]
                });
                (Layout::Rgba, rgba.collect())
            }
        }
    }
}

impl Alpha {
    fn straighten(self, pixel: [u8; 4]) -> [u8; 4] {
        let [r, g, b, alpha] = pixel;
        if self == Self::Straight || matches!(alpha, 0 | 255) {
            return pixel;
        }
        let divide = |color: u8| (u32::from(color) * 255 / u32::from(alpha)).min(255) as u8;
        [divide(r), divide(g), divide(b), alpha]
    }
}

/// All reds, then all greens, then all blues, of 16 bits each.
fn color_map(map: &[u64]) -> Vec<[u8; 3]> {
    let len = map.len() / 3;
    let (reds, rest) = map.split_at(len);
    let (greens, blues) = rest.split_at(len);
    let high = |value: u64| (value >> 8) as u8;
    let colors = reds.iter().zip(greens).zip(blues);
    colors
        .map(|((&r, &g), &b)| [high(r), high(g), high(b)])
        .collect()
}

/// ITU-R BT.601 over the full range, as JFIF has it and libtiff assumes without a reference tag.
fn ycbcr_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    // A cast from float saturates.
    [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ]
    .map(|value| value.round() as u8)
}

/// 8-bit CIE L*a*b* of ICC's encoding to sRGB. The matrix is Lindbloom's, from XYZ under D50.
fn lab_to_rgb([l, a, b]: [u8; 3]) -> [u8; 3] {
    const WHITE: [f32; 3] = [0.964_22, 1.0, 0.825_21];
    const TO_LINEAR: [[f32; 3]; 3] = [
        [3.133_856, -1.616_867, -0.490_615],
        [-0.978_768, 1.916_142, 0.033_454],
        [0.071_945, -0.228_991, 1.405_243],
    ];
    let fy = (f32::from(l) * (100.0 / 255.0) + 16.0) / 116.0;
    let fx = fy + (f32::from(a) - 128.0) / 500.0;
    let fz = fy - (f32::from(b) - 128.0) / 200.0;
    let unfold = |f: f32| {
        if f > 6.0 / 29.0 {
            f.powi(3)
        } else {
            (f - 4.0 / 29.0) * 108.0 / 841.0
        }
    };
    let [x, y, z] = [fx, fy, fz].map(unfold);
    let [white_x, white_y, white_z] = WHITE;
    let (x, y, z) = (x * white_x, y * white_y, z * white_z);
    TO_LINEAR.map(|[of_x, of_y, of_z]| {
        let linear = (of_x * x + of_y * y + of_z * z).clamp(0.0, 1.0);
        let encoded = if linear <= 0.003_130_8 {
            linear * 12.92
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        (encoded * 255.0).round() as u8
    })
}
