//! Puts the rooms together: a manifest becomes stores, an engine, delivery, and what feeds it.

mod machine;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::capabilities::{Buckets, Fetcher, Outgoing, Reach};
use crate::clock::{Clock, millis};
use crate::config::{
    ByteSize, COMPILER, Function, INSTANCE, Manifest, QueueLimits, STATE_FOLDER, Sns, Source,
};
use crate::control::{Control, ControlError, Restore};
use crate::engine::{Cache, CompileLimits, Engine, EngineConfig, LoadError, LoadedFunction, Notes};
use crate::events::{Events, EventsConfig, Stop, stopped};
use crate::files::{self, FileError};
use crate::ports::{
    Bucket, Budget, Effects, Journal, KeyValue, ObjectError, Queue, QueueError, StagingRoom,
};
use crate::stores::journal::FileJournal;
use crate::stores::objects::FolderBucket;
use crate::stores::queue::{EmbeddedQueue, HostTurn, QueueConfig};
use crate::triggers::http::{self, HttpTrigger, ListenError};
use crate::triggers::{WatchError, objects::ObjectTrigger, schedule::ScheduleTrigger};

/// How an application fails to start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppError {
    /// The store of events.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A bucket.
    #[error(transparent)]
    Bucket(#[from] ObjectError),
    /// Two buckets in one folder: an object would be in both, and wake what wrote it.
    #[error(
        "buckets {one:?} and {other:?} share folder {path} or lie one in the other; give each a `path` of \
         its own"
    )]
    Nested {
        /// A bucket's name.
        one: String,
        /// The other's.
        other: String,
        /// The folder of the one.
        path: String,
    },
    /// A bucket in the host's own folder, or around it.
    #[error(
        "bucket {bucket:?}: {path} is, contains or lies in {state}, the host's own folder; give the bucket a \
         `path` beside it"
    )]
    OwnFolder {
        /// The bucket's name.
        bucket: String,
        /// Its folder.
        path: String,
        /// The host's.
        state: String,
    },
    /// A folder that isn't the bucket that it was.
    #[error(
        "bucket {bucket:?}: {path} was the bucket's folder and isn't by now: its mark is missing. Mount the \
         disk, or put the folder back; if it is to be the bucket from now on, as it is, remove {marked}"
    )]
    NotTheBucket {
        /// The bucket's name.
        bucket: String,
        /// The folder.
        path: String,
        /// Where it is noted.
        marked: String,
    },
    /// The folder for logs.
    #[error("can't write logs to {path}: {reason}; make the folder writable")]
    Journal {
        /// The folder.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A schedule without a time to come.
    #[error("function {function:?}: {reason}")]
    Schedule {
        /// The function's name.
        function: String,
        /// The problem with it.
        reason: String,
    },
    /// A component that can't serve its function.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A folder that can't be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The port for requests.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Where an application keeps its state.
pub fn state_dir(manifest: &Manifest) -> PathBuf {
    manifest.root.join(STATE_FOLDER)
}

/// Where an application's logs are.
pub fn journal_dir(manifest: &Manifest) -> PathBuf {
    state_dir(manifest).join("logs")
}

/// What tells this application's staged objects from others': made once, and kept with its state.
fn owner(state: &Path, clock: &Clock) -> Result<String, AppError> {
    let path = state.join("id");
    let make = || {
        make_id(&path, clock).map_err(|error| QueueError::Failed {
            reason: format!(
                "can't keep the application's id in {}: {error}; make its folder writable",
                path.display()
            ),
        })
    };
    match files::read_text(&path, files::SMALL) {
        Ok(id) if !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
            Ok(id)
        }
        Ok(_) | Err(FileError::NotText { .. }) => Ok(make()?),
        Err(error) if error.is_absent() => Ok(make()?),
        Err(error) => Err(QueueError::Failed {
            reason: format!("{error}, which is to hold the application's id; or remove it"),
        }
        .into()),
    }
}

fn make_id(path: &Path, clock: &Clock) -> std::io::Result<String> {
    use std::io::Write;
    let id = clock.new_id();
    let mut file = files::create(path)?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    // Its name as well: another id wouldn't find what was staged under this one.
    if let Some(state) = path.parent() {
        files::open_folder(state)?.sync_all()?;
    }
    Ok(id)
}

