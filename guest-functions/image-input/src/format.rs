use std::fmt;

use crate::Rejection;

/// The formats that [`decode`](crate::decode) reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Baseline, extended and progressive, 8 bits; the first picture of an MPO.
    Jpeg,
    /// Every bit depth and colour type, interlaced too; an APNG's default image.
    Png,
    /// Lossy and lossless; an animation's first frame.
    WebP,
    /// The first frame, on its logical screen, which is at least as large.
    Gif,
    /// Classic and BigTIFF, the first page.
    Tiff,
    /// OS/2 and Windows, 1 to 32 bits, run-length coded too.
    Bmp,
}

impl Format {
    /// Recognises a format by its first bytes; names and content types are never asked.
    ///
    /// # Errors
    /// [`Rejection::Empty`], [`Rejection::UnsupportedFormat`] and [`Rejection::UnknownFormat`].
    pub fn sniff(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.is_empty() {
            return Err(Rejection::Empty);
        }
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        let at = |offset: usize, magic: &[u8]| {
            bytes
                .get(offset..)
                .is_some_and(|rest| rest.starts_with(magic))
        };
        let supported = [
            (Self::Jpeg, starts(b"\xff\xd8\xff")),
            (Self::Png, starts(b"\x89PNG\r\n\x1a\n")),
            (Self::WebP, starts(b"RIFF") && at(8, b"WEBP")),
            (Self::Gif, starts(b"GIF87a") || starts(b"GIF89a")),
            (
                Self::Tiff,
                [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]
                    .iter()
                    .any(|magic| starts(*magic)),
            ),
            (Self::Bmp, starts(b"BM")),
        ];
        if let Some((format, _)) = supported.into_iter().find(|(_, found)| *found) {
            return Ok(format);
        }

        let isobmff = at(4, b"ftyp");
        let named = [
            (
                "JPEG 2000",
                at(4, b"jP  \r\n\x87\n") || starts(b"\xff\x4f\xff\x51"),
            ),
            ("JPEG XL", starts(b"\xff\x0a") || at(4, b"JXL \r\n\x87\n")),
            ("AVIF", isobmff && (at(8, b"avif") || at(8, b"avis"))),
            (
                "HEIF",
                isobmff && (at(8, b"heic") || at(8, b"heix") || at(8, b"mif1")),
            ),
            ("Photoshop", starts(b"8BPS")),
            ("DDS", starts(b"DDS ")),
            ("icon", starts(b"\0\0\x01\0") || starts(b"icns")),
            ("cursor", starts(b"\0\0\x02\0")),
            ("QOI", starts(b"qoif")),
            ("OpenEXR", starts(b"\x76\x2f\x31\x01")),
            ("Radiance HDR", starts(b"#?RADIANCE") || starts(b"#?RGBE")),
            ("SGI", starts(b"\x01\xda")),
            ("Sun raster", starts(b"\x59\xa6\x6a\x95")),
            ("PCX", starts(b"\x0a\x05") || starts(b"\x0a\x03")),
            ("PostScript", starts(b"%!PS") || starts(b"\xc5\xd0\xd3\xc6")),
            ("PDF", starts(b"%PDF")),
            (
                "SVG",
                starts(b"<svg") || (starts(b"<?xml") && contains(bytes, b"<svg")),
            ),
            (
                "PNM",
                starts(b"P") && matches!(bytes, [_, b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..]),
            ),
        ];
        match named.into_iter().find(|(_, found)| *found) {
            Some((name, _)) => Err(Rejection::UnsupportedFormat { name }),
            None => Err(Rejection::UnknownFormat {
                starts_with: bytes.iter().take(8).map(|b| format!("{b:02x}")).collect(),
            }),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
        })
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    memchr::memmem::find(head, needle).is_some()
}
