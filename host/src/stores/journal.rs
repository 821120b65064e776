//! The journal as JSON lines in files: one record a line, the newest file rotated when it is full.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files::{self, FileError};
use crate::ports::{Journal, Record};

const CURRENT: &str = "journal.jsonl";
/// A full file becomes `journal.1.jsonl`, that one `journal.2.jsonl`, and so on.
const FILE_BYTES: u64 = 16 << 20;
/// The longest line that is read, in bytes: longer than any record.
const LINE: u64 = 256 << 20;
/// How many full files stay.
const KEPT_FILES: u32 = 4;

/// Writes the journal of one host.
#[derive(Debug)]
pub struct FileJournal {
    dir: PathBuf,
    /// Whoever is next for the state holds it: one that writes again and again lets others in between.
    next: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    bytes: u64,
    failing: bool,
}

impl FileJournal {
    /// Opens the journal in `dir`, making it where it is missing.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (file, bytes) = open_current(dir)?;
        let state = State {
            file,
            bytes,
            failing: false,
        };
        Ok(Self {
            dir: dir.to_owned(),
            next: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(next);
        if state.bytes >= FILE_BYTES {
            rotate(&self.dir)?;
            (state.file, state.bytes) = open_current(&self.dir)?;
        } else if !state.is_in_place(&self.dir) {
            // Somebody removed or replaced it: nobody would find what is written to it.
            let opened = open_current(&self.dir).or_else(|_| {
                fs::create_dir(&self.dir)?;
                open_current(&self.dir)
            });
            // Where the folder above is gone too it may be put back, with the file that is open.
            if let Ok(opened) = opened {
                (state.file, state.bytes) = opened;
            }
        }
        state.file.write_all(line)?;
        state.bytes += line.len() as u64;
        state.failing = false;
        Ok(())
    }
}

impl Journal for FileJournal {
    fn write(&self, record: Record) {
        let record = record.bounded();
        let line = serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .map(|mut line| {
                line.push(b'\n');
                line
            });
        if let Err(error) = line.and_then(|line| self.append(&line)) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::replace(&mut state.failing, true) {
                tracing::error!(folder = %self.dir.display(), %error, "logs are being lost; mend the disk");
            }
        }
    }
}

impl State {
    fn is_in_place(&self, dir: &Path) -> bool {
        let id = |found: fs::Metadata| (found.dev(), found.ino());
        let there = fs::metadata(dir.join(CURRENT)).map(id);
        there.is_ok_and(|there| self.file.metadata().is_ok_and(|open| id(open) == there))
    }
}

fn open_current(dir: &Path) -> io::Result<(File, u64)> {
    let file = files::append(&dir.join(CURRENT))?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

fn rotated(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("journal.{number}.jsonl"))
}

