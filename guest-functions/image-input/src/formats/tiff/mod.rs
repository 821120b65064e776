//! TIFF from its tags up, on the decompressors that the `image` crate uses too.
//!
//! `image`'s own decoder refuses palettes, fill order, 4- and 12-bit samples and Group 3 fax, and
//! holds 16-bit pictures whole; here each strip or tile becomes 8 bits as it is read.

mod compression;
mod directory;
mod fax;
mod samples;

use std::borrow::Cow;

use image::metadata::Orientation;

use self::compression::{ChunkShape, Compression, decode_jpeg, unpack};
use self::directory::{Directory, tag};
use self::samples::{Colors, Depth, undo_differencing};
use crate::budget::{Budget, Demand};
use crate::orientation::orientation_of;
use crate::{Format, Picture, Rejection};

pub(crate) fn decode(bytes: &[u8], budget: &Budget) -> Result<Picture, Rejection> {
    let directory = Directory::read(bytes)?;
    if let Some(stream) = old_jpeg(bytes, &directory)? {
        let picture = super::jpeg::decode(stream, budget)?;
        return Ok(Picture {
            format: Format::Tiff,
            orientation: orientation(&directory),
            ..picture
        });
    }
    let plan = Plan::of(&directory)?;
    plan.demand().check(budget)?;

    let mut samples = vec![0; plan.width * plan.height * plan.colors.channels()];
    for index in 0..plan.chunks_across * plan.chunks_down * plan.planes {
        plan.decode_chunk(bytes, &directory, index, &mut samples)?;
    }
    let (layout, pixels) = plan.colors.render(samples);
    let (width, height) = (plan.width as u32, plan.height as u32);
    let orientation = orientation(&directory);
    Ok(Picture {
        width,
        height,
        layout,
        pixels,
        orientation,
        format: Format::Tiff,
    })
}

fn orientation(directory: &Directory) -> Orientation {
    directory
        .number(tag::ORIENTATION)
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or_else(|| orientation_of(None, directory.bytes(tag::XMP)))
}

/// TIFF 6.0's own JPEG scheme, long withdrawn: only files that hold a whole JPEG stream, which is
/// what scanners made of it, can be read.
fn old_jpeg<'a>(file: &'a [u8], directory: &Directory) -> Result<Option<&'a [u8]>, Rejection> {
    const OLD_JPEG: u64 = 6;
    if directory.number(tag::COMPRESSION) != Some(OLD_JPEG) {
        return Ok(None);
    }
    let stream = directory
        .number(tag::JPEG_INTERCHANGE_FORMAT)
        .and_then(|offset| file.get(usize::try_from(offset).ok()?..))
        .filter(|stream| stream.starts_with(b"\xff\xd8\xff"));
    match stream {
        Some(stream) => Ok(Some(stream)),
        None => Err(Rejection::unsupported(
            Format::Tiff,
            "old-style JPEG without a whole stream",
        )),
    }
}

/// Everything that the tags say about where samples are and what they mean.
#[derive(Debug)]
struct Plan {
    width: usize,
    height: usize,
    depth: Depth,
    colors: Colors,
    compression: Compression,
    jpeg_to_rgb: bool,
    reverse_bits: bool,
    differencing: bool,
    /// Samples stored for each pixel, used or not.
    samples_per_pixel: usize,
    /// Channels in planes of their own: as many as samples, or one plane with all.
    planes: usize,
    tiled: bool,
    chunk_width: usize,
    chunk_height: usize,
    chunks_across: usize,
    chunks_down: usize,
    offsets: Vec<u64>,
    byte_counts: Vec<u64>,
}

