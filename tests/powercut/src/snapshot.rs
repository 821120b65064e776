//! Finds changes that the shim didn't see: a call it doesn't know, a library that goes past it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::log::{Change, FileId, Log, Record, State};

/// The files and folders below a folder, and what they were.
#[derive(Debug, Default)]
pub struct Snapshot(BTreeMap<PathBuf, (FileId, Option<State>)>);

impl Snapshot {
    /// Of what is below `root`. Sockets are left out: they hold nothing.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.file_type().is_socket() {
                    continue;
                }
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                found.insert(entry.path(), (FileId::of(&metadata), state(&metadata)));
            }
        }
        Ok(Self(found))
    }

    /// What is different in `later` without a note in the log.
    pub fn unseen(&self, later: &Self, log: &Log) -> Vec<PathBuf> {
        let seen = seen(log);
        let paths: BTreeSet<&PathBuf> = self.0.keys().chain(later.0.keys()).collect();
        paths
            .into_iter()
            .filter(|path| self.0.get(*path) != later.0.get(*path))
            .filter(|path| !seen.contains(path.as_path()))
            .cloned()
            .collect()
    }
}

/// A folder's time changes with its entries, which are looked at themselves.
fn state(metadata: &Metadata) -> Option<State> {
    metadata.is_file().then(|| State::of(metadata))
}

fn seen(log: &Log) -> BTreeSet<&Path> {
    let mut seen = BTreeSet::new();
    for (_, record) in &log.records {
        match record {
            Record::Bytes { path, .. } | Record::Attribute { path, .. } => {
                seen.insert(path.as_path());
            }
            Record::Names { change, .. } => match change {
                Change::Made { path }
                | Change::Removed { path, .. }
                | Change::RemovedFolder { path, .. } => {
                    seen.insert(path);
                }
                Change::Renamed { from, to, .. } => {
                    seen.extend([from.as_path(), to.as_path()]);
                }
            },
            _ => {}
        }
    }
    seen
}
