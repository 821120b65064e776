use kinglet_sdk::{Failure, ObjectCreated};

#[kinglet_sdk::object_created]
fn thumbnail(_event: ObjectCreated, _width: u32) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
