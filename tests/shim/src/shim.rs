//! What happens around a call: it is noted, or fails, or lies, or is the last one.
//!
//! A change and its note are one step under a lock, so that notes are in the order of the changes. Syncs run
//! without the lock, as long as they take: what changes meanwhile isn't covered by them.

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use kinglet_powercut::{
    Change, Class, ENVIRONMENT, FileId, Folders, LogWriter, Plan, Record, State, Step, Window,
    Windows,
};

use crate::place::{Found, Place, Target, link};

const STAGING: &str = ".kinglet-staging";
const MILLION: u32 = 1_000_000;

/// What a call changes of a file's bytes.
#[derive(Clone, Copy)]
pub enum Span {
    /// So many bytes from where the file's cursor is.
    Cursor(usize),
    /// So many bytes from a place on.
    At(u64, usize),
    /// Everything from a place on.
    From(u64),
}

impl Span {
    fn length(self) -> usize {
        match self {
            Self::Cursor(length) | Self::At(_, length) => length,
            Self::From(_) => 0,
        }
    }
}

/// A call that changes bytes. `call` gets how many of them it may write.
pub fn bytes<T: From<i8>>(target: Target<'_>, span: Span, call: impl FnOnce(usize) -> T) -> T {
    let asked = span.length();
    let Some(inside) = Inside::enter() else {
        return call(asked);
    };
    let Some(file) = inside.find(target).filter(|file| file.metadata.is_file()) else {
        return call(asked);
    };
    let mut state = inside.lock();
    let allowed = match state.fault_of_write(&file.path, asked) {
        Ok(allowed) => allowed,
        Err(errno) => {
            drop(state);
            return failed(errno);
        }
    };
    state.note_bytes(&file, target, span, allowed);
    let answer = call(allowed);
    keep_errno(|| drop(state));
    answer
}

/// A call that changes an extended attribute.
pub fn attribute(target: Target<'_>, name: &CStr, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(file) = inside.find(target) else {
        return call();
    };
    let mut state = inside.lock();
    // 64 KiB is the most that Linux stores in one attribute.
    let mut value = vec![0; 65_536];
    let was = rustix::fs::getxattr(&file.path, name, value.as_mut_slice());
    let was = was.ok().map(|length| {
        value.truncate(length);
        value.into()
    });
    let name = name.to_string_lossy().into_owned();
    let (file, path) = (file.id, file.path);
    state.note(&Record::Attribute {
        file,
        path,
        name,
        was,
    });
    let answer = call();
    keep_errno(|| drop(state));
    answer
}

/// A call that may make a file as it opens it, or empty one.
pub fn open(folder: c_int, path: &CStr, flags: c_int, call: impl FnOnce() -> c_int) -> c_int {
    if flags & (libc::O_CREAT | libc::O_TRUNC) == 0 {
        return call();
    }
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(place) = Place::new(&inside.shim.plan.root, folder, path) else {
        return call();
    };
    let mut state = inside.lock();
    match place.found() {
        None if flags & libc::O_CREAT != 0 => state.note_made(&place),
        Some(_) if flags & libc::O_TRUNC != 0 && flags & libc::O_EXCL == 0 => {
            let target = Target::Path(folder, path);
            if let Some(file) = inside.find(target).filter(|file| file.metadata.is_file()) {
                state.note_bytes(&file, target, Span::From(0), 0);
            }
        }
        _ => {}
    }
    let answer = call();
    keep_errno(|| drop(state));
    answer
}

/// A call that makes a folder or a link.
pub fn make(folder: c_int, path: &CStr, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(place) = Place::new(&inside.shim.plan.root, folder, path) else {
        return call();
    };
    let mut state = inside.lock();
    if place.found().is_none() {
        state.note_made(&place);
    }
    let answer = call();
    keep_errno(|| {
        if answer == 0 && place.found().is_some_and(|found| found.is_dir()) {
            let name = place.path.file_name().unwrap_or_default();
            state.folders.made(place.folder, Path::new(name));
        }
        drop(state);
    });
    answer
}

