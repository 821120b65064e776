//! SQL databases of functions: a file of SQLite each, and for each connection a thread.
//!
//! A connection is a guest's, and its statements are taken to do their worst: `rules` says what they may reach, `memory`
//! bounds what they take, and `worker` their time and the size of the file; `functions` replaces those that take too long. The threads are of a lower priority, as those
//! of guests that compute for long are.

mod functions;
mod memory;
mod rows;
mod rules;
mod worker;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::OpenFlags;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::ports::{Budget, Connection, DatabaseError, Databases, Results, Share, Statement};
pub(super) use memory::count as count_memory;
use rows::Stop;
use worker::{Job, Worker};

/// Of a file that is made here; what SQLite has by default.
const PAGE_BYTES: u64 = 4_096;
/// Beside SQLite's own, what a connection's rows take on their way to the guest.
const ROWS_BYTES: u64 = 4 << 20;
/// Connections to one database at once; more wait. One whose guest is gone counts until its last step is done: what
/// guests leave behind is bounded by the databases that they were granted.
const CONNECTIONS: usize = 16;
/// For SQL that is nested as deep as `rules` allows.
const STACK_BYTES: usize = 4 << 20;
/// As guests that compute for long have it.
const NICE: i32 = 10;
/// How long a stop waits for statements that are being interrupted.
const ENDING: Duration = Duration::from_secs(10);

/// How large a database may get, and what each connection to it may take.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseLimits {
    /// Of the file, in bytes; its log may have as much again.
    pub max_bytes: u64,
    /// Of SQLite for one connection, in bytes.
    pub memory: u64,
}

/// The databases of an application, in files of a folder.
pub struct SqliteDatabases {
    files: BTreeMap<String, Arc<DatabaseFile>>,
    budget: Arc<Budget>,
    /// Each thread holds the other end.
    threads: watch::Sender<()>,
}

/// A database.
struct DatabaseFile {
    name: String,
    path: PathBuf,
    limits: DatabaseLimits,
    /// Of connections.
    permits: Arc<Semaphore>,
    /// One of the host's own, from the first use on: were the last one a guest's, its end would move the whole log into
    /// the file and remove it, for each request anew.
    keeper: Mutex<Option<rusqlite::Connection>>,
}

impl SqliteDatabases {
    /// Those of these names, in `folder`, which is made when the first is used. What connections take is `budget`'s.
    pub fn new(
        folder: &Path,
        databases: impl IntoIterator<Item = (String, DatabaseLimits)>,
        budget: Arc<Budget>,
    ) -> Self {
        let file = |(name, limits): (String, DatabaseLimits)| {
            let file = DatabaseFile {
                path: folder.join(format!("{name}.db")),
                permits: Arc::new(Semaphore::new(CONNECTIONS)),
                keeper: Mutex::default(),
                name: name.clone(),
                limits,
            };
            (name, Arc::new(file))
        };
        Self {
            files: databases.into_iter().map(file).collect(),
            budget,
            threads: watch::channel(()).0,
        }
    }

    /// Waits until the connections are closed, whose instances have ended, and moves what is in the logs into the files.
    pub async fn close(&self) {
        if tokio::time::timeout(ENDING, self.threads.closed())
            .await
            .is_err()
        {
            tracing::warn!("statements of databases are still running; they end with the host");
        }
        let files: Vec<_> = self.files.values().cloned().collect();
        let closed = tokio::task::spawn_blocking(move || {
            files.iter().for_each(|file| drop(file.lock().take()));
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "databases weren't closed");
        }
    }
}

