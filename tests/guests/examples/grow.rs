//! Takes and touches as many MiB as the message says, one by one, and is done.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn grow(event: Message) -> Result<(), Failure> {
    let most: usize = event.text()?.parse().unwrap_or(0);
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < most {
        held.push(std::hint::black_box(vec![1; 1024 * 1024]));
    }
    Ok(())
}
