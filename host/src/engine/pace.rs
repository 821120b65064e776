//! How fast a function may log: one that logs without end would push everybody's lines out of the journal, and keep its
//! disk busy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};

/// Bytes a second, over all attempts of a function.
const RATE: u64 = 4 << 20;
/// So much goes at once: that of so many milliseconds.
const BURST: u64 = 1_000;

/// Of one function.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all that was logged would be, at that rate.
    paid: AtomicU64,
}

impl Pace {
    /// Counts what an attempt logged, in bytes.
    pub fn count(&self, bytes: u64, clock: &Clock) {
        if bytes > 0 {
            self.count_at(bytes, clock.now());
        }
    }

    /// Before the next attempt.
    pub async fn keep(&self, clock: &Clock) {
        if self.paid.load(Ordering::Relaxed) == 0 {
            return;
        }
        loop {
            let early = self.early(clock.now());
            if early == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(early)).await;
        }
    }

    fn count_at(&self, bytes: u64, now: Timestamp) {
        let takes = bytes.saturating_mul(1_000) / RATE;
        let add = |paid: u64| Some(paid.max(now).saturating_add(takes));
        let _ = self
            .paid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// How much too early it is, in milliseconds.
    fn early(&self, now: Timestamp) -> u64 {
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
}
