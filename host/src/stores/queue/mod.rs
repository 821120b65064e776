//! The embedded queue of events: SQLite, whose commits are those of groups.
//!
//! Whatever waits when a commit ends goes into the next one, so that a hundred publishers share one
//! sync of the disk, and one publisher alone waits for no other. The book says why SQLite:
//! `docs/src/internals/decisions/0001-sqlite-not-redb.md`.

mod ahead;
mod answers;
mod backup;
mod dead;
mod deliver;
mod inspect;
mod keyvalue;
mod leases;
mod operations;
/// Public so that it can be fuzzed.
#[doc(hidden)]
pub mod record;
mod schema;
mod sightings;
mod thread;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp};
use crate::ports::{
    Accept, Accepted, AnswerKey, Commitment, Count, DeadFilter, DeadLetter, Intents, KeptAnswer,
    KeyValue, Listed, Queue, QueueError, Settled, Settlement, Sighting, Taken, Totals, Value,
    Waiter,
};
use leases::Leases;
use operations::Operations;
use thread::{Command, Shared, Work};

/// The store's file, in a folder of its own.
const FILE: &str = "events.sqlite";
/// Commands that wait for the store; past that callers wait.
const WAITING: usize = 1_024;

/// A queue in a folder of its own.
#[derive(Debug)]
pub struct EmbeddedQueue {
    store: Arc<Shared>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    leases: Arc<Mutex<Leases>>,
    clock: Clock,
    dir: PathBuf,
    /// The store's file, for backups: held open, since closing it would end SQLite's locks on it.
    file: Arc<File>,
    /// One backup at a time.
    backups: tokio::sync::Mutex<()>,
    /// Held: says to other hosts that the store is in use.
    _lock: File,
}

/// How much the store holds, and for how long.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// How long a source's ids are remembered.
    pub duplicate_window_ms: u64,
    /// Deliveries of all functions together; past that sources are held back.
    pub max_events: u64,
    /// What deliveries take together, in bytes; past that sources are held back.
    pub max_bytes: u64,
    /// Dead letters of one function; a function that has as many gets no events.
    pub max_dead_letters: u64,
    /// What answers take that are remembered, in bytes; past that no request with a key is answered.
    pub max_answers: u64,
    /// Dead letters that are older go.
    pub dead_letter_age_ms: Option<u64>,
}

/// Claims a store's folder, making it where it is missing: nobody else uses it while this is held.
fn claim(dir: &Path) -> Result<File, QueueError> {
    let failed = |error: std::io::Error| QueueError::Failed {
        reason: format!("can't write folder {}: {error}", dir.display()),
    };
    crate::stores::folders::make(dir).map_err(failed)?;
    let path = dir.join("lock");
    let mut lock = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    lock.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => QueueError::InUse {
            path: dir.display().to_string(),
            process: holder(&path),
        },
        std::fs::TryLockError::Error(error) => failed(error),
    })?;
    // For the other's error alone: on a full disk the claim holds without it.
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()));
    Ok(lock)
}

/// Which process wrote its number into a lock, for errors.
fn holder(lock: &Path) -> String {
    match std::fs::read_to_string(lock) {
        Ok(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("process {id}")
        }
        _ => "another process".to_owned(),
    }
}

/// Puts a backup in the place of the store in `dir`. Returns where the one is kept that was there.
///
/// # Errors
/// Where a host uses the store, or the file isn't a whole backup: then nothing is changed.
pub fn restore(from: &Path, dir: &Path) -> Result<Option<PathBuf>, QueueError> {
    let _lock = claim(dir)?;
    backup::restore(from, dir)
}

impl EmbeddedQueue {
    /// Opens the store in `dir`, making it where it is missing.
    ///
    /// # Errors
    /// Where another host has it, it can't be read or written, or it is damaged.
    pub fn open(dir: &Path, clock: Clock, config: QueueConfig) -> Result<Self, QueueError> {
        let lock = claim(dir)?;
        let connection = schema::open(&dir.join(FILE))?;
        let file = File::open(dir.join(FILE)).map_err(|error| QueueError::Failed {
            reason: format!("can't read {}: {error}", dir.join(FILE).display()),
        })?;
        let (leases, cut_off) = Leases::open(dir)?;
        let leases = Arc::new(Mutex::new(leases));
        let mut operations =
            Operations::new(connection, Arc::clone(&leases), clock.clone(), config)?;
        operations.note_cut_off(&cut_off)?;
        let store = Arc::new(Shared::new(operations));
        let (commands, waiting) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("kinglet-store".to_owned())
            .spawn({
                let store = Arc::clone(&store);
                move || thread::serve(&store, waiting)
            })
            .map_err(|error| QueueError::Failed {
                reason: format!("can't start a thread: {error}"),
            })?;
        Ok(Self {
            store,
            commands: Some(commands),
            thread: Some(thread),
            leases,
            clock,
            dir: dir.to_owned(),
            file: Arc::new(file),
            backups: tokio::sync::Mutex::default(),
            _lock: lock,
        })
    }