#[async_trait]
impl Databases for SqliteDatabases {
    async fn connect(&self, name: &str) -> Result<Arc<dyn Connection>, DatabaseError> {
        let Some(file) = self.files.get(name) else {
            return Err(DatabaseError::NoSuchDatabase);
        };
        let permit = Arc::clone(&file.permits).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(worker::BUSY, permit).await else {
            return Err(DatabaseError::Statement(format!(
                "{CONNECTIONS} other connections to the database are open; try again"
            )));
        };
        let mut share = Share::none(&self.budget);
        if !share.cover(file.limits.memory.saturating_add(ROWS_BYTES)) {
            return Err(file.unavailable(
                "the instances under way have taken all that `host.memory` gives; try again later, raise it, or lower \
                 `limits.concurrency`",
            ));
        }
        let figures = Arc::<Figures>::default();
        let (jobs, waiting) = mpsc::channel();
        let (opened, opening) = oneshot::channel();
        let (own, thread_figures) = (Arc::clone(file), Arc::clone(&figures));
        let alive = self.threads.subscribe();
        let work = move || {
            lower_priority();
            let worker = Worker::open(&own, thread_figures);
            let (worker, told) = match worker {
                Ok(worker) => (Some(worker), Ok(())),
                Err(error) => (None, Err(error)),
            };
            if opened.send(told).is_ok()
                && let Some(worker) = worker
            {
                worker.serve(&waiting);
            }
            // The connection is closed by now.
            drop((share, permit));
            drop(alive);
        };
        std::thread::Builder::new()
            .name("kinglet-sqlite".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(work)
            .map_err(|error| file.unavailable(&format!("no thread for it: {error}")))?;
        let opened = opening.await;
        opened.map_err(|_| file.unavailable("the thread of the connection ended"))??;
        Ok(Arc::new(ThreadConnection {
            file: Arc::clone(file),
            jobs,
            figures,
        }))
    }
}

/// The thread's own, where the system allows it; else all share alike.
fn lower_priority() {
    if let Ok(own) = rustix::process::getpriority_process(None) {
        let _ = rustix::process::setpriority_process(None, own + NICE);
    }
}

impl DatabaseFile {
    fn unavailable(&self, reason: &str) -> DatabaseError {
        DatabaseError::Unavailable {
            name: self.name.clone(),
            reason: reason.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<rusqlite::Connection>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its log.
    fn log(&self) -> PathBuf {
        self.path.with_extension("db-wal")
    }

    /// Opens it, with the host's own connection where there is none yet.
    fn open(&self) -> Result<rusqlite::Connection, DatabaseError> {
        if !memory::count() {
            return Err(self.unavailable("the memory that SQLite takes can't be counted"));
        }
        let mut keeper = self.lock();
        if keeper.is_none() {
            *keeper = Some(self.make().map_err(|error| self.unavailable(&error))?);
        }
        drop(keeper);
        memory::bound_this_thread(self.limits.memory);
        self.connect()
            .map_err(|error| self.unavailable(&error.to_string()))
    }

    /// Opens the file, which is made where it is missing; its name is on disk before anything is in it.
    fn make(&self) -> Result<rusqlite::Connection, String> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let made = || -> io::Result<()> {
            crate::stores::folders::make(folder)?;
            std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
        };
        made().map_err(|error| format!("can't make folder {}: {error}", folder.display()))?;
        let connection = self.connect().map_err(|error| error.to_string())?;
        // SQLite syncs the folder of a new log as well, and takes a sync that failed for a good one.
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| format!("can't sync folder {}: {error}", folder.display()))?;
        Ok(connection)
    }

    fn connect(&self) -> rusqlite::Result<rusqlite::Connection> {
        // Without URIs, which this build of SQLite takes all the same where they begin as such: a path doesn't.
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(worker::BUSY)?;
        // Readers and a writer at once, and one sync for a commit.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Whoever was told that a transaction is committed may tell others, and it has to be true after a loss of power
        // as well, as all that the host accepts. NORMAL would sync the log only when it is moved into the file.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", 16_i64 << 20)?;
        // No files but its own, and so none that could fill a disk: what is sorted is in memory, which is bounded.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "cache_size", -2_048)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        let page: u64 = connection
            .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
            .map(|bytes| u64::try_from(bytes).unwrap_or(PAGE_BYTES))?;
        let pages = self.limits.max_bytes / page.max(1);
        let pages = i64::try_from(pages).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        rules::limit(&connection)?;
        functions::add(&connection)?;
        Ok(connection)
    }

    /// Moves what is in the log into the file, as far as nobody reads it.
    fn empty_log(&self) {
        if let Some(keeper) = self.lock().as_ref() {
            let moved = keeper.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            let moved: rusqlite::Result<i64> = moved;
            if let Err(error) = moved {
                tracing::warn!(%error, database = self.name, "a log can't be moved into its file");
            }
        }
    }
}

/// What a connection tells of its last statements.
#[derive(Default)]
struct Figures {
    last_insert_rowid: AtomicI64,
    changes: AtomicU64,
}

/// A connection, whose thread ends when this is dropped and it has done what was asked of it.
struct ThreadConnection {
    file: Arc<DatabaseFile>,
    jobs: mpsc::Sender<Job>,
    figures: Arc<Figures>,
}

#[async_trait]
impl Connection for ThreadConnection {
    async fn execute(&self, statement: Statement) -> Result<Results, DatabaseError> {
        let gone = || self.file.unavailable("the thread of the connection ended");
        let stop = Stop::default();
        let mut dropped = stop.on_drop();
        let (answer, answered) = oneshot::channel();
        let job = Job {
            statement,
            stop: stop.clone(),
            answer,
        };
        self.jobs.send(job).map_err(|_| gone())?;
        let begun = answered.await.map_err(|_| gone());
        dropped.disarm();
        begun?
    }

    fn last_insert_rowid(&self) -> i64 {
        self.figures.last_insert_rowid.load(Ordering::Relaxed)
    }

    fn changes(&self) -> u64 {
        self.figures.changes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
