//! The scans of a file, checked before it is decoded: a picture is whole where they are.
//!
//! Decoders of JPEG read zeros behind the end of a scan, and paint them. libjpeg only warns then.
//! Counting finds missing restart intervals, missing scans and short refinements of DC. For the
//! rest the decoder meets bits that are no code, see [`super::stream`]. Refinements of AC may end
//! early.

use super::{Frame, segment};
use crate::{Format, Rejection};

/// Whole coefficients of a component: one bit for each.
const ALL: u64 = u64::MAX;

/// Finds the places at which entropy-coded data end, in order: at restarts and ends of scans.
///
/// # Errors
/// [`Rejection::Truncated`] where the picture isn't whole.
pub(super) fn ends(bytes: &[u8], frame: &Frame) -> Result<Vec<usize>, Rejection> {
    let truncated = Rejection::Truncated {
        format: Format::Jpeg,
    };
    let mut ends = Vec::new();
    let mut seen = vec![0_u64; frame.components.len()];
    let mut restart_interval = frame.restart_interval;
    let mut at = frame.scan_at;
    loop {
        let Some(found) = segment(bytes, at) else {
            return Err(truncated);
        };
        at = found.next;
        match found.marker {
            0xd9 => break,
            0xdd => restart_interval = read_interval(found.body),
            0xda => {
                let Some(data) = entropy_coded(bytes, found.next, &mut ends) else {
                    return Err(truncated);
                };
                at = data.end;
                let scan = ScanHeader::parse(found.body, frame);
                if !scan.is_whole(&data, frame, restart_interval) {
                    return Err(truncated);
                }
                for component in scan.components {
                    if let Some(seen) = seen.get_mut(component) {
                        *seen |= scan.coefficients;
                    }
                }
            }
            _ => {}
        }
    }
    match seen.iter().all(|seen| *seen == ALL) {
        true => Ok(ends),
        false => Err(truncated),
    }
}

/// Reads a restart interval (DRI), in units of the scan.
pub(super) fn read_interval(body: &[u8]) -> u64 {
    let interval = body.first_chunk().copied();
    interval.map_or(0, u16::from_be_bytes).into()
}

/// The data of a scan.
struct EntropyCoded {
    /// The place of the next marker.
    end: usize,
    restarts: u64,
    /// Bytes without markers and what is stuffed.
    len: u64,
}

/// Walks over a scan's data to the marker behind them; none where there is no marker.
fn entropy_coded(bytes: &[u8], from: usize, ends: &mut Vec<usize>) -> Option<EntropyCoded> {
    let mut data = EntropyCoded {
        end: from,
        restarts: 0,
        len: 0,
    };
    loop {
        let rest = bytes.get(data.end..)?;
        let marker = memchr::memchr(0xff, rest)?;
        data.len += marker as u64;
        let fill = rest.get(marker..)?.iter().take_while(|byte| **byte == 0xff);
        let code_at = marker + fill.count();
        match rest.get(code_at)? {
            0x00 => data.len += 1,
            0xd0..=0xd7 => {
                data.restarts += 1;
                ends.push(data.end + marker);
            }
            _ => {
                data.end += marker;
                ends.push(data.end);
                return Some(data);
            }
        }
        data.end += code_at + 1;
    }
}

/// The header of a scan (SOS, ITU-T T.81 B.2.3).
struct ScanHeader {
    /// Places in the frame's components.
    components: Vec<usize>,
    /// Those that the scan has, one bit for each.
    coefficients: u64,
    /// Set where each block has one bit, of a DC coefficient that came before.
    refines_dc: bool,
}

impl ScanHeader {
    fn parse(body: &[u8], frame: &Frame) -> Self {
        let count = body.first().map_or(0, |count| usize::from(*count));
        let selectors = body.get(1..).unwrap_or_default().as_chunks::<2>().0;
        let components = selectors.iter().take(count).filter_map(|[id, _]| {
            let mut components = frame.components.iter();
            components.position(|component| component.id == *id)
        });
        let spectral = body
            .get(1 + count * 2..)
            .and_then(|rest| rest.first_chunk());
        let (coefficients, refines_dc) = match spectral {
            Some(&[first, last, bits]) if frame.progressive && first <= last && last < 64 => {
                let up_to_last = ALL >> (63 - last);
                let before_first = (1 << first) - 1;
                (up_to_last & !before_first, first == 0 && bits >> 4 != 0)
            }
            _ => (ALL, false),
        };
        Self {
            components: components.collect(),
            coefficients,
            refines_dc,
        }
    }

    /// Tells whether its data have every restart interval, and a bit for each block it refines.
    fn is_whole(&self, data: &EntropyCoded, frame: &Frame, restart_interval: u64) -> bool {
        let (units, blocks) = self.units(frame);
        let intervals = match restart_interval {
            0 => 1,
            interval => units.div_ceil(interval),
        };
        let bits = data.len.saturating_mul(8);
        data.restarts + 1 >= intervals && (!self.refines_dc || bits >= units.saturating_mul(blocks))
    }

    /// Counts its units (MCUs), and the blocks in each. A single component has units of one block,
    /// and none beyond its own samples.
    fn units(&self, frame: &Frame) -> (u64, u64) {
        let (most_h, most_v) = frame.most_sampling();
        let side = |pixels: u32, own: u64, most: u64, unit: u64| {
            (u64::from(pixels) * own).div_ceil(most).div_ceil(unit)
        };
        let components = self.components.iter();
        let sampling: Vec<(u64, u64)> = components
            .filter_map(|at| frame.components.get(*at))
            .map(|component| (component.h.into(), component.v.into()))
            .collect();
        if let [(h, v)] = sampling.as_slice() {
            let across = side(frame.width, *h, most_h, 8);
            return (across * side(frame.height, *v, most_v, 8), 1);
        }
        let across = side(frame.width, 1, 1, 8 * most_h);
        let blocks = sampling.iter().map(|(h, v)| h * v).sum();
        (across * side(frame.height, 1, 1, 8 * most_v), blocks)
    }
}
