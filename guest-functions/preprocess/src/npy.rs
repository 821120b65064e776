//! NumPy's file format, version 1.0: `numpy.lib.format` has the specification.

use crate::tensor::Tensor;

/// Writes a tensor of shape `(1, 3, height, width)`, 32-bit floats in little-endian order.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    const ALIGNMENT: usize = 64;
    let mut header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, {}, {}), }}",
        tensor.height, tensor.width
    );
    // Spaces, so that data begins at a multiple of 64 after the magic, the length and a newline.
    let unpadded = MAGIC.len() + 2 + header.len() + 1;
    let padded = header.len() + unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    header = format!("{header:padded$}\n");

    let mut file = Vec::with_capacity(MAGIC.len() + 2 + header.len() + tensor.values.len() * 4);
    file.extend_from_slice(MAGIC);
    // Two sides of at most ten digits keep it far below the limit of 65,535.
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use kinglet_image_input::Format;

    use super::*;

    /// The bytes that `numpy.save` writes of the same array.
    #[test]
    fn writes_what_numpy_writes() {
        let tensor = Tensor {
            width: 2,
            height: 1,
            values: vec![0.0, 1.0, -1.0, 0.5, 2.0, -2.0],
            source_size: (2, 1),
            source_format: Format::Png,
        };
        assert_eq!(write(&tensor), include_bytes!("../fixtures/numpy.npy"));
    }
}
