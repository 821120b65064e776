//! The only source of time and randomness: everything that replay must see again comes from here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Timestamp = u64;

/// Tells the time and draws random numbers. Cheap to clone; clones share one clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicU64>>,
    /// When the system's clock was last believed, and what it said.
    believed: Arc<Mutex<Option<(std::time::Instant, Timestamp)>>>,
}

/// A system's clock that is further behind than this was set back.
const SET_BACK_MS: u64 = 1_000;

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now` until it is advanced, for tests.
    pub fn manual(now: Timestamp) -> Self {
        Self {
            manual: Some(Arc::new(AtomicU64::new(now))),
            ..Self::default()
        }
    }

    /// Moves a manual clock on; the system's clock isn't ours to move.
    pub fn advance(&self, by: Duration) {
        if let Some(now) = &self.manual {
            now.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// The wall clock, in Unix milliseconds; 0 where the system's clock stands before 1970. Where that is
    /// set back, this one goes on: an event that is due in a second would else be due in an hour.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Timestamp {
        if let Some(now) = &self.manual {
            return now.load(Ordering::SeqCst);
        }
        let system = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, millis);
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        steady(&mut believed, std::time::Instant::now(), system)
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

/// Bytes that nobody can guess, for a key: from the system's own source, and never recorded.
///
/// # Errors
/// Where the system has no such source.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    Ok(secret)
}

/// A time as RFC 3339 has it, in UTC with milliseconds.
pub fn rfc3339(time: Timestamp) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(time));
    time.map_or_else(String::new, |time| {
        humantime::format_rfc3339_millis(time).to_string()
    })
}

/// What time it is where the system says `system`, given when it was last believed.
fn steady(
    believed: &mut Option<(std::time::Instant, Timestamp)>,
    now: std::time::Instant,
    system: Timestamp,
) -> Timestamp {
    if let Some((then, said)) = *believed {
        let steady = said.saturating_add(millis(now.saturating_duration_since(then)));
        if system.saturating_add(SET_BACK_MS) < steady {
            return steady;
        }
    }
    *believed = Some((now, system));
    system
}

/// A running measurement.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Measures how long the host itself takes: nothing that a guest could see, and no replay shows.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn of_host() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The processor time that this thread has had.
pub fn thread_time() -> Duration {
    processor_time(rustix::time::ClockId::ThreadCPUTime)
}

/// Returns the processor time that all threads of this process have had together.
pub fn process_time() -> Duration {
    processor_time(rustix::time::ClockId::ProcessCPUTime)
}

fn processor_time(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
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

    #[test]
    fn a_clock_that_is_set_back_goes_on_and_one_that_is_set_forward_is_followed() {
        let start = Clock::system().stopwatch().0;
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut believed = None;
        for (after, system, expected) in [
            (0, 1_000_000, 1_000_000),
            (1, 1_001_000, 1_001_000),
            // Adjusted by a little.
            (2, 1_001_900, 1_001_900),
            // Set back by an hour, and left there.
            (3, 5_000, 1_002_900),
            (4, 6_000, 1_003_900),
            // Set right again.
            (5, 1_005_000, 1_005_000),
            // Set forward.
            (6, 9_000_000, 9_000_000),
        ] {
            assert_eq!(
                steady(&mut believed, at(after), system),
                expected,
                "{after} s"
            );
        }
    }
}