fn queue_config(limits: &QueueLimits) -> QueueConfig {
    QueueConfig {
        duplicate_window_ms: millis(limits.duplicate_window.0),
        max_events: limits.max_events,
        max_bytes: limits.max_bytes.0,
        max_dead_letters: limits.max_dead_letters,
        max_answers: limits.max_answers.0,
        dead_letter_age_ms: limits.dead_letter_age.map(|age| millis(age.0)),
    }
}

/// The folders that bear the mark of this application's buckets, as the manifest named them: by bucket.
type Marked = BTreeMap<String, PathBuf>;

/// Refuses a folder that was this application's bucket and bears its mark no more: the disk isn't mounted, or
/// somebody emptied it. Taken for the bucket, it would say that every object that waits was deleted.
fn check_mark(
    name: &str,
    manifest: &Manifest,
    owner: &str,
    marked: &Marked,
) -> Result<(), AppError> {
    let path = manifest.bucket_path(name);
    let was_here = marked
        .get(name)
        .is_some_and(|marked| *marked == manifest.bucket_folder(name));
    if !was_here || FolderBucket::is_marked(&path, owner) {
        return Ok(());
    }
    Err(AppError::NotTheBucket {
        bucket: name.to_owned(),
        path: path.display().to_string(),
        marked: marked_path(&state_dir(manifest)).display().to_string(),
    })
}

fn marked_path(state: &Path) -> PathBuf {
    state.join("buckets.json")
}

fn read_marked(state: &Path) -> Result<Marked, AppError> {
    let path = marked_path(state);
    let failed = |reason: String| QueueError::Failed {
        reason: format!(
            "can't read {}: {reason}; correct it, or remove it",
            path.display()
        ),
    };
    match files::read(&path, files::TEXT) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(error.to_string()).into()),
        Err(error) if error.is_absent() => Ok(Marked::new()),
        Err(error) => Err(QueueError::Failed {
            reason: format!("{error}, or remove it"),
        }
        .into()),
    }
}

