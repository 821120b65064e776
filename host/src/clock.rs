//! The only source of time and randomness: everything that replay must see again comes from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Timestamp = u64;

/// Tells the time and draws random numbers. Cheap to clone; clones share one clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now` until it is advanced, for tests.
    pub fn manual(now: Timestamp) -> Self {
        Self {
            manual: Some(Arc::new(AtomicU64::new(now))),
        }
    }

    /// Moves a manual clock on; the system's clock isn't ours to move.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.manual {
            now.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// The wall clock, in Unix milliseconds; 0 where the system's clock stands before 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(now) => now.load(Ordering::SeqCst),
            None => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, millis),
        }
    }

    /// Starts measuring a duration on the monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    /// A new identifier: a UUID of version 7, so that ids sort by the time they were made.
    pub fn new_id(&self) -> String {
        let mut random = [0; 10];
        // An id without randomness would still be unique within its millisecond's counter of the
        // queue, so a system without an entropy source degrades rather than fails.
        let _ = getrandom::fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(self.now(), &random)
            .into_uuid()
            .to_string()
    }

    /// A number in `0.0..1.0`, for jitter.
    pub fn fraction(&self) -> f64 {
        let mut random = [0; 4];
        let _ = getrandom::fill(&mut random);
        f64::from(u32::from_le_bytes(random)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// A running measurement.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Whole milliseconds, saturating.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = Clock::manual(1_000);
        assert_eq!(clock.now(), 1_000);
        clock.clone().advance(Duration::from_secs(2));
        assert_eq!(clock.now(), 3_000);
    }

    #[test]
    fn ids_differ_and_sort_by_time() {
        let clock = Clock::manual(1_000);
        let (a, b) = (clock.new_id(), clock.new_id());
        assert_ne!(a, b);
        clock.advance(Duration::from_secs(1));
        let c = clock.new_id();
        assert!(a < c && b < c);
    }

    #[test]
    fn fractions_stay_below_one() {
        let clock = Clock::system();
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&clock.fraction())));
    }
}
