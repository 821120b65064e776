//! Hostile: takes and touches memory for ever, 1 MiB at a time.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn allocate(_event: Message) -> Result<(), Failure> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1; 1024 * 1024]));
    }
}
