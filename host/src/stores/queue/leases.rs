//! Which deliveries are being handled, in memory and in a file that outlives the process.
//!
//! The file isn't synced: it tells the next host which attempts this one's end cut off, so that an event that
//! brings the host down is noticed. After a loss of power it may tell nothing, and nothing depends on it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::files::{self, FileError};
use crate::ports::QueueError;

/// The file's name. It is a list of delivery numbers, eight bytes each, little end first; zero is nothing.
const RUNNING: &str = "running";
const ENTRY: usize = 8;

#[derive(Debug)]
pub(super) struct Leases {
    file: File,
    held: HashMap<u64, Lease>,
    /// Of these, those whose acceptance failed after they were handed out.
    lost: HashSet<u64>,
    /// The ordering keys of those that have one, with their functions.
    lanes: HashSet<(Arc<str>, String)>,
    /// Places in the file that are free, and how many there are in all.
    free: Vec<u64>,
    places: u64,
}

#[derive(Debug)]
struct Lease {
    function: Arc<str>,
    lane: Option<String>,
    place: u64,
}

impl Leases {
    /// Begins without leases. Returns also those that an ended host had.
    pub fn open(dir: &Path) -> Result<(Self, Vec<u64>), QueueError> {
        let path = dir.join(RUNNING);
        let failed = |error: FileError| QueueError::Failed {
            reason: format!("{error}; or remove it"),
        };
        let found = match files::read(&path, files::TEXT) {
            Ok(found) => found,
            Err(error) if error.is_absent() => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (entries, _) = found.as_chunks::<ENTRY>();
        let cut_off = entries
            .iter()
            .map(|entry| u64::from_le_bytes(*entry))
            .filter(|seq| *seq != 0)
            .collect();
        let leases = Self {
            file: files::create(&path).map_err(failed)?,
            held: HashMap::new(),
            lost: HashSet::new(),
            lanes: HashSet::new(),
            free: Vec::new(),
            places: 0,
        };
        Ok((leases, cut_off))
    }

    pub fn has(&self, seq: u64) -> bool {
        self.held.contains_key(&seq)
    }

    /// Notes that these were never accepted.
    pub fn lose(&mut self, seqs: &[u64]) {
        let held = seqs.iter().filter(|seq| self.held.contains_key(seq));
        self.lost.extend(held);
    }

    pub fn is_lost(&self, seq: u64) -> bool {
        self.lost.contains(&seq)
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether another of this ordering key is being handled.
    pub fn has_lane(&self, function: &Arc<str>, lane: &str) -> bool {
        !self.lanes.is_empty()
            && self
                .lanes
                .contains(&(Arc::clone(function), lane.to_owned()))
    }

    pub fn add(&mut self, seq: u64, function: &Arc<str>, lane: Option<&str>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places += 1;
            self.places - 1
        });
        self.write(place, seq);
        let function = Arc::clone(function);
        let lane = lane.map(str::to_owned);
        if let Some(lane) = &lane {
            self.lanes.insert((Arc::clone(&function), lane.clone()));
        }
        let lease = Lease {
            function,
            lane,
            place,
        };
        self.held.insert(seq, lease);
    }

    pub fn remove(&mut self, seq: u64) {
        if let Some(lease) = self.held.remove(&seq) {
            self.lost.remove(&seq);
            self.write(lease.place, 0);
            if let Some(lane) = lease.lane {
                self.lanes.remove(&(lease.function, lane));
            }
            self.free.push(lease.place);
        }
    }

    fn write(&self, place: u64, seq: u64) {
        // A full disk, say: an attempt more or less is counted then.
        if let Err(error) = self
            .file
            .write_all_at(&seq.to_le_bytes(), place * ENTRY as u64)
        {
            tracing::debug!(%error, "what runs can't be noted");
        }
    }

    /// How many there are, by function.
    pub fn by_function(&self) -> BTreeMap<String, u64> {
        let mut running = BTreeMap::new();
        for lease in self.held.values() {
            *running.entry(lease.function.to_string()).or_default() += 1;
        }
        running
    }
}
