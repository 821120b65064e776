use crate::budget::Budget;
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
    let budget = &Budget {
        limits: *limits,
        file_bytes: bytes.len() as u64,
    };
    let picture = match Format::sniff(bytes)? {
        Format::Jpeg => jpeg::decode(bytes, budget),
        Format::Png => png::decode(bytes, budget),
        Format::WebP => webp::decode(bytes, budget),
        Format::Gif => gif::decode(bytes, budget),
        Format::Tiff => tiff::decode(bytes, budget),
        Format::Bmp => bmp::decode(bytes, budget),
    }?;
    Ok(picture.without_idle_alpha())
}
