//! Run-length coded rows of indices, 4 or 8 bits each (BI_RLE4, BI_RLE8).
//!
//! `image` leaves what the data pass over black; it is colour 0, as in Windows and Pillow.

/// The indices of a picture, in the order of its data, and whether the data told of their end.
pub(super) struct Indices {
    pub pixels: Vec<u8>,
    pub ended: bool,
}

/// Pixels beyond a row's end are dropped.
pub(super) fn decode(data: &[u8], width: usize, height: usize, four_bits: bool) -> Indices {
    let mut pixels = vec![0; width * height];
    let (mut x, mut y) = (0, 0);
    let mut rest = data;
    while y < height {
        let Some((&[count, value], after)) = rest.split_first_chunk() else {
            return Indices {
                pixels,
                ended: false,
            };
        };
        rest = after;
        let mut put = |index: u8, x: usize| {
            if x < width
                && let Some(pixel) = pixels.get_mut(y * width + x)
            {
                *pixel = index;
            }
        };
        match (count, value) {
            (0, 0) => (x, y) = (0, y + 1),
            (0, 1) => {
                return Indices {
                    pixels,
                    ended: true,
                };
            }
            (0, 2) => {
                let Some((&[right, down], after)) = rest.split_first_chunk() else {
                    return Indices {
                        pixels,
                        ended: false,
                    };
                };
                rest = after;
                (x, y) = (x + usize::from(right), y + usize::from(down));
            }
            (0, literals) => {
                let count = usize::from(literals);
                let bytes = if four_bits { count.div_ceil(2) } else { count };
                let (literal, after) = rest.split_at(bytes.min(rest.len()));
                // Literals end at an even byte.
                rest = after.get(bytes % 2..).unwrap_or_default();
                for nth in 0..count {
                    let byte = literal.get(if four_bits { nth / 2 } else { nth });
                    put(nibble(byte.copied().unwrap_or(0), nth, four_bits), x + nth);
                }
                x += count;
            }
            (count, value) => {
                for nth in 0..usize::from(count) {
                    put(nibble(value, nth, four_bits), x + nth);
                }
                x += usize::from(count);
            }
        }
    }
    Indices {
        pixels,
        ended: true,
    }
}

fn nibble(byte: u8, nth: usize, four_bits: bool) -> u8 {
    match (four_bits, nth % 2) {
        (false, _) => byte,
        (true, 0) => byte >> 4,
        (true, _) => byte & 15,
    }
}
