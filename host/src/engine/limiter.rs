//! Memory of one instance, summed over all its linear memories and tables, and over what the host
//! holds for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::ResourceLimiter;

use crate::config::INSTANCE;
use crate::guard::{self, Guard};
use crate::ports::Share;

/// What one table element takes in the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// A guest asked for more memory than its function may have. As an error it ends the guest at once,
/// and with the figures: a refused `memory.grow` would look like a panic of the guest's own.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("memory is limited to {limit} bytes, and {wanted} were wanted")]
pub(super) struct MemoryExceeded {
    pub limit: u64,
    pub wanted: u64,
}

/// The host's memory is all taken: the attempt is made again, when as much as it wanted is there for it. Or it never
/// is.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`host.memory` has {most} bytes for functions, all of them taken, and {wanted} were wanted by this one; raise it, or \
     lower `limits.concurrency`"
)]
pub(super) struct HostFull {
    /// What there is, and never more, for an instance.
    pub most: u64,
    /// With what an instance takes itself.
    pub wanted: u64,
}

/// What an instance of so much memory takes in all.
pub(super) fn with_instance(memory: u64) -> u64 {
    memory.saturating_add(INSTANCE.0)
}

/// A reason for which the host holds no more for an instance.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum MemoryFull {
    #[error(transparent)]
    Function(#[from] MemoryExceeded),
    #[error(transparent)]
    Host(#[from] HostFull),
}

impl MemoryFull {
    /// Returns the error that ends the guest.
    pub fn trap(self) -> wasmtime::Error {
        match self {
            Self::Function(exceeded) => exceeded.into(),
            Self::Host(full) => full.into(),
        }
    }
}

pub(super) struct Limiter {
    limit: u64,
    /// What is taken for it of the host's memory.
    share: Share,
    /// Bytes of linear memories and tables.
    used: u64,
    /// Bytes that its handles hold in the host.
    contents: u64,
    buffers: Arc<HostBuffers>,
    /// The most that it wanted and could have at some time.
    wanted: u64,
    peak: u64,
    /// The maximum of its own that a memory or table couldn't grow past, in bytes.
    own_maximum: Option<u64>,
}

impl Limiter {
    pub fn new(limit: u64, mut share: Share) -> Self {
        let buffers = HostBuffers {
            limit: AtomicU64::new(limit),
            others: AtomicU64::new(0),
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            bodies: AtomicU64::new(0),
            share: Mutex::new(share.split_off(u64::MAX)),
        };
        Self {
            limit,
            share,
            used: 0,
            contents: 0,
            buffers: Arc::new(buffers),
            wanted: 0,
            peak: 0,
            own_maximum: None,
        }
    }

    /// Takes what an instance is likely to want before it begins; whether there is as much.
    pub fn reserve(&mut self, memory: u64) -> bool {
        self.share.cover(with_instance(memory))
    }

    /// The most that was in use at once, in bytes.
    pub fn peak(&self) -> u64 {
        self.peak.max(self.buffers.peak.load(Ordering::Relaxed))
    }

    /// The most that it wanted, had or not.
    pub fn wanted(&self) -> u64 {
        self.wanted.max(self.buffers.wanted.load(Ordering::Relaxed))
    }

    /// The maximum that the guest's own memory or table has, where it wanted more.
    pub fn own_maximum(&self) -> Option<u64> {
        self.own_maximum
    }

    /// Ends the limit.
    pub fn lift(&mut self) {
        self.limit = u64::MAX;
        self.buffers.limit.store(u64::MAX, Ordering::Relaxed);
    }

    /// Returns what the host buffers for the instance.
    pub fn buffers(&self) -> &Arc<HostBuffers> {
        &self.buffers
    }

    /// Returns whether the handles of the instance hold anything, as far as it was counted.
    pub fn has_contents(&self) -> bool {
        self.contents > 0
    }

    /// Counts what the handles of the instance hold, in place of what they held before.
    pub fn set_contents(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        let before = std::mem::replace(&mut self.contents, bytes);
        self.fit(0, Guard::HandleContents)
            .inspect_err(|_| self.contents = before)
    }

    fn grow(&mut self, by: u64, guard: Guard) -> wasmtime::Result<bool> {
        self.fit(by, guard).map_err(MemoryFull::trap)?;
        Ok(true)
    }

    /// Has the instance use so many bytes more.
    fn fit(&mut self, by: u64, guard: Guard) -> Result<(), MemoryFull> {
        let used = self.used.saturating_add(by);
        let others = used.saturating_add(self.contents);
        let wanted = others.saturating_add(self.buffers.held.load(Ordering::Relaxed));
        if wanted > self.limit && guard::holds(guard) {
            let limit = self.limit;
            return Err(MemoryExceeded { limit, wanted }.into());
        }
        let all = with_instance(others);
        if !self.share.cover(all) {
            let most = self.share.most();
            if all <= most {
                self.wanted = wanted;
            }
            return Err(HostFull { most, wanted: all }.into());
        }
        self.buffers.others.store(others, Ordering::Relaxed);
        self.wanted = self.wanted.max(wanted);
        self.used = used;
        self.peak = self.peak.max(wanted);
        Ok(())
    }
}

/// Bytes that the host buffers for an instance, as pieces of bodies: counted until they are gone,
/// wherever they go.
pub(super) struct HostBuffers {
    /// The function's limit.
    limit: AtomicU64,
    /// Bytes that the instance has beside its buffers.
    others: AtomicU64,
    held: AtomicU64,
    /// The most that the instance had when it buffered more.
    peak: AtomicU64,
    /// The most that it wanted then, and could have at some time.
    wanted: AtomicU64,
    /// Bodies that the instance reads.
    bodies: AtomicU64,
    share: Mutex<Share>,
}

/// A part of what is buffered, given back when dropped.
pub(super) struct Buffered {
    buffers: Arc<HostBuffers>,
    bytes: u64,
    bodies: u64,
}

impl HostBuffers {
    /// Counts a body that the instance reads. The memory of the first one is part of what each
    /// instance takes.
    pub fn hold_body(self: &Arc<Self>, bytes: u64) -> Result<Buffered, MemoryFull> {
        let mut buffered = if self.has_bodies() {
            self.hold(bytes)?
        } else {
            Buffered {
                buffers: Arc::clone(self),
                bytes: 0,
                bodies: 0,
            }
        };
        self.bodies.fetch_add(1, Ordering::Relaxed);
        buffered.bodies = 1;
        Ok(buffered)
    }

    /// Returns whether the instance reads a body.
    pub fn has_bodies(&self) -> bool {
        self.bodies.load(Ordering::Relaxed) > 0
    }

    /// Counts so many bytes as long as what it returns is held.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> Result<Buffered, MemoryFull> {
        let bytes = if guard::holds(Guard::Buffers) {
            bytes
        } else {
            0
        };
        // Dropped at once where it is too much.
        let buffered = Buffered {
            buffers: Arc::clone(self),
            bytes,
            bodies: 0,
        };
        let held = self
            .held
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        let others = self.others.load(Ordering::Relaxed);
        let wanted = others.saturating_add(held);
        let limit = self.limit.load(Ordering::Relaxed);
        if wanted > limit && bytes > 0 {
            return Err(MemoryExceeded { limit, wanted }.into());
        }
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        if !share.cover(held) {
            let (most, all) = (share.most(), with_instance(wanted));
            if all <= most {
                self.wanted.fetch_max(wanted, Ordering::Relaxed);
            }
            return Err(HostFull { most, wanted: all }.into());
        }
        self.wanted.fetch_max(wanted, Ordering::Relaxed);
        self.peak.fetch_max(wanted, Ordering::Relaxed);
        Ok(buffered)
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.buffers.held.fetch_sub(self.bytes, Ordering::Relaxed);
        let bodies = &self.buffers.bodies;
        bodies.fetch_sub(self.bodies, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Past the memory's own maximum the instruction fails whatever we say.
        if let Some(maximum) = maximum.filter(|maximum| desired > *maximum) {
            self.own_maximum = Some(maximum as u64);
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current) as u64, Guard::Memory)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let elements = desired.saturating_sub(current) as u64;
        self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES), Guard::Tables)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::Budget;

    #[test]
    fn memories_and_tables_are_summed() {
        let mut limiter = Limiter::new(1_000, Share::endless());
        assert!(limiter.memory_growing(0, 500, None).unwrap());
        assert!(limiter.table_growing(0, 50, None).unwrap());
        assert_eq!(limiter.peak(), 900);
        let error = limiter.memory_growing(0, 200, None).unwrap_err();
        let exceeded = error.downcast_ref::<MemoryExceeded>().unwrap();
        assert_eq!((exceeded.limit, exceeded.wanted), (1_000, 1_100));
        assert_eq!(limiter.peak(), 900);
        assert_eq!(limiter.wanted(), 900);
    }

    #[test]
    fn contents_and_buffers_count_until_they_are_gone() {
        let total = INSTANCE.0 + (3 << 20);
        let budget = Arc::new(Budget::new(total));
        let mut limiter = Limiter::new(2 << 20, Share::none(&budget));
        assert!(limiter.memory_growing(0, 1 << 20, None).unwrap());
        limiter.set_contents(512 << 10).unwrap();
        let buffered = limiter.buffers().hold(512 << 10).unwrap();
        assert_eq!(limiter.peak(), 2 << 20);
        let exceeded = MemoryExceeded {
            limit: 2 << 20,
            wanted: (2 << 20) + 1,
        };
        let refused = limiter.buffers().hold(1).err();
        assert_eq!(refused, Some(MemoryFull::Function(exceeded)));
        let error = limiter.memory_growing(0, 1, None).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&exceeded));
        let refused = limiter.set_contents((512 << 10) + 1);
        assert_eq!(refused, Err(MemoryFull::Function(exceeded)));
        drop(buffered);
        limiter.set_contents(0).unwrap();
        assert!(limiter.memory_growing(0, 1 << 20, None).unwrap());
        assert_eq!(limiter.peak(), 2 << 20);

        // What others have is theirs.
        let other = budget.try_take(total - budget.memory().taken).unwrap();
        let mut small = Limiter::new(u64::MAX, Share::none(&budget));
        let full = small.buffers().hold(1 << 20).err();
        assert!(matches!(full, Some(MemoryFull::Host(_))), "{full:?}");
        let full = small.set_contents(1 << 20);
        assert!(matches!(full, Err(MemoryFull::Host(_))), "{full:?}");
        drop((other, limiter, small));
        assert_eq!(budget.memory().taken, 0);
    }

    #[test]
    fn a_full_host_is_told_and_what_was_wanted_is_noted() {
        let total = INSTANCE.0 + (3 << 20);
        let budget = Arc::new(Budget::new(total));
        let mut limiter = Limiter::new(8 << 20, Share::none(&budget));
        assert!(limiter.reserve(1 << 19));
        assert!(limiter.memory_growing(0, 1 << 20, None).unwrap());
        let mut grow = |to: usize| {
            let error = limiter.memory_growing(1 << 20, to << 20, None).unwrap_err();
            let full = *error.downcast_ref::<HostFull>().unwrap();
            assert_eq!(full.most, total);
            (full.wanted - INSTANCE.0, limiter.wanted(), limiter.peak())
        };
        let other = budget.try_take(1 << 20).unwrap();
        assert_eq!(grow(3), (3 << 20, 3 << 20, 1 << 20));
        drop(other);
        assert_eq!(grow(4), (4 << 20, 3 << 20, 1 << 20), "never to be had");
        drop(limiter);
        assert_eq!(budget.memory().taken, 0);
    }
}