/// Marks the folders, and notes which they are. The mark is on disk before the note.
fn note_marked(state: &Path, noted: &Marked, opened: &OpenBuckets) -> Result<(), AppError> {
    let mut marked = Marked::new();
    for Opened { bucket, given, .. } in opened.folders.values() {
        if noted.get(bucket.name()) != Some(given) {
            bucket.mark()?;
        }
        marked.insert(bucket.name().to_owned(), given.clone());
    }
    if marked == *noted {
        return Ok(());
    }
    let path = marked_path(state);
    let new = path.with_extension("json.new");
    let write = || -> std::io::Result<()> {
        let mut file = files::create(&new)?;
        serde_json::to_writer_pretty(&mut file, &marked)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(|error| {
        let reason = format!("can't write {}: {error}", path.display());
        QueueError::Failed { reason }.into()
    })
}

/// A bucket's folder.
struct Opened {
    bucket: FolderBucket,
    /// As the manifest names it.
    given: PathBuf,
}

/// The buckets of a manifest, with their folders.
pub struct OpenBuckets {
    /// By name.
    pub buckets: Buckets,
    folders: HashMap<String, Opened>,
}

/// Opens every bucket of the manifest; what is staged in them is `owner`'s.
///
/// # Errors
/// Where a folder can't be made, read or written.
pub fn open_buckets(
    manifest: &Manifest,
    owner: &str,
    clock: &Clock,
) -> Result<OpenBuckets, AppError> {
    let mut buckets: HashMap<String, Arc<dyn Bucket>> = HashMap::new();
    let mut folders: HashMap<String, Opened> = HashMap::new();
    let root = manifest.root.canonicalize();
    let state = root.map_or_else(|_| state_dir(manifest), |root| root.join(STATE_FOLDER));
    // Where it is a link, what it leads to.
    let state = [state.canonicalize().ok(), Some(state)];
    for name in manifest.buckets.keys() {
        let given = manifest.bucket_folder(name);
        // Before anything is made there.
        if let Ok(path) = manifest.bucket_path(name).canonicalize()
            && let Some(state) = state.iter().flatten().find(|state| overlap(&path, state))
        {
            return Err(AppError::OwnFolder {
                bucket: name.clone(),
                path: path.display().to_string(),
                state: state.display().to_string(),
            });
        }
        let bucket = FolderBucket::open(name, &manifest.bucket_path(name), owner, clock.clone())?;
        for (other, opened) in &folders {
            let (path, folder) = (bucket.path(), opened.bucket.path());
            if overlap(path, folder) {
                return Err(AppError::Nested {
                    one: name.clone(),
                    other: other.clone(),
                    path: path.display().to_string(),
                });
            }
        }
        buckets.insert(name.clone(), Arc::new(bucket.clone()));
        folders.insert(name.clone(), Opened { bucket, given });
    }
    Ok(OpenBuckets {
        buckets: Arc::new(buckets),
        folders,
    })
}

/// Returns whether one folder is the other, or lies in it.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// An application whose store this process has.
pub struct App {
    events: Arc<Events>,
    buckets: OpenBuckets,
    queue: Arc<EmbeddedQueue>,
    staging: Arc<StagingRoom>,
    budget: Arc<Budget>,
    state: PathBuf,
}

impl App {
    /// Opens the application's stores, and finishes what an ended host had decided.
    ///
    /// # Errors
    /// Where another host runs it, or its folders can't be used.
    pub async fn open(manifest: Arc<Manifest>, clock: Clock) -> Result<Self, AppError> {
        Self::open_for("kinglet", None, manifest, clock).await
    }

    /// Opens the application's stores for a command, whose name others read in their errors, or for the host
    /// that has its turn.
    ///
    /// # Errors
    /// As `open`.
    pub async fn open_for(
        command: &str,
        turn: Option<&HostTurn>,
        manifest: Arc<Manifest>,
        clock: Clock,
    ) -> Result<Self, AppError> {
        let state = state_dir(&manifest);
        let config = queue_config(&manifest.queue);
        let queue = EmbeddedQueue::open_for(command, turn, &state, clock.clone(), config)?;
        let queue = Arc::new(queue);
        let logs = journal_dir(&manifest);
        let journal = FileJournal::open(&logs).map_err(|error| AppError::Journal {
            path: logs.display().to_string(),
            reason: error.to_string(),
        })?;
        let owner = owner(&state, &clock)?;
        let marked = read_marked(&state)?;
        for name in manifest.buckets.keys() {
            check_mark(name, &manifest, &owner, &marked)?;
        }
        let buckets = open_buckets(&manifest, &owner, &clock)?;
        note_marked(&state, &marked, &buckets)?;
        let staging = staging_room(&manifest);
        let budget = budget(&manifest);
        let events = Arc::new(Events::new(EventsConfig {
            staging: Arc::clone(&staging),
            budget: Arc::clone(&budget),
            manifest,
            queue: Arc::clone(&queue) as Arc<dyn Queue>,
            buckets: Arc::clone(&buckets.buckets),
            journal: Arc::new(journal),
            clock,
        }));
        events.recover().await?;
        Ok(Self {
            events,
            buckets,
            queue,
            staging,
            budget,
            state,
        })
    }

    /// Delivery.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Refuses a schedule that is new and whose times are all past. One that came before may have
    /// ended since, and holds up no start.
    ///
    /// # Errors
    /// Fails where there is such a schedule, or the store can't be read.
    pub async fn check_schedules(&self) -> Result<(), AppError> {
        let now = self.events.clock().now();
        for function in &self.events.manifest().functions {
            let Source::Schedule(schedule) = function.on.source() else {
                continue;
            };
            if !function.on.upcoming(now).is_empty() {
                continue;
            }
            let last = self.events.last_time(&function.name, schedule).await?;
            if last.is_none() {
                return Err(AppError::Schedule {
                    function: function.name.clone(),
                    reason: schedule.is_over(),
                });
            }
        }
        Ok(())
    }

    /// Loads every function.
    ///
    /// # Errors
    /// Where a component can't be read or can't serve its function.
    pub fn load(&self, cache: Cache) -> Result<Engine, AppError> {
        let manifest = self.events.manifest();
        let mut engine = new_engine(
            manifest,
            cache,
            Arc::clone(self.events.journal()),
            self.events.clock().clone(),
            Rooms {
                staging: Arc::clone(&self.staging),
                budget: Arc::clone(&self.budget),
            },
            Some(Arc::clone(&self.events) as Arc<dyn Effects>),
        )?;
        let keyvalue: Arc<dyn KeyValue> = Arc::clone(&self.queue) as _;
        let mut notes = engine.notes(&manifest.root);
        for function in &manifest.functions {
            load_function(
                &mut engine,
                manifest,
                function,
                &self.buckets.buckets,
                &keyvalue,
                Some(&mut notes),
            )?;
        }
        engine.keep(notes);
        Ok(engine)
    }

    /// Answers the control socket from now on: what commands ask needs no function.
    ///
    /// # Errors
    /// Where the socket can't be made.
    pub fn listen(&self) -> Result<Listening, AppError> {
        let (restores, restore) = mpsc::channel(1);
        let control = Control::listen(&self.state, Arc::clone(&self.events), restores)?;
        let (stopper, stop) = watch::channel(false);
        Ok(Listening {
            served: tokio::spawn(control.serve(stop)),
            stopper,
            restore,
        })
    }

    /// Listens for requests, where a function answers them or events are posted, at `address` or the manifest's.
    ///
    /// # Errors
    /// Where the address can't be listened at.
    pub async fn listen_http(
        &self,
        address: Option<SocketAddr>,
    ) -> Result<Option<HttpTrigger>, AppError> {
        let manifest = self.events.manifest();
        let mut functions = manifest.functions.iter();
        if !functions.any(|function| matches!(function.on.source(), Source::Http(_)))
            && manifest.ingresses.is_empty()
        {
            return Ok(None);
        }
        let address = address.unwrap_or(manifest.http.listen);
        let fetch = Arc::new(fetcher(manifest));
        Ok(Some(
            HttpTrigger::listen(&self.events, address, fetch).await?,
        ))
    }

    /// Runs until told to stop, or to restore a backup, which is returned: watches buckets and delivers. Calls
    /// `ready` once all is watched. The control socket is answered until what runs is finished.
    ///
    /// # Errors
    /// Where a folder can't be watched.
    pub async fn up(
        &self,
        engine: Engine,
        listening: Listening,
        http: Option<HttpTrigger>,
        mut stop: Stop,
        ready: impl FnOnce(),
    ) -> Result<Option<Restore>, AppError> {
        let Listening {
            served,
            stopper: end_control,
            mut restore,
        } = listening;
        let (stopper, own_stop) = watch::channel(false);
        let ended = tokio::spawn(async move {
            let restore = tokio::select! {
                () = stopped(&mut stop) => None,
                restore = restore.recv() => restore,
            };
            let _ = stopper.send(true);
            restore
        });
        let delivered = self.deliver(engine, http, own_stop, ready).await;
        let _ = end_control.send(true);
        // It ends by itself, with the answers that are under way.
        let _ = served.await;
        if delivered.is_err() {
            ended.abort();
        }
        delivered?;
        Ok(ended.await.unwrap_or(None))
    }

    async fn deliver(
        &self,
        engine: Engine,
        http: Option<HttpTrigger>,
        stop: Stop,
        ready: impl FnOnce(),
    ) -> Result<(), AppError> {
        let engine = Arc::new(engine);
        let mut tasks = JoinSet::new();
        for name in self.events.manifest().watched_buckets() {
            if let (Some(bucket), Some(folder)) = (
                self.buckets.buckets.get(name),
                self.buckets.folders.get(name),
            ) {
                let (events, bucket) = (Arc::clone(&self.events), Arc::clone(bucket));
                let trigger = ObjectTrigger::new(events, bucket, folder.bucket.path())?;
                tasks.spawn(trigger.run(stop.clone()));
            }
        }
        for function in &self.events.manifest().functions {
            if let Source::Schedule(schedule) = function.on.source() {
                let trigger = ScheduleTrigger::new(
                    Arc::clone(&self.events),
                    function.name.clone(),
                    schedule.clone(),
                    function.on.time_zone.clone().unwrap_or_default(),
                    function.on.missed.unwrap_or_default(),
                );
                tasks.spawn(trigger.run(stop.clone()));
            }
        }
        tasks.spawn(Arc::clone(&self.events).watch_quotas(stop.clone()));
        tasks.spawn(Arc::clone(&self.events).watch_health(stop.clone()));
        // What an ended host had decided has its buckets before what requests decide.
        if let Some(finishing) = self.events.finish(stop.clone()).await {
            tasks.spawn(finishing);
        }
        if let Some(http) = http {
            tasks.spawn(http.serve(Arc::clone(&engine), stop.clone()));
        }
        ready();
        let (warm, stopped) = (Arc::clone(&engine), stop.clone());
        tasks.spawn(async move { warm.warm_up(|| *stopped.borrow()).await });
        let queue = Arc::clone(&self.queue);
        tasks.spawn(async move {
            // Without it commits take longer, and no more.
            if let Err(error) = queue.lengthen_log().await {
                tracing::warn!(%error, "commits are slower");
            }
        });
        Arc::clone(&self.events).deliver(engine, stop, None).await;
        while tasks.join_next().await.is_some() {}
        self.events.requests_committed().await;
        Ok(())
    }
}

/// The control socket, answered beside whatever its application does.
pub struct Listening {
    served: JoinHandle<()>,
    stopper: watch::Sender<bool>,
    restore: mpsc::Receiver<Restore>,
}

/// Room for what all the manifest's functions stage together.
fn staging_room(manifest: &Manifest) -> Arc<StagingRoom> {
    Arc::new(StagingRoom::new(manifest.queue.max_staging.0))
}

/// The memory that the manifest's functions have together: where it doesn't say, half of what this process may have,
/// and never less than its largest function.
fn budget(manifest: &Manifest) -> Arc<Budget> {
    let bytes = manifest.host.memory.map_or_else(
        || {
            let limits = manifest.functions.iter().map(|f| f.limits.memory.0);
            (machine::memory() / 2).max(limits.max().unwrap_or(0).saturating_add(INSTANCE.0))
        },
        |memory| memory.0,
    );
    Arc::new(Budget::new(bytes))
}

/// How far compiling may go: where the manifest doesn't say, it leaves the machine half of its memory.
fn compile_limits(manifest: &Manifest) -> CompileLimits {
    const MEMORY: u64 = 2 << 30;
    let memory = || ByteSize(MEMORY.min(machine::memory() / 2).max(COMPILER.0));
    CompileLimits {
        timeout: manifest.compile.timeout,
        memory: manifest.compile.memory.unwrap_or_else(memory),
    }
}

/// What instances share.
pub struct Rooms {
    /// For what they stage.
    pub staging: Arc<StagingRoom>,
    /// For their memory.
    pub budget: Arc<Budget>,
}

impl Rooms {
    /// As a manifest says.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            staging: staging_room(manifest),
            budget: budget(manifest),
        }
    }
}

