//! The right to open a store: one process has it at a time, and a host that waits comes before any command.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files;
use crate::ports::QueueError;

/// The lock of whoever has the store open.
const LOCK: &str = "lock";
/// The lock of the host that runs or waits to run.
const HOST: &str = "host";
/// The most that is read of a lock: a number and a name.
const HOLDER: u64 = 256;

/// A host's precedence over commands: held from before it opens its store until it ends. Without it a loop
/// of commands could keep a host from starting.
#[derive(Debug)]
pub struct HostTurn {
    _turn: File,
    /// The application's folder, with a shared lock. Commands see by it that a host runs whose store was
    /// removed. None where the file system has no such locks.
    _folder: Option<File>,
}

impl HostTurn {
    /// Takes the precedence over a store's folder, making the folder where it is missing. `command` is for
    /// the errors of others.
    ///
    /// # Errors
    /// Where another host has it, or for a moment a command, and where the folder can't be written.
    pub fn take(dir: &Path, command: &str) -> Result<Self, QueueError> {
        check_removed(dir)?;
        let folder = files::open_folder(&application(dir)).ok();
        let folder = folder.filter(share);
        let turn = open(dir, HOST)?;
        lock(&turn, dir, HOST)?;
        note(&turn, command);
        Ok(Self {
            _turn: turn,
            _folder: folder,
        })
    }
}

/// A store's folder that nobody else uses while this is held.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
}

impl Claim {
    /// Claims a store's folder, making it where it is missing. Without a turn it is a command that asks, and
    /// a host that runs or waits has precedence.
    pub fn take(dir: &Path, command: &str, turn: Option<&HostTurn>) -> Result<Self, QueueError> {
        if turn.is_none() {
            check_removed(dir)?;
        }
        let file = open(dir, LOCK)?;
        // Held until the store is claimed: no host takes its turn in between.
        let host = match turn {
            None => Some(open(dir, HOST)?),
            Some(_) => None,
        };
        if let Some(host) = &host {
            match host.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(dir, HOST)),
                Err(TryLockError::Error(error)) => return Err(failed(dir, &error)),
            }
        }
        lock(&file, dir, LOCK)?;
        note(&file, command);
        Ok(Self { _lock: file })
    }
}

/// The folder that has the store's folder in it.
fn application(dir: &Path) -> PathBuf {
    match dir.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Locks an application's folder as hosts do. A command may have it for a moment.
fn share(folder: &File) -> bool {
    const TRIES: u32 = 5;
    (0..TRIES).any(|_| {
        let locked = folder.try_lock_shared().is_ok();
        if !locked {
            std::thread::sleep(Duration::from_millis(2));
        }
        locked
    })
}

/// Refuses to make a new store where a host runs on one that was here.
fn check_removed(dir: &Path) -> Result<(), QueueError> {
    if dir.exists() {
        return Ok(());
    }
    let Ok(folder) = files::open_folder(&application(dir)) else {
        return Ok(());
    };
    // Hosts hold it shared. Whoever else locks the folder, as `flock` does, has it alone.
    let of_hosts = matches!(folder.try_lock(), Err(TryLockError::WouldBlock))
        && folder.try_lock_shared().is_ok();
    if of_hosts && !dir.exists() {
        return Err(QueueError::Lost {
            reason: format!(
                "{} was removed under the host that runs; put it back, or stop that host to begin with an \
                 empty store",
                dir.display()
            ),
        });
    }
    Ok(())
}

fn open(dir: &Path, name: &str) -> Result<File, QueueError> {
    if dir.metadata().is_ok_and(|found| !found.is_dir()) {
        return Err(QueueError::Failed {
            reason: format!("{} isn't a folder; move it away", dir.display()),
        });
    }
    crate::stores::folders::make(dir).map_err(|error| failed(dir, &error))?;
    files::append(&dir.join(name)).map_err(|error| QueueError::Failed {
        reason: format!("can't write folder {}: {error}", dir.display()),
    })
}

fn lock(file: &File, dir: &Path, name: &str) -> Result<(), QueueError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => in_use(dir, name),
        TryLockError::Error(error) => failed(dir, &error),
    })
}

/// Notes who has a lock. For the errors of others alone: on a full disk the lock holds without it.
fn note(mut lock: &File, command: &str) {
    let text = format!("{}\n{command}\n", std::process::id());
    let _ = lock
        .set_len(0)
        .and_then(|()| lock.write_all(text.as_bytes()));
}

fn in_use(dir: &Path, name: &str) -> QueueError {
    QueueError::InUse {
        path: dir.display().to_string(),
        process: holder(&dir.join(name)),
    }
}

/// Reads who wrote into a lock: `process 12 (kinglet up)`.
fn holder(lock: &Path) -> String {
    let noted = files::open(lock).ok().and_then(|file| {
        let mut text = String::new();
        file.take(HOLDER).read_to_string(&mut text).ok()?;
        Some(text)
    });
    let noted = noted.unwrap_or_default();
    let mut lines = noted.lines();
    let id = lines
        .next()
        .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
    match (id, lines.next()) {
        (None, _) => "another process".to_owned(),
        (Some(id), None) => format!("process {id}"),
        (Some(id), Some(command)) => {
            let shown: String = command.chars().filter(|c| !c.is_control()).collect();
            format!("process {id} ({shown})")
        }
    }
}

fn failed(dir: &Path, error: &io::Error) -> QueueError {
    QueueError::Failed {
        reason: format!("can't write folder {}: {error}", dir.display()),
    }
}