/// A call that removes a file, a link or an empty folder.
pub fn remove(folder: c_int, path: &CStr, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(place) = Place::new(&inside.shim.plan.root, folder, path) else {
        return call();
    };
    let mut state = inside.lock();
    match place.found() {
        Some(found) if found.is_dir() => state.note_names(
            &place,
            Change::RemovedFolder {
                path: place.path.clone(),
                mode: found.mode() & 0o7777,
            },
        ),
        Some(_) => {
            let kept = state.keep(&place.path);
            let path = place.path.clone();
            state.note_names(&place, Change::Removed { path, kept });
        }
        None => {}
    }
    let answer = call();
    keep_errno(|| {
        if is_staged(&place.path) {
            state.step(Step::Unstaged(&place.path));
        } else if answer == 0 {
            state.folders.named(place.folder);
        }
        drop(state);
    });
    answer
}

/// A call that gives another name.
pub fn rename(from: (c_int, &CStr), to: (c_int, &CStr), call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let root = &inside.shim.plan.root;
    let (from, to) = match (
        Place::new(root, from.0, from.1),
        Place::new(root, to.0, to.1),
    ) {
        (Some(from), Some(to)) => (from, to),
        (None, None) => return call(),
        _ => give_up("a rename into the watched folder, or out of it"),
    };
    let Some(moved) = from.found() else {
        return call();
    };
    let mut state = inside.lock();
    let staged = is_staged(&from.path);
    if staged {
        state.step(Step::Renaming);
    }
    let replaced = match to.found() {
        Some(found) if !found.is_dir() => Some(state.keep(&to.path)),
        _ => None,
    };
    let change = Change::Renamed {
        from: from.path.clone(),
        to: to.path.clone(),
        moved: FileId::of(&moved),
        replaced,
    };
    state.note_names(&to, change);
    let answer = call();
    keep_errno(|| {
        if answer == 0 {
            state.folders.named(to.folder);
            if staged {
                state.step(Step::Renamed(&from.path));
            }
        }
        drop(state);
    });
    answer
}

/// A call that has a file or a folder on disk when it returns.
pub fn sync(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(found) = inside.find(Target::Open(fd)) else {
        return call();
    };
    let plan = &inside.shim.plan;
    let mut state = inside.lock();
    let below = found.path.strip_prefix(&plan.root).unwrap_or(&found.path);
    let changed = state.folders.take(found.id);
    let class = if found.metadata.is_dir() {
        Class::of_folder(below, changed)
    } else {
        Class::of_file(below)
    };
    if class == Class::Store {
        state.step(Step::SyncingStore);
    }
    if state.fault_of_sync(&found.path) {
        state.folders.put_back(found.id, changed);
        drop(state);
        return failed(libc::EIO);
    }
    let before = state.position();
    drop(state);
    let lies = plan.without == Some(class);
    let answer = if lies { 0 } else { call() };
    keep_errno(|| {
        let mut state = inside.lock();
        if lies {
            state.note(&Record::Lied { class });
        } else if answer == 0 {
            let file = found.id;
            state.note(&Record::Synced { file, before });
        }
        if lies || answer != 0 {
            state.folders.put_back(found.id, changed);
        }
        match class {
            Class::Store => state.step(Step::StoreSynced),
            Class::StagedFile => state.step(Step::StagedFileSynced(&found.path)),
            Class::StagingFolder => state.step(Step::StagingFolderSynced),
            Class::BucketFolder => state.step(Step::BucketFolderSynced),
            _ => {}
        }
    });
    answer
}

/// A call that has everything on disk when it returns.
pub fn sync_all(call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let before = inside.lock().position();
    let answer = call();
    keep_errno(|| {
        if answer == 0 {
            inside.lock().note(&Record::AllSynced { before });
        }
    });
    answer
}

