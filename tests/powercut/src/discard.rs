//! Takes back what isn't synced, the last change first.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{XattrFlags, fremovexattr, fsetxattr};

use crate::log::{Change, FileId, Log, Record, State};

/// Which of the changes that aren't synced a disk loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All of them.
    All,
    /// Of each file and folder, all since an instant drawn at random: a disk may have written some by
    /// itself.
    Some {
        /// Decides which.
        seed: u64,
    },
}

/// What was taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Changes of bytes and attributes.
    pub bytes: usize,
    /// Changes of names.
    pub names: usize,
}

/// Takes back what the log in `undo` says isn't synced below `root`, and ends the log: what is there then is
/// what the disk has. The processes that wrote must have ended.
///
/// # Errors
/// Where a file can't be read or written.
pub fn discard(root: &Path, undo: &Path, choice: Choice) -> io::Result<Discarded> {
    let log = Log::read(undo)?;
    let lost = chosen(log.unsynced(), choice);
    let mut discarded = Discarded::default();
    // Opened before names change: a file's bytes are found by its number.
    let files = open_changed(&lost, &[root, undo])?;
    let mut modified: HashMap<FileId, State> = HashMap::new();
    for record in lost.iter().rev() {
        match record {
            Record::Bytes {
                file,
                was,
                at,
                bytes,
                ..
            } => {
                if let Some(open) = files.get(file) {
                    open.write_all_at(bytes, *at)?;
                    open.set_len(was.length)?;
                    modified.insert(*file, *was);
                    discarded.bytes += 1;
                }
            }
            Record::Attribute {
                file, name, was, ..
            } => {
                if let Some(open) = files.get(file) {
                    restore_attribute(open, name, was.as_ref().map(|was| was.as_slice()))?;
                    discarded.bytes += 1;
                }
            }
            Record::Names { change, .. } => discarded.names += usize::from(take_back(change)?),
            _ => {}
        }
    }
    // The version of an object has its modification time in it.
    for (file, was) in modified {
        if let Some(open) = files.get(&file) {
            open.set_modified(time(was))?;
        }
    }
    if undo.exists() {
        Log::clear(undo)?;
    }
    Ok(discarded)
}

fn chosen(unsynced: Vec<&Record>, choice: Choice) -> Vec<&Record> {
    let Choice::Some { seed } = choice else {
        return unsynced;
    };
    let mut counts: HashMap<FileId, usize> = HashMap::new();
    for file in unsynced.iter().filter_map(|record| record.changes()) {
        *counts.entry(file).or_default() += 1;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    // Drawn in an order of their own, so that the same seed draws the same.
    let mut kept: Vec<(FileId, usize)> = counts.into_iter().collect();
    kept.sort_unstable();
    let mut kept: HashMap<FileId, usize> = kept
        .into_iter()
        .map(|(file, count)| (file, random.usize(..=count)))
        .collect();
    unsynced
        .into_iter()
        .filter(|record| {
            let left = record.changes().and_then(|file| kept.get_mut(&file));
            match left {
                Some(0) | None => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
            }
        })
        .collect()
}

/// Opens the files whose bytes or attributes changed, wherever their names are by now.
fn open_changed(lost: &[&Record], below: &[&Path]) -> io::Result<HashMap<FileId, File>> {
    let mut wanted: HashMap<FileId, Option<File>> = lost
        .iter()
        .filter(|record| matches!(record, Record::Bytes { .. } | Record::Attribute { .. }))
        .filter_map(|record| record.changes())
        .map(|file| (file, None))
        .collect();
    let mut folders: Vec<PathBuf> = below.iter().map(|path| path.to_path_buf()).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file()
                && let Some(file) = wanted.get_mut(&FileId::of(&metadata))
                && file.is_none()
            {
                *file = Some(File::options().write(true).open(entry.path())?);
            }
        }
    }
    Ok(wanted
        .into_iter()
        .filter_map(|(id, file)| Some((id, file?)))
        .collect())
}

fn restore_attribute(file: &File, name: &str, was: Option<&[u8]>) -> io::Result<()> {
    let name = CString::new(name)?;
    match was {
        Some(value) => fsetxattr(file, &name, value, XattrFlags::empty())?,
        None => match fremovexattr(file, &name) {
            // The change wasn't carried out.
            Err(rustix::io::Errno::NODATA) => {}
            removed => removed?,
        },
    }
    Ok(())
}

/// Takes back a change of names; whether it had been carried out. A folder that is gone by now takes with it
/// what was in it.
fn take_back(change: &Change) -> io::Result<bool> {
    let taken_back = match change {
        Change::Made { path } => match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        },
        Change::Removed { path, kept } => fs::hard_link(kept, path),
        Change::RemovedFolder { path, mode } => fs::create_dir(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(*mode))),
        Change::Renamed {
            from,
            to,
            moved,
            replaced,
        } => match fs::symlink_metadata(to) {
            Ok(found) if FileId::of(&found) == *moved => {
                let home = from.parent().is_some_and(Path::is_dir);
                let back = if home {
                    fs::rename(to, from)
                } else {
                    // Its old folder is gone, and it had no other place.
                    fs::remove_file(to)
                };
                back.and_then(|()| match replaced {
                    Some(kept) => fs::hard_link(kept, to),
                    None => Ok(()),
                })
            }
            // Killed between the note and the rename.
            Ok(_) => return Ok(false),
            Err(error) => Err(error),
        },
    };
    match taken_back {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn time(state: State) -> SystemTime {
    let seconds = Duration::from_secs(state.modified.unsigned_abs());
    let whole = if state.modified < 0 {
        SystemTime::UNIX_EPOCH - seconds
    } else {
        SystemTime::UNIX_EPOCH + seconds
    };
    whole + Duration::from_nanos(state.modified_nanos.unsigned_abs())
}
