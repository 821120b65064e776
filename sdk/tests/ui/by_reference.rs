use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn enrich(_event: &Message) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
