//! The notes of what isn't synced: written before each change, read after the kill.
//!
//! A file of frames that only grows: the length of a record in four bytes, little end first, and the record
//! as MessagePack. A kill can tear the last frame: then the change it speaks of wasn't begun.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::classes::Class;
use crate::windows::Window;

const NAME: &str = "log";
const KEPT: &str = "kept";

/// A file or folder, whatever its name. A kept link holds a removed file's number; a removed folder's may
/// be given to another, which then ends some notes early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of what this metadata describes.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// What a file was before a change of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Bytes.
    pub length: u64,
    /// The modification time in seconds.
    pub modified: i64,
    /// And the nanoseconds of it.
    pub modified_nanos: i64,
}

impl State {
    /// From a file's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
        }
    }
}

/// A change of names in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A file, folder or link was made where nothing was.
    Made {
        /// Its path.
        path: PathBuf,
    },
    /// A file or link was removed.
    Removed {
        /// Its path.
        path: PathBuf,
        /// A link to it.
        kept: PathBuf,
    },
    /// An empty folder was removed.
    RemovedFolder {
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Something got another name. One change, as on a journalling file system: it stands once the folder
    /// of the new name is synced.
    Renamed {
        /// Its old path.
        from: PathBuf,
        /// Its new path.
        to: PathBuf,
        /// What was renamed.
        moved: FileId,
        /// A link to what had the new name.
        replaced: Option<PathBuf>,
    },
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The bytes or the length of a file change.
    Bytes {
        /// Which file.
        file: FileId,
        /// Its path at that time.
        path: PathBuf,
        /// What it was.
        was: State,
        /// Where the bytes were.
        at: u64,
        /// What they were.
        bytes: ByteBuf,
    },
    /// An extended attribute of a file changes.
    Attribute {
        /// Which file.
        file: FileId,
        /// Its path at that time.
        path: PathBuf,
        /// The attribute.
        name: String,
        /// What it was, if there.
        was: Option<ByteBuf>,
    },
    /// The names in a folder change.
    Names {
        /// Which folder.
        folder: FileId,
        /// How.
        change: Change,
    },
    /// A file or folder was synced: notes of it that begin before this place are done with.
    Synced {
        /// Which.
        file: FileId,
        /// Where the log ended when the sync began.
        before: u64,
    },
    /// Everything was synced.
    AllSynced {
        /// Where the log ended when the sync began.
        before: u64,
    },
    /// A sync said it was done and wasn't.
    Lied {
        /// Which sync.
        class: Class,
    },
    /// A call was made to fail or to fall short.
    Failed {
        /// Of what.
        path: PathBuf,
        /// How.
        how: String,
    },
    /// The process kills itself here.
    Killed {
        /// Inside of which window.
        window: Window,
    },
}

/// Adds notes to a log.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    file: File,
}

impl LogWriter {
    /// Goes on with the log in `dir`, or begins it.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir.join(KEPT))?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(NAME))?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
        })
    }

    /// Adds a note.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let body = rmp_serde::to_vec(record).map_err(io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut frame = length.to_le_bytes().to_vec();
        frame.extend(body);
        self.file.write_all(&frame)
    }

    /// Where the log ends.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn position(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// A path for a link to what is about to be removed: none was given out twice, if a note follows each.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn keep(&self) -> io::Result<PathBuf> {
        Ok(self.dir.join(KEPT).join(self.position()?.to_string()))
    }
}

/// A log, read.
#[derive(Debug, Default)]
pub struct Log {
    /// Each with the place where it begins, in order.
    pub records: Vec<(u64, Record)>,
}

impl Log {
    /// Reads the log in `dir`; empty where there is none.
    ///
    /// # Errors
    /// Where it can't be read, or isn't a log.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let bytes = match fs::read(dir.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        let mut position = 0;
        while let Some((length, after)) = rest.split_first_chunk::<4>()
            && let Some(body) = after.get(..u32::from_le_bytes(*length) as usize)
        {
            let record = rmp_serde::from_slice(body).map_err(io::Error::other)?;
            records.push((position, record));
            position += 4 + body.len() as u64;
            rest = after.get(body.len()..).unwrap_or_default();
        }
        Ok(Self { records })
    }

    /// The changes that no sync made stand, in order.
    pub fn unsynced(&self) -> Vec<&Record> {
        let mut synced: HashMap<FileId, u64> = HashMap::new();
        let mut all = 0;
        for (_, record) in &self.records {
            match record {
                Record::Synced { file, before } => {
                    let until = synced.entry(*file).or_default();
                    *until = (*until).max(*before);
                }
                Record::AllSynced { before } => all = all.max(*before),
                _ => {}
            }
        }
        let stands = |position: u64, file: &FileId| {
            position < all || synced.get(file).is_some_and(|until| position < *until)
        };
        self.records
            .iter()
            .filter(|(position, record)| match record.changes() {
                Some(file) => !stands(*position, &file),
                None => false,
            })
            .map(|(_, record)| record)
            .collect()
    }

    /// Ends the log in `dir`: what is there now is what the disk has.
    ///
    /// # Errors
    /// Where it can't be removed.
    pub fn clear(dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }
}

impl Record {
    /// The file or folder whose sync makes this change stand.
    pub fn changes(&self) -> Option<FileId> {
        match self {
            Self::Bytes { file, .. } | Self::Attribute { file, .. } => Some(*file),
            Self::Names { folder, .. } => Some(*folder),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(inode: u64) -> Record {
        Record::Bytes {
            file: FileId { device: 1, inode },
            path: PathBuf::from("/a"),
            was: State {
                length: 0,
                modified: 0,
                modified_nanos: 0,
            },
            at: 0,
            bytes: ByteBuf::new(),
        }
    }

    #[test]
    fn a_sync_ends_what_was_noted_before_it_began_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path()).unwrap();
        log.append(&bytes(1)).unwrap();
        log.append(&bytes(2)).unwrap();
        let before = log.position().unwrap();
        log.append(&bytes(1)).unwrap();
        let file = FileId {
            device: 1,
            inode: 1,
        };
        log.append(&Record::Synced { file, before }).unwrap();
        let log = Log::read(dir.path()).unwrap();
        assert_eq!(log.unsynced(), [&bytes(2), &bytes(1)]);
    }

    #[test]
    fn a_torn_note_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path()).unwrap();
        log.append(&bytes(1)).unwrap();
        let whole = log.position().unwrap();
        log.append(&bytes(2)).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(dir.path().join(NAME))
            .unwrap();
        for length in [whole + 2, whole + 7] {
            file.set_len(length).unwrap();
            assert_eq!(Log::read(dir.path()).unwrap().records, [(0, bytes(1))]);
        }
    }
}
