//! Objects that appear in a folder.
//!
//! What the system says about files is only a hint where to look. The truth is what a look at the
//! folder finds: a version that wasn't accepted before becomes an event. So a lost hint loses nothing,
//! and the same upload hinted at five times is one event.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use thiserror::Error;
use tokio::sync::mpsc;

use super::watch::{FolderWatch, WatchError};
use crate::clock::{Stopwatch, millis};
use crate::events::{Events, Stop, stopped};
use crate::ports::{Bucket, Level, ObjectError, ObjectInfo, QueueError, STEP};

/// A file without a word of who writes it counts as whole once it stood still for so long.
const QUIET_MS: u64 = 2_000;
/// A look at the whole folder, whatever hints came: network file systems give none.
const RESCAN: Duration = Duration::from_secs(60);
/// Hints that wait; past that a look at the whole folder takes their place.
const HINTS: usize = 4_096;
/// How many objects are accepted in one step.
const PAGE: usize = STEP;
/// Hints are put together for so long before they are looked at.
const GATHER: Duration = Duration::from_millis(2);
/// How many problems are remembered as said.
const MAX_SAID: usize = 10_000;
/// How long to wait before a bucket or a store that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How one look at the folder fails.
#[derive(Debug, Error)]
enum LookError {
    #[error(transparent)]
    Bucket(#[from] ObjectError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What a hint says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    /// A file was closed by its writer, or moved in: it is whole.
    Whole(String),
    /// A folder appeared, with whatever is in it already.
    Folder(String),
    /// A link, or what isn't a file.
    Link(String),
    /// Something is gone.
    Gone(String),
    /// Anything may have happened.
    Everything,
}

/// Watches one bucket in a folder.
pub struct ObjectTrigger {
    events: Arc<Events>,
    bucket: Arc<dyn Bucket>,
    hints: mpsc::Receiver<Hint>,
    overflow: Arc<std::sync::atomic::AtomicBool>,
    /// Said once each, not at every look.
    said: HashSet<String>,
    /// Accepted objects that the last look at the whole folder didn't find.
    missing: HashSet<String>,
    watch: Arc<Mutex<FolderWatch>>,
    /// The time that an object must stand still, where its bucket says so.
    settle: Option<Duration>,
    /// When the writers of objects that still have to stand still closed them last.
    closed: HashMap<String, Stopwatch>,
}

impl ObjectTrigger {
    /// Starts watching `path`, the folder of `bucket`. Hints gather until `run`.
    ///
    /// # Errors
    /// Where the system can't watch the folder.
    pub fn new(
        events: Arc<Events>,
        bucket: Arc<dyn Bucket>,
        path: &Path,
    ) -> Result<Self, WatchError> {
        let (sender, hints) = mpsc::channel(HINTS);
        let overflow = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (root, overflowed) = (path.to_owned(), Arc::clone(&overflow));
        let mut watch = FolderWatch::new(path, move |event| {
            for hint in hints_of(event, &root) {
                if sender.try_send(hint).is_err() {
                    overflowed.store(true, std::sync::atomic::Ordering::Release);
                }
            }
        })?;
        // What is wrong below the root, the first look says.
        watch.watch_below("")?;
        let settle = events.manifest().buckets.get(bucket.name());
        let settle = settle.and_then(|bucket| bucket.settle);
        Ok(Self {
            settle: settle
                .map(|settle| settle.0)
                .filter(|settle| !settle.is_zero()),
            closed: HashMap::new(),
            events,
            bucket,
            hints,
            overflow,
            said: HashSet::new(),
            missing: HashSet::new(),
            watch: Arc::new(Mutex::new(watch)),
        })
    }

