//! The place of an open store: whether its files still have the names by which the next start finds them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ports::QueueError;

/// A store's file and its log, as they were opened. Both stay open, so that no other file gets their inodes.
#[derive(Debug)]
pub(super) struct Place {
    store: Named,
    log: Named,
}

#[derive(Debug)]
struct Named {
    path: PathBuf,
    /// Device and inode; none where there was no such file.
    id: Option<(u64, u64)>,
}

/// The fate of a name.
enum Change {
    Removed,
    Replaced,
}

impl Place {
    /// Notes where an open store and its log are.
    pub fn of(store: &Path) -> Self {
        let mut log = store.as_os_str().to_owned();
        log.push("-wal");
        Self {
            store: Named::new(store.to_owned()),
            log: Named::new(log.into()),
        }
    }

    /// Refuses what can't be kept: nobody would find it at the next start.
    pub fn check(&self) -> Result<(), QueueError> {
        match self.problem() {
            None => Ok(()),
            Some(reason) => Err(QueueError::Lost { reason }),
        }
    }

    /// Returns what is gone, and what to do.
    pub fn problem(&self) -> Option<String> {
        if let Some(change) = self.store.change() {
            let done = change.done();
            return Some(format!(
                "{} {done} under the host, which accepts nothing until the file is back. Put it back; or write \
                 what the host has into a new file with `kinglet backup FILE`, stop the host, and `kinglet restore \
                 FILE`; or stop the host, and start it with what is there",
                self.store.path.display()
            ));
        }
        let done = self.log.change()?.done();
        Some(format!(
            "{} {done} under the host, which accepts nothing until the file is back. Put it back; or stop the \
             host, which writes what it has into the store, and start it again",
            self.log.path.display()
        ))
    }
}

impl Named {
    fn new(path: PathBuf) -> Self {
        let id = path.metadata().ok().map(|found| (found.dev(), found.ino()));
        Self { path, id }
    }

    fn change(&self) -> Option<Change> {
        let id = self.id?;
        match self.path.metadata() {
            Ok(found) if (found.dev(), found.ino()) == id => None,
            Ok(_) => Some(Change::Replaced),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Some(Change::Removed),
                // What can't be looked at for a while may be there.
                _ => None,
            },
        }
    }
}

impl Change {
    fn done(&self) -> &'static str {
        match self {
            Self::Removed => "was removed",
            Self::Replaced => "was replaced",
        }
    }
}
