//! Logs each message, and publishes it to the topic that config `to` names, if it does.

use kinglet_sdk::{Config, Draft, Failure, Message, Topic};

#[kinglet_sdk::message]
fn echo(event: Message) -> Result<(), Failure> {
    kinglet_sdk::info!("{}", String::from_utf8_lossy(event.body()));
    let Some(to) = Config::get::<String>("to")? else {
        return Ok(());
    };
    let mut draft = Draft::new(event.body());
    if let Some(content_type) = event.content_type() {
        draft = draft.content_type(content_type);
    }
    if let Some(key) = event.ordering_key() {
        draft = draft.ordering_key(key);
    }
    for (name, value) in event.attributes() {
        draft = draft.attribute(name, value);
    }
    Topic::open(to)?.publish(draft)?;
    Ok(())
}
