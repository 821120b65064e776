//! One chunk (a strip or a tile) from its compressed bytes to rows of packed samples.

use std::borrow::Cow;
use std::io::Read;

use ::fax::Color;
use ::fax::decoder::{decode_g4, pels};
use zune_core::colorspace::ColorSpace;

use super::super::jpeg;
use super::directory::{Directory, tag};
use super::fax;
use crate::{Format, Rejection};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    CcittRle,
    Group3,
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

impl Compression {
    pub fn of(directory: &Directory) -> Result<Self, Rejection> {
        let unsupported = |name: &str| {
            Err(Rejection::unsupported(
                Format::Tiff,
                format!("{name} compression"),
            ))
        };
        match directory.number_or(tag::COMPRESSION, 1) {
            1 => Ok(Self::None),
            2 => Ok(Self::CcittRle),
            3 if directory.number_or(tag::T4_OPTIONS, 0) & 1 == 1 => {
                unsupported("two-dimensional Group 3 fax")
            }
            3 => Ok(Self::Group3),
            4 => Ok(Self::Group4),
            5 => Ok(Self::Lzw),
            7 => Ok(Self::Jpeg),
            8 | 32946 => Ok(Self::Deflate),
            32773 => Ok(Self::PackBits),
            34712 => unsupported("JPEG 2000"),
            34925 => unsupported("LZMA"),
            50000 => unsupported("Zstandard"),
            50001 => unsupported("WebP"),
            50002 | 52546 => unsupported("JPEG XL"),
            other => unsupported(&format!("number {other}")),
        }
    }

    pub fn is_fax(self) -> bool {
        matches!(self, Self::CcittRle | Self::Group3 | Self::Group4)
    }
}

/// The rows of a chunk: `row_bytes` each, packed as the file packs them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkShape {
    /// Pixels in each row.
    pub width: usize,
    pub rows: usize,
    pub row_bytes: usize,
}

/// Unpacks a chunk of any compression but JPEG to `rows * row_bytes` bytes.
pub(super) fn unpack<'a>(
    compression: Compression,
    packed: Cow<'a, [u8]>,
    shape: ChunkShape,
) -> Result<Cow<'a, [u8]>, Rejection> {
    let corrupt = |reason: &str| Rejection::corrupt(Format::Tiff, reason);
    let wanted = shape.rows * shape.row_bytes;
    let unpacked = match compression {
        Compression::None => packed,
        Compression::PackBits => Cow::Owned(unpack_bits(&packed, wanted)),
        Compression::Lzw => {
            // Before TIFF 5 the codes lay the other way round, and began with this.
            if packed.starts_with(&[0]) && packed.get(1).is_some_and(|byte| byte & 1 == 1) {
                return Err(Rejection::unsupported(
                    Format::Tiff,
                    "old-style LZW compression",
                ));
            }
            let mut out = vec![0; wanted];
            let mut decoder =
                weezl::decode::Configuration::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
                    .with_yield_on_full_buffer(true)
                    .build();
            let (mut read, mut written) = (0, 0);
            loop {
                let rest = out.get_mut(written..).unwrap_or_default();
                let step = decoder.decode_bytes(packed.get(read..).unwrap_or_default(), rest);
                read += step.consumed_in;
                written += step.consumed_out;
                let ended = !matches!(step.status, Ok(weezl::LzwStatus::Ok));
                if written >= wanted || ended || (step.consumed_in, step.consumed_out) == (0, 0) {
                    step.status
                        .map_err(|_| corrupt("LZW data breaks off its code"))?;
                    break;
                }
            }
            out.truncate(written);
            Cow::Owned(out)
        }
        Compression::Deflate => {
            let mut out = Vec::with_capacity(wanted);
            flate2::read::ZlibDecoder::new(&*packed)
                .take(wanted as u64)
                .read_to_end(&mut out)
                .map_err(|error| Rejection::from_codec(Format::Tiff, &error))?;
            Cow::Owned(out)
        }
        Compression::Group4 => {
            let (width, rows) = (fax_side(shape.width)?, fax_side(shape.rows)?);
            let mut out = Vec::with_capacity(wanted);
            decode_g4(packed.iter().copied(), width, Some(rows), |line| {
                push_line(&mut out, line, width);
            })
            .ok_or_else(|| corrupt("Group 4 fax data breaks its code"))?;
            Cow::Owned(out)
        }
        Compression::Group3 | Compression::CcittRle => {
            let (width, rows) = (fax_side(shape.width)?, fax_side(shape.rows)?);
            let has_marks = compression == Compression::Group3;
            let lines = fax::decode_lines(&packed, width, rows, has_marks)
                .ok_or_else(|| corrupt("fax data breaks its code"))?;
            let mut out = Vec::with_capacity(wanted);
            lines
                .iter()
                .for_each(|line| push_line(&mut out, line, width));
            Cow::Owned(out)
        }
        Compression::Jpeg => return Err(corrupt("JPEG data where none can be")),
    };
    if unpacked.len() < wanted {
        return Err(Rejection::Truncated {
            format: Format::Tiff,
        });
    }
    Ok(unpacked)
}

