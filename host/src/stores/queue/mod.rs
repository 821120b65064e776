//! The embedded queue of events: SQLite, whose commits are those of groups.
//!
//! Whatever waits when a commit ends goes into the next one, so that a hundred publishers share one
//! sync of the disk, and one publisher alone waits for no other. The book says why SQLite:
//! `docs/src/internals/decisions/0001-sqlite-not-redb.md`.

mod ahead;
mod answers;
mod backup;
mod claim;
mod dead;
mod deliver;
mod followers;
mod inspect;
mod keyvalue;
mod leases;
mod operations;
mod place;
/// Public so that it can be fuzzed.
#[doc(hidden)]
pub mod record;
mod schema;
mod sightings;
mod thread;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp};
use crate::files;
use crate::ports::{
    Accept, Accepted, AnswerKey, Commitment, Count, DeadFilter, DeadLetter, Intent, Intents,
    KeptAnswer, KeyValue, Listed, Queue, QueueError, STEP, Settled, Settlement, Sighting, Taken,
    Totals, Value, Waiter,
};
use claim::Claim;
pub use claim::HostTurn;
use leases::Leases;
use operations::Operations;
use place::Place;
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
    place: Place,
    /// The store's file, for backups: held open, since closing it would end SQLite's locks on it.
    file: Arc<File>,
    /// One large step at a time: a group has no two of them, and whoever else waits is of the next
    /// group.
    turn: tokio::sync::Mutex<()>,
    /// One backup at a time.
    backups: tokio::sync::Mutex<()>,
    /// Held: says to others that the store is in use.
    _claim: Claim,
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

/// Puts a backup in the place of the store in `dir`. Returns where the one is kept that was there.
///
/// # Errors
/// Where another process uses the store, or the file isn't a whole backup: then nothing is changed.
pub fn restore(from: &Path, dir: &Path) -> Result<Option<PathBuf>, QueueError> {
    restore_for("kinglet", None, from, dir)
}

/// Restores for a command, whose name others read in their errors, or for the host that has its turn.
///
/// # Errors
/// As `restore`.
pub fn restore_for(
    command: &str,
    turn: Option<&HostTurn>,
    from: &Path,
    dir: &Path,
) -> Result<Option<PathBuf>, QueueError> {
    let _claim = Claim::take(dir, command, turn)?;
    backup::restore(from, dir)
}

impl EmbeddedQueue {
    /// Opens the store in `dir`, making it where it is missing.
    ///
    /// # Errors
    /// Where another process has it, it can't be read or written, or it is damaged.
    pub fn open(dir: &Path, clock: Clock, config: QueueConfig) -> Result<Self, QueueError> {
        Self::open_for("kinglet", None, dir, clock, config)
    }

