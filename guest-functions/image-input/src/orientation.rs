use image::metadata::Orientation;

/// The orientation of EXIF, or of XMP where EXIF says nothing, as Pillow's `getexif` has it.
pub(crate) fn orientation_of(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    exif.and_then(from_exif)
        .or_else(|| xmp.and_then(from_xmp))
        .unwrap_or(Orientation::NoTransforms)
}

/// WebP and PNG writers often keep JPEG's prefix, which the format itself doesn't have.
pub(crate) fn from_exif(exif: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6</tiff:Orientation>`.
pub(crate) fn from_xmp(xmp: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let after = xmp.get(memchr::memmem::find(xmp, NAME)? + NAME.len()..)?;
    let digit = match after {
        [b'=', b'"' | b'\'', digit, ..] | [b'>', digit, ..] => *digit,
        _ => return None,
    };
    Orientation::from_exif(digit.checked_sub(b'0')?)
}
