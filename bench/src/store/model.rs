//! The queue's operations, as both stores implement them.

use std::{collections::HashSet, path::Path};

use anyhow::Result;

use super::{redb_store::RedbStore, sqlite_store::SqliteStore};

/// How many functions the deliveries are spread over.
pub const FUNCTIONS: u64 = 16;

/// The order in which a function's deliveries are taken.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub function: u32,
    pub due_ms: u64,
    pub seq: u64,
}

/// One event on its way to one function.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub key: Key,
    pub blob: Vec<u8>,
}

/// What the writer thread is asked to do; many make one transaction.
pub enum Change {
    /// Insert a delivery unless `mark`, the event's source and id, has been seen.
    Accept { delivery: Delivery, mark: Vec<u8> },
    /// Delete a delivery and insert what follows from it.
    Settle { key: Key, follow_ups: Vec<Delivery> },
    /// Put a delivery back for later, with its record changed.
    Retry {
        key: Key,
        due_ms: u64,
        blob: Vec<u8>,
    },
}

/// A store owned by the writer thread.
pub trait Store: Send {
    /// Applies the changes in one transaction, durable on return.
    fn apply(&mut self, changes: &[Change]) -> Result<()>;
    /// A reader for another thread, which sees every transaction that has returned.
    fn reader(&self) -> Result<Box<dyn Reader>>;
    /// Checks the whole file; false where damage was found. No reader may be alive.
    fn is_sound(&mut self) -> Result<bool>;
}

/// Reads from a snapshot taken for each call.
pub trait Reader: Send {
    /// The first `limit` due deliveries of a function that are not leased.
    fn due(
        &mut self,
        function: u32,
        now_ms: u64,
        leased: &HashSet<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>>;
    /// Whether a delivery is in the store.
    fn contains(&mut self, seq: u64) -> Result<bool>;
}

/// A store with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// One-phase commit; a crash is followed by a walk of the whole file.
    Redb,
    /// Two-phase commit.
    RedbTwoPhase,
    /// Two-phase commit which also saves the allocator, for a short recovery.
    RedbQuickRepair,
    /// A write-ahead log checkpointed every 1,000 pages, the default.
    Sqlite,
    /// A write-ahead log checkpointed every 4,000 pages (16 MiB).
    SqliteWal4k,
    /// A write-ahead log checkpointed every 16,000 pages (64 MiB).
    SqliteWal16k,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Redb,
        Self::RedbTwoPhase,
        Self::RedbQuickRepair,
        Self::Sqlite,
        Self::SqliteWal4k,
        Self::SqliteWal16k,
    ];

    /// Opens or creates the store in `dir`.
    pub fn open(self, dir: &Path, cache_mib: usize) -> Result<Box<dyn Store>> {
        let path = dir.join("queue.db");
        Ok(match self {
            Self::Redb | Self::RedbTwoPhase | Self::RedbQuickRepair => {
                Box::new(RedbStore::open(&path, self, cache_mib)?)
            }
            Self::Sqlite => Box::new(SqliteStore::open(&path, 1_000, cache_mib)?),
            Self::SqliteWal4k => Box::new(SqliteStore::open(&path, 4_000, cache_mib)?),
            Self::SqliteWal16k => Box::new(SqliteStore::open(&path, 16_000, cache_mib)?),
        })
    }

    /// The name that the command line knows it by.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A delivery whose body is cheap to make, differs for each `seq` and does not compress.
pub fn delivery(seq: u64, body_len: usize) -> Delivery {
    let mut state = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut blob = Vec::with_capacity(body_len + 8);
    while blob.len() < body_len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        blob.extend_from_slice(&state.to_le_bytes());
    }
    blob.truncate(body_len);
    let function = u32::try_from(seq % FUNCTIONS).unwrap_or_default();
    Delivery {
        key: Key {
            function,
            due_ms: seq / 10,
            seq,
        },
        blob,
    }
}

/// An accept of [`delivery`], marked by a source and an id as random as a UUID.
pub fn accept(seq: u64, body_len: usize) -> Change {
    let high = seq.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let low = (high ^ (high >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mark = format!("sensors/{:02}\0{high:016x}{low:016x}", seq % 50).into_bytes();
    Change::Accept {
        delivery: delivery(seq, body_len),
        mark,
    }
}
