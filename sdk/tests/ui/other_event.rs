use kinglet_sdk::{Batch, Failure, ObjectCreated};

#[kinglet_sdk::message]
fn enrich(_event: kinglet_sdk::ObjectCreated) -> Result<(), Failure> {
    Ok(())
}

#[kinglet_sdk::object_created]
fn thumbnail(_event: Batch) -> Result<(), Failure> {
    Ok(())
}

#[kinglet_sdk::message_batch]
fn infer(_event: ObjectCreated) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
