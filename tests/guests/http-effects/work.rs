//! What a request has done, whichever `wasi:http` it comes by: counts itself, writes an object and publishes a message,
//! all of which say the number.

use kinglet_sdk::{Bucket, Error, KeyValue, Topic};

/// Does it; the answer's text is the number.
pub fn work(body: &[u8]) -> Result<String, Error> {
    let number = KeyValue::open("counters")?.increment("hits", 1)?;
    let text = number.to_string();
    let key = format!("{number}.txt");
    Bucket::open("out")?.put(key, body, "text/plain")?;
    Topic::open("done")?.publish(text.as_str())?;
    Ok(text)
}

/// Writes the one object of this name as well.
pub fn same() -> Result<String, Error> {
    Bucket::open("out")?.put("same.txt", "same", "text/plain")?;
    Ok("same".to_owned())
}

/// Whether the tests let it go on: they put an object into the bucket `gate`.
pub fn may_go_on() -> Result<bool, Error> {
    match Bucket::open("gate")?.head("open") {
        Ok(_) => Ok(true),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tries to do it when it is too late.
pub fn late() -> String {
    let published = Topic::open("done").and_then(|topic| topic.publish("late"));
    let set = KeyValue::open("counters").and_then(|counts| counts.set("late", "late"));
    let put = Bucket::open("out").and_then(|out| out.put("late.txt", "late", "text/plain"));
    [published, set, put]
        .map(|result| {
            result
                .err()
                .map_or("done".to_owned(), |error| error.to_string())
        })
        .join("\n")
}
