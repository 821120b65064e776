//! Two handlers in one component: objects and messages. Each publishes what woke it to the topic `out`.

use kinglet_sdk::{Failure, Message, ObjectCreated, Topic};

#[kinglet_sdk::object_created]
fn object(event: ObjectCreated) -> Result<(), Failure> {
    Topic::open("out")?.publish(format!("object {}", event.key()))?;
    Ok(())
}

#[kinglet_sdk::message]
fn message(event: Message) -> Result<(), Failure> {
    Topic::open("out")?.publish(format!("message {}", event.text()?))?;
    Ok(())
}
