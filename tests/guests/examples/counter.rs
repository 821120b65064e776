//! Adds 1 to a key of the keyvalue bucket `counters`, named by the attribute `key` or else the body. With
//! an attribute or a config `publish` it publishes the sum to the topic `out`. Config `fail-first = "true"`
//! makes each event's first attempt fail after that: nothing may be left of it.

use kinglet_sdk::{Config, Failure, KeyValue, Message, Topic};

#[kinglet_sdk::message]
fn counter(event: Message) -> Result<(), Failure> {
    let key = match event.attributes().get("key") {
        Some(key) => key,
        None => event.text()?,
    };
    let sum = KeyValue::open("counters")?.increment(key, 1)?;
    let asked = event.attributes().get("publish").is_some();
    if asked || Config::get::<String>("publish")?.is_some() {
        Topic::open("out")?.publish(sum.to_string())?;
    }
    if Config::get_or("fail-first", false)? && event.delivery().attempt() == 1 {
        return Err("the first attempt fails".into());
    }
    Ok(())
}
