//! Losing power, played on a real file system.
//!
//! After `kill -9` the system's page cache still holds everything a process wrote, synced or not, so a kill
//! alone never shows a missing sync. Here a shim under the process (`tests/shim`) notes before each
//! change how to undo it, and at each sync that it stands. What is left after the kill is what a disk may
//! have lost, and [`discard`] takes it back: every file and every folder returns to its last sync.
//!
//! - [`Plan`]: what the shim is to do, as the harness tells it.
//! - [`Log`]: the notes.
//! - [`discard`]: takes back what isn't synced.
//! - [`Windows`]: where in a commit a process is, as far as its file operations tell.
//! - [`Snapshot`]: finds changes that the shim didn't see.

mod classes;
mod discard;
mod log;
mod plan;
mod snapshot;
mod windows;

pub use classes::{Changed, Class, Folders};
pub use discard::{Choice, Discarded, discard};
pub use log::{Change, FileId, Log, LogWriter, Record, State};
pub use plan::{ENVIRONMENT, Faults, Kill, Plan, Unknown};
pub use snapshot::Snapshot;
pub use windows::{Step, Window, Windows};
