use kinglet_sdk::Failure;

#[kinglet_sdk::object_created]
fn thumbnail() -> Result<(), Failure> {
    Ok(())
}

fn main() {}
