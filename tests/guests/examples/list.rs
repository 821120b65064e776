//! Lists the bucket `in` from the prefix that the message gives, after staging an object and a removal
//! where it may, and writes the listing to `listing.txt` in the bucket `out`: `key size` to a line.

use kinglet_sdk::{Bucket, Failure, Message};

#[kinglet_sdk::message]
fn list(event: Message) -> Result<(), Failure> {
    let bucket = Bucket::open("in")?;
    if event.attributes().get("stage").is_some() {
        bucket.put("staged", "x", "text/plain")?;
        bucket.remove("removed")?;
    }
    let mut lines = String::new();
    for info in bucket.list(event.text()?) {
        let info = info?;
        lines.push_str(&format!("{} {}\n", info.key(), info.size()));
    }
    Bucket::open("out")?.put("listing.txt", lines, "text/plain")?;
    Ok(())
}
