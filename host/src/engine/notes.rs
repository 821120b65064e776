//! What an application's components were found to be, noted at a start for the next one: a file that is as it was
//! needn't be read, nor what was compiled from it be loaded before its first event.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::load::{Handlers, Kind};

/// What a component's file was found to be.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Known {
    pub digest: String,
    pub handlers: Handlers,
    /// The handlers whose types were checked.
    pub kinds: Vec<Kind>,
    /// Bytes.
    pub initial_memory: u64,
    /// Whether it runs in the engine for concurrent tasks.
    pub concurrent: bool,
    /// The places of the pool that its instances take. Older notes are of components that take one.
    #[serde(default = "one")]
    pub places: u32,
}

fn one() -> u32 {
    1
}

/// What tells files, and versions of a file, apart without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub(super) struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Moves with every write, also of who sets the time of modification back.
    changed: (i64, i64),
}

impl FileVersion {
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// The notes of one application: those of the last start, and what this one saw.
pub struct Notes {
    name: String,
    last: BTreeMap<FileVersion, Known>,
    seen: BTreeMap<FileVersion, Known>,
    /// Whether something is seen that the last start didn't see.
    anew: bool,
}

impl Notes {
    /// Those of the application in that folder, where the cache has any.
    pub(super) fn read(cache: &Cache, engine: &wasmtime::Engine, application: &Path) -> Self {
        let name = Cache::notes_name(engine, application);
        let last = cache.sealed(&name);
        let last = last.and_then(|notes| rmp_serde::from_slice(&notes).ok());
        Self {
            name,
            last: last.unwrap_or_default(),
            seen: BTreeMap::new(),
            anew: false,
        }
    }

    /// What the file of that version was found to be.
    pub(super) fn known(&mut self, version: FileVersion) -> Option<&Known> {
        if let Some(known) = self.last.remove(&version) {
            self.seen.insert(version, known);
        }
        self.seen.get(&version)
    }

    pub(super) fn note(&mut self, version: FileVersion, mut known: Known) {
        if let Some(before) = self.seen.remove(&version) {
            known.kinds.extend(before.kinds);
        }
        self.seen.insert(version, known);
        self.anew = true;
    }

    /// Writes what this start saw, where that isn't what the last one left. Without it the next start takes longer,
    /// and that is all.
    pub(super) fn keep(self, cache: &Cache) {
        if !self.anew && self.last.is_empty() {
            return;
        }
        let written = rmp_serde::to_vec(&self.seen).map_err(io::Error::other);
        if let Err(error) = written.and_then(|notes| cache.seal(&self.name, &notes)) {
            tracing::debug!(%error, "what components are can't be noted");
        }
    }
}
