//! Memory of one instance, summed over all its linear memories and tables.

use wasmtime::ResourceLimiter;

use crate::guard::{self, Guard};

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

pub(super) struct Limiter {
    limit: u64,
    used: u64,
    peak: u64,
    /// The maximum of its own that a memory or table couldn't grow past, in bytes.
    own_maximum: Option<u64>,
}

impl Limiter {
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            peak: 0,
            own_maximum: None,
        }
    }

    /// The most that was in use at once, in bytes.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// The maximum that the guest's own memory or table has, where it wanted more.
    pub fn own_maximum(&self) -> Option<u64> {
        self.own_maximum
    }

    /// Ends the limit.
    pub fn lift(&mut self) {
        self.limit = u64::MAX;
    }

    fn grow(&mut self, by: u64, guard: Guard) -> Result<bool, MemoryExceeded> {
        let wanted = self.used.saturating_add(by);
        if wanted > self.limit && guard::holds(guard) {
            return Err(MemoryExceeded {
                limit: self.limit,
                wanted,
            });
        }
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
        Ok(self.grow(desired.saturating_sub(current) as u64, Guard::Memory)?)
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
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES), Guard::Tables)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_summed() {
        let mut limiter = Limiter::new(1_000);
        assert!(limiter.memory_growing(0, 500, None).unwrap());
        assert!(limiter.table_growing(0, 50, None).unwrap());
        assert_eq!(limiter.peak(), 900);
        let error = limiter.memory_growing(0, 200, None).unwrap_err();
        let exceeded = error.downcast_ref::<MemoryExceeded>().unwrap();
        assert_eq!((exceeded.limit, exceeded.wanted), (1_000, 1_100));
        assert_eq!(limiter.peak(), 900);
    }
}
