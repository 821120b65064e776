//! When a failed event comes again.

use std::time::Duration;

use crate::clock::millis;
use crate::config::Backoff;

/// The delay before the attempt after `failures` failed ones, in milliseconds: the first delay doubled
/// for each failure but the first, at most the longest, less a random part of up to a half so that
/// events which failed together don't come again together. `fraction` is that random part, in 0..1.
pub(super) fn delay_ms(backoff: Backoff, failures: u32, fraction: f64) -> u64 {
    let doublings = failures.saturating_sub(1).min(31);
    let full = backoff
        .first
        .checked_mul(1 << doublings)
        .map_or(backoff.longest, |delay| delay.min(backoff.longest));
    millis(full - full.mul_f64(fraction.clamp(0.0, 1.0) / 2.0))
}

/// After a conflict: up to 20 ms, at random, so that those in conflict don't meet again.
pub(super) fn conflict_delay_ms(fraction: f64) -> u64 {
    millis(Duration::from_millis(20).mul_f64(fraction.clamp(0.0, 1.0)))
}

/// What a guest asked for, within the function's bounds.
pub(super) fn asked_ms(backoff: Backoff, after_ms: u64) -> u64 {
    millis(Duration::from_millis(after_ms).min(backoff.longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
        };
        for (failures, fraction, expected) in [
            (0, 0.0, 200),
            (1, 0.0, 200),
            (2, 0.0, 400),
            (3, 0.0, 800),
            (3, 1.0, 400),
            (3, 0.5, 600),
            (9, 0.0, 30_000),
            (u32::MAX, 0.0, 30_000),
        ] {
            assert_eq!(
                delay_ms(backoff, failures, fraction),
                expected,
                "{failures} {fraction}"
            );
        }
        assert_eq!(asked_ms(backoff, 5), 5);
        assert_eq!(asked_ms(backoff, u64::MAX), 30_000);
    }
}
