//! The queue on redb: three tables, and one write transaction per group.

use std::{collections::HashSet, path::Path, sync::Arc};

use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, TableDefinition};

use super::model::{Change, Delivery, Key, Kind, Reader, Store};

/// Records by `seq`, so that accepts append to the right edge of the tree.
const DELIVERIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deliveries");
/// Function, due time and `seq`: the order of taking.
const DUE: TableDefinition<'_, (u32, u64, u64), ()> = TableDefinition::new("due");
/// Source and id of each event seen, with the time.
const MARKS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("marks");

pub struct RedbStore {
    db: Arc<Database>,
    kind: Kind,
}

impl RedbStore {
    pub fn open(path: &Path, kind: Kind, cache_mib: usize) -> Result<Self> {
        let db = Database::builder()
            .set_cache_size(cache_mib << 20)
            .create(path)?;
        let store = Self {
            db: Arc::new(db),
            kind,
        };
        store.write(|_, _, _| Ok(()))?;
        Ok(store)
    }

    fn write(
        &self,
        work: impl FnOnce(&mut Deliveries<'_>, &mut Due<'_>, &mut Marks<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_two_phase_commit(self.kind == Kind::RedbTwoPhase);
        transaction.set_quick_repair(self.kind == Kind::RedbQuickRepair);
        work(
            &mut transaction.open_table(DELIVERIES)?,
            &mut transaction.open_table(DUE)?,
            &mut transaction.open_table(MARKS)?,
        )?;
        Ok(transaction.commit()?)
    }
}

type Deliveries<'txn> = redb::Table<'txn, u64, &'static [u8]>;
type Due<'txn> = redb::Table<'txn, (u32, u64, u64), ()>;
type Marks<'txn> = redb::Table<'txn, &'static [u8], u64>;

fn insert(deliveries: &mut Deliveries<'_>, due: &mut Due<'_>, delivery: &Delivery) -> Result<()> {
    let Key {
        function,
        due_ms,
        seq,
    } = delivery.key;
    deliveries.insert(seq, delivery.blob.as_slice())?;
    due.insert((function, due_ms, seq), ())?;
    Ok(())
}

impl Store for RedbStore {
    fn apply(&mut self, changes: &[Change]) -> Result<()> {
        self.write(|deliveries, due, marks| {
            for change in changes {
                match change {
                    Change::Accept { delivery, mark } => {
                        // One descent both asks and marks; a repeat only refreshes the time.
                        if marks
                            .insert(mark.as_slice(), delivery.key.due_ms)?
                            .is_none()
                        {
                            insert(deliveries, due, delivery)?;
                        }
                    }
                    Change::Settle { key, follow_ups } => {
                        deliveries.remove(key.seq)?;
                        due.remove((key.function, key.due_ms, key.seq))?;
                        for delivery in follow_ups {
                            insert(deliveries, due, delivery)?;
                        }
                    }
                    Change::Retry { key, due_ms, blob } => {
                        deliveries.insert(key.seq, blob.as_slice())?;
                        due.remove((key.function, key.due_ms, key.seq))?;
                        due.insert((key.function, *due_ms, key.seq), ())?;
                    }
                }
            }
            Ok(())
        })
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(RedbReader {
            db: Arc::clone(&self.db),
        }))
    }

    fn is_sound(&mut self) -> Result<bool> {
        let db = Arc::get_mut(&mut self.db).context("a reader is still open")?;
        Ok(db.check_integrity()?)
    }
}

struct RedbReader {
    db: Arc<Database>,
}

impl Reader for RedbReader {
    fn due(
        &mut self,
        function: u32,
        now_ms: u64,
        leased: &HashSet<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let transaction = self.db.begin_read()?;
        let due = transaction.open_table(DUE)?;
        let deliveries = transaction.open_table(DELIVERIES)?;
        let mut found = Vec::with_capacity(limit.min(64));
        for entry in due.range((function, 0, 0)..=(function, now_ms, u64::MAX))? {
            let (function, due_ms, seq) = entry?.0.value();
            if leased.contains(&seq) {
                continue;
            }
            let record = deliveries
                .get(seq)?
                .context("an index entry without its delivery")?;
            let key = Key {
                function,
                due_ms,
                seq,
            };
            found.push(Delivery {
                key,
                blob: record.value().to_vec(),
            });
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    fn contains(&mut self, seq: u64) -> Result<bool> {
        Ok(self
            .db
            .begin_read()?
            .open_table(DELIVERIES)?
            .get(seq)?
            .is_some())
    }
}
