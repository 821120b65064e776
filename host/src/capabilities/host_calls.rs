//! `limits.host-calls`: the bytes that move between a guest and the host in one attempt, both ways.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::task::yield_now;

use super::View;
use crate::guard::{self, Guard};

/// After so many bytes a guest gives way to others: copying them burns none of its fuel.
const YIELD_EVERY: u64 = 1 << 20;

/// What the host calls of one attempt have moved.
#[derive(Debug)]
pub struct HostCalls {
    moved: AtomicU64,
    limit: u64,
}

/// A guest moved more through host calls than its function may.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("host calls may move {limit} bytes in one attempt")]
pub struct HostCallsExceeded {
    /// The function's limit, in bytes.
    pub limit: u64,
}

impl HostCalls {
    /// Nothing yet, of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            moved: AtomicU64::new(0),
            limit,
        }
    }

    /// Counts bytes that move. Whether it is time to give way.
    ///
    /// # Errors
    /// Where they are more than are left.
    pub fn count(&self, bytes: usize) -> Result<bool, HostCallsExceeded> {
        let bytes = bytes as u64;
        let before = self.moved.fetch_add(bytes, Ordering::Relaxed);
        let now = before.saturating_add(bytes);
        self.check()?;
        Ok(before / YIELD_EVERY != now / YIELD_EVERY && guard::holds(Guard::Yields))
    }

    /// That no more has moved than may: a guest can get over the error of a stream.
    ///
    /// # Errors
    /// Where it has.
    pub fn check(&self) -> Result<(), HostCallsExceeded> {
        let limit = self.limit;
        if self.moved.load(Ordering::Relaxed) > limit && guard::holds(Guard::HostCalls) {
            return Err(HostCallsExceeded { limit });
        }
        Ok(())
    }
}

impl View<'_> {
    /// Counts bytes that a call is given or gives, and gives way where they are many.
    pub(super) async fn carry(&mut self, bytes: usize) -> Result<(), HostCallsExceeded> {
        if self.context.calls.count(bytes)? {
            yield_now().await;
        }
        Ok(())
    }
}

/// What a list of texts takes.
pub(super) fn bytes_of<T: AsRef<[u8]>>(texts: &[T]) -> usize {
    texts.iter().map(|text| text.as_ref().len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_counted_to_the_byte() {
        let calls = HostCalls::new(2 * YIELD_EVERY);
        assert_eq!(calls.count(5), Ok(false));
        assert_eq!(calls.count(YIELD_EVERY as usize), Ok(true));
        assert_eq!(calls.count(YIELD_EVERY as usize - 5), Ok(true));
        assert_eq!(calls.check(), Ok(()));
        let exceeded = HostCallsExceeded {
            limit: 2 * YIELD_EVERY,
        };
        assert_eq!(calls.count(1), Err(exceeded));
        assert_eq!(calls.check(), Err(exceeded), "for good");
    }
}
