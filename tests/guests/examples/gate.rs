//! Stages an object in the bucket `out` under the event's key or body, logs `waiting` and that key,
//! then waits until the bucket `gate` has an object `open`: tests decide when a handler ends. The
//! object's content is the number of the attempt.

use std::time::Duration;

use kinglet_sdk::{Bucket, Error, Failure, Message, ObjectCreated};

#[kinglet_sdk::message]
fn gate(event: Message) -> Result<(), Failure> {
    pass(event.text()?, event.delivery().attempt())
}

#[kinglet_sdk::object_created]
fn gate_object(event: ObjectCreated) -> Result<(), Failure> {
    pass(event.key(), event.delivery().attempt())
}

fn pass(key: &str, attempt: u32) -> Result<(), Failure> {
    Bucket::open("out")?.put(key, attempt.to_string(), "text/plain")?;
    kinglet_sdk::info!("waiting {key}");
    let gate = Bucket::open("gate")?;
    loop {
        match gate.head("open") {
            Ok(_) => return Ok(()),
            Err(Error::NotFound(_)) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    }
}