    /// Accepts objects until told to stop: first those that are there, then each as it comes.
    pub async fn run(mut self, mut stop: Stop) {
        let mut work = BTreeSet::from([Hint::Everything]);
        // Kept from turn to turn: hints that come meanwhile must not put off the look that is due.
        let mut next_look = Box::pin(tokio::time::sleep(RESCAN));
        let mut soon = false;
        // Said once, not at every look.
        let mut full = false;
        let mut failure = None;
        loop {
            if !work.is_empty() {
                let later = match self.look(std::mem::take(&mut work)).await {
                    Ok(unsettled) => {
                        full = false;
                        failure = None;
                        unsettled
                    }
                    Err(LookError::Queue(QueueError::Closed)) => return,
                    Err(
                        error @ LookError::Queue(QueueError::Full { .. } | QueueError::Lost { .. }),
                    ) => {
                        if !full {
                            self.say(
                                Level::Warn,
                                format!("objects wait in their folder: {error}"),
                            );
                        }
                        full = true;
                        Some(PAUSE)
                    }
                    Err(error) => {
                        let text = error.to_string();
                        // A folder that was taken away, `watch_health` says.
                        let taken_away = self.bucket.check().await.is_err();
                        if !taken_away && failure.as_ref() != Some(&text) {
                            self.say(Level::Error, format!("looking for objects failed: {text}"));
                        }
                        failure = Some(text);
                        Some(PAUSE)
                    }
                };
                if let Some(later) = later
                    && !soon
                {
                    next_look = Box::pin(tokio::time::sleep(later));
                    soon = true;
                }
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = &mut next_look => {
                    work.insert(Hint::Everything);
                    next_look = Box::pin(tokio::time::sleep(RESCAN));
                    soon = false;
                }
                hint = self.hints.recv() => {
                    let Some(hint) = hint else { return };
                    work.insert(hint);
                    // A burst is looked at as one, so that a thousand files take a few commits.
                    tokio::time::sleep(GATHER).await;
                    while let Ok(hint) = self.hints.try_recv() {
                        work.insert(hint);
                    }
                }
            }
            if self
                .overflow
                .swap(false, std::sync::atomic::Ordering::AcqRel)
            {
                work.insert(Hint::Everything);
            }
        }
    }

    /// Looks where the hints say. Returns when to look again, where a file may still be written.
    async fn look(&mut self, hints: BTreeSet<Hint>) -> Result<Option<Duration>, LookError> {
        let mut unsettled = None;
        self.note_closed(&hints);
        for hint in &hints {
            match hint {
                Hint::Everything => {
                    self.watch_below("").await;
                    unsettled = self.look_below("", &hints).await?.or(unsettled);
                    self.forget_missing().await?;
                }
                Hint::Folder(prefix) => {
                    self.watch_below(prefix).await;
                    unsettled = self.look_below(prefix, &hints).await?.or(unsettled);
                }
                // What a link leads to, and what is wrong with it, a list tells.
                Hint::Link(prefix) => {
                    unsettled = self.look_below(prefix, &hints).await?.or(unsettled);
                }
                Hint::Whole(_) | Hint::Gone(_) => {}
            }
        }
        Ok(self.look_at(&hints).await?.or(unsettled))
    }

    /// Looks at the files that hints name.
    async fn look_at(&mut self, hints: &BTreeSet<Hint>) -> Result<Option<Duration>, LookError> {
        let mut whole = Vec::new();
        let mut gone = Vec::new();
        let mut odd = Vec::new();
        let mut unsettled = None;
        let still = self.events.hold(self.bucket.name()).await?;
        for hint in hints {
            match hint {
                Hint::Everything | Hint::Folder(_) | Hint::Link(_) => {}
                Hint::Whole(key) if self.is_unfinished(key) => {}
                // What is gone by a hint may be back by now: only a look tells.
                Hint::Whole(key) | Hint::Gone(key) => match self.bucket.head(key).await {
                    Ok(object) => {
                        let closed = matches!(hint, Hint::Whole(_));
                        match self.moves_for(&object, closed) {
                            None => whole.push(object),
                            Some(more) => unsettled = sooner(unsettled, more),
                        }
                    }
                    Err(ObjectError::NotFound { .. }) => {
                        let below = format!("{key}/");
                        let left = self.bucket.list(&below, None, 1).await?.objects;
                        if left.is_empty() {
                            gone.extend([key.clone(), below]);
                        }
                    }
                    // A name that can't be a key: a look at its folder says so.
                    Err(ObjectError::Invalid(_)) => {
                        odd.push(key.rsplit_once('/').map_or("", |(folder, _)| folder));
                    }
                    // One file that can't be read must not hold up the others.
                    Err(error) => {
                        self.say_once(error.to_string());
                        unsettled = Some(Duration::from_millis(QUIET_MS));
                    }
                },
            }
        }
        self.accept(whole).await?;
        if !gone.is_empty() {
            self.events.queue().forget(self.bucket.name(), gone).await?;
        }
        drop(still);
        for folder in odd {
            unsettled = self.look_below(folder, hints).await?.or(unsettled);
        }
        Ok(unsettled)
    }

