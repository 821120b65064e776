//! The queue on SQLite: a write-ahead log, synchronous=FULL, prepared statements.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::model::{Change, Delivery, Key, Reader, Store};

/// The index ends in the rowid, which is `seq`, so it holds the whole order of taking.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS delivery (
        seq INTEGER PRIMARY KEY, function INTEGER NOT NULL, due_ms INTEGER NOT NULL, blob BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS due ON delivery (function, due_ms);
    CREATE TABLE IF NOT EXISTS mark (event BLOB PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
";

pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    cache_mib: usize,
}

impl SqliteStore {
    pub fn open(path: &Path, checkpoint_pages: u32, cache_mib: usize) -> Result<Self> {
        let connection = Connection::open(path)?;
        // Without a size limit the log keeps its blocks after a checkpoint and is overwritten in
        // place, so that a commit's fdatasync has no change of size to journal.
        connection.execute_batch(&format!(
            "PRAGMA page_size = 4096;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA journal_size_limit = -1;
             PRAGMA wal_autocheckpoint = {checkpoint_pages};
             PRAGMA cache_size = -{};",
            cache_mib << 10
        ))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            cache_mib,
        })
    }
}

fn insert(transaction: &Transaction<'_>, delivery: &Delivery) -> Result<()> {
    let Key {
        function,
        due_ms,
        seq,
    } = delivery.key;
    transaction
        .prepare_cached("INSERT INTO delivery (seq, function, due_ms, blob) VALUES (?, ?, ?, ?)")?
        .execute(params![
            seq.cast_signed(),
            function,
            due_ms.cast_signed(),
            delivery.blob
        ])?;
    Ok(())
}

impl Store for SqliteStore {
    fn apply(&mut self, changes: &[Change]) -> Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            match change {
                Change::Accept { delivery, mark } => {
                    let is_new = transaction
                        .prepare_cached("INSERT OR IGNORE INTO mark (event, at_ms) VALUES (?, ?)")?
                        .execute(params![mark, delivery.key.due_ms.cast_signed()])?;
                    if is_new == 1 {
                        insert(&transaction, delivery)?;
                    }
                }
                Change::Settle { key, follow_ups } => {
                    transaction
                        .prepare_cached("DELETE FROM delivery WHERE seq = ?")?
                        .execute([key.seq.cast_signed()])?;
                    for delivery in follow_ups {
                        insert(&transaction, delivery)?;
                    }
                }
                Change::Retry { key, due_ms, blob } => {
                    transaction
                        .prepare_cached("UPDATE delivery SET due_ms = ?, blob = ? WHERE seq = ?")?
                        .execute(params![due_ms.cast_signed(), blob, key.seq.cast_signed()])?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.execute_batch(&format!("PRAGMA cache_size = -{}", self.cache_mib << 10))?;
        Ok(Box::new(SqliteReader { connection }))
    }

    fn is_sound(&mut self) -> Result<bool> {
        let verdict: String = self
            .connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        Ok(verdict == "ok")
    }
}

struct SqliteReader {
    connection: Connection,
}

impl Reader for SqliteReader {
    fn due(
        &mut self,
        function: u32,
        now_ms: u64,
        leased: &HashSet<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT due_ms, seq, blob FROM delivery INDEXED BY due
             WHERE function = ? AND due_ms <= ? ORDER BY due_ms, seq",
        )?;
        let mut rows = statement.query(params![function, now_ms.cast_signed()])?;
        let mut found = Vec::with_capacity(limit.min(64));
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(1)?.cast_unsigned();
            if leased.contains(&seq) {
                continue;
            }
            let due_ms = row.get::<_, i64>(0)?.cast_unsigned();
            found.push(Delivery {
                key: Key {
                    function,
                    due_ms,
                    seq,
                },
                blob: row.get(2)?,
            });
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    fn contains(&mut self, seq: u64) -> Result<bool> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM delivery WHERE seq = ?")?
            .exists([seq.cast_signed()])?)
    }
}
