//! Hostile: calls itself without end, so that the stack runs out.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn recurse(event: Message) -> Result<(), Failure> {
    kinglet_sdk::info!("{}", deeper(event.body().len() as u64));
    Ok(())
}

#[expect(unconditional_recursion, reason = "what this guest is for")]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 16]);
    deeper(depth + 1) + frame.iter().sum::<u64>()
}
