//! A function: thumbnails of every picture that lands in a bucket.
//!
//! [`config`] has the settings, [`naming`] says where outputs go, [`mod@render`] does the work.

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
        let key = naming::output_key(event.key(), thumbnail.size, thumbnail.format)
            .map_err(Failure::reject)?;
        bucket.put(key, thumbnail.bytes, thumbnail.format.content_type())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kinglet_sdk::testing::Host;

    use super::*;

    const PICTURE: &[u8] = include_bytes!("../../preprocess/fixtures/picture.png");

    #[test]
    fn writes_every_size_where_it_is_told() {
        let host = Host::new();
        host.config("sizes", "64,32x16").config("to", "small");
        host.bucket("photos").put("cats/tom.png", PICTURE);
        let small = host.bucket("small");
        assert_eq!(
            host.run(thumbnail, host.object_created("photos", "cats/tom.png")),
            Ok(())
        );
        for key in ["cats/tom.png.64x64.png", "cats/tom.png.32x16.png"] {
            assert!(small.get(key).unwrap().starts_with(b"\x89PNG"), "{key}");
        }
    }

    /// Such names were tried five times, and then dead.
    #[test]
    fn a_long_name_has_an_output_that_fits() {
        for name in ["a".repeat(248), "猫".repeat(81) + ".png"] {
            let host = Host::new();
            host.bucket("photos").put(&name, PICTURE);
            let thumbs = host.bucket("thumbs");
            let event = host.object_created("photos", &name);
            assert_eq!(host.run(thumbnail, event), Ok(()));
            let size = config::Size {
                width: 256,
                height: 256,
            };
            let key = naming::output_key(&name, size, encode::Encoded::Png).unwrap();
            assert!(key.len() <= 255 && thumbs.get(&key).is_some(), "{key}");
        }
    }

    #[test]
    fn rejects_what_is_no_picture_and_what_is_no_setting() {
        let cases = [
            (
                "mode",
                "fit",
                "words",
                "not a picture: starts with 776f726473",
            ),
            (
                "mode",
                "best",
                "words",
                "`mode` can't be \"best\"; write one of fit, fill, crop",
            ),
            (
                "max-memory",
                "4",
                "words",
                "the file has 5 bytes, over the limit of 4",
            ),
        ];
        for (key, value, body, expected) in cases {
            let host = Host::new();
            host.config(key, value);
            host.bucket("photos").put("a.png", body);
            host.bucket("thumbs");
            let outcome = host.run(thumbnail, host.object_created("photos", "a.png"));
            let failure = outcome.unwrap_err();
            assert!(matches!(failure, Failure::Reject(_)), "{failure:?}");
            assert!(failure.reason().contains(expected), "{failure:?}");
        }
    }
}
