//! What is fuzzed: whatever bytes come to the host from outside. `fuzz/` runs these bodies under libFuzzer, the tests
//! beside them run them on the corpora. A find is a panic.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "that is how a find is told"
)]

mod app;
mod calls;
mod component;
mod events;
mod manifest;
mod store;

use std::time::Duration;

use kinglet::clock::Clock;

pub use calls::calls;
pub use component::{component, splice};
pub use events::events;
pub use manifest::manifest;
pub use store::store;

/// What one input may take. They take milliseconds; what is looked for takes for ever.
const LONG: Duration = Duration::from_secs(10);

/// Runs `work`, which mustn't take long.
fn in_time<T>(work: impl FnOnce() -> T) -> T {
    let watch = Clock::system().stopwatch();
    let done = work();
    let taken = watch.elapsed();
    assert!(taken < LONG, "it took {taken:?}");
    done
}

/// Runs async work on a runtime that this thread keeps.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// A folder in memory, where there is one: nothing here is to be on a disk.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// The first byte chooses what the rest is for.
fn choice(data: &[u8], of: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((first % of, rest))
}