    /// Watches the folders below a prefix, before they are looked at.
    async fn watch_below(&mut self, prefix: &str) {
        let (watch, prefix) = (Arc::clone(&self.watch), prefix.to_owned());
        let watched = tokio::task::spawn_blocking(move || {
            let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
            watch.watch_below(&prefix)
        });
        match watched.await {
            Ok(Ok(problems)) => problems
                .into_iter()
                .for_each(|problem| self.say_once(problem)),
            Ok(Err(error)) => self.say_once(format!(
                "{error}; until then it is looked at every {RESCAN:?}"
            )),
            Err(_) => {}
        }
    }

    /// Accepts what is below a prefix, but for files that changed a moment ago without a word that
    /// they are whole: those are for the next look.
    async fn look_below(
        &mut self,
        prefix: &str,
        hints: &BTreeSet<Hint>,
    ) -> Result<Option<Duration>, LookError> {
        let mut after: Option<String> = None;
        let mut unsettled = None;
        loop {
            // What is listed must still be so when it is accepted: a commit in between would make an old
            // version look new.
            let _still = self.events.hold(self.bucket.name()).await?;
            let listing = self.bucket.list(prefix, after.as_deref(), PAGE).await?;
            for problem in listing.problems {
                self.say_once(problem);
            }
            let last = listing.objects.len() < PAGE;
            after = listing.objects.last().map(|object| object.key.clone());
            let mut settled = Vec::with_capacity(listing.objects.len());
            for object in listing.objects {
                if self.is_unfinished(&object.key) {
                    continue;
                }
                let closed = hints.contains(&Hint::Whole(object.key.clone()));
                match self.moves_for(&object, closed) {
                    None => settled.push(object),
                    Some(more) => unsettled = sooner(unsettled, more),
                }
            }
            self.accept(settled).await?;
            if last {
                return Ok(unsettled);
            }
        }
    }

    fn is_unfinished(&self, key: &str) -> bool {
        let manifest = self.events.manifest();
        manifest.is_unfinished(self.bucket.name(), key)
    }

    /// Notes which objects were just closed, where they must stand still from then on.
    fn note_closed(&mut self, hints: &BTreeSet<Hint>) {
        let Some(settle) = self.settle else {
            return;
        };
        // The look at it may be late.
        let kept = settle.saturating_add(RESCAN);
        self.closed.retain(|_, since| since.elapsed() < kept);
        for hint in hints {
            if let Hint::Whole(key) = hint {
                let since = self.events.clock().stopwatch();
                self.closed.insert(key.clone(), since);
            }
        }
    }

    /// Returns how long an object must still stand still before it counts as whole; none where it does.
    /// `closed` says that its writer has just closed it. A clock that was set back must not hold it up for
    /// ever.
    fn moves_for(&self, object: &ObjectInfo, closed: bool) -> Option<Duration> {
        let was_closed = closed || self.closed.contains_key(&object.key);
        let quiet = match self.settle {
            None if closed => return None,
            None => QUIET_MS,
            Some(settle) if was_closed => millis(settle),
            Some(settle) => millis(settle).max(QUIET_MS),
        };
        let now = self.events.clock().now();
        // Whoever sets a file's time back says nothing of when it was written.
        let since_closed = self
            .closed
            .get(&object.key)
            .map(|since| millis(since.elapsed()));
        let since_changed = now.checked_sub(object.modified);
        let still = [since_closed, since_changed].into_iter().flatten().min();
        let left = quiet.saturating_sub(still.unwrap_or(quiet));
        (left > 0).then(|| Duration::from_millis(left))
    }

    async fn accept(&self, objects: Vec<ObjectInfo>) -> Result<(), LookError> {
        for page in objects.chunks(PAGE) {
            self.events
                .objects_seen(self.bucket.name(), page.to_vec())
                .await?;
        }
        Ok(())
    }

