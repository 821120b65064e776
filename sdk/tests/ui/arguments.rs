use kinglet_sdk::{Failure, ObjectCreated};

#[kinglet_sdk::object_created("photos")]
fn thumbnail(_event: ObjectCreated) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
