use kinglet_sdk::{Failure, Request};

#[kinglet_sdk::http]
fn api(_request: Request) -> Result<String, Failure> {
    Ok(String::new())
}

fn main() {}
