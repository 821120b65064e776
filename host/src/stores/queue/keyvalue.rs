//! Keyvalue buckets, in the store of events so that their changes commit with the acknowledgement.

use rusqlite::params;

use super::operations::{Operations, Result, rows, signed, unsigned};
use crate::ports::{KeyChange, Value};

impl Operations {
    pub fn get(&mut self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Value>>> {
        keys.iter()
            .map(|key| {
                let found = self.rows(
                    "SELECT revision, bytes FROM value WHERE bucket = ?1 AND key = ?2",
                    params![bucket, key],
                    |row| {
                        Ok(Value {
                            revision: unsigned(row.get(0)?),
                            bytes: row.get(1)?,
                        })
                    },
                )?;
                Ok(found.into_iter().next())
            })
            .collect()
    }

    pub fn keys(&mut self, bucket: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.rows(
            "SELECT key FROM value WHERE bucket = ?1 AND (?2 IS NULL OR key > ?2)
             ORDER BY key LIMIT ?3",
            params![bucket, after, rows(limit)],
            |row| row.get(0),
        )
    }

    pub(super) fn revision(&self, bucket: &str, key: &str) -> Result<Option<u64>> {
        let revision: Option<i64> = self.one(
            "SELECT revision FROM value WHERE bucket = ?1 AND key = ?2",
            params![bucket, key],
        )?;
        Ok(revision.map(unsigned))
    }

    pub(super) fn change_key(&mut self, change: &KeyChange) -> Result<()> {
        let KeyChange { bucket, key, .. } = change;
        if let Some(bytes) = &change.value {
            let revision = signed(self.take_revision());
            self.sql(
                "INSERT INTO value (bucket, key, revision, bytes) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET revision = excluded.revision, bytes = excluded.bytes",
                params![bucket, key, revision, bytes],
            )?;
        } else {
            self.sql(
                "DELETE FROM value WHERE bucket = ?1 AND key = ?2",
                params![bucket, key],
            )?;
        }
        Ok(())
    }
}
