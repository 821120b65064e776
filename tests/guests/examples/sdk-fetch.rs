//! Sends a request to the URL that its message is by way of the SDK, and logs what comes back.

use kinglet_sdk::{Failure, Message, http};

#[kinglet_sdk::message]
fn fetch(event: Message) -> Result<(), Failure> {
    let answer = http::get(event.text()?).send()?;
    kinglet_sdk::info!("{} {}", answer.status_code(), answer.text()?);
    Ok(())
}
