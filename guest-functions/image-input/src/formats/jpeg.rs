use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;

use super::decode_with;
use crate::budget::Demand;
use crate::{Format, Limits, Picture, Rejection};

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Rejection> {
    let frame = Frame::read(bytes)?;
    frame.demand(bytes.len()).check(limits)?;
    if !ends(bytes, frame.scan_at) {
        return Err(Rejection::Truncated { format: Format::Jpeg });
    }
    let decoder = JpegDecoder::new(Cursor::new(bytes))
        .map_err(|error| Rejection::from_image(Format::Jpeg, &error))?;
    decode_with(Format::Jpeg, decoder, limits)
}

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
}

impl Frame {
    /// Walks the segments up to the first scan, so that size and memory are known before the
    /// decoder sees the file.
    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut frame = None;
        let mut at = 2;
        loop {
            let (marker, body, next) =
                segment(bytes, at).ok_or(Rejection::Truncated { format: Format::Jpeg })?;
            match marker {
                0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    frame = Some(Self::parse(marker, body)?);
                }
                0xd9 => return Err(Rejection::corrupt(Format::Jpeg, "it ends without a scan")),
                0xda => {
                    let mut frame = frame
                        .ok_or_else(|| Rejection::corrupt(Format::Jpeg, "a scan without a frame"))?;
                    frame.scan_at = at;
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
            return Err(Rejection::corrupt(Format::Jpeg, "a frame header that is too short"));
        };
        if bits != 8 {
            return unsupported(&format!("{bits} bits for each sample"));
        }
        let height = u32::from(u16::from_be_bytes([h1, h0]));
        let width = u32::from(u16::from_be_bytes([w1, w0]));
        if width == 0 || height == 0 {
            return Err(Rejection::corrupt(Format::Jpeg, format!("a size of {width}x{height}")));
        }
        let sampling = components
            .as_chunks::<3>()
            .0
            .iter()
            .take(count.into())
            .map(|[_, factors, _]| (factors >> 4, factors & 15))
            .collect();
        Ok(Self { width, height, progressive: marker == 0xc2, sampling, scan_at: 0 })
    }

    /// The output, `image`'s copy of the file, and every coefficient where scans refine them.
    fn demand(&self, file_len: usize) -> Demand {
        let Self { width, height, .. } = *self;
        let channels = if self.sampling.len() == 1 { 1 } else { 3 };
        let mut demand = Demand::per_pixel(width, height, channels);
        demand.bytes += file_len as u64;
        if self.progressive {
            let most = |pick: fn(&(u8, u8)) -> u8| {
                u64::from(self.sampling.iter().map(pick).max().unwrap_or(1).max(1))
            };
            let (most_h, most_v) = (most(|s| s.0), most(|s| s.1));
            let units = u64::from(width).div_ceil(8 * most_h) * u64::from(height).div_ceil(8 * most_v);
            let blocks: u64 = self.sampling.iter().map(|&(h, v)| u64::from(h) * u64::from(v)).sum();
            demand.bytes += units * blocks * 64 * 2;
        }
        demand
    }
}

/// The marker at or after `at`, its payload, and where the next segment starts.
fn segment(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let start = at + memchr::memchr(0xff, bytes.get(at..)?)?;
    let fill = bytes.get(start..)?.iter().take_while(|&&byte| byte == 0xff).count();
    let after = start + fill;
    let marker = *bytes.get(after)?;
    // Stuffing, restarts, the start and the end carry no length.
    if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd9) {
        return Some((marker, &[], after + 1));
    }
    let &[high, low] = bytes.get(after + 1..after + 3)?.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let body = bytes.get(after + 3..(after + 1 + len).max(after + 3))?;
    Some((marker, body, after + 1 + len.max(2)))
}

/// Whether the end of the image (EOI) comes after the scans. The decoder fills what is missing with
/// gray, libjpeg asks for more data: a file without the marker was cut short.
fn ends(bytes: &[u8], scan_at: usize) -> bool {
    let mut at = scan_at;
    while let Some((marker, _, next)) = segment(bytes, at) {
        if marker == 0xd9 {
            return true;
        }
        at = next;
    }
    false
}
