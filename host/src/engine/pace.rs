//! How fast a function may log: one that logs without end would push everybody's lines out of the journal, and keep its
//! disk busy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Stopwatch, millis};

/// Bytes a second, over all attempts of a function.
const RATE: u64 = 4 << 20;
/// So much goes at once: that of so many milliseconds.
const BURST: u64 = 1_000;

/// Of one function.
#[derive(Debug)]
pub(super) struct Pace {
    /// By the time that passes here, whatever clock guests see: that may stand still.
    since: Stopwatch,
    /// When all that was logged would be, at that rate, in milliseconds since then.
    paid: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            since: Stopwatch::of_host(),
            paid: AtomicU64::new(0),
        }
    }
}

impl Pace {
    /// Counts what an attempt logged, in bytes.
    pub fn count(&self, bytes: u64) {
        if bytes > 0 {
            self.count_at(bytes, millis(self.since.elapsed()));
        }
    }

    /// Before the next attempt.
    pub async fn keep(&self) {
        if self.paid.load(Ordering::Relaxed) == 0 {
            return;
        }
        loop {
            let early = self.early(millis(self.since.elapsed()));
            if early == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(early)).await;
        }
    }

    fn count_at(&self, bytes: u64, now: u64) {
        let takes = bytes.saturating_mul(1_000) / RATE;
        let add = |paid: u64| Some(paid.max(now).saturating_add(takes));
        let _ = self
            .paid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// How much too early it is, in milliseconds.
    fn early(&self, now: u64) -> u64 {
        let owed = self.paid.load(Ordering::Relaxed).saturating_sub(now);
        owed.saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_slowed_down_and_a_burst_is_not() {
        let pace = Pace::default();
        let now = 1_000_000;
        assert_eq!(pace.early(now), 0);
        pace.count_at(RATE, now);
        assert_eq!(pace.early(now), 0);
        pace.count_at(RATE / 2, now);
        assert_eq!(pace.early(now), 500);
        assert_eq!(pace.early(now + 500), 0);
        pace.count_at(RATE, now + 10_000);
        assert_eq!(pace.early(now + 10_000), 0, "what is long ago is paid");
    }

    /// Found by fuzzing, which has a clock that stands still: nothing that was logged was ever paid.
    #[tokio::test]
    async fn who_waits_has_its_turn() {
        let pace = Pace::default();
        pace.count(RATE + RATE / 10);
        pace.keep().await;
    }
}
