//! Writes the object `once` to the bucket `out` only where there is none, then `swap` only where its
//! etag is the one it just read, and publishes what came of each to the topic `out`.

use kinglet_sdk::{Bucket, Error, Failure, Message, Topic};

#[kinglet_sdk::message]
fn conditional(event: Message) -> Result<(), Failure> {
    let bucket = Bucket::open("out")?;
    let once = bucket.write("once").if_absent().put(event.body());

    let swap = match bucket.head("swap") {
        Ok(info) => bucket
            .write("swap")
            .if_matches(info.etag())
            .put(event.body()),
        Err(error) => Err(error),
    };
    let stale = bucket
        .write("swap")
        .if_matches("no such version")
        .put("stale");

    let words = [once, swap, stale].map(|result| match result {
        Ok(()) => "written".to_owned(),
        Err(Error::Changed(_)) => "changed".to_owned(),
        Err(Error::NotFound(_)) => "not-found".to_owned(),
        Err(other) => other.to_string(),
    });
    Topic::open("out")?.publish(words.join(" "))?;
    Ok(())
}