fn rotate(dir: &Path) -> io::Result<()> {
    for number in (1..KEPT_FILES).rev() {
        match fs::rename(rotated(dir, number), rotated(dir, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(dir.join(CURRENT), rotated(dir, 1))
}

/// Reads a journal that another process may be writing.
#[derive(Debug)]
pub struct JournalReader {
    dir: PathBuf,
    /// Full files that are still to be read, the next one last.
    older: Vec<PathBuf>,
    current: Option<(BufReader<File>, u64)>,
    /// A line that isn't ended yet.
    partial: Vec<u8>,
}

impl JournalReader {
    /// From the oldest record that is kept.
    pub fn from_start(dir: &Path) -> Self {
        let older = (1..=KEPT_FILES)
            .map(|number| rotated(dir, number))
            .filter(|path| path.exists());
        Self {
            dir: dir.to_owned(),
            older: older.collect(),
            current: None,
            partial: Vec::new(),
        }
    }

    /// Only what is written from now on.
    ///
    /// # Errors
    /// Where the journal is there and can't be read.
    pub fn from_end(dir: &Path) -> io::Result<Self> {
        let mut reader = Self {
            dir: dir.to_owned(),
            older: Vec::new(),
            current: None,
            partial: Vec::new(),
        };
        if reader.open_next()?
            && let Some((file, _)) = &mut reader.current
        {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(reader)
    }

    /// The next record; none where there is none yet. A line that isn't a record is skipped: an older
    /// or newer Kinglet wrote it.
    ///
    /// # Errors
    /// Where the journal can't be read.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some((file, inode)) = &mut self.current else {
                return Ok(None);
            };
            let inode = *inode;
            let room = LINE.saturating_sub(self.partial.len() as u64);
            Read::take(file, room).read_until(b'\n', &mut self.partial)?;
            if self.partial.len() as u64 >= LINE && self.partial.last() != Some(&b'\n') {
                // No record is as long: the rest of the line is no record either.
                self.partial.clear();
                continue;
            }
            if self.partial.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.partial);
                if let Ok(record) = serde_json::from_slice(&line) {
                    return Ok(Some(record));
                }
                continue;
            }
            // The end for now: of this file for good where it was rotated meanwhile.
            let current = fs::metadata(self.dir.join(CURRENT)).map(|metadata| metadata.ino());
            if self.older.is_empty() && current.is_ok_and(|current| current == inode) {
                return Ok(None);
            }
            if self.older.is_empty() && !self.dir.join(CURRENT).exists() {
                return Ok(None);
            }
            self.partial.clear();
            self.current = None;
        }
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let path = self.older.pop().unwrap_or_else(|| self.dir.join(CURRENT));
        let file = match files::open(&path) {
            Ok(file) => file,
            Err(error) if error.is_absent() => return Ok(false),
            Err(FileError::Io { error, .. }) => {
                let text = format!("can't read {}: {error}", path.display());
                return Err(io::Error::new(error.kind(), text));
            }
            Err(error) => return Err(error.into()),
        };
        let inode = file.metadata()?.ino();
        self.current = Some((BufReader::new(file), inode));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{Level, RecordKind};

    fn record(text: &str) -> Record {
        Record {
            time: 1,
            function: Some("f".to_owned()),
            source: None,
            event: None,
            subject: None,
            attempt: None,
            kind: RecordKind::Host {
                level: Level::Info,
                text: text.to_owned(),
            },
        }
    }

    fn texts(reader: &mut JournalReader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_record().unwrap())
            .map(|record| match record.kind {
                RecordKind::Host { text, .. } => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_reader_follows_over_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let journal = FileJournal::open(dir.path()).unwrap();
        journal.write(record("before"));
        let mut from_end = JournalReader::from_end(dir.path()).unwrap();
        let mut from_start = JournalReader::from_start(dir.path());
        assert_eq!(texts(&mut from_start), ["before"]);
        journal.write(record("one"));
        journal.state.lock().unwrap().bytes = FILE_BYTES;
        journal.write(record("two"));
        assert_eq!(texts(&mut from_start), ["one", "two"]);
        assert_eq!(texts(&mut from_end), ["one", "two"]);
        assert_eq!(
            texts(&mut JournalReader::from_start(dir.path())),
            ["before", "one", "two"]
        );
    }

    /// The folder of the logs was removed under the host, and nobody saw its logs from then on.
    #[test]
    fn a_journal_whose_folder_is_removed_goes_to_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let journal = FileJournal::open(&logs).unwrap();
        journal.write(record("before"));
        fs::remove_dir_all(&logs).unwrap();
        journal.write(record("after"));
        assert_eq!(texts(&mut JournalReader::from_start(&logs)), ["after"]);
        // One that is put back from a copy is written on.
        fs::rename(&logs, dir.path().join("moved")).unwrap();
        fs::create_dir(&logs).unwrap();
        fs::copy(dir.path().join("moved").join(CURRENT), logs.join(CURRENT)).unwrap();
        journal.write(record("again"));
        let mut reader = JournalReader::from_start(&logs);
        assert_eq!(texts(&mut reader), ["after", "again"]);
    }

    #[test]
    fn an_outcome_survives_the_journey() {
        use crate::ports::{Cost, Failure, Outcome};
        let dir = tempfile::tempdir().unwrap();
        let journal = FileJournal::open(dir.path()).unwrap();
        let mut written = record("");
        written.kind = RecordKind::Outcome {
            outcome: Outcome::Failed(Failure::Retry {
                reason: "later".to_owned(),
                after_ms: Some(5),
            }),
            text: "x".to_owned(),
            settled: false,
            dead: false,
            retry_in_ms: Some(5),
            cost: Cost {
                fuel: 1,
                peak_memory: 2,
                start_us: 3,
                run_us: 4,
            },
            queue_ms: 9,
            outputs: vec!["thumbs/a.jpg".to_owned()],
            published: vec!["made".to_owned()],
            left_out: 0,
        };
        journal.write(written.clone());
        assert_eq!(
            JournalReader::from_start(dir.path()).next_record().unwrap(),
            Some(written)
        );
    }
}
