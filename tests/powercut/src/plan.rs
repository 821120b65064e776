//! What the harness has the shim do.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::classes::Class;
use crate::windows::Window;

/// The environment variable that carries the plan, as JSON. Without it the shim does nothing.
pub const ENVIRONMENT: &str = "KINGLET_POWERCUT";

/// What the shim does in one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What happens below this folder is watched. A canonical path.
    pub root: PathBuf,
    /// Where notes are kept: outside of `root`, in the same file system, since removed files are kept
    /// there as links.
    pub undo: PathBuf,
    /// Decides which calls fail.
    pub seed: u64,
    /// Where the process kills itself.
    pub kill: Option<Kill>,
    /// Syncs that say they are done and do nothing, as if they weren't in the code.
    pub without: Option<Class>,
    /// What fails.
    pub faults: Option<Faults>,
    /// The process is killed at its first change or sync: a loss of power ends what runs beside the host as
    /// well, before it can take over the store.
    pub idle: bool,
}

impl Plan {
    /// From the environment's text.
    ///
    /// # Errors
    /// Where it isn't a plan.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// For the environment.
    ///
    /// # Errors
    /// Where a path isn't UTF-8.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// The process kills itself in a window of a commit, at the n-th instant inside of it, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Which window.
    pub window: Window,
    /// At which instant.
    pub nth: u32,
}

/// How many of a million calls fail. A failed sync has synced nothing, and a later one may do it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Faults {
    /// Writes: half of them with EIO, half with ENOSPC.
    pub writes: u32,
    /// Writes that take a part of the bytes.
    pub short_writes: u32,
    /// Syncs, with EIO.
    pub syncs: u32,
}

/// A name that stands for nothing.
#[derive(Debug)]
pub struct Unknown {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} isn't one of {}", self.name, self.known)
    }
}

impl std::error::Error for Unknown {}
