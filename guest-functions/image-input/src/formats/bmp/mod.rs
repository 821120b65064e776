mod rle;

use std::borrow::Cow;
use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;

use super::decode_with;
use crate::budget::{Budget, Demand};
use crate::{Format, Layout, Orientation, Picture, Rejection};

pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let header = Header::read(bytes)?;
    Demand::per_pixel(header.width, header.height, 4).check(budget)?;
    if matches!(header.compression, RLE8 | RLE4) && header.bits <= 8 {
        return header.decode_runs(bytes);
    }
    let bytes = header.repaired(bytes);
    let decoder = BmpDecoder::new(Cursor::new(&bytes))
        .map_err(|error| Rejection::from_image(Format::Bmp, &error))?;
    let (width, height) = decoder.dimensions();
    Demand::per_pixel(width, height, 4).check(budget)?;
    decode_with(Format::Bmp, decoder, budget)
}

const FILE_HEADER_LEN: usize = 14;
/// BITMAPCOREHEADER, BITMAPINFOHEADER and OS/2 2.x's header, by their lengths in bytes.
const CORE: u32 = 12;
const INFO: u32 = 40;
const OS2: u32 = 64;
const RLE8: u32 = 1;
const RLE4: u32 = 2;

/// What the headers say, as far as it decides what is read and how.
#[derive(Debug)]
struct Header {
    /// Bytes of the info header, which tell its kind.
    len: u32,
    width: u32,
    height: u32,
    from_top: bool,
    planes: u16,
    bits: u16,
    compression: u32,
    colors: u32,
    /// Where the file says that pixels begin.
    offset: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let read = || {
            let (offset, len) = (long(10)?, long(FILE_HEADER_LEN)?);
            if len == CORE {
                return Some(Self {
                    len,
                    width: short(18)?.into(),
                    height: short(20)?.into(),
                    from_top: false,
                    planes: short(22)?,
                    bits: short(24)?,
                    compression: 0,
                    colors: 0,
                    offset,
                });
            }
            let height = long(22)? as i32;
            Some(Self {
                len,
                width: long(18)?,
                height: height.unsigned_abs(),
                from_top: height < 0,
                planes: short(26)?,
                bits: short(28)?,
                compression: long(30)?,
                colors: long(46)?,
                offset,
            })
        };
        let header = read().ok_or(Rejection::Truncated {
            format: Format::Bmp,
        })?;
        if header.width == 0 || header.height == 0 || header.width > i32::MAX as u32 {
            let size = format!("a size of {}x{}", header.width as i32, header.height);
            return Err(Rejection::corrupt(Format::Bmp, size));
        }
        Ok(header)
    }

    fn palette_at(&self) -> usize {
        FILE_HEADER_LEN.saturating_add(self.len as usize)
    }

    fn palette_len(&self) -> usize {
        let most = 1 << self.bits.min(8);
        if self.colors == 0 {
            most
        } else {
            most.min(self.colors as usize)
        }
    }

    /// Pixels that begin within the palette: the palette is right, as in Pillow.
    fn pixels_at(&self) -> usize {
        let offset = self.offset as usize;
        if self.len == INFO && self.bits <= 8 {
            offset.max(self.palette_at() + self.palette_len() * 4)
        } else {
            offset
        }
    }

    fn decode_runs(&self, bytes: &[u8]) -> Result<Picture, Rejection> {
        let &Self { width, height, .. } = self;
        let truncated = Rejection::Truncated {
            format: Format::Bmp,
        };
        let palette: Vec<[u8; 3]> = bytes
            .get(self.palette_at()..)
            .unwrap_or_default()
            .as_chunks::<4>()
            .0
            .iter()
            .take(self.palette_len())
            .map(|&[b, g, r, _]| [r, g, b])
            .collect();
        let Some(data) = bytes.get(self.pixels_at()..) else {
            return Err(truncated);
        };
        let four_bits = self.compression == RLE4;
        let indices = rle::decode(data, width as usize, height as usize, four_bits);
        if !indices.ended {
            return Err(truncated);
        }
        let pixels = indices.pixels.iter();
        let pixels = pixels
            .flat_map(|&index| palette.get(usize::from(index)).copied().unwrap_or_default())
            .collect();
        let orientation = if self.from_top {
            Orientation::NoTransforms
        } else {
            Orientation::FlipVertical
        };
        Ok(Picture {
            width,
            height,
            layout: Layout::Rgb,
            pixels,
            orientation,
            format: Format::Bmp,
        })
    }

    /// The file without faults that programs write and programs forgive, which the decoder doesn't:
    /// another number of planes than one, pixels said to begin within the palette, no padding after
    /// the last row, and OS/2's longer header.
    fn repaired<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.len < INFO {
            return Cow::Borrowed(bytes);
        }
        let row_bits = u64::from(self.width) * u64::from(self.bits);
        let padding = (row_bits.div_ceil(32) * 4 - row_bits.div_ceil(8)) as usize;
        let needed = (row_bits.div_ceil(32) * 4).saturating_mul(self.height.into());
        let missing = needed.saturating_add(self.pixels_at() as u64);
        let missing = missing.saturating_sub(bytes.len() as u64);
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        let lacks_padding = self.compression == 0 && (1..=padding).contains(&missing);
        // Its own compressions begin at 3; its further fields are about halftones.
        let is_os2 = self.len == OS2 && self.compression < 3;
        let misplaced = self.pixels_at() != self.offset as usize;
        if self.planes == 1 && !lacks_padding && !is_os2 && !misplaced {
            return Cow::Borrowed(bytes);
        }

        let mut repaired = bytes.to_vec();
        let mut put = |at: usize, value: &[u8]| {
            if let Some(into) = repaired.get_mut(at..at + value.len()) {
                into.copy_from_slice(value);
            }
        };
        put(26, &1u16.to_le_bytes());
        let mut offset = self.pixels_at() as u32;
        if is_os2 {
            offset = offset.saturating_sub(OS2 - INFO);
            put(FILE_HEADER_LEN, &INFO.to_le_bytes());
        }
        put(10, &offset.to_le_bytes());
        if lacks_padding {
            repaired.resize(repaired.len() + missing, 0);
        }
        if is_os2 {
            let own = FILE_HEADER_LEN + INFO as usize..FILE_HEADER_LEN + OS2 as usize;
            if own.end <= repaired.len() {
                repaired.drain(own);
            }
        }
        Cow::Owned(repaired)
    }
}
