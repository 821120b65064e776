//! A function: pictures to normalised tensors, as models want them.
//!
//! `cats/tom.jpg` gives `cats/tom.jpg.npy`, the tensor, and `cats/tom.jpg.json`, which describes
//! it; names that get too long are cut, as [`output_key`] says. [`config`] has the settings,
//! [`tensor`] does the work.

pub mod config;
pub mod describe;
pub mod npy;
pub mod tensor;

use kinglet_image_input::naming::output_key;
use kinglet_sdk::{Bucket, Failure, ObjectCreated};

use crate::config::Config;
use crate::tensor::{PreprocessError, preprocess};

/// A picture that can't be used is rejected with its reason, and so is a setting that can't be
/// meant: neither gets better with another attempt.
#[kinglet_sdk::object_created]
fn preprocess_picture(event: ObjectCreated) -> Result<(), Failure> {
    let settings = kinglet_sdk::Config::all()?;
    let settings = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let config = Config::from_pairs(settings).map_err(Failure::reject)?;
    config
        .limits
        .check_file(event.info().size())
        .map_err(Failure::reject)?;

    let tensor = match preprocess(&event.object().read()?, &config) {
        Ok(tensor) => tensor,
        Err(PreprocessError::Rejected(reason)) => return Err(Failure::reject(reason)),
        Err(fault) => return Err(fault.into()),
    };
    let bucket = Bucket::open(&config.to)?;
    let key = event.key();
    let named = |ending| output_key(key, ending).map_err(Failure::reject);
    let (tensor_key, description_key) = (named(".npy")?, named(".json")?);
    let description = describe::describe(key, &tensor_key, &tensor, &config);
    bucket.put(tensor_key, npy::write(&tensor), "application/octet-stream")?;
    bucket.put(description_key, description, "application/json")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kinglet_sdk::testing::Host;

    use super::*;

    const PICTURE: &[u8] = include_bytes!("../fixtures/picture.png");

    #[test]
    fn writes_a_tensor_and_its_description() {
        let host = Host::new();
        host.bucket("photos").put("cats/tom.png", PICTURE);
        let tensors = host.bucket("tensors");
        let event = host.object_created("photos", "cats/tom.png");
        assert_eq!(host.run(preprocess_picture, event), Ok(()));
        let tensor = tensors.get("cats/tom.png.npy").unwrap();
        assert_eq!(tensor.len(), 128 + 3 * 224 * 224 * 4);
        let description = tensors.get("cats/tom.png.json").unwrap();
        assert!(
            String::from_utf8(description)
                .unwrap()
                .contains("\"layout\": \"NCHW\"")
        );
    }

    #[test]
    fn a_long_name_has_outputs_that_fit() {
        let host = Host::new();
        let name = "猫".repeat(84);
        host.bucket("photos").put(&name, PICTURE);
        let tensors = host.bucket("tensors");
        let event = host.object_created("photos", &name);
        assert_eq!(host.run(preprocess_picture, event), Ok(()));
        let key = output_key(&name, ".npy").unwrap();
        assert!(key.len() <= 255 && tensors.get(&key).is_some(), "{key}");
        let description = tensors.get(&output_key(&name, ".json").unwrap()).unwrap();
        let description = String::from_utf8(description).unwrap();
        assert!(description.contains(&key), "{description}");
    }

    #[test]
    fn rejects_what_is_no_picture() {
        let host = Host::new();
        host.bucket("photos").put("a.png", "words");
        host.bucket("tensors");
        let outcome = host.run(preprocess_picture, host.object_created("photos", "a.png"));
        assert!(matches!(outcome, Err(Failure::Reject(_))), "{outcome:?}");
    }
}
