//! Does nothing with messages, several at once: what an event costs when a batch shares an instance.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message_batch]
fn noop_batch(_event: Message) -> Result<(), Failure> {
    Ok(())
}
