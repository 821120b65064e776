//! Takes messages several at once: each adds 1 to a key of the keyvalue bucket `counters`, as the guest
//! `counter` does it, `publish` included. An attribute `fail` fails its own message after that. Config
//! `shared` names a key to which 1 is added for the whole batch, outside of any message's scope.

use kinglet_sdk::{Batch, Config, Failure, KeyValue, Message, Topic};

#[kinglet_sdk::message_batch]
fn counter_batch(batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure> {
    let counters = KeyValue::open("counters")?;
    if let Some(shared) = Config::get::<String>("shared")? {
        counters.increment(shared, 1)?;
    }
    Ok(batch.each(|_, message| count(&counters, message)))
}

fn count(counters: &KeyValue, event: &Message) -> Result<(), Failure> {
    let key = match event.attributes().get("key") {
        Some(key) => key,
        None => event.text()?,
    };
    let sum = counters.increment(key, 1)?;
    let asked = event.attributes().get("publish").is_some();
    if asked || Config::get::<String>("publish")?.is_some() {
        Topic::open("out")?.publish(sum.to_string())?;
    }
    match event.attributes().get("fail") {
        Some(reason) => Err(reason.into()),
        None => Ok(()),
    }
}
