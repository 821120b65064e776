use kinglet_sdk::{Batch, Message, ObjectCreated};

#[kinglet_sdk::object_created]
fn thumbnail(_event: ObjectCreated) -> u32 {
    1
}

#[kinglet_sdk::message]
fn enrich(_event: Message) -> Result<String, kinglet_sdk::Failure> {
    Ok(String::new())
}

#[kinglet_sdk::message_batch]
fn infer(_batch: Batch) -> bool {
    true
}

fn main() {}
