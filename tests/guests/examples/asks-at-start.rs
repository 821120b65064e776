//! Asks for the time before any event comes, as the constructors of other languages do, and logs it with each.

#![expect(
    unsafe_code,
    reason = "there is no other way to run before the handler"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "it asks the host, as any guest does"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use kinglet_sdk::{Failure, Message};

static STARTED: AtomicU64 = AtomicU64::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = now.map_or(0, |now| now.as_millis());
    STARTED.store(u64::try_from(millis).unwrap_or(0), Ordering::Relaxed);
}

#[kinglet_sdk::message]
fn handle(_event: Message) -> Result<(), Failure> {
    println!("started {}", STARTED.load(Ordering::Relaxed));
    Ok(())
}
