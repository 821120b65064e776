//! A copy of the whole store in one file, and the way back.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::FILE;
use super::operations::{Operations, Result, unsigned};
use super::schema::{self, failed};
use crate::files;
use crate::ports::QueueError;

/// The first bytes of every file of SQLite.
const HEADER: &[u8] = b"SQLite format 3\0";

impl Operations {
    /// Moves the log into the store's file, and keeps that as it is until `end_backup`: what is written
    /// meanwhile stays in the log. Returns the file's length, in bytes.
    pub fn begin_backup(&mut self) -> Result<u64> {
        self.one::<i64>("PRAGMA wal_autocheckpoint = 0", [])?;
        let busy: Option<i64> = self.one("PRAGMA wal_checkpoint(FULL)", [])?;
        if busy != Some(0) {
            return Err(QueueError::Failed {
                reason: "the store's log can't be moved into its file; try again".to_owned(),
            });
        }
        let pages: Option<i64> = self.one("PRAGMA page_count", [])?;
        let page: Option<i64> = self.one("PRAGMA page_size", [])?;
        Ok(unsigned(pages.unwrap_or(0)) * unsigned(page.unwrap_or(0)))
    }

    pub fn end_backup(&mut self) -> Result<()> {
        let sql = format!("PRAGMA wal_autocheckpoint = {}", schema::LOG_PAGES);
        self.one::<i64>(&sql, []).map(|_| ())
    }
}

/// Whether a backup can be written to `to`, before anything is done.
pub(super) fn check_target(to: &Path) -> Result<()> {
    if to.exists() {
        return Err(QueueError::Refused {
            reason: format!("{} is there already; choose another file", to.display()),
        });
    }
    if let Some(folder) = to.parent().filter(|folder| !folder.is_dir()) {
        return Err(QueueError::Refused {
            reason: format!("there is no folder {}; make it", folder.display()),
        });
    }
    Ok(())
}

/// Copies the first `bytes` of the store's file. The copy has its name once it is whole and on disk.
pub(super) fn copy(mut store: &File, bytes: u64, to: &Path) -> Result<()> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let mut write = || -> std::io::Result<u64> {
        let mut copy = files::create(partial)?;
        store.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut store.take(bytes), &mut copy)
    };
    let written = write().map_err(|error| io(partial, &error));
    let placed = written.and_then(|written| {
        if written == bytes {
            return put_in_place(partial, to);
        }
        Err(QueueError::Failed {
            reason: format!("the store's file ended after {written} of {bytes} bytes"),
        })
    });
    placed.inspect_err(|_| {
        // What is left of it is of no use; the error is the one to tell.
        let _ = fs::remove_file(partial);
    })
}

/// Puts a backup in the place of the store in `dir`, whose lock is held. What was there before is kept
/// beside it. Returns where, if there was something.
pub(super) fn restore(from: &Path, dir: &Path) -> Result<Option<std::path::PathBuf>> {
    let copy = dir.join("restored.partial");
    remove_if_there(&copy)?;
    let backup = open_backup(from)?;
    copy_backup(backup, &copy).inspect_err(|_| {
        // A full disk isn't to be filled further; the error is the one to report.
        let _ = fs::remove_file(&copy);
    })?;
    let checked = check(&copy);
    remove_if_there(&copy.with_extension("partial-wal"))?;
    if let Err(error) = checked {
        remove_if_there(&copy)?;
        return Err(error);
    }
    let store = dir.join(FILE);
    let kept = free_name(dir);
    let had = store.exists();
    if had {
        // Opened and closed in good order, the store has taken its log in. One that can't be opened is why
        // there are backups: its log is kept with it.
        drop(schema::open(&store));
        // Under both names until the copy takes the place: at no instant there is no store.
        fs::hard_link(&store, &kept).map_err(|error| io(&kept, &error))?;
    }
    // The log belongs to the store that it lies beside, and would be replayed into the restored one.
    for end in ["-wal", "-shm", "-journal"] {
        let log = dir.join(format!("{FILE}{end}"));
        if log.exists() {
            let mut kept = kept.clone().into_os_string();
            kept.push(end);
            fs::rename(&log, &kept).map_err(|error| io(&log, &error))?;
        }
    }
    put_in_place(&copy, &store)?;
    Ok(had.then_some(kept))
}

/// Opens a file that begins as a store does. Nothing is copied of any other, however large it is.
fn open_backup(path: &Path) -> Result<File> {
    let mut file = files::open(path).map_err(|error| QueueError::Refused {
        reason: error.to_string(),
    })?;
    let mut start = Vec::new();
    let read = Read::by_ref(&mut file)
        .take(HEADER.len() as u64)
        .read_to_end(&mut start);
    read.map_err(|error| io(path, &error))?;
    if start != HEADER {
        return Err(not_a_backup());
    }
    file.seek(SeekFrom::Start(0))
        .map_err(|error| io(path, &error))?;
    Ok(file)
}

fn copy_backup(mut backup: File, to: &Path) -> Result<()> {
    let failed = |error: std::io::Error| io(to, &error);
    let mut copy = files::create(to).map_err(|error| failed(error.into()))?;
    copy.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    std::io::copy(&mut backup, &mut copy).map_err(failed)?;
    Ok(())
}

fn not_a_backup() -> QueueError {
    QueueError::Refused {
        reason: "the file isn't a backup; name one that `kinglet backup` wrote".to_owned(),
    }
}

/// A name for the store that was there. One that an earlier restore kept is kept too: it may be the only
/// copy of what was accepted.
fn free_name(dir: &Path) -> std::path::PathBuf {
    let name = |number: u32| dir.join(format!("{FILE}.before-restore-{number}"));
    let mut number = 1;
    while name(number).exists() {
        number += 1;
    }
    name(number)
}

/// A file that isn't a whole store must not take a store's place.
fn check(path: &Path) -> Result<()> {
    if !schema::is_store(path).unwrap_or(false) {
        return Err(not_a_backup());
    }
    let verdict = schema::open(path).and_then(|connection| {
        let verdict: String = connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| failed(&error))?;
        close(connection)?;
        Ok(verdict)
    });
    let damage = match verdict {
        Ok(verdict) if verdict == "ok" => return Ok(()),
        Ok(verdict) => verdict,
        Err(error) => error.to_string(),
    };
    Err(QueueError::Refused {
        reason: format!("the backup is damaged: {damage}; use another one"),
    })
}

fn close(connection: Connection) -> Result<()> {
    connection.close().map_err(|(_, error)| failed(&error))
}

fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    let sync = |path: &Path| {
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(|error| io(path, &error))
    };
    sync(from)?;
    fs::rename(from, to).map_err(|error| io(to, &error))?;
    match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => sync(folder),
        _ => sync(Path::new(".")),
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path, &error)),
        _ => Ok(()),
    }
}

fn io(path: &Path, error: &std::io::Error) -> QueueError {
    QueueError::Failed {
        reason: format!("{}: {error}", path.display()),
    }
}
