use kinglet_sdk::{Failure, Message, Request};

#[kinglet_sdk::http]
fn api(_event: Message) -> Result<(), Failure> {
    Ok(())
}

mod elsewhere {
    #[kinglet_sdk::http]
    async fn waits(_request: kinglet_sdk::Request) -> kinglet_sdk::Response {
        kinglet_sdk::Response::new(200)
    }
}

#[kinglet_sdk::message]
fn enrich(_request: Request) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
