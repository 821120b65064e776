//! Which sync of the host a sync is, by what it syncs.

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::log::FileId;
use crate::plan::Unknown;

const STATE: &str = ".kinglet";
const STAGING: &str = ".kinglet-staging";

/// What a sync of the host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// The store's log: every commit.
    Store,
    /// The store's file, when the log is moved into it.
    StoreFile,
    /// The folder with the store's files, when one was made.
    StoreFolder,
    /// The application's id, which its staged files are kept under.
    Identity,
    /// The list of the folders that are marked as its buckets.
    Buckets,
    /// The folders that hold the store and the staged files, when one was made.
    StateFolder,
    /// The contents and metadata of a staged file.
    StagedFile,
    /// The name of a staged file.
    StagingFolder,
    /// The folder of a key with a slash, when it was made.
    NewFolder,
    /// The names of objects.
    BucketFolder,
    /// Anything else.
    Other,
}

impl Class {
    /// Those that the host relies on.
    pub const ALL: [Self; 10] = [
        Self::Store,
        Self::StoreFile,
        Self::StoreFolder,
        Self::Identity,
        Self::Buckets,
        Self::StateFolder,
        Self::StagedFile,
        Self::StagingFolder,
        Self::NewFolder,
        Self::BucketFolder,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::StoreFile => "store-file",
            Self::StoreFolder => "store-folder",
            Self::Identity => "identity",
            Self::Buckets => "buckets",
            Self::StateFolder => "state-folder",
            Self::StagedFile => "staged-file",
            Self::StagingFolder => "staging-folder",
            Self::NewFolder => "new-folder",
            Self::BucketFolder => "bucket-folder",
            Self::Other => "other",
        }
    }

    /// The class of a file's sync, by its path below the watched folder.
    pub fn of_file(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            _ if is_below(path, STAGING) => Self::StagedFile,
            Some("id") if path.starts_with(STATE) => Self::Identity,
            Some("buckets.json.new") if path.starts_with(STATE) => Self::Buckets,
            Some(name) if path.starts_with(STATE) && name.ends_with("-wal") => Self::Store,
            Some(name) if path.starts_with(STATE) && name.ends_with(".sqlite") => Self::StoreFile,
            _ => Self::Other,
        }
    }

    /// The class of a folder's sync, by its path below the watched folder and what changed in it.
    pub fn of_folder(path: &Path, changed: Changed) -> Self {
        if path == Path::new(STATE) {
            Self::StoreFolder
        } else if path.as_os_str().is_empty() || path.ends_with(STAGING) {
            Self::StateFolder
        } else if is_below(path, STAGING) {
            Self::StagingFolder
        } else if changed.names {
            Self::BucketFolder
        } else if changed.hidden_folders && !changed.folders {
            Self::StateFolder
        } else {
            Self::NewFolder
        }
    }
}

fn is_below(path: &Path, folder: &str) -> bool {
    path.components()
        .any(|part| part == Component::Normal(folder.as_ref()))
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        let found = Self::ALL.into_iter().find(|class| class.name() == name);
        found.ok_or_else(|| Unknown {
            name: name.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// What changed in a folder since its last sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Objects got or lost their names.
    pub names: bool,
    /// Folders of keys were made.
    pub folders: bool,
    /// Folders of the host's own were made.
    pub hidden_folders: bool,
}

/// What changed in each folder since its last sync, by which the syncs of a bucket are told apart.
#[derive(Debug, Default)]
pub struct Folders(HashMap<FileId, Changed>);

impl Folders {
    /// An object got or lost its name.
    pub fn named(&mut self, folder: FileId) {
        self.0.entry(folder).or_default().names = true;
    }

    /// A folder was made.
    pub fn made(&mut self, folder: FileId, name: &Path) {
        let changed = self.0.entry(folder).or_default();
        if name.to_string_lossy().starts_with('.') {
            changed.hidden_folders = true;
        } else {
            changed.folders = true;
        }
    }

    /// Takes what changed, as a sync begins.
    pub fn take(&mut self, folder: FileId) -> Changed {
        self.0.remove(&folder).unwrap_or_default()
    }

    /// Puts back what a sync took that synced nothing.
    pub fn put_back(&mut self, folder: FileId, taken: Changed) {
        let changed = self.0.entry(folder).or_default();
        changed.names |= taken.names;
        changed.folders |= taken.folders;
        changed.hidden_folders |= taken.hidden_folders;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_told_apart() {
        for (path, expected) in [
            (".kinglet/events.sqlite-wal", Class::Store),
            (".kinglet/events.sqlite", Class::StoreFile),
            (".kinglet/id", Class::Identity),
            (".kinglet/buckets.json.new", Class::Buckets),
            (".kinglet/logs/journal.jsonl", Class::Other),
            ("out/.kinglet-staging/me/token", Class::StagedFile),
            ("out/object", Class::Other),
        ] {
            assert_eq!(Class::of_file(Path::new(path)), expected, "{path}");
        }
        let names = Changed {
            names: true,
            ..Changed::default()
        };
        let hidden = Changed {
            hidden_folders: true,
            ..Changed::default()
        };
        for (path, changed, expected) in [
            ("", names, Class::StateFolder),
            (".kinglet", Changed::default(), Class::StoreFolder),
            ("out/.kinglet-staging", hidden, Class::StateFolder),
            ("out", hidden, Class::StateFolder),
            ("out/.kinglet-staging/me", names, Class::StagingFolder),
            ("out/a/b", Changed::default(), Class::NewFolder),
            ("out/a/b", names, Class::BucketFolder),
            ("out", names, Class::BucketFolder),
        ] {
            assert_eq!(
                Class::of_folder(Path::new(path), changed),
                expected,
                "{path} {changed:?}"
            );
        }
    }

    #[test]
    fn names_are_read_back() {
        for class in Class::ALL {
            assert_eq!(class.to_string().parse::<Class>().unwrap(), class);
        }
        assert!("nothing".parse::<Class>().is_err());
    }
}
