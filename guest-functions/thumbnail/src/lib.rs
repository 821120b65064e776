//! A function: thumbnails of every picture that lands in a bucket.
//!
//! [`config`] has the settings, [`naming`] says where outputs go, [`render`] does the work.

pub mod config;
pub mod encode;
pub mod geometry;
pub mod naming;
pub mod render;

use kinglet_sdk::{Bucket, Failure, ObjectCreated};

use crate::config::Config;
use crate::render::{RenderError, render};

/// A picture that can't be used is rejected with its reason, and so is a setting that can't be
/// meant: neither gets better with another attempt.
#[kinglet_sdk::object_created]
fn thumbnail(event: ObjectCreated) -> Result<(), Failure> {
    let settings = kinglet_sdk::Config::all()?;
    let settings = settings
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let config = Config::from_pairs(settings).map_err(Failure::reject)?;
    config
        .limits
        .check_file(event.info().size())
        .map_err(Failure::reject)?;

    let thumbnails = match render(&event.object().read()?, &config) {
        Ok(thumbnails) => thumbnails,
        Err(RenderError::Rejected(reason)) => return Err(Failure::reject(reason)),
        Err(fault) => return Err(fault.into()),
    };
    let bucket = Bucket::open(config.to)?;
    for thumbnail in thumbnails {
        let key = naming::output_key(event.key(), thumbnail.size, thumbnail.format);
        bucket.put(key, thumbnail.bytes, thumbnail.format.content_type())?;
    }
    Ok(())
}