    /// Makes the log as long as it gets before it is used anew. A log that is overwritten in place is cheaper
    /// to sync than one that grows, so a host does this once at its start; others commit little.
    pub async fn lengthen_log(&self) -> Result<(), QueueError> {
        let log = self.dir.join(format!("{FILE}-wal"));
        self.between(move |_| schema::lengthen_log(&log)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<T, QueueError>>) -> Command,
    ) -> Result<T, QueueError> {
        let (sender, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(QueueError::Closed)?;
        let mut command = Some(work(sender));
        // Whoever waits already goes first, and shares its sync with this.
        if commands.capacity() == WAITING
            && let Some(mine) = command.take()
        {
            command = thread::execute_at_once(&self.store, mine).err();
        }
        if let Some(command) = command {
            self.send(command).await?;
        }
        answer.await.unwrap_or(Err(QueueError::Closed))
    }

    async fn send(&self, command: Command) -> Result<(), QueueError> {
        let commands = self.commands.as_ref().ok_or(QueueError::Closed)?;
        commands.send(command).await.map_err(|_| QueueError::Closed)
    }

    /// Between two groups, on the store's own thread: for what takes long.
    async fn between<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Operations) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (sender, answer) = oneshot::channel();
        self.send(Command::Read(Work::new(work, sender))).await?;
        answer.await.unwrap_or(Err(QueueError::Closed))
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Operations) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.ask(|sender| Command::Write(Work::new(work, sender)))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Operations) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.ask(|sender| Command::Read(Work::new(work, sender)))
            .await
    }
}

impl Drop for EmbeddedQueue {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn accept(&self, events: Vec<Accept>) -> Result<Vec<Accepted>, QueueError> {
        self.write(move |store| store.accept(&events)).await
    }

    async fn take(
        &self,
        function: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Taken, QueueError> {
        let function = Arc::from(function);
        self.read(move |store| store.take(&function, limit, now))
            .await
    }

    async fn attend(&self, function: &str, waiter: Arc<dyn Waiter>) -> Result<(), QueueError> {
        let function = function.to_owned();
        self.read(move |store| {
            store.ahead.attend(function, waiter);
            Ok(())
        })
        .await
    }

    fn release(&self, seqs: &[u64]) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        for seq in seqs {
            leases.remove(*seq);
        }
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        together: bool,
    ) -> Result<Vec<Settled>, QueueError> {
        self.write(move |store| store.settle(&settlements, together))
            .await
    }

    async fn commit(&self, commitment: Commitment) -> Result<(Settled, u64), QueueError> {
        self.write(move |store| store.commit_request(&commitment))
            .await
    }

    async fn answer(&self, key: &AnswerKey) -> Result<Option<KeptAnswer>, QueueError> {
        let key = *key;
        match self.read(move |store| store.answer(&key)).await {
            // What is old goes with a commit, and where nothing is answered there is none.
            Err(QueueError::Full { .. }) => {
                self.write(|store| store.forget_answers()).await?;
                self.read(move |store| store.answer(&key)).await
            }
            answer => answer,
        }
    }

    async fn applied(&self, intent: u64, accepts: Vec<Accept>) -> Result<(), QueueError> {
        self.write(move |store| store.applied(intent, &accepts))
            .await
    }

    async fn intents(&self) -> Result<Intents, QueueError> {
        self.read(Operations::intents).await
    }

    async fn sightings(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Sighting>, QueueError> {
        let (bucket, after) = (bucket.to_owned(), after.unwrap_or_default().to_owned());
        self.read(move |store| store.sightings(&bucket, &after, limit))
            .await
    }

    async fn forget(&self, bucket: &str, keys: Vec<String>) -> Result<(), QueueError> {
        let bucket = bucket.to_owned();
        self.write(move |store| store.forget(&bucket, &keys)).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, QueueError> {
        self.between(move |store| store.counts(now)).await
    }

    async fn totals(&self) -> Result<Totals, QueueError> {
        self.read(Operations::totals).await
    }

    async fn list(
        &self,
        function: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Listed>, QueueError> {
        let function = function.to_owned();
        self.between(move |store| store.list(&function, limit, now))
            .await
    }

    async fn pause(&self, function: &str, paused: bool) -> Result<bool, QueueError> {
        let (function, since) = (function.to_owned(), paused.then(|| self.clock.now()));
        self.write(move |store| store.pause(&function, since)).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        let filter = filter.clone();
        self.between(move |store| store.dead_letters(&filter, after, limit))
            .await
    }

    async fn next_seq(&self) -> Result<u64, QueueError> {
        self.read(Operations::next_seq).await
    }

    async fn redrive(
        &self,
        filter: &DeadFilter,
        limit: usize,
        due: Timestamp,
        step_ms: u64,
    ) -> Result<BTreeMap<String, u64>, QueueError> {
        let filter = filter.clone();
        self.write(move |store| store.redrive(&filter, limit, due, step_ms))
            .await
    }

    async fn drop_dead(&self, filter: &DeadFilter, limit: usize) -> Result<u64, QueueError> {
        let filter = filter.clone();
        self.write(move |store| store.drop_dead(&filter, limit))
            .await
    }

    async fn backup(&self, to: &Path) -> Result<(), QueueError> {
        backup::check_target(to)?;
        let _alone = self.backups.lock().await;
        let begun = self.between(Operations::begin_backup).await;
        let bytes = match begun {
            Ok(bytes) => bytes,
            Err(error) => {
                self.between(Operations::end_backup).await?;
                return Err(error);
            }
        };
        let (file, to) = (Arc::clone(&self.file), to.to_owned());
        // Others use the store meanwhile.
        let copied = tokio::task::spawn_blocking(move || backup::copy(&file, bytes, &to)).await;
        self.between(Operations::end_backup).await?;
        copied.unwrap_or_else(|error| {
            Err(QueueError::Failed {
                reason: format!("the copying ended: {error}"),
            })
        })
    }
}

#[async_trait]
impl KeyValue for EmbeddedQueue {
    async fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Value>>, QueueError> {
        let (bucket, keys) = (bucket.to_owned(), keys.to_vec());
        self.read(move |store| store.get(&bucket, &keys)).await
    }

    async fn keys(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, QueueError> {
        let (bucket, after) = (bucket.to_owned(), after.map(str::to_owned));
        self.read(move |store| store.keys(&bucket, after.as_deref(), limit))
            .await
    }
}

#[cfg(test)]
mod tests;
