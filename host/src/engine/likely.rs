//! What an attempt of a function is likely to take of the host, going by those before it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::apart::LONG;

/// Of one function's attempts.
#[derive(Debug)]
pub(super) struct Likely {
    /// Bytes.
    memory: AtomicU64,
    /// Bytes.
    staged: AtomicU64,
    /// Nanoseconds.
    time: AtomicU64,
}

impl Default for Likely {
    fn default() -> Self {
        Self {
            memory: AtomicU64::new(0),
            staged: AtomicU64::new(0),
            // Nothing is known of the first one, and it may do its worst.
            time: AtomicU64::new(nanos(LONG)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Likely {
    /// Of its memories and tables.
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Of what it stages there.
    pub fn staged(&self) -> u64 {
        self.staged.load(Ordering::Relaxed)
    }

    /// Whether it holds a thread for long.
    pub fn computes_for_long(&self) -> bool {
        self.time.load(Ordering::Relaxed) >= nanos(LONG)
    }

    /// Learns how long an attempt held its thread, by the clock: others may have had the processor in between.
    pub fn learn_time(&self, time: Duration) {
        follow(&self.time, nanos(time));
    }

    /// Learns how long an attempt had a processor. That it was little is believed at once: who was only held up by others
    /// is to be among quick ones again.
    pub fn learn_processor_time(&self, time: Duration) {
        self.time.store(nanos(time), Ordering::Relaxed);
    }

    /// Learns what an attempt wanted, in bytes.
    pub fn learn(&self, memory: u64, staged: u64) {
        follow(&self.memory, memory);
        follow(&self.staged, staged);
    }
}

/// Up at once, since too little ends an attempt; down by an eighth of the way, so that one large event isn't paid for
/// by all after it.
fn follow(likely: &AtomicU64, wanted: u64) {
    let before = likely.load(Ordering::Relaxed);
    if wanted > before {
        likely.fetch_max(wanted, Ordering::Relaxed);
    } else if wanted < before {
        let after = before - (before - wanted).div_ceil(8);
        // Where another attempt was faster, it has learnt something newer.
        let _ = likely.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_event_is_forgotten_in_time() {
        let likely = Likely::default();
        likely.learn(1_000, 10);
        likely.learn(800_000, 0);
        assert_eq!((likely.memory(), likely.staged()), (800_000, 8));
        for _ in 0..100 {
            likely.learn(1_000, 0);
        }
        assert_eq!((likely.memory(), likely.staged()), (1_000, 0));
    }

    #[test]
    fn a_function_computes_for_long_until_it_is_seen_not_to() {
        let likely = Likely::default();
        assert!(likely.computes_for_long());
        likely.learn_time(LONG / 100);
        assert!(!likely.computes_for_long());
        likely.learn_time(LONG * 2);
        assert!(likely.computes_for_long());
        likely.learn_time(LONG / 100);
        assert!(likely.computes_for_long(), "of the one before");
        likely.learn_processor_time(LONG / 100);
        assert!(!likely.computes_for_long());
    }
}
