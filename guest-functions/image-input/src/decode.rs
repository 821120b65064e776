use crate::formats::{bmp, gif, jpeg, png, tiff, webp};
use crate::{Format, Limits, Picture, Rejection};

/// Decodes the first frame of an untrusted file.
///
/// The format is recognised by content. Width, height and the memory that decoding takes are read
/// from the header and checked before memory of the picture's size is allocated. The picture comes
/// as stored; [`Picture::upright`] turns it.
///
/// # Errors
/// [`Rejection`], which is true of the bytes: another attempt gives the same.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, Rejection> {
    let picture = match Format::sniff(bytes)? {
        Format::Jpeg => jpeg::decode(bytes, limits),
        Format::Png => png::decode(bytes, limits),
        Format::WebP => webp::decode(bytes, limits),
        Format::Gif => gif::decode(bytes, limits),
        Format::Tiff => tiff::decode(bytes, limits),
        Format::Bmp => bmp::decode(bytes, limits),
    }?;
    Ok(picture.without_idle_alpha())
}
