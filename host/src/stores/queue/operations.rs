//! The store's connection: transactions, ids, and what is done from time to time. What the queue does
//! with it, in SQL, is in the files beside this one.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::ahead::Ahead;
use super::schema::failed;
use super::{Leases, QueueConfig};
use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::ports::{QueueError, STEP_BYTES};

/// How often old ids and dead letters are forgotten, and the time is noted.
const TIDY_EVERY_MS: u64 = 5_000;
/// A commit that takes longer is an exception, as where the log is moved into the store's file.
const SLOW_COMMIT: Duration = Duration::from_millis(10);
/// How many old rows are removed with one commit: the rest waits for the next.
const TIDY_ROWS: usize = 250;
/// The same of answers, which are large.
pub(super) const TIDY_ANSWERS: usize = 10;

pub(super) type Result<T> = std::result::Result<T, QueueError>;

/// What the store has room for at least: what went since it was last counted isn't in it.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    pub events: u64,
    pub bytes: u64,
}

impl Allowance {
    pub fn take(&mut self, events: u64, bytes: usize) {
        self.events = self.events.saturating_sub(events);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

#[derive(Debug)]
pub(super) struct Operations {
    pub(super) connection: Connection,
    pub(super) leases: Arc<Mutex<Leases>>,
    pub(super) config: QueueConfig,
    pub(super) ahead: Ahead,
    clock: Clock,
    next_seq: u64,
    next_revision: u64,
    noted_revision: u64,
    tidied: Timestamp,
    /// How much may come before the store's figures are looked at again.
    pub(super) allowance: Allowance,
    /// How long a commit takes of late.
    pub(super) usual_commit: Duration,
    /// Whether the last group's commit failed.
    pub(super) failing: bool,
    /// Since when the group is open.
    opened: Stopwatch,
    /// Whether a group's transaction was begun and not ended by us.
    in_group: bool,
    /// Why SQLite ended it by itself, as it does where the disk is full in the middle.
    lost: RefCell<Option<QueueError>>,
}

impl Operations {
    pub fn new(
        connection: Connection,
        leases: Arc<Mutex<Leases>>,
        clock: Clock,
        config: QueueConfig,
    ) -> Result<Self> {
        let highest = |sql: &str| -> Result<u64> {
            let highest: i64 = connection
                .query_row(sql, [], |row| row.get(0))
                .map_err(|error| failed(&error))?;
            Ok(unsigned(highest))
        };
        connection
            .execute(super::followers::DROP_UNDECIDED, [])
            .map_err(|error| failed(&error))?;
        let next_seq = 1 + highest(
            "SELECT max(
                coalesce((SELECT max(seq) FROM delivery), 0),
                coalesce((SELECT max(seq) FROM dead), 0),
                coalesce((SELECT max(seq) FROM damaged), 0),
                coalesce((SELECT max(seq) FROM intent), 0))",
        )?;
        let next_revision =
            1 + highest("SELECT coalesce((SELECT value FROM meta WHERE name = 'revision'), 0)")?;
        let mut store = Self {
            allowance: Allowance::default(),
            usual_commit: Duration::ZERO,
            failing: false,
            opened: clock.stopwatch(),
            connection,
            leases,
            config,
            ahead: Ahead::default(),
            clock,
            next_seq,
            next_revision,
            noted_revision: next_revision,
            tidied: 0,
            in_group: false,
            lost: RefCell::new(None),
        };
        store.follow_clock()?;
        Ok(store)
    }

    /// A clock that was set back while no host ran would put off every event by as much: those that are
    /// due later keep the delay that they had left.
    fn follow_clock(&mut self) -> Result<()> {
        let now = self.clock.now();
        let noted: Option<i64> = self.one("SELECT value FROM meta WHERE name = 'time'", [])?;
        let back = noted.map_or(0, unsigned).saturating_sub(now);
        if back == 0 {
            return Ok(());
        }
        tracing::warn!(
            "the clock is {back} ms behind where it was when the store was last used; delays are counted \
             from now"
        );
        self.sql(
            "UPDATE delivery SET due = max(?1, due - ?2) WHERE due > ?1",
            params![signed(now), signed(back)],
        )?;
        self.sql(
            "UPDATE delivery SET later = max(?1, later - ?2) WHERE due IS NULL AND later > ?1",
            params![signed(now), signed(back)],
        )?;
        Ok(())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// The number that the next delivery will have.
    pub fn next_seq(&mut self) -> Result<u64> {
        Ok(self.next_seq)
    }

    /// A revision that no key had before.
    pub(super) fn take_revision(&mut self) -> u64 {
        let revision = self.next_revision;
        self.next_revision += 1;
        revision
    }

    fn note(&self, name: &str, value: u64) -> Result<()> {
        self.sql(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET value = excluded.value",
            params![name, signed(value)],
        )?;
        Ok(())
    }

    /// Where somebody panicked in the middle of a group its transaction is open yet.
    pub fn roll_back_left_over(&mut self) -> Result<()> {
        if self.in_group {
            self.in_group = false;
            self.end_ahead(false);
        }
        if !self.connection.is_autocommit() {
            self.sql("ROLLBACK", [])?;
        }
        Ok(())
    }

    /// Begins a group's transaction.
    pub fn begin(&mut self) -> Result<()> {
        self.roll_back_left_over()?;
        self.lost.take();
        self.sql("BEGIN IMMEDIATE", [])?;
        self.in_group = true;
        self.opened = self.clock.stopwatch();
        Ok(())
    }

    /// For how long yet it is worth waiting for what is still to come and the group's commit may do for as well:
    /// not for longer than the commit takes that this saves.
    pub fn patience(&self) -> Option<Duration> {
        if self.lost().is_some() || !self.ahead.awaits() {
            return None;
        }
        let left = self.usual_commit.checked_sub(self.opened.elapsed());
        left.filter(|left| !left.is_zero())
    }

    /// Why the group's transaction is gone, if it is: then nothing of it is committed.
    pub fn lost(&self) -> Option<QueueError> {
        self.lost.borrow().clone()
    }

    /// Ends the group's transaction. On an error nothing of it is committed.
    pub fn commit(&mut self) -> Result<()> {
        let committed = match self.lost() {
            None => self.finish_group(),
            Some(error) => Err(error),
        };
        self.in_group = false;
        self.lost.take();
        if committed.is_err() && !self.connection.is_autocommit() {
            // The error that came first is the one to tell.
            let _ = self.sql("ROLLBACK", []);
        }
        self.end_ahead(committed.is_ok());
        self.failing = committed.is_err();
        committed
    }

    fn finish_group(&mut self) -> Result<()> {
        let now = self.clock.now();
        if now.saturating_sub(self.tidied) > TIDY_EVERY_MS || now < self.tidied {
            self.tidied = now;
            match self.tidy(now) {
                Ok(true) => {}
                // The rest goes with the next commit.
                Ok(false) => self.tidied = 0,
                // What is old and stays a while longer does no harm, but a lost transaction does.
                Err(error) if self.lost().is_some() => return Err(error),
                Err(error) => tracing::warn!(%error, "the store can't be tidied"),
            }
        }
        if self.next_revision != self.noted_revision {
            self.note("revision", self.next_revision)?;
        }
        let watch = self.clock.stopwatch();
        self.sql("COMMIT", [])?;
        // Follows the disk's speed, and a single slow commit only a little.
        self.usual_commit = (self.usual_commit * 3 + watch.elapsed().min(SLOW_COMMIT)) / 4;
        self.noted_revision = self.next_revision;
        Ok(())
    }

    /// Forgets what is old; whether that is all of it.
    fn tidy(&self, now: Timestamp) -> Result<bool> {
        self.note("time", now)?;
        let before = |window| signed(now.saturating_sub(window));
        let forgotten = self.sql(
            "DELETE FROM seen WHERE (source, id) IN
                (SELECT source, id FROM seen WHERE accepted < ?1 LIMIT ?2)",
            params![before(self.config.duplicate_window_ms), rows(TIDY_ROWS)],
        )?;
        let mut all = forgotten < TIDY_ROWS;
        all &= self.forget_answers()? < TIDY_ANSWERS;
        if let Some(age) = self.config.dead_letter_age_ms {
            let dropped = self.sql(
                "DELETE FROM dead WHERE seq IN (SELECT seq FROM dead WHERE time < ?1 LIMIT ?2)",
                params![before(age), rows(TIDY_ROWS)],
            )?;
            all &= dropped < TIDY_ROWS;
            if dropped > 0 {
                tracing::warn!(
                    "{dropped} dead letters were older than `dead-letter-age` and are gone"
                );
            }
        }
        Ok(all)
    }

    /// Runs `work` whole or not at all, without ending the group's transaction.
    pub(super) fn atomically<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.sql("SAVEPOINT command", [])?;
        let mark = self.ahead.mark();
        match work(self) {
            Ok(value) => {
                self.sql("RELEASE command", [])?;
                Ok(value)
            }
            Err(error) => {
                self.ahead.back_to(mark);
                // Without a transaction there is no savepoint any more, and nothing to take back.
                if !self.connection.is_autocommit() {
                    self.sql("ROLLBACK TO command", [])?;
                    self.sql("RELEASE command", [])?;
                }
                Err(error)
            }
        }
    }

    /// Moves the log into the store's file, so that what is left on disk is one file.
    pub fn close(self) {
        let checkpointed = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| failed(&error));
        if let Err(error) =
            checkpointed.and(self.connection.close().map_err(|(_, error)| failed(&error)))
        {
            tracing::warn!(%error, "the store wasn't tidied up; it is at the next start");
        }
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sql(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|error| self.failed(&error))
    }

