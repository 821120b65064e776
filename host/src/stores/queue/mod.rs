//! The embedded queue of events: SQLite, written by one thread that commits in groups.
//!
//! Whatever waits when a commit ends goes into the next one, so that a hundred publishers share one
//! sync of the disk, and one publisher alone waits for no other. `ARCHITECTURE.md` says why SQLite.

mod operations;
mod record;
mod schema;
mod thread;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp};
use crate::ports::{
    Accept, Accepted, Count, DeadLetter, Intent, Queue, QueueError, Settlement, Sighting, Taken,
};
use operations::Operations;
use thread::{Command, Work};

/// Commands that wait for the store; past that callers wait.
const WAITING: usize = 1_024;

/// A queue in a folder of its own.
#[derive(Debug)]
pub struct EmbeddedQueue {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    leases: Leases,
    /// Held: says to other hosts that the store is in use.
    _lock: File,
}

/// The deliveries that are being handled.
pub(super) type Leases = Arc<Mutex<HashSet<u64>>>;

impl EmbeddedQueue {
    /// Opens the store in `dir`, making it where it is missing.
    ///
    /// # Errors
    /// Where another host has it, it can't be read or written, or it is damaged.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, QueueError> {
        let failed = |error: std::io::Error| QueueError::Failed {
            reason: format!("can't write folder {}: {error}", dir.display()),
        };
        crate::stores::folders::make(dir).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => QueueError::InUse {
                path: dir.display().to_string(),
            },
            std::fs::TryLockError::Error(error) => failed(error),
        })?;
        let leases = Leases::default();
        let connection = schema::open(&dir.join("events.sqlite"))?;
        let operations = Operations::new(connection, Arc::clone(&leases), clock)?;
        let (commands, waiting) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("kinglet-store".to_owned())
            .spawn(move || thread::serve(operations, waiting))
            .map_err(failed)?;
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
            leases,
            _lock: lock,
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<T, QueueError>>) -> Command,
    ) -> Result<T, QueueError> {
        let (sender, answer) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or(QueueError::Closed)?;
        commands
            .send(work(sender))
            .await
            .map_err(|_| QueueError::Closed)?;
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
        let function = function.to_owned();
        self.read(move |store| store.take(&function, limit, now))
            .await
    }

    fn release(&self, seqs: &[u64]) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        for seq in seqs {
            leases.remove(seq);
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), QueueError> {
        let seqs: Vec<u64> = settlements.iter().map(|s| s.delivery.seq).collect();
        self.write(move |store| store.settle(settlements)).await?;
        self.release(&seqs);
        Ok(())
    }

    async fn applied(&self, intent: u64, accepts: Vec<Accept>) -> Result<(), QueueError> {
        self.write(move |store| store.applied(intent, &accepts))
            .await
    }

    async fn intents(&self) -> Result<Vec<Intent>, QueueError> {
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

    async fn counts(&self) -> Result<Vec<Count>, QueueError> {
        self.read(Operations::counts).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.read(move |store| store.dead_letters(limit)).await
    }
}

#[cfg(test)]
mod tests;
