//! Takes a batch as a whole: writes its size to the object `size` outside of any message's scope, then
//! an object for each message. Config `how` makes it fail as a whole (`fail`) or give too few results
//! (`short`).

use kinglet_sdk::{Batch, Bucket, Config, Failure};

#[kinglet_sdk::message_batch]
fn batch_whole(batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure> {
    let out = Bucket::open("out")?;
    out.put("size", batch.messages().len().to_string(), "text/plain")?;
    let mut results = batch.each(|index, message| {
        out.put(message.text()?, index.to_string(), "text/plain")?;
        if message.body() == b"bad" {
            Err("a bad message".into())
        } else {
            Ok(())
        }
    });
    match Config::get::<String>("how")?.as_deref() {
        Some("fail") => return Err("the whole batch failed".into()),
        Some("short") => drop(results.pop()),
        _ => {}
    }
    Ok(results)
}
