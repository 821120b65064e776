//! Hostile: waits an hour inside a host call, which burns no fuel and reaches no epoch check.

use std::time::Duration;

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn sleep(_event: Message) -> Result<(), Failure> {
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}
