//! What the image functions share: untrusted bytes in, an upright 8-bit [`Picture`] out, within a
//! stated budget of pixels and memory.
//!
//! - [`decode`] recognises the format by content, checks the header against [`Limits`] before
//!   anything of the picture's size is allocated, and decodes the first frame.
//! - [`Picture::premultiply`] and [`Premultiplied::resize`] resample it as Pillow does, from any
//!   region, in the orientation it is stored in; [`Picture::upright`] then turns the small result,
//!   which costs next to nothing.
//! - [`Rejection`] says truthfully why a file can't be used. The same bytes are always rejected
//!   alike, so a handler should end the event with it rather than try again.
//!
//! ```
//! use kinglet_image_input::{Limits, Rejection, decode};
//!
//! let rejected = decode(b"not a picture", &Limits::default());
//! assert!(matches!(rejected, Err(Rejection::UnknownFormat { .. })));
//! ```
//!
//! # What comes out
//! | input | becomes |
//! |---|---|
//! | 16 bits per sample | the high 8 bits |
//! | 1, 2, 4 and 12 bits per sample | scaled to 0..=255 |
//! | float samples (TIFF) | 0.0..=1.0 scaled to 0..=255, clipped |
//! | palette | its colours, with transparency where the file has it |
//! | CMYK, YCCK | RGB by `(255 - ink) * (255 - black) / 255`; ICC profiles aren't applied |
//! | several frames or pages | the first |
//! | data that end early, in a whole file too | a rejection; a JPEG's last refinements may miss |
//! | alpha of 255 throughout | no alpha |

mod budget;
mod decode;
mod error;
mod format;
mod formats;
pub mod naming;
mod orientation;
mod picture;
mod resample;
pub mod settings;

pub use budget::Limits;
pub use decode::decode;
pub use error::Rejection;
pub use format::Format;
pub use image::metadata::Orientation;
pub use picture::{Layout, Picture};
pub use resample::{Filter, Premultiplied, Region, ResizeError};
