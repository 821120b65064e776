//! The JSON beside a tensor.

use serde_json::json;

use crate::config::{Config, FILTERS, RESIZES};
use crate::tensor::Tensor;

/// Says what a tensor is and how it was made, so that it can be used without this function's
/// settings at hand.
pub fn describe(source_key: &str, tensor_key: &str, tensor: &Tensor, config: &Config) -> String {
    let (source_width, source_height) = tensor.source_size;
    let filter = FILTERS.iter().find(|(_, filter)| *filter == config.filter);
    let resize = RESIZES.iter().find(|(_, resize)| *resize == config.resize);
    let description = json!({
        "tensor": tensor_key,
        "shape": [1, 3, tensor.height, tensor.width],
        "dtype": "float32",
        "layout": "NCHW",
        "channels": "RGB",
        "mean": config.mean,
        "std": config.std,
        "resize": resize.map(|(name, _)| name),
        "filter": filter.map(|(name, _)| name),
        "source": {
            "key": source_key,
            "format": tensor.source_format.to_string(),
            "width": source_width,
            "height": source_height,
        },
    });
    format!("{description:#}\n")
}

#[cfg(test)]
mod tests {
    use kinglet_image_input::Format;
    use serde_json::Value;

    use super::*;

    #[test]
    fn says_all_there_is_to_know() {
        let tensor = Tensor {
            width: 2,
            height: 1,
            values: vec![0.0; 6],
            source_size: (640, 480),
            source_format: Format::Jpeg,
        };
        let config = Config {
            mean: [0.5; 3],
            std: [0.25; 3],
            ..Config::default()
        };
        let description: Value = serde_json::from_str(&describe(
            "a \"b\".jpg",
            "a \"b\".jpg.npy",
            &tensor,
            &config,
        ))
        .unwrap();
        let expected = json!({
            "tensor": "a \"b\".jpg.npy",
            "shape": [1, 3, 1, 2],
            "dtype": "float32",
            "layout": "NCHW",
            "channels": "RGB",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "resize": "stretch",
            "filter": "bilinear",
            "source": {"key": "a \"b\".jpg", "format": "JPEG", "width": 640, "height": 480},
        });
        assert_eq!(description, expected);
    }
}
