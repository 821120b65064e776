//! Where an output goes.

use kinglet_image_input::naming::{self, KeyTooLong};

use crate::config::Size;
use crate::encode::Encoded;

/// The output's key: the input's whole key, the box that was asked for, and what it is.
///
/// The input's key stays as it is, extension and all: `a.png` and `a.jpg` never meet, and neither
/// do two sizes, since the last two parts are always read off the end. The box is the configured
/// one rather than the pixels that came of it, so that the key is known before the picture is read.
/// A name that gets too long is cut, as [`naming::output_key`] says.
///
/// # Errors
/// [`KeyTooLong`] where the folders of the input leave no room.
///
/// ```
/// use thumbnail::{config::Size, encode::Encoded, naming::output_key};
///
/// let size = Size { width: 256, height: 256 };
/// let key = output_key("cats/tom.png", size, Encoded::Jpeg)?;
/// assert_eq!(key, "cats/tom.png.256x256.jpg");
/// # Ok::<(), kinglet_image_input::naming::KeyTooLong>(())
/// ```
pub fn output_key(input_key: &str, size: Size, format: Encoded) -> Result<String, KeyTooLong> {
    naming::output_key(input_key, &format!(".{size}.{}", format.extension()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_never_meet() {
        let inputs = [
            "a",
            "a.png",
            "a.jpg",
            "a.png.1x1.jpg",
            "a.1x1",
            "b/a.png",
            "",
            "ü.png",
        ];
        let sizes = [(1, 1), (1, 2), (11, 1)].map(|(width, height)| Size { width, height });
        let mut seen = HashSet::new();
        for input in inputs {
            for size in sizes {
                for format in [Encoded::Jpeg, Encoded::Png, Encoded::WebP] {
                    assert!(
                        seen.insert(output_key(input, size, format).unwrap()),
                        "{input} {size}"
                    );
                }
            }
        }
    }
}
