//! Counts its calls in a static and writes the count to the bucket `out`, under the event's id. With a
//! fresh instance for each event it's always 1.

use std::sync::atomic::{AtomicU32, Ordering};

use kinglet_sdk::{Bucket, Failure, Message};

static CALLS: AtomicU32 = AtomicU32::new(0);

#[kinglet_sdk::message]
fn state(event: Message) -> Result<(), Failure> {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    Bucket::open("out")?.put(event.delivery().id(), calls.to_string(), "text/plain")?;
    Ok(())
}