impl Plan {
    fn of(directory: &Directory) -> Result<Self, Rejection> {
        let corrupt = |reason: &str| Rejection::corrupt(Format::Tiff, reason);
        let side = |tag| {
            directory
                .number(tag)
                .and_then(|side| u32::try_from(side).ok())
                .filter(|side| *side > 0)
                .ok_or_else(|| corrupt("a directory without a width and a height"))
        };
        let (width, height) = (side(tag::WIDTH)? as usize, side(tag::HEIGHT)? as usize);
        let compression = Compression::of(directory)?;
        let stored = Colors::of(directory)?;
        // The JPEG decoder converts, and knows how chroma was halved.
        let jpeg_to_rgb = (&stored, compression) == (&Colors::YCbCr, Compression::Jpeg);
        let colors = if jpeg_to_rgb {
            Colors::Rgb { alpha: None }
        } else {
            stored
        };
        let depth = Depth::of(directory)?;
        let samples_per_pixel = directory.number_or(tag::SAMPLES_PER_PIXEL, 1) as usize;
        if samples_per_pixel > 64 {
            let feature = format!("{samples_per_pixel} samples for each pixel");
            return Err(Rejection::unsupported(Format::Tiff, feature));
        }
        if compression.is_fax() && (samples_per_pixel, depth) != (1, Depth::Packed(1)) {
            return Err(corrupt("fax data of more than one bit for each pixel"));
        }
        let subsampled = directory.numbers(tag::CHROMA_SUBSAMPLING) != [1, 1];
        if colors == Colors::YCbCr && subsampled {
            let feature = "subsampled YCbCr outside JPEG compression";
            return Err(Rejection::unsupported(Format::Tiff, feature));
        }
        let planar = directory.number_or(tag::PLANAR_CONFIGURATION, 1) == 2;
        let planes = if planar { samples_per_pixel } else { 1 };

        let tiled = directory.number(tag::TILE_OFFSETS).is_some();
        let (chunk_width, chunk_height, offsets, byte_counts) = if tiled {
            let (w, h) = (
                side(tag::TILE_WIDTH)? as usize,
                side(tag::TILE_LENGTH)? as usize,
            );
            (w, h, tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS)
        } else {
            let rows = directory
                .number_or(tag::ROWS_PER_STRIP, u64::MAX)
                .clamp(1, height as u64);
            (
                width,
                rows as usize,
                tag::STRIP_OFFSETS,
                tag::STRIP_BYTE_COUNTS,
            )
        };
        let offsets = directory.numbers(offsets);
        let byte_counts = directory.numbers(byte_counts);
        let (chunks_across, chunks_down) =
            (width.div_ceil(chunk_width), height.div_ceil(chunk_height));
        let chunks = chunks_across
            .saturating_mul(chunks_down)
            .saturating_mul(planes);
        if offsets.len() != chunks {
            let reason = format!(
                "{} strips or tiles where {chunks} are declared",
                offsets.len()
            );
            return Err(corrupt(&reason));
        }
        Ok(Self {
            width,
            height,
            depth,
            colors,
            compression,
            jpeg_to_rgb,
            reverse_bits: directory.number_or(tag::FILL_ORDER, 1) == 2,
            differencing: match directory.number_or(tag::PREDICTOR, 1) {
                2 => matches!(compression, Compression::Lzw | Compression::Deflate),
                3 => return Err(Rejection::unsupported(Format::Tiff, "the float predictor")),
                _ => false,
            },
            samples_per_pixel,
            planes,
            tiled,
            chunk_width,
            chunk_height,
            chunks_across,
            chunks_down,
            offsets,
            byte_counts,
        })
    }

    /// Samples, the chunk being unpacked and its compressed copy, and what rendering adds.
    fn demand(&self) -> Demand {
        let (width, height) = (self.width as u64, self.height as u64);
        let own = self.colors.channels() as u64 + self.colors.bytes_to_render();
        let row_bits = (self.chunk_width as u64)
            .saturating_mul((self.samples_in_chunk() * self.depth.bits()) as u64);
        let copies = if self.compression == Compression::None {
            0
        } else {
            2
        };
        let chunk = row_bits
            .div_ceil(8)
            .saturating_mul(self.chunk_height as u64);
        let mut demand = Demand::per_pixel(width as u32, height as u32, own);
        demand.bytes = demand.bytes.saturating_add(chunk.saturating_mul(copies));
        demand
    }

    fn samples_in_chunk(&self) -> usize {
        if self.planes == 1 {
            self.samples_per_pixel
        } else {
            1
        }
    }

