use kinglet_sdk::Failure;

#[kinglet_sdk::message]
fn enrich(_event: String) -> Result<(), Failure> {
    Ok(())
}

#[kinglet_sdk::message_batch]
fn infer(_batch: Vec<String>) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