/// An engine with room for all the manifest's functions at once.
///
/// # Errors
/// Where the system can't give the address space for it.
pub fn new_engine(
    manifest: &Manifest,
    cache: Cache,
    journal: Arc<dyn Journal>,
    clock: Clock,
    Rooms { staging, budget }: Rooms,
    effects: Option<Arc<dyn Effects>>,
) -> Result<Engine, AppError> {
    let wanted: usize = manifest.functions.iter().map(Function::concurrency).sum();
    let instances = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, 10_000);
    let functions = u32::try_from(manifest.functions.len()).unwrap_or(u32::MAX);
    Ok(Engine::new(EngineConfig {
        instances: instances.saturating_add(Engine::ready_for(functions)),
        cache,
        compile: compile_limits(manifest),
        journal,
        clock,
        staging,
        budget,
        effects,
    })?)
}

/// What sends a function's requests, where it may send any.
fn outgoing(function: &Function) -> Option<Arc<Outgoing>> {
    let granted = &function.grants.http;
    let outgoing = || Arc::new(Outgoing::new(granted, function.limits.requests));
    (!granted.is_empty()).then(outgoing)
}

/// What confirms subscriptions, where the manifest has any.
fn fetcher(manifest: &Manifest) -> Fetcher {
    let sns = manifest
        .ingresses
        .iter()
        .filter_map(|ingress| ingress.sns.as_ref());
    Fetcher::new(sns.flat_map(Sns::destinations).collect())
}

/// Reads the files that the manifest names for its requests.
///
/// # Errors
/// Where one can't be used.
pub fn check_http_files(manifest: &Manifest) -> Result<(), AppError> {
    Ok(http::check_files(manifest)?)
}

/// Loads one function of the manifest.
///
/// # Errors
/// Where its component can't be read or can't serve it.
pub fn load_function(
    engine: &mut Engine,
    manifest: &Manifest,
    function: &Function,
    buckets: &Buckets,
    keyvalue: &Arc<dyn KeyValue>,
    notes: Option<&mut Notes>,
) -> Result<Arc<LoadedFunction>, AppError> {
    let path = manifest.root.join(&function.component);
    let reach = Reach {
        buckets: Arc::clone(buckets),
        keyvalue: Arc::clone(keyvalue),
        grants: Arc::new(function.grants.clone()),
        config: Arc::new(function.config.clone()),
        environment: Arc::new(function.environment.clone()),
        outgoing: outgoing(function),
    };
    Ok(engine.load(function, &path, reach, notes)?)
}