    fn decode_chunk(
        &self,
        file: &[u8],
        directory: &Directory,
        index: usize,
        samples: &mut [u8],
    ) -> Result<(), Rejection> {
        let per_plane = self.chunks_across * self.chunks_down;
        let plane = index / per_plane;
        let channels = self.colors.channels();
        if plane >= channels {
            return Ok(());
        }
        let (column, row) = (
            index % per_plane % self.chunks_across,
            index % per_plane / self.chunks_across,
        );
        let place = Place {
            left: column * self.chunk_width,
            top: row * self.chunk_height,
            first_channel: plane,
        };
        let mut packed = Cow::Borrowed(self.chunk_bytes(file, index)?);
        if self.reverse_bits {
            packed
                .to_mut()
                .iter_mut()
                .for_each(|byte| *byte = byte.reverse_bits());
        }

        if self.compression == Compression::Jpeg {
            let most = self.chunk_width * self.chunk_height * 4 * 2;
            let tables = directory.bytes(tag::JPEG_TABLES);
            let chunk = decode_jpeg(&packed, tables, self.jpeg_to_rgb, most as u64)?;
            let (rows, columns) = (self.height - place.top, self.width - place.left);
            if chunk.height < rows.min(self.chunk_height)
                || chunk.width < columns.min(self.chunk_width)
            {
                let format = Format::Tiff;
                return Err(Rejection::Truncated { format });
            }
            let row_len = (chunk.width * chunk.channels).max(1);
            for (y, row) in chunk
                .pixels
                .chunks_exact(row_len)
                .take(chunk.height)
                .enumerate()
            {
                self.put_row(samples, place, y, row, chunk.channels);
            }
            return Ok(());
        }

        let in_chunk = self.samples_in_chunk();
        let rows = if self.tiled {
            self.chunk_height
        } else {
            self.chunk_height.min(self.height - place.top)
        };
        let shape = ChunkShape {
            width: self.chunk_width,
            rows,
            row_bytes: (self.chunk_width * in_chunk * self.depth.bits()).div_ceil(8),
        };
        let mut unpacked = unpack(self.compression, packed, shape)?;
        if self.differencing {
            for row in unpacked.to_mut().chunks_mut(shape.row_bytes) {
                undo_differencing(row, self.depth, directory.order, in_chunk)?;
            }
        }
        for (y, row) in unpacked
            .chunks_exact(shape.row_bytes)
            .take(rows)
            .enumerate()
        {
            let wanted = self.chunk_width * in_chunk;
            let row = self
                .depth
                .expand(row, directory.order, wanted, self.colors.scales());
            self.put_row(samples, place, y, &row, in_chunk);
        }
        Ok(())
    }

    /// Copies a chunk's row of `stored` samples a pixel to where it belongs, leaving out what lies
    /// beyond the picture and channels that aren't used.
    fn put_row(&self, samples: &mut [u8], place: Place, y: usize, row: &[u8], stored: usize) {
        let channels = self.colors.channels();
        let y = place.top + y;
        if y >= self.height {
            return;
        }
        let (start, end) = (
            (y * self.width + place.left) * channels,
            (y + 1) * self.width * channels,
        );
        let Some(into) = samples.get_mut(start..end) else {
            return;
        };
        if stored == channels {
            let len = row.len().min(into.len());
            if let (Some(into), Some(row)) = (into.get_mut(..len), row.get(..len)) {
                into.copy_from_slice(row);
            }
            return;
        }
        for (pixel, stored) in into
            .chunks_exact_mut(channels)
            .zip(row.chunks_exact(stored))
        {
            for (sample, stored) in pixel.iter_mut().skip(place.first_channel).zip(stored) {
                *sample = *stored;
            }
        }
    }

    fn chunk_bytes<'a>(&self, file: &'a [u8], index: usize) -> Result<&'a [u8], Rejection> {
        let truncated = Rejection::Truncated {
            format: Format::Tiff,
        };
        let Some(&offset) = self.offsets.get(index) else {
            return Err(Rejection::corrupt(
                Format::Tiff,
                "fewer strips or tiles than it needs",
            ));
        };
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| file.get(offset..));
        let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
            return Err(truncated);
        };
        let len = match self.byte_counts.get(index) {
            // Uncompressed strips have the length they must have, whatever is declared.
            _ if self.compression == Compression::None => rest.len(),
            Some(&len) => usize::try_from(len).unwrap_or(usize::MAX),
            None => rest.len(),
        };
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

/// Where a chunk's first sample goes.
#[derive(Clone, Copy, Debug)]
struct Place {
    left: usize,
    top: usize,
    first_channel: usize,
}
