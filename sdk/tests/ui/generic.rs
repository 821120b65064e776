use kinglet_sdk::Failure;

#[kinglet_sdk::message]
fn enrich<T>(_event: T) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
