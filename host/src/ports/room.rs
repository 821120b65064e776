//! Room for what all events under way have staged together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Share;
use crate::guard::{self, Guard};

/// How many bytes the events under way may stage together, and how many they have staged.
#[derive(Debug)]
pub struct StagingRoom {
    used: AtomicU64,
    most: u64,
}

/// Bytes that one attempt has taken of the room; given back when dropped.
pub struct Reserved {
    room: Arc<StagingRoom>,
    bytes: u64,
    /// What of them is in memory, and stays there until the end.
    kept: u64,
    memory: Share,
    /// The most that was to be kept.
    wanted: u64,
}

impl StagingRoom {
    /// Room for `most` bytes.
    pub fn new(most: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            most,
        }
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that there are.
    pub fn most(&self) -> u64 {
        self.most
    }
}

impl Reserved {
    /// Nothing yet.
    pub fn none(room: Arc<StagingRoom>, memory: Share) -> Self {
        Self {
            room,
            bytes: 0,
            kept: 0,
            memory,
            wanted: 0,
        }
    }

    /// What is taken.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All that is taken, which leaves nothing here.
    pub fn take_all(&mut self) -> Self {
        Self {
            room: Arc::clone(&self.room),
            bytes: std::mem::take(&mut self.bytes),
            kept: std::mem::take(&mut self.kept),
            wanted: self.wanted,
            memory: std::mem::replace(&mut self.memory, Share::endless()),
        }
    }

    /// The most memory that was wanted, had or not.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Whether all that was wanted could be had at some time.
    pub fn could_fit(&self) -> bool {
        self.wanted <= self.memory.most()
    }

    /// Takes memory for what is kept there until the end; whether there was as much.
    pub fn keep(&mut self, bytes: u64) -> bool {
        let kept = self.kept.saturating_add(bytes);
        self.wanted = self.wanted.max(kept);
        let covered = self.memory.cover(kept);
        if covered {
            self.kept = kept;
        }
        covered
    }

    /// Takes more; whether there was room for it.
    pub fn take(&mut self, bytes: u64) -> bool {
        let taken = self
            .room
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes)
                    .filter(|used| *used <= self.room.most || !guard::holds(Guard::StagingRoom))
            });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({})", self.bytes)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let room = Arc::new(StagingRoom::new(10));
        let mut one = Reserved::none(Arc::clone(&room), Share::endless());
        let mut other = Reserved::none(Arc::clone(&room), Share::endless());
        assert!(one.take(6) && other.take(4));
        assert!(!other.take(1) && !other.take(u64::MAX));
        assert_eq!((room.used(), other.bytes()), (10, 4));
        drop(one);
        assert!(other.take(6));
        drop(other);
        assert_eq!(room.used(), 0);
    }
}