    /// Notes whether the error took the group's transaction with it.
    fn failed(&self, error: &rusqlite::Error) -> QueueError {
        let error = failed(error);
        if self.in_group && self.connection.is_autocommit() {
            self.lost.borrow_mut().get_or_insert_with(|| error.clone());
        }
        error
    }

    /// The first column of the first row.
    pub(super) fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<Option<T>> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, |row| row.get(0)).optional())
            .map_err(|error| self.failed(&error))
    }

    /// Reads numbers and records until they are as many bytes as one step has; at least one where
    /// there is one.
    pub(super) fn step(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<(i64, Vec<u8>)>> {
        let read = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut found = statement.query(values)?;
            let (mut records, mut size) = (Vec::new(), 0);
            while size < STEP_BYTES
                && let Some(row) = found.next()?
            {
                let record = bytes(row, 1)?;
                size += record.len();
                records.push((row.get(0)?, record));
            }
            Ok(records)
        };
        read().map_err(|error| self.failed(&error))
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(values, read)?.collect())
            .map_err(|error| self.failed(&error))
    }
}

/// SQLite's integers are signed; ours stay far below the half.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The bytes of a record. What isn't bytes, as the column says it is, is none, and can't be decoded.
pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.to_owned(),
        _ => Vec::new(),
    })
}

/// A name, also where it isn't text any more: one that was damaged mustn't hide the others.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    })
}

/// A number of rows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
