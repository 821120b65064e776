//! What the queue does, in SQL. Writes run inside the group's transaction, each of them whole or not at
//! all.

use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension, params};

use super::Leases;
use super::record::{decode, encode};
use super::schema::failed;
use crate::clock::{Clock, Timestamp};
use crate::ports::{
    Accept, Accepted, Count, DeadLetter, Delivery, Disposition, Identity, Intent, QueueError,
    Settlement, Sighting, Taken,
};

/// How long a source's ids are remembered.
const DUPLICATE_WINDOW_MS: u64 = 24 * 60 * 60 * 1_000;
/// How often old ids are forgotten.
const FORGET_EVERY_MS: u64 = 60_000;

type Result<T> = std::result::Result<T, QueueError>;

pub(super) struct Operations {
    connection: Connection,
    leases: Leases,
    clock: Clock,
    next_seq: u64,
    forgot: Timestamp,
}

impl Operations {
    pub fn new(connection: Connection, leases: Leases, clock: Clock) -> Result<Self> {
        let highest: i64 = connection
            .query_row(
                "SELECT max(
                    coalesce((SELECT max(seq) FROM delivery), 0),
                    coalesce((SELECT max(seq) FROM dead), 0),
                    coalesce((SELECT max(seq) FROM intent), 0))",
                [],
                |row| row.get(0),
            )
            .map_err(|error| failed(&error))?;
        let next_seq = u64::try_from(highest).unwrap_or(0) + 1;
        Ok(Self {
            connection,
            leases,
            clock,
            next_seq,
            forgot: 0,
        })
    }

    pub fn begin(&mut self) -> Result<()> {
        self.sql("BEGIN IMMEDIATE", [])?;
        Ok(())
    }

    pub fn commit(&mut self) -> Result<()> {
        let now = self.clock.now();
        if now.saturating_sub(self.forgot) > FORGET_EVERY_MS {
            self.forgot = now;
            let oldest = signed(now.saturating_sub(DUPLICATE_WINDOW_MS));
            // Old ids that stay a while longer do no harm.
            if let Err(error) = self.sql("DELETE FROM seen WHERE accepted < ?1", [oldest]) {
                tracing::warn!(%error, "old ids can't be forgotten");
            }
        }
        self.sql("COMMIT", []).map(|_| ()).inspect_err(|_| {
            // SQLite may have rolled back by itself; asking again does no harm.
            let _ = self.sql("ROLLBACK", []);
        })
    }

    /// Runs `work` whole or not at all, without ending the group's transaction.
    fn atomically<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.sql("SAVEPOINT command", [])?;
        match work(self) {
            Ok(value) => {
                self.sql("RELEASE command", [])?;
                Ok(value)
            }
            Err(error) => {
                self.sql("ROLLBACK TO command", [])?;
                self.sql("RELEASE command", [])?;
                Err(error)
            }
        }
    }

    pub fn accept(&mut self, events: &[Accept]) -> Result<Vec<Accepted>> {
        self.atomically(|store| {
            events
                .iter()
                .map(|accept| store.accept_one(accept))
                .collect()
        })
    }

    fn accept_one(&mut self, accept: &Accept) -> Result<Accepted> {
        let event = &accept.event;
        let known = match &accept.identity {
            Identity::Unique => false,
            Identity::Id => {
                self.sql(
                    "INSERT OR IGNORE INTO seen (source, id, accepted) VALUES (?1, ?2, ?3)",
                    params![event.source, event.id, signed(event.accepted)],
                )? == 0
            }
            Identity::Object(sighting) => self.saw(sighting)?,
        };
        if known {
            return Ok(Accepted::Duplicate);
        }
        for function in &accept.functions {
            let delivery = Delivery {
                seq: self.next_seq,
                function: function.clone(),
                event: event.clone(),
                due: accept.due,
                attempted: 0,
                failed: 0,
                attempts: Vec::new(),
            };
            self.next_seq += 1;
            self.sql(
                "INSERT INTO delivery (seq, function, due, record) VALUES (?1, ?2, ?3, ?4)",
                params![
                    signed(delivery.seq),
                    function,
                    signed(accept.due),
                    encode(&delivery)?
                ],
            )?;
        }
        Ok(Accepted::New)
    }

    /// Notes a version of an object. Whether it was the noted one already.
    fn saw(&mut self, sighting: &Sighting) -> Result<bool> {
        let Sighting { bucket, key, etag } = sighting;
        let changed = self.sql(
            "INSERT INTO sighting (bucket, key, etag) VALUES (?1, ?2, ?3)
             ON CONFLICT (bucket, key) DO UPDATE SET etag = ?3 WHERE etag <> ?3",
            params![bucket, key, etag],
        )?;
        Ok(changed == 0)
    }

    pub fn take(&mut self, function: &str, limit: usize, now: Timestamp) -> Result<Taken> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        // Leased ones come first in this order, so that skipping them costs as many rows as run.
        let rows = limit.saturating_add(leases.len());
        let mut taken = Taken::default();
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT seq, record FROM delivery WHERE function = ?1 AND due <= ?2
                 ORDER BY due, seq LIMIT ?3",
            )
            .map_err(|error| failed(&error))?;
        let mut found = statement
            .query(params![function, signed(now), signed(rows as u64)])
            .map_err(|error| failed(&error))?;
        while taken.deliveries.len() < limit
            && let Some(row) = found.next().map_err(|error| failed(&error))?
        {
            let seq = unsigned(row.get(0).map_err(|error| failed(&error))?);
            if leases.contains(&seq) {
                continue;
            }
            let record: Vec<u8> = row.get(1).map_err(|error| failed(&error))?;
            taken
                .deliveries
                .push(decode(&format!("delivery {seq}"), &record)?);
        }
        drop(found);
        drop(statement);
        if taken.deliveries.len() < limit {
            taken.next_due = self
                .connection
                .prepare_cached(
                    "SELECT due FROM delivery WHERE function = ?1 AND due > ?2
                     ORDER BY due LIMIT 1",
                )
                .and_then(|mut next| {
                    next.query_row(params![function, signed(now)], |row| row.get(0))
                        .optional()
                })
                .map_err(|error| failed(&error))?
                .map(unsigned);
        }
        // Last: an error above must leave nothing leased.
        leases.extend(taken.deliveries.iter().map(|delivery| delivery.seq));
        Ok(taken)
    }

    pub fn settle(&mut self, settlements: Vec<Settlement>) -> Result<()> {
        self.atomically(|store| {
            settlements
                .into_iter()
                .try_for_each(|settlement| store.settle_one(settlement))
        })
    }

    fn settle_one(&mut self, settlement: Settlement) -> Result<()> {
        let Settlement {
            mut delivery,
            disposition,
            intent,
            accepts,
            sightings,
        } = settlement;
        let seq = signed(delivery.seq);
        let changed = match disposition {
            Disposition::Done => self.sql("DELETE FROM delivery WHERE seq = ?1", [seq])?,
            Disposition::Retry { due, attempt } => {
                delivery.record(attempt);
                delivery.due = due;
                self.sql(
                    "UPDATE delivery SET due = ?2, record = ?3 WHERE seq = ?1",
                    params![seq, signed(due), encode(&delivery)?],
                )?
            }
            Disposition::Dead { attempt, reason } => {
                let time = attempt.time;
                delivery.record(attempt);
                let letter = DeadLetter {
                    delivery,
                    time,
                    reason,
                };
                self.sql(
                    "INSERT INTO dead (seq, function, record) VALUES (?1, ?2, ?3)",
                    params![seq, letter.delivery.function, encode(&letter)?],
                )?;
                self.sql("DELETE FROM delivery WHERE seq = ?1", [seq])?
            }
        };
        if changed != 1 {
            return Err(QueueError::Damaged {
                reason: format!("delivery {seq} is missing"),
            });
        }
        for sighting in &sightings {
            self.saw(sighting)?;
        }
        if let Some(intent) = intent {
            self.sql(
                "INSERT INTO intent (seq, record) VALUES (?1, ?2)",
                params![signed(intent.seq), encode(&intent)?],
            )?;
        }
        accepts
            .iter()
            .try_for_each(|accept| self.accept_one(accept).map(|_| ()))
    }

    pub fn applied(&mut self, intent: u64, accepts: &[Accept]) -> Result<()> {
        self.atomically(|store| {
            // An intent that is gone was noted before, with what follows from it.
            if store.sql("DELETE FROM intent WHERE seq = ?1", [signed(intent)])? == 0 {
                return Ok(());
            }
            accepts
                .iter()
                .try_for_each(|accept| store.accept_one(accept).map(|_| ()))
        })
    }

    pub fn intents(&mut self) -> Result<Vec<Intent>> {
        self.records(
            "SELECT seq, record FROM intent ORDER BY seq LIMIT ?1",
            usize::MAX,
            "intent",
        )
    }

    pub fn dead_letters(&mut self, limit: usize) -> Result<Vec<DeadLetter>> {
        let newest = "SELECT seq, record FROM dead ORDER BY seq DESC LIMIT ?1";
        self.records(newest, limit, "dead letter")
    }

    fn records<T: serde::de::DeserializeOwned>(
        &self,
        sql: &str,
        limit: usize,
        what: &str,
    ) -> Result<Vec<T>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(|error| failed(&error))?;
        let rows = statement
            .query_map([limit], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .map_err(|error| failed(&error))?;
        rows.map(|row| {
            let (seq, record) = row.map_err(|error| failed(&error))?;
            decode(&format!("{what} {seq}"), &record)
        })
        .collect()
    }

    pub fn sightings(&mut self, bucket: &str, after: &str, limit: usize) -> Result<Vec<Sighting>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT key, etag FROM sighting WHERE bucket = ?1 AND key > ?2
                 ORDER BY key LIMIT ?3",
            )
            .map_err(|error| failed(&error))?;
        let rows = statement
            .query_map(params![bucket, after, limit], |row| {
                Ok(Sighting {
                    bucket: bucket.to_owned(),
                    key: row.get(0)?,
                    etag: row.get(1)?,
                })
            })
            .map_err(|error| failed(&error))?;
        rows.collect::<rusqlite::Result<_>>()
            .map_err(|error| failed(&error))
    }

    /// Forgets objects; a key that ends with a slash stands for all below it.
    pub fn forget(&mut self, bucket: &str, keys: &[String]) -> Result<()> {
        self.atomically(|store| {
            for key in keys {
                match key.strip_suffix('/') {
                    // '0' follows '/' in the order of bytes.
                    Some(folder) => store.sql(
                        "DELETE FROM sighting WHERE bucket = ?1
                         AND key > ?2 || '/' AND key < ?2 || '0'",
                        params![bucket, folder],
                    )?,
                    None => store.sql(
                        "DELETE FROM sighting WHERE bucket = ?1 AND key = ?2",
                        params![bucket, key],
                    )?,
                };
            }
            Ok(())
        })
    }

    pub fn counts(&mut self) -> Result<Vec<Count>> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT function, sum(pending), sum(dead) FROM (
                    SELECT function, count(*) AS pending, 0 AS dead FROM delivery GROUP BY function
                    UNION ALL
                    SELECT function, 0, count(*) FROM dead GROUP BY function
                 ) GROUP BY function ORDER BY function",
            )
            .map_err(|error| failed(&error))?;
        let rows = statement
            .query_map([], |row| {
                let (pending, dead) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
                Ok(Count {
                    function: row.get(0)?,
                    pending,
                    dead,
                })
            })
            .map_err(|error| failed(&error))?;
        rows.collect::<rusqlite::Result<_>>()
            .map_err(|error| failed(&error))
    }

    /// Moves the log into the store's file, so that what is left on disk is one file.
    pub fn close(self) {
        let checkpointed = self.sql_rows("PRAGMA wal_checkpoint(TRUNCATE)");
        if let Err(error) =
            checkpointed.and(self.connection.close().map_err(|(_, error)| failed(&error)))
        {
            tracing::warn!(%error, "the store wasn't tidied up; it is at the next start");
        }
    }

    fn sql_rows(&self, sql: &str) -> Result<()> {
        self.connection
            .query_row(sql, [], |_| Ok(()))
            .map_err(|error| failed(&error))
    }

    fn sql(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| failed(&error))
    }
}

/// SQLite's integers are signed; ours stay far below the half.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
