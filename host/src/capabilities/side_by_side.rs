//! What tasks of one instance that wait for the store at the same time have together, so that the host holds no more
//! for all of them than for a guest that does one thing after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// What they share.
#[derive(Debug, Default)]
pub struct SideBySide {
    /// Held by who reads a value: the others wait, or each might have a value as large as the guest's memory.
    pub(super) turn: Mutex<()>,
    /// Bytes of keys that were listed and not taken yet.
    listed: AtomicU64,
}

/// Bytes that a list holds for the guest, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    of: Arc<SideBySide>,
    bytes: u64,
}

impl Listed {
    pub fn new(of: &Arc<SideBySide>) -> Self {
        Self {
            of: Arc::clone(of),
            bytes: 0,
        }
    }

    /// Holds so many bytes in place of what it held. What all lists hold then.
    pub fn hold(&mut self, bytes: u64) -> u64 {
        self.of.listed.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
        let before = self.of.listed.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lists_hold_is_summed_until_they_go() {
        let all = Arc::<SideBySide>::default();
        let (mut one, mut other) = (Listed::new(&all), Listed::new(&all));
        assert_eq!(one.hold(10), 10);
        assert_eq!(other.hold(5), 15);
        assert_eq!(one.hold(3), 8);
        drop(one);
        assert_eq!(other.hold(7), 7);
        drop(other);
        assert_eq!(Listed::new(&all).hold(1), 1);
    }
}
