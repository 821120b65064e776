//! What is noted of a process, and what follows from it.

use std::ffi::c_int;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kinglet_powercut::{
    Change, Class, Faults, Folders, LogWriter, Plan, Record, State, Step, Window, Windows,
};

use crate::inside::give_up;
use crate::place::{Found, Place, Target, link};

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
    pub fn length(self) -> usize {
        match self {
            Self::Cursor(length) | Self::At(_, length) => length,
            Self::From(_) => 0,
        }
    }
}

/// The notes of one process.
pub struct Notes {
    undo: PathBuf,
    /// Begun with the first note: a process that changes nothing leaves nothing.
    log: Option<LogWriter>,
    random: fastrand::Rng,
    faults: Option<Faults>,
    windows: Windows,
    pub folders: Folders,
    idle: bool,
}

impl Notes {
    pub fn new(plan: &Plan) -> Self {
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

    pub fn note(&mut self, record: &Record) {
        if self.idle {
            kill();
        }
        if let Err(error) = self.log().append(record) {
            give_up(&format!("the log can't be written: {error}"));
        }
    }

    pub fn position(&mut self) -> u64 {
        let position = self.log().position();
        position.unwrap_or_else(|error| give_up(&format!("the log can't be read: {error}")))
    }

    pub fn note_names(&mut self, place: &Place, change: Change) {
        let folder = place.folder;
        self.note(&Record::Names { folder, change });
    }

    pub fn note_made(&mut self, place: &Place) {
        let path = place.path.clone();
        self.note_names(place, Change::Made { path });
    }

    /// Keeps what is about to lose its name.
    pub fn keep(&mut self, path: &Path) -> PathBuf {
        let kept = self.log().keep();
        kept.and_then(|kept| fs::hard_link(path, &kept).map(|()| kept))
            .unwrap_or_else(|error| give_up(&format!("{} can't be kept: {error}", path.display())))
    }

    /// Notes the bytes that a call of so many bytes overwrites or cuts off.
    pub fn note_bytes(&mut self, file: &Found, target: Target<'_>, span: Span, count: usize) {
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

    pub fn step(&mut self, step: Step<'_>) {
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
    pub fn fault_of_write(&mut self, path: &Path, asked: usize) -> Result<usize, c_int> {
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

    pub fn fault_of_sync(&mut self, path: &Path, class: Class) -> bool {
        let Some(faults) = self.faults else {
            return false;
        };
        // Few syncs are of the store's folder, and all that is committed relies on them.
        let likely = if class == Class::StoreFolder { 60 } else { 1 };
        let fails = self.random.u32(..MILLION) < faults.syncs.saturating_mul(likely);
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
