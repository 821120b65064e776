//! What the tasks of one instance have together that use Spin's key-value or databases at the same time, so that the host
//! holds no more for all of them than for a guest that does one thing after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Mutex;

/// As many stores a function may have open at once in Spin too.
const STORES: usize = 256;
/// As many connections to databases: each has a thread, and memory of its own.
const CONNECTIONS: usize = 8;

/// What they share.
#[derive(Debug, Default)]
pub struct SideBySide {
    /// Held by who reads a value: the others wait, or each might have a value as large as the guest's memory.
    pub(super) turn: Mutex<()>,
    /// Bytes of keys or rows that were listed and not taken yet, and of statements that wait for their turn.
    listed: AtomicU64,
    /// How many stores are open.
    stores: AtomicUsize,
    /// How many connections are.
    connections: AtomicUsize,
}

/// Counts one more, where there are fewer than `most`.
fn one_more(open: &AtomicUsize, most: usize) -> bool {
    let more = |open: usize| (open < most).then_some(open + 1);
    let counted = open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    counted.is_ok()
}

impl SideBySide {
    /// Counts one more store, where there may be one more.
    pub(super) fn open_store(&self) -> bool {
        one_more(&self.stores, STORES)
    }

    /// Counts one more connection, where there may be one more.
    pub(super) fn open_connection(self: &Arc<Self>) -> Option<Opening> {
        one_more(&self.connections, CONNECTIONS).then(|| Opening(Some(Arc::clone(self))))
    }

    pub(super) fn close_connection(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nothing of it is in use: no store and no connection is open, and no list is held.
    pub fn is_idle(self: &Arc<Self>) -> bool {
        // A list that is held has it too.
        Arc::strong_count(self) == 1
            && self.stores.load(Ordering::Relaxed) == 0
            && self.connections.load(Ordering::Relaxed) == 0
    }

    pub(super) fn close_store(&self) {
        self.stores.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that is being opened, and isn't counted any more where it comes to nothing.
#[derive(Debug)]
pub(super) struct Opening(Option<Arc<SideBySide>>);

impl Opening {
    /// It is counted until it is closed.
    pub fn opened(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(of) = &self.0 {
            of.close_connection();
        }
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
        let all = Arc::<SideBySide>::default();
        assert!((0..STORES).all(|_| all.open_store()));
        assert!(!all.open_store());
        all.close_store();
        assert!(all.open_store() && !all.open_store());
        for _ in 0..CONNECTIONS {
            all.open_connection().unwrap().opened();
        }
        assert!(all.open_connection().is_none());
        all.close_connection();
        drop(all.open_connection().unwrap());
        all.open_connection().unwrap().opened();
        assert!(all.open_connection().is_none());
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
