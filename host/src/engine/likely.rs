//! What an attempt of a function is likely to take of the host's memory, going by those before it.

use std::sync::atomic::{AtomicU64, Ordering};

/// In bytes; for each of all attempts of one function.
#[derive(Debug, Default)]
pub(super) struct Likely {
    memory: AtomicU64,
    staged: AtomicU64,
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

    /// Learns what an attempt wanted.
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
}