/// A call that maps a file. Writes through a shared mapping can't be seen, and none is expected.
pub fn map(fd: c_int, protection: c_int, flags: c_int) {
    let shared = flags & (libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE) != 0
        && flags & libc::MAP_ANONYMOUS == 0;
    if !shared || protection & libc::PROT_WRITE == 0 {
        return;
    }
    if let Some(inside) = Inside::enter()
        && let Some(found) = inside.find(Target::Open(fd))
    {
        give_up(&format!("{} is mapped to be written", found.path.display()));
    }
}

/// Ends the process: what happens next couldn't be taken back.
pub fn give_up(why: &str) -> ! {
    eprintln!("shim: {why}");
    std::process::abort()
}

struct Shim {
    plan: Plan,
    state: Mutex<Notes>,
}

impl Shim {
    /// None without a plan.
    fn get() -> Option<&'static Self> {
        static SHIM: OnceLock<Option<Shim>> = OnceLock::new();
        let shim = SHIM.get_or_init(|| {
            let text = std::env::var(ENVIRONMENT).ok()?;
            match Plan::from_text(&text) {
                Ok(plan) => Some(Self {
                    state: Mutex::new(Notes::new(&plan)),
                    plan,
                }),
                Err(error) => give_up(&format!("{ENVIRONMENT} isn't a plan: {error}")),
            }
        });
        shim.as_ref()
    }
}

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A thread that is at work here: its own calls are not to be noted.
struct Inside {
    shim: &'static Shim,
}

impl Inside {
    /// None without a plan, and where the thread is inside already.
    fn enter() -> Option<Self> {
        if IS_INSIDE.replace(true) {
            return None;
        }
        let shim = Shim::get();
        if shim.is_none() {
            IS_INSIDE.set(false);
        }
        shim.map(|shim| Self { shim })
    }

    fn find(&self, target: Target<'_>) -> Option<Found> {
        Found::new(&self.shim.plan.root, target)
    }

    fn lock(&self) -> MutexGuard<'static, Notes> {
        self.shim
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.set(false);
    }
}

/// What is noted, and what follows from it.
struct Notes {
    undo: PathBuf,
    /// Begun with the first note: a process that changes nothing leaves nothing.
    log: Option<LogWriter>,
    random: fastrand::Rng,
    faults: Option<kinglet_powercut::Faults>,
    windows: Windows,
    folders: Folders,
    idle: bool,
}

impl Notes {
    fn new(plan: &Plan) -> Self {
        Self {
            undo: plan.undo.clone(),
            log: None,
            random: fastrand::Rng::with_seed(plan.seed),
            faults: plan.faults,
            windows: Windows::new(plan.kill),
            folders: Folders::default(),
            idle: plan.idle,
        }
    }

    fn log(&mut self) -> &mut LogWriter {
        let undo = &self.undo;
        self.log.get_or_insert_with(|| {
            LogWriter::open(undo).unwrap_or_else(|error| give_up(&format!("no log: {error}")))
        })
    }

    fn note(&mut self, record: &Record) {
        if self.idle {
            kill();
        }
        if let Err(error) = self.log().append(record) {
            give_up(&format!("the log can't be written: {error}"));
        }
    }

    fn position(&mut self) -> u64 {
        let position = self.log().position();
        position.unwrap_or_else(|error| give_up(&format!("the log can't be read: {error}")))
    }

    fn note_names(&mut self, place: &Place, change: Change) {
        let folder = place.folder;
        self.note(&Record::Names { folder, change });
    }

    fn note_made(&mut self, place: &Place) {
        let path = place.path.clone();
        self.note_names(place, Change::Made { path });
    }

    /// Keeps what is about to lose its name.
    fn keep(&mut self, path: &Path) -> PathBuf {
        let kept = self.log().keep();
        kept.and_then(|kept| fs::hard_link(path, &kept).map(|()| kept))
            .unwrap_or_else(|error| give_up(&format!("{} can't be kept: {error}", path.display())))
    }