    /// Forgets accepted versions of objects that are gone, so that what is remembered stays as small as
    /// the folder. An object counts as gone when two looks in a row miss it: one that a function just wrote
    /// is remembered a moment before it has its name.
    async fn forget_missing(&mut self) -> Result<(), LookError> {
        let name = self.bucket.name().to_owned();
        let missed = std::mem::take(&mut self.missing);
        let mut after: Option<String> = None;
        loop {
            let _still = self.events.hold(&name).await?;
            let queue = self.events.queue();
            let seen = queue.sightings(&name, after.as_deref(), PAGE).await?;
            let Some(last) = seen.last().map(|sighting| sighting.key.clone()) else {
                return Ok(());
            };
            let mut there = HashSet::new();
            let mut from = after.clone();
            // The objects between the same two keys, however many pages they fill.
            loop {
                let page = self.bucket.list("", from.as_deref(), PAGE).await?.objects;
                let full = page.len() >= PAGE;
                from = page.last().map(|object| object.key.clone());
                there.extend(page.into_iter().map(|object| object.key));
                if !full || from.as_ref().is_some_and(|from| *from >= last) {
                    break;
                }
            }
            let (gone, missing): (Vec<_>, Vec<_>) = seen
                .into_iter()
                .map(|sighting| sighting.key)
                .filter(|key| !there.contains(key))
                .partition(|key| missed.contains(key));
            self.missing.extend(missing);
            // A folder that can't be read for a while has lost nothing.
            let mut surely = Vec::new();
            for key in gone {
                let found = self.bucket.head(&key).await;
                if matches!(
                    found,
                    Err(ObjectError::NotFound { .. } | ObjectError::Invalid(_))
                ) {
                    surely.push(key);
                }
            }
            if !surely.is_empty() {
                queue.forget(&name, surely).await?;
            }
            after = Some(last);
        }
    }

    fn say(&self, level: Level, text: String) {
        self.events
            .say(level, format!("bucket {:?}: {text}", self.bucket.name()));
    }

    fn say_once(&mut self, problem: String) {
        if self.said.len() >= MAX_SAID {
            self.said.clear();
        }
        if self.said.insert(problem.clone()) {
            self.say(Level::Warn, problem);
        }
    }
}

/// The next look, for what was to be looked at then and for what needs so long.
fn sooner(look: Option<Duration>, more: Duration) -> Option<Duration> {
    Some(look.map_or(more, |look| look.min(more)))
}

/// What an event of the file system means for keys.
fn hints_of(event: notify::Result<notify::Event>, root: &Path) -> Vec<Hint> {
    let Ok(event) = event else {
        return vec![Hint::Everything];
    };
    if event.need_rescan() {
        return vec![Hint::Everything];
    }
    let hint: fn(String) -> Hint = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Hint::Whole,
        EventKind::Create(CreateKind::Folder) => Hint::Folder,
        EventKind::Remove(RemoveKind::File) => Hint::Gone,
        // The bucket's own folder: a look says what became of it.
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            if event.paths.iter().any(|path| path == root) =>
        {
            return vec![Hint::Everything];
        }
        EventKind::Modify(ModifyKind::Name(_)) => return renamed(&event.paths, root),
        EventKind::Create(CreateKind::File | CreateKind::Other | CreateKind::Any) => {
            return linked(&event.paths, root);
        }
        EventKind::Other | EventKind::Any => return vec![Hint::Everything],
        _ => return Vec::new(),
    };
    event
        .paths
        .iter()
        .filter_map(|path| key_of(path, root))
        .map(hint)
        .collect()
}

/// A new file is looked at once its writer closes it. A link has no writer, and neither has what isn't a
/// file: a look says that.
fn linked(paths: &[PathBuf], root: &Path) -> Vec<Hint> {
    let has_no_writer = |path: &&PathBuf| {
        path.symlink_metadata()
            .is_ok_and(|found| !found.is_file() || found.nlink() > 1)
    };
    let keys = paths
        .iter()
        .filter(has_no_writer)
        .filter_map(|path| key_of(path, root));
    keys.map(Hint::Link).collect()
}

/// A rename names one or two paths, and whether they are files is to be looked up.
fn renamed(paths: &[PathBuf], root: &Path) -> Vec<Hint> {
    paths
        .iter()
        .filter_map(|path| {
            let key = key_of(path, root)?;
            Some(match path.symlink_metadata() {
                Ok(found) if found.is_dir() => Hint::Folder(key),
                Ok(_) => Hint::Whole(key),
                Err(_) => Hint::Gone(key),
            })
        })
        .collect()
}

/// The key of a path; none for the hidden, and for what can't be one, which a look at the whole folder
/// will say.
fn key_of(path: &Path, root: &Path) -> Option<String> {
    let key = path.strip_prefix(root).ok()?.to_str()?;
    let hidden = key.split('/').any(|part| part.starts_with('.'));
    (!hidden && !key.is_empty()).then(|| key.to_owned())
}
