//! What the tasks of one instance have together that use Spin's key-value at the same time, so that the host holds no
//! more for all of them than for a guest that does one thing after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Mutex;

/// As many stores a function may have open at once in Spin too.
const STORES: usize = 256;

/// What they share.
#[derive(Debug, Default)]
pub struct SideBySide {
    /// Held by who reads a value: the others wait, or each might have a value as large as the guest's memory.
    pub(super) turn: Mutex<()>,
    /// Bytes of keys that were listed and not taken yet.
    listed: AtomicU64,
    /// How many stores are open.
    stores: AtomicUsize,
}

impl SideBySide {
    /// Counts one more store, where there may be one more.
    pub(super) fn open_store(&self) -> bool {
        let more = |open: usize| (open < STORES).then_some(open + 1);
        let counted = self
            .stores
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.is_ok()
    }

    /// Whether nothing of it is in use: no store is open, and no list is held.
    pub fn is_idle(self: &Arc<Self>) -> bool {
        // A list that is held has it too.
        Arc::strong_count(self) == 1 && self.stores.load(Ordering::Relaxed) == 0
    }

    pub(super) fn close_store(&self) {
        self.stores.fetch_sub(1, Ordering::Relaxed);
    }
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
    fn a_store_that_is_closed_makes_room_for_another() {
        let all = SideBySide::default();
        assert!((0..STORES).all(|_| all.open_store()));
        assert!(!all.open_store());
        all.close_store();
        assert!(all.open_store() && !all.open_store());
    }

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
