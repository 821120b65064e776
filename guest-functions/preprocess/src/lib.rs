//! A function: pictures to normalised tensors, as models want them.
//!
//! `cats/tom.jpg` gives `cats/tom.jpg.npy`, the tensor, and `cats/tom.jpg.json`, which describes
//! it. [`config`] has the settings, [`tensor`] does the work.

pub mod config;
pub mod describe;
pub mod npy;
pub mod tensor;

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
    let description = describe::describe(key, &tensor, &config);
    bucket.put(
        format!("{key}.npy"),
        npy::write(&tensor),
        "application/octet-stream",
    )?;
    bucket.put(format!("{key}.json"), description, "application/json")?;
    Ok(())
}
