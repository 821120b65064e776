//! Rejects each event, with its body or its key as the reason: it goes to the dead letters at once.

use kinglet_sdk::{Failure, Message, ObjectCreated};

#[kinglet_sdk::message]
fn reject(event: Message) -> Result<(), Failure> {
    Err(Failure::reject(format!(
        "no use for {:?}",
        String::from_utf8_lossy(event.body())
    )))
}

#[kinglet_sdk::object_created]
fn reject_object(event: ObjectCreated) -> Result<(), Failure> {
    Err(Failure::reject(format!("no use for {:?}", event.key())))
}
