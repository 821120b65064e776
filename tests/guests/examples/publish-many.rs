//! Has as many effects of one kind as its message says: `messages 1000`, `values 1000`, `objects
//! 1000`. Messages tell their numbers.

use kinglet_sdk::{Bucket, Failure, KeyValue, Message, Topic};

#[kinglet_sdk::message]
fn publish_many(event: Message) -> Result<(), Failure> {
    let (kind, count) = event.text()?.split_once(' ').ok_or("a kind and a number")?;
    let numbers = 0..count.parse::<u32>().map_err(Failure::reject)?;
    match kind {
        "messages" => Topic::open("out")?.publish_all(numbers.map(|n| n.to_string()))?,
        "values" => KeyValue::open("out")?.set_many(numbers.map(|n| (n.to_string(), "")))?,
        "objects" => {
            let bucket = Bucket::open("out")?;
            numbers
                .into_iter()
                .try_for_each(|n| bucket.write(n.to_string()).put(""))?;
        }
        other => return Err(Failure::reject(format!("no kind {other:?}"))),
    }
    Ok(())
}
