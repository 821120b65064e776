//! Asks for another attempt until the one that config `succeed-at` names, then publishes that attempt's
//! number to the topic `out`. With config `after-ms` it asks for that wait; with config `how = "error"`
//! it fails with an ordinary error instead.

use std::time::Duration;

use kinglet_sdk::{Config, Failure, Message, Topic};

#[kinglet_sdk::message]
fn retry(event: Message) -> Result<(), Failure> {
    let succeed_at: u32 = Config::get_or("succeed-at", u32::MAX)?;
    let attempt = event.delivery().attempt();
    if attempt >= succeed_at {
        Topic::open("out")?.publish(attempt.to_string())?;
        return Ok(());
    }
    let reason = format!("attempt {attempt} of {succeed_at}");
    if Config::get::<String>("how")?.as_deref() == Some("error") {
        return Err(reason.into());
    }
    Err(match Config::get("after-ms")? {
        Some(millis) => Failure::retry_after(reason, Duration::from_millis(millis)),
        None => Failure::retry(reason),
    })
}