fn fax_side(pixels: usize) -> Result<u16, Rejection> {
    u16::try_from(pixels)
        .map_err(|_| Rejection::unsupported(Format::Tiff, format!("fax lines of {pixels} pixels")))
}

/// A line as bits: 0 is white in fax data, whatever the photometric tag makes of it.
fn push_line(out: &mut Vec<u8>, transitions: &[u16], width: u16) {
    let mut bits = pels(transitions, width).map(|color| color == Color::Black);
    for _ in 0..width.div_ceil(8) {
        out.push((0..8).fold(0, |byte, _| {
            byte << 1 | u8::from(bits.next().unwrap_or(false))
        }));
    }
}

/// Apple's run-length scheme, TIFF 6.0 section 9.
fn unpack_bits(packed: &[u8], wanted: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(wanted);
    let mut rest = packed;
    while out.len() < wanted {
        let Some((&header, after)) = rest.split_first() else {
            break;
        };
        let header = header as i8;
        rest = match header {
            0.. => {
                let len = (header as usize + 1).min(after.len());
                let (literal, after) = after.split_at(len);
                out.extend_from_slice(literal);
                after
            }
            -128 => after,
            _ => {
                let Some((&byte, after)) = after.split_first() else {
                    break;
                };
                out.resize(out.len() + (1 - isize::from(header)) as usize, byte);
                after
            }
        };
    }
    out.truncate(wanted);
    out
}

/// A chunk that is a JPEG of its own, 8 bits for each of its channels.
pub(super) struct JpegChunk {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// Decodes a chunk of JPEG data, splicing in the tables that the file keeps once for all
/// (TIFF Technical Note 2). `to_rgb` converts YCbCr, which is what the photometric tag decides.
pub(super) fn decode_jpeg(
    packed: &[u8],
    tables: Option<&[u8]>,
    to_rgb: bool,
    max_bytes: u64,
) -> Result<JpegChunk, Rejection> {
    let fail = |error| jpeg::rejection(Format::Tiff, error);
    let spliced: Vec<u8>;
    let stream = match tables {
        // Both are whole streams: the tables lose their end marker, the data its start.
        Some(tables) if tables.len() > 4 => {
            let tables = tables.get(..tables.len() - 2).unwrap_or_default();
            spliced = [tables, packed.get(2..).unwrap_or_default()].concat();
            &*spliced
        }
        _ => packed,
    };
    let stream = jpeg::checked(stream).map_err(of_tiff)?;
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(stream, jpeg::options());
    decoder.decode_headers().map_err(fail)?;
    let input = decoder.input_colorspace().unwrap_or(ColorSpace::RGB);
    let output = if to_rgb && input == ColorSpace::YCbCr {
        ColorSpace::RGB
    } else {
        input
    };
    decoder.set_options(jpeg::options().jpeg_set_out_colorspace(output));
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if decoder.output_buffer_size().unwrap_or(usize::MAX) as u64 > max_bytes {
        return Err(Rejection::corrupt(
            Format::Tiff,
            format!("a chunk of {width}x{height} pixels, larger than the picture"),
        ));
    }
    let pixels = match decoder.decode() {
        Ok(pixels) => pixels,
        Err(_) if decoder.into_inner().is_past_data() => {
            return Err(Rejection::Truncated {
                format: Format::Tiff,
            });
        }
        Err(error) => return Err(fail(error)),
    };
    Ok(JpegChunk {
        width,
        height,
        channels: output.num_components(),
        pixels,
    })
}

/// Names the file's format in a rejection of a JPEG stream that it has.
fn of_tiff(rejection: Rejection) -> Rejection {
    let format = Format::Tiff;
    match rejection {
        Rejection::Truncated { .. } => Rejection::Truncated { format },
        Rejection::Corrupt { reason, .. } => Rejection::Corrupt { format, reason },
        Rejection::Unsupported { feature, .. } => Rejection::Unsupported { format, feature },
        other => other,
    }
}
