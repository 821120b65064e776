//! Hostile: computes for ever, so that only fuel or the deadline ends it.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn spin(event: Message) -> Result<(), Failure> {
    if event.body() == b"not at all" {
        return Ok(());
    }
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}
