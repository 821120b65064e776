use std::borrow::Cow;
use std::ops::Range;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::budget::{Budget, Demand};
use crate::orientation::orientation_of;
use crate::{Format, Layout, Picture, Rejection};

/// `zune-jpeg` itself, below `image`: in its strict mode it refuses broken data, of which `image`
/// gets gray areas and no error, and it needs no copy of the file.
pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let frame = Frame::read(bytes)?;
    let mut demand = frame.demand();
    if !frame.junk.is_empty() {
        demand.bytes += bytes.len() as u64;
    }
    demand.check(budget)?;
    if !ends(bytes, frame.scan_at) {
        return Err(Rejection::Truncated {
            format: Format::Jpeg,
        });
    }
    let bytes = match frame.junk.as_slice() {
        [] => Cow::Borrowed(bytes),
        junk => Cow::Owned(without(bytes, junk)),
    };

    let fail = |error: zune_jpeg::errors::DecodeErrors| Rejection::from_codec(Format::Jpeg, &error);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&*bytes), options);
    decoder.decode_headers().map_err(fail)?;
    let (layout, colors) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (Layout::Gray, ColorSpace::Luma),
        // CMYK and YCCK too, inverted as Adobe writes them.
        _ => (Layout::Rgb, ColorSpace::RGB),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(colors));
    let orientation = orientation_of(
        decoder.exif().map(Vec::as_slice),
        decoder.xmp().map(Vec::as_slice),
    );
    let pixels = decoder.decode().map_err(fail)?;
    let (width, height) = (frame.width, frame.height);
    if pixels.len() as u64 != u64::from(width) * u64::from(height) * layout.channels() as u64 {
        return Err(Rejection::corrupt(
            Format::Jpeg,
            "more than one frame header",
        ));
    }
    Ok(Picture {
        width,
        height,
        layout,
        pixels,
        orientation,
        format: Format::Jpeg,
    })
}

/// Bytes of an Adobe segment (APP14): its name, its version, two flags and the colour transform.
const ADOBE_LEN: usize = 12;

/// What the frame header (SOFn, ITU-T T.81 B.2.2) says.
#[derive(Debug)]
struct Frame {
    width: u32,
    height: u32,
    progressive: bool,
    /// Sampling factors of each component, horizontal and vertical.
    sampling: Vec<(u8, u8)>,
    /// Where the first scan's marker is.
    scan_at: usize,
    /// What libjpeg passes over and the decoder would refuse: bytes between segments, and Adobe
    /// segments too short to be one.
    junk: Vec<Range<usize>>,
}

impl Frame {
    /// Walks the segments up to the first scan, so that size and memory are known before the
    /// decoder sees the file.
    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut frame = None;
        let mut junk = Vec::new();
        let mut at = 2;
        loop {
            let Segment {
                marker,
                body,
                start,
                next,
            } = segment(bytes, at).ok_or(Rejection::Truncated {
                format: Format::Jpeg,
            })?;
            if start > at {
                junk.push(at..start);
            }
            match marker {
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    frame = Some(Self::parse(marker, body)?);
                }
                0x00 => junk.push(start..next),
                0xee if body.len() < ADOBE_LEN => junk.push(start..next),
                0xd9 => return Err(Rejection::corrupt(Format::Jpeg, "it ends without a scan")),
                0xda => {
                    let mut frame = frame.ok_or_else(|| {
                        Rejection::corrupt(Format::Jpeg, "a scan without a frame")
                    })?;
                    frame.scan_at = at;
                    frame.junk = junk;
                    return Ok(frame);
                }
                _ => {}
            }
            at = next;
        }
    }

    fn parse(marker: u8, body: &[u8]) -> Result<Self, Rejection> {
        let unsupported = |feature: &str| Err(Rejection::unsupported(Format::Jpeg, feature));
        match marker {
            0xc0..=0xc2 => {}
            0xc9 | 0xca => return unsupported("arithmetic coding"),
            0xc3 | 0xcb => return unsupported("lossless coding"),
            _ => return unsupported("hierarchical coding"),
        }
        let &[bits, h1, h0, w1, w0, count, ref components @ ..] = body else {
            return Err(Rejection::corrupt(
                Format::Jpeg,
                "a frame header that is too short",
            ));
        };
        if bits != 8 {
            return unsupported(&format!("{bits} bits for each sample"));
        }
        let height = u32::from(u16::from_be_bytes([h1, h0]));
        let width = u32::from(u16::from_be_bytes([w1, w0]));
        if width == 0 || height == 0 {
            return Err(Rejection::corrupt(
                Format::Jpeg,
                format!("a size of {width}x{height}"),
            ));
        }
        let sampling = components
            .as_chunks::<3>()
            .0
            .iter()
            .take(count.into())
            .map(|[_, factors, _]| (factors >> 4, factors & 15))
            .collect();
        Ok(Self {
            width,
            height,
            progressive: marker == 0xc2,
            sampling,
            scan_at: 0,
            junk: Vec::new(),
        })
    }

    /// The output, and every coefficient where scans refine them.
    fn demand(&self) -> Demand {
        let Self { width, height, .. } = *self;
        let channels = if self.sampling.len() == 1 { 1 } else { 3 };
        let mut demand = Demand::per_pixel(width, height, channels);
        if self.progressive {
            let most = |pick: fn(&(u8, u8)) -> u8| {
                u64::from(self.sampling.iter().map(pick).max().unwrap_or(1).max(1))
            };
            let (most_h, most_v) = (most(|s| s.0), most(|s| s.1));
            let units =
                u64::from(width).div_ceil(8 * most_h) * u64::from(height).div_ceil(8 * most_v);
            let blocks: u64 = self
                .sampling
                .iter()
                .map(|&(h, v)| u64::from(h) * u64::from(v))
                .sum();
            demand.bytes += units * blocks * 64 * 2;
        }
        demand
    }
}

struct Segment<'a> {
    marker: u8,
    body: &'a [u8],
    /// Where its marker is, past any fill bytes.
    start: usize,
    next: usize,
}

/// The next marker at or after `at`.
fn segment(bytes: &[u8], at: usize) -> Option<Segment<'_>> {
    let first = at + memchr::memchr(0xff, bytes.get(at..)?)?;
    let fill = bytes
        .get(first..)?
        .iter()
        .take_while(|&&byte| byte == 0xff)
        .count();
    let (start, after) = (first + fill - 1, first + fill);
    let marker = *bytes.get(after)?;
    // Stuffing, restarts, the start and the end carry no length.
    if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd9) {
        return Some(Segment {
            marker,
            body: &[],
            start,
            next: after + 1,
        });
    }
    let &[high, low] = bytes.get(after + 1..)?.first_chunk()?;
    let next = after + 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
    Some(Segment {
        marker,
        body: bytes.get(after + 3..next)?,
        start,
        next,
    })
}

fn without(bytes: &[u8], junk: &[Range<usize>]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for Range { start, end } in junk {
        kept.extend_from_slice(bytes.get(at..*start).unwrap_or_default());
        at = *end;
    }
    kept.extend_from_slice(bytes.get(at..).unwrap_or_default());
    kept
}

/// Whether the end of the image (EOI) comes after the scans. The decoder fills what is missing with
/// gray, libjpeg asks for more data: a file without the marker was cut short.
fn ends(bytes: &[u8], scan_at: usize) -> bool {
    let mut at = scan_at;
    while let Some(Segment { marker, next, .. }) = segment(bytes, at) {
        if marker == 0xd9 {
            return true;
        }
        at = next;
    }
    false
}
