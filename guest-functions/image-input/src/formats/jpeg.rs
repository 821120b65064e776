mod scans;
mod stream;

use std::ops::Range;

use image::metadata::Orientation;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use self::stream::CheckedStream;
use crate::budget::{Budget, Demand};
use crate::error::tidy;
use crate::orientation::{from_exif, from_xmp};
use crate::{Format, Layout, Picture, Rejection};

/// `zune-jpeg` itself, below `image`: in its strict mode it refuses broken data, of which `image`
/// gets gray areas and no error, and it needs no copy of the file.
pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let frame = Frame::read(bytes)?;
    let mut demand = frame.demand();
    demand.check(budget)?;
    let ends = scans::ends(bytes, &frame)?;
    demand.bytes += CheckedStream::bytes_for(frame.junk.len(), ends.len());
    demand.check(budget)?;

    let fail = |error| rejection(Format::Jpeg, error);
    let options = options();
    let stream = CheckedStream::new(bytes, &frame.junk, &ends);
    let mut decoder = JpegDecoder::new_with_options(stream, options);
    decoder.decode_headers().map_err(fail)?;
    let (layout, colors) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (Layout::Gray, ColorSpace::Luma),
        // CMYK and YCCK too, inverted as Adobe writes them.
        _ => (Layout::Rgb, ColorSpace::RGB),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(colors));
    let pixels = match decoder.decode() {
        Ok(pixels) => pixels,
        Err(_) if decoder.into_inner().is_past_data() => {
            return Err(Rejection::Truncated {
                format: Format::Jpeg,
            });
        }
        Err(error) => return Err(fail(error)),
    };
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
        orientation: frame.orientation(),
        format: Format::Jpeg,
    })
}

/// Finds data that a stream misses, and returns it for a decoder that fails where more is missing.
///
/// # Errors
/// As `decode`, before anything is decoded.
pub(crate) fn checked(bytes: &[u8]) -> Result<CheckedStream<'_>, Rejection> {
    let frame = Frame::read(bytes)?;
    let ends = scans::ends(bytes, &frame)?;
    Ok(CheckedStream::new(bytes, &frame.junk, &ends))
}

/// Puts the decoder's error into words, because its own is made for programmers.
pub(crate) fn rejection(format: Format, error: DecodeErrors) -> Rejection {
    let reason = match error {
        error if error.is_recoverable_eof() => return Rejection::Truncated { format },
        DecodeErrors::Format(reason)
        | DecodeErrors::HuffmanDecode(reason)
        | DecodeErrors::DqtError(reason)
        | DecodeErrors::SosError(reason)
        | DecodeErrors::SofError(reason)
        | DecodeErrors::MCUError(reason) => reason,
        DecodeErrors::FormatStatic(reason) => reason.to_owned(),
        other => return Rejection::from_codec(format, &other),
    };
    Rejection::corrupt(format, tidy(&reason))
}

/// Has the decoder refuse broken data.
pub(crate) fn options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
}

/// Bytes of an Adobe segment (APP14): its name, its version, two flags and the colour transform.
const ADOBE_LEN: usize = 12;

/// What the frame header (SOFn, ITU-T T.81 B.2.2) says.
#[derive(Debug)]
struct Frame {
    width: u32,
    height: u32,
    progressive: bool,
    components: Vec<FrameComponent>,
    /// Units (MCUs) between two restarts; 0 where there are none.
    restart_interval: u64,
    /// The first that a segment of EXIF has.
    exif: Option<Orientation>,
    /// The first that a segment of XMP has.
    xmp: Option<Orientation>,
    /// Where the first scan's marker is.
    scan_at: usize,
    /// What libjpeg passes over and the decoder would refuse: bytes between segments, and Adobe
    /// segments too short to be one.
    junk: Vec<Range<usize>>,
}

/// A component of the picture, as a colour.
#[derive(Debug)]
struct FrameComponent {
    id: u8,
    /// Sampling factors, horizontal and vertical.
    h: u8,
    v: u8,
}

impl Frame {
    /// Walks the segments up to the first scan, so that size and memory are known before the
    /// decoder sees the file.
    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        const EXIF: &[u8] = b"Exif\0\0";
        const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
        let mut frame = None;
        let (mut exif, mut xmp) = (None, None);
        let mut restart_interval = 0;
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
                0xdd => restart_interval = scans::read_interval(body),
                // Some programs add segments of their own and leave the camera's: the first that
                // says it holds.
                0xe1 => {
                    let says = |name| body.strip_prefix(name);
                    exif = exif.or_else(|| says(EXIF).and_then(from_exif));
                    xmp = xmp.or_else(|| says(XMP).and_then(from_xmp));
                }
                0xd9 => return Err(Rejection::corrupt(Format::Jpeg, "it ends without a scan")),
                0xda => {
                    let frame: Self = frame.ok_or_else(|| {
                        Rejection::corrupt(Format::Jpeg, "a scan without a frame")
                    })?;
                    return Ok(Self {
                        scan_at: at,
                        junk,
                        exif,
                        xmp,
                        restart_interval,
                        ..frame
                    });
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
        let components = components
            .as_chunks::<3>()
            .0
            .iter()
            .take(count.into())
            .map(|[id, factors, _]| FrameComponent {
                id: *id,
                h: factors >> 4,
                v: factors & 15,
            })
            .collect();
        Ok(Self {
            width,
            height,
            progressive: marker == 0xc2,
            components,
            restart_interval: 0,
            exif: None,
            xmp: None,
            scan_at: 0,
            junk: Vec::new(),
        })
    }

    /// Returns the orientation of EXIF, or of XMP where EXIF has none.
    fn orientation(&self) -> Orientation {
        let orientation = self.exif.or(self.xmp);
        orientation.unwrap_or(Orientation::NoTransforms)
    }

    /// The largest sampling factors, which are at least 1.
    fn most_sampling(&self) -> (u64, u64) {
        let components = self.components.iter();
        components.fold((1, 1), |(h, v), component| {
            (h.max(component.h.into()), v.max(component.v.into()))
        })
    }

    /// The output, and every coefficient where scans refine them.
    fn demand(&self) -> Demand {
        let Self { width, height, .. } = *self;
        let channels = if self.components.len() == 1 { 1 } else { 3 };
        let mut demand = Demand::per_pixel(width, height, channels);
        if self.progressive {
            let (most_h, most_v) = self.most_sampling();
            let units =
                u64::from(width).div_ceil(8 * most_h) * u64::from(height).div_ceil(8 * most_v);
            let blocks: u64 = self
                .components
                .iter()
                .map(|component| u64::from(component.h) * u64::from(component.v))
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
