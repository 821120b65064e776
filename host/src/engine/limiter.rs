//! Memory of one instance, summed over all its linear memories and tables.

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

pub(super) struct Limiter {
    limit: u64,
    /// What is taken for it of the host's memory.
    share: Share,
    used: u64,
    /// The most that it wanted and could have at some time.
    wanted: u64,
    peak: u64,
    /// The maximum of its own that a memory or table couldn't grow past, in bytes.
    own_maximum: Option<u64>,
}

impl Limiter {
    pub fn new(limit: u64, share: Share) -> Self {
        Self {
            limit,
            share,
            used: 0,
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
        self.peak
    }

    /// The most that it wanted, had or not.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// The maximum that the guest's own memory or table has, where it wanted more.
    pub fn own_maximum(&self) -> Option<u64> {
        self.own_maximum
    }

    /// Ends the limit.
    pub fn lift(&mut self) {
        self.limit = u64::MAX;
    }

    fn grow(&mut self, by: u64, guard: Guard) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(by);
        if wanted > self.limit && guard::holds(guard) {
            let limit = self.limit;
            return Err(MemoryExceeded { limit, wanted }.into());
        }
        let all = with_instance(wanted);
        if !self.share.cover(all) {
            let most = self.share.most();
            if all <= most {
                self.wanted = wanted;
            }
            return Err(HostFull { most, wanted: all }.into());
        }
        self.wanted = self.wanted.max(wanted);
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        Ok(true)
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
