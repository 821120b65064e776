//! The version of each object that was last accepted: by it a second sight of the same upload is known.

use rusqlite::params;

use super::operations::{Operations, Result, rows, text};
use crate::ports::{STEP, Sighting};

impl Operations {
    /// Notes a version of an object. Whether it was the noted one already.
    pub(super) fn saw(&mut self, sighting: &Sighting) -> Result<bool> {
        let Sighting { bucket, key, etag } = sighting;
        let changed = self.sql(
            "INSERT INTO sighting (bucket, key, etag) VALUES (?1, ?2, ?3)
             ON CONFLICT (bucket, key) DO UPDATE SET etag = ?3 WHERE etag <> ?3",
            params![bucket, key, etag],
        )?;
        Ok(changed == 0)
    }

    pub fn sightings(&mut self, bucket: &str, after: &str, limit: usize) -> Result<Vec<Sighting>> {
        self.rows(
            "SELECT key, etag FROM sighting WHERE bucket = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
            params![bucket, after, rows(limit)],
            |row| {
                Ok(Sighting {
                    bucket: bucket.to_owned(),
                    key: text(row, 0)?,
                    etag: text(row, 1)?,
                })
            },
        )
    }

    /// Forgets objects, as many as one step has; a key that ends with a slash stands for all below
    /// it. Returns the keys that are left.
    pub fn forget(&mut self, bucket: &str, mut keys: Vec<String>) -> Result<Vec<String>> {
        self.atomically(|store| {
            let mut room = STEP;
            while room > 0
                && let Some(key) = keys.pop()
            {
                let forgotten = store.forget_one(bucket, &key, room)?;
                // Where a step is full there may be more below the same key.
                if forgotten == room {
                    keys.push(key);
                    break;
                }
                room -= forgotten.max(1);
            }
            Ok(keys)
        })
    }

    /// Forgets an object, or up to `most` of those below a folder. Returns how many.
    fn forget_one(&self, bucket: &str, key: &str, most: usize) -> Result<usize> {
        match key.strip_suffix('/') {
            // '0' follows '/' in the order of bytes.
            Some(folder) => self.sql(
                "DELETE FROM sighting WHERE bucket = ?1 AND key IN
                    (SELECT key FROM sighting WHERE bucket = ?1
                     AND key > ?2 || '/' AND key < ?2 || '0' ORDER BY key LIMIT ?3)",
                params![bucket, folder, rows(most)],
            ),
            None => self.sql(
                "DELETE FROM sighting WHERE bucket = ?1 AND key = ?2",
                params![bucket, key],
            ),
        }
    }
}
