//! Does nothing with a message: what an event costs by itself.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn noop_message(_event: Message) -> Result<(), Failure> {
    Ok(())
}