    /// Notes the bytes that a call of so many bytes overwrites or cuts off.
    fn note_bytes(&mut self, file: &Found, target: Target<'_>, span: Span, count: usize) {
        let length = file.metadata.len();
        let (at, end) = match span {
            Span::Cursor(_) => {
                let at = cursor(target, length);
                (at, at + count as u64)
            }
            Span::At(at, _) => (at, at + count as u64),
            Span::From(at) => (at, length),
        };
        let mut old = vec![0; usize::try_from(end.min(length).saturating_sub(at)).unwrap_or(0)];
        if !old.is_empty() {
            // Its own handle may be for writing only, and its name gone.
            let source = match target {
                Target::Open(fd) => link(fd),
                Target::Path(..) => file.path.clone(),
            };
            let read = File::open(source).and_then(|source| source.read_exact_at(&mut old, at));
            if let Err(error) = read {
                give_up(&format!("{} can't be read: {error}", file.path.display()));
            }
        }
        self.note(&Record::Bytes {
            file: file.id,
            path: file.path.clone(),
            was: State::of(&file.metadata),
            at,
            bytes: old.into(),
        });
    }

    fn step(&mut self, step: Step<'_>) {
        if let Some(window) = self.windows.step(step) {
            self.end(window);
        }
    }

    /// The last thing that this process does. The lock is held, so that no other thread does more.
    fn end(&mut self, window: Window) -> ! {
        self.note(&Record::Killed { window });
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }

    /// How many bytes a write may write, or the error that it ends with.
    fn fault_of_write(&mut self, path: &Path, asked: usize) -> Result<usize, c_int> {
        let Some(faults) = self.faults.filter(|_| asked > 0) else {
            return Ok(asked);
        };
        let drawn = self.random.u32(..MILLION);
        if drawn < faults.writes {
            let errno = if drawn.is_multiple_of(2) {
                libc::EIO
            } else {
                libc::ENOSPC
            };
            self.note_fault(path, format!("write: errno {errno}"));
            Err(errno)
        } else if drawn < faults.writes.saturating_add(faults.short_writes) && asked > 1 {
            let allowed = self.random.usize(1..asked);
            self.note_fault(path, format!("write: {allowed} of {asked} bytes"));
            Ok(allowed)
        } else {
            Ok(asked)
        }
    }

    fn fault_of_sync(&mut self, path: &Path) -> bool {
        let Some(faults) = self.faults else {
            return false;
        };
        let fails = self.random.u32(..MILLION) < faults.syncs;
        if fails {
            self.note_fault(path, "sync: EIO".to_owned());
        }
        fails
    }

    fn note_fault(&mut self, path: &Path, how: String) {
        let path = path.to_owned();
        self.note(&Record::Failed { path, how });
    }
}

fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

fn is_staged(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == STAGING)
}

/// Where the next write to an open file goes.
fn cursor(target: Target<'_>, length: u64) -> u64 {
    let Target::Open(fd) = target else { return 0 };
    // SAFETY: both only ask about an open file.
    let (flags, at) = unsafe {
        (
            libc::fcntl(fd, libc::F_GETFL),
            libc::lseek(fd, 0, libc::SEEK_CUR),
        )
    };
    if flags & libc::O_APPEND != 0 {
        length
    } else {
        u64::try_from(at).unwrap_or(0)
    }
}

fn failed<T: From<i8>>(errno: c_int) -> T {
    // SAFETY: it points to this thread's number, for as long as the thread lives.
    unsafe { *libc::__errno_location() = errno };
    T::from(-1)
}

/// Does what mustn't change the error that a call ended with.
fn keep_errno(work: impl FnOnce()) {
    // SAFETY: as above.
    let errno = unsafe { *libc::__errno_location() };
    work();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
