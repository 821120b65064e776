//! How fast a function may log: one that logs without end would push everybody's lines out of the journal, and keep its
//! disk busy.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes a second, over all attempts of a function.
const RATE: u64 = 4 << 20;
/// So much goes at once.
const BURST: Duration = Duration::from_secs(1);

/// Of one function.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Counts what an attempt logged, in bytes.
    pub fn count(&self, bytes: u64) {
        if bytes > 0 {
            self.count_at(bytes, Instant::now());
        }
    }

    /// Before the next attempt.
    pub async fn keep(&self) {
        let early = self.early(Instant::now());
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
    }

    fn count_at(&self, bytes: u64, now: Instant) {
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / RATE);
        let mut paid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = Some(paid.unwrap_or(now).max(now) + takes);
    }

    /// How much too early it is.
    fn early(&self, now: Instant) -> Duration {
        let paid = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        owed.saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_slowed_down_and_a_burst_is_not() {
        let pace = Pace::default();
        let now = Instant::now();
        assert_eq!(pace.early(now), Duration::ZERO);
        pace.count_at(RATE, now);
        assert_eq!(pace.early(now), Duration::ZERO);
        pace.count_at(RATE / 2, now);
        assert_eq!(pace.early(now), Duration::from_millis(500));
        assert_eq!(pace.early(now + BURST), Duration::ZERO);
        pace.count_at(RATE, now + 10 * BURST);
        assert_eq!(
            pace.early(now + 10 * BURST),
            Duration::ZERO,
            "what is long ago is paid"
        );
    }
}