    /// Opens the store for a command, whose name others read in their errors, or for the host that has its
    /// turn.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_for(
        command: &str,
        turn: Option<&HostTurn>,
        dir: &Path,
        clock: Clock,
        config: QueueConfig,
    ) -> Result<Self, QueueError> {
        let claim = Claim::take(dir, command, turn)?;
        let connection = schema::open(&dir.join(FILE))?;
        let file = files::open(&dir.join(FILE)).map_err(|error| QueueError::Failed {
            reason: error.to_string(),
        })?;
        let (leases, cut_off) = Leases::open(dir)?;
        let leases = Arc::new(Mutex::new(leases));
        let mut operations =
            Operations::new(connection, Arc::clone(&leases), clock.clone(), config)?;
        operations.note_cut_off(&cut_off)?;
        let place = Place::of(&dir.join(FILE));
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
            place,
            file: Arc::new(file),
            turn: tokio::sync::Mutex::default(),
            backups: tokio::sync::Mutex::default(),
            _claim: claim,
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

    /// Keeps the events of intents that have many, in steps before what decides them. Returns the
    /// number of each intent of which some are kept.
    async fn keep_followers(
        &self,
        intents: Vec<Option<&mut Intent>>,
    ) -> Result<Vec<Option<u64>>, QueueError> {
        let all = intents.iter().flatten();
        let followers: usize = all.map(|intent| intent.accepts.len()).sum();
        let mut kept = Vec::with_capacity(intents.len());
        for intent in intents {
            let many = |intent: &&mut Intent| {
                followers > STEP && !intent.accepts.is_empty() || Accept::are_many(&intent.accepts)
            };
            let Some(intent) = intent.filter(many) else {
                kept.push(None);
                continue;
            };
            let seq = intent.seq;
            // Left over from an attempt whose commit failed.
            self.drop_followers(seq).await?;
            let accepts = std::mem::take(&mut intent.accepts);
            let mut left = accepts.as_slice();
            while !left.is_empty() {
                let (step, rest) = left.split_at(Accept::step(left));
                let records: Vec<Vec<u8>> =
                    step.iter().map(record::encode).collect::<Result<_, _>>()?;
                self.write_step(move |store| store.keep_followers(seq, &records))
                    .await?;
                left = rest;
            }
            kept.push(Some(seq));
        }
        Ok(kept)
    }

    /// Drops what was kept for an intent that isn't decided.
    async fn drop_followers(&self, seq: u64) -> Result<(), QueueError> {
        while self.read(move |store| store.has_followers(seq)).await? {
            self.write_step(move |store| store.drop_followers(seq))
                .await?;
        }
        Ok(())
    }

    /// Writes one step of several. By the store's own thread: a caller that executed one after the
    /// other could keep that thread, and all who wait for it, from the store.
    async fn write_step<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Operations) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let _turn = self.turn.lock().await;
        let (sender, answer) = oneshot::channel();
        self.send(Command::Write(Work::new(work, sender))).await?;
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
        self.place.check()?;
        let accepted = self.write(move |store| store.accept(&events)).await?;
        // It is on disk, and has a name there.
        self.place.check()?;
        Ok(accepted)
    }

    async fn take(
        &self,
        function: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Taken, QueueError> {
        let function: Arc<str> = Arc::from(function);
        let mut taken = Taken::default();
        loop {
            let function = Arc::clone(&function);
            let left = limit.saturating_sub(taken.deliveries.len());
            let step = self.read(move |store| store.take(&function, left.min(STEP), now));
            let (step, more) = match step.await {
                Ok(step) => step,
                Err(error) => {
                    let seqs = taken.deliveries.iter().map(|delivery| delivery.seq);
                    self.release(&seqs.collect::<Vec<_>>());
                    return Err(error);
                }
            };
            let first = taken.deliveries.is_empty() && taken.damaged.is_empty();
            if first {
                taken = step;
            } else {
                // What holds a function from now on, or is due later, is for the next look.
                taken.deliveries.extend(step.deliveries);
                taken.damaged.extend(step.damaged);
            }
            if !more || taken.deliveries.len() >= limit {
                return Ok(taken);
            }
        }
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
        let mut settlements = settlements;
        let intents = settlements.iter_mut().map(|s| s.intent.as_mut());
        let kept = self.keep_followers(intents.collect()).await?;
        let settled = self
            .write(move |store| store.settle(&settlements, together))
            .await?;
        for (seq, settled) in kept.into_iter().zip(&settled) {
            if let (Some(seq), Settled::Conflict { .. }) = (seq, settled) {
                self.drop_followers(seq).await?;
            }
        }
        Ok(settled)
    }

    async fn commit(&self, commitment: Commitment) -> Result<(Settled, u64), QueueError> {
        let mut commitment = commitment;
        self.place.check()?;
        let mut kept = None;
        if let Some(intent) = &mut commitment.intent
            && Accept::are_many(&intent.accepts)
        {
            let wakes = intent.accepts.iter().any(Accept::wakes);
            intent.seq = self.read(move |store| store.number_for_many(wakes)).await?;
            kept = self
                .keep_followers(vec![Some(intent)])
                .await?
                .pop()
                .flatten();
        }
        // What is decided of objects is carried out, whatever became of the store meanwhile.
        let intent = commitment.intent.as_ref();
        let decided = intent.is_some_and(|intent| !intent.changes.is_empty());
        let (settled, number) = self
            .write(move |store| store.commit_request(&commitment))
            .await?;
        if let (Some(seq), Settled::Conflict { .. }) = (kept, &settled) {
            self.drop_followers(seq).await?;
        }
        if !decided {
            self.place.check()?;
        }
        Ok((settled, number))
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

    async fn applied(&self, intent: u64) -> Result<Vec<Accepted>, QueueError> {
        let mut answers = Vec::new();
        loop {
            let applied = self.write(move |store| store.applied(intent)).await?;
            if let Some(last) = applied {
                answers.extend(last);
                return Ok(answers);
            }
            let step = self.write_step(move |store| store.accept_followers(intent));
            answers.extend(step.await?);
        }
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
        let mut keys = keys;
        // A folder may have had millions of objects.
        while !keys.is_empty() {
            let bucket = bucket.clone();
            let forgetting = self.write(move |store| store.forget(&bucket, keys));
            keys = forgetting.await?;
        }
        Ok(())
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
        self.place.check()?;
        let (function, since) = (function.to_owned(), paused.then(|| self.clock.now()));
        self.write(move |store| store.pause(&function, since)).await
    }

    async fn dead_letters(
        &self,
        filter: &DeadFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, QueueError> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        let mut after = after;
        // As many as are wanted, also where some of a step can't be read.
        while letters.len() < limit {
            let (filter, left) = (filter.clone(), limit - letters.len());
            let step = self.between(move |store| store.dead_step(&filter, after, left));
            let (step, last) = step.await?;
            letters.extend(step);
            if last.is_none() {
                break;
            }
            after = last;
        }
        Ok(letters)
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
        self.place.check()?;
        let filter = filter.clone();
        self.write(move |store| store.redrive(&filter, limit, due, step_ms))
            .await
    }

    async fn drop_dead(&self, filter: &DeadFilter, limit: usize) -> Result<u64, QueueError> {
        self.place.check()?;
        let filter = filter.clone();
        self.write(move |store| store.drop_dead(&filter, limit))
            .await
    }

    fn problem(&self) -> Option<String> {
        self.place.problem()
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
