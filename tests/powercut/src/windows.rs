//! Where in a commit a process is, as far as its file operations tell.
//!
//! One commit alone goes: staged files are written and synced, the store's log is synced with the
//! decision, the files are renamed out of staging and their folders synced, the store's log is synced
//! with the acknowledgement. With several commits at once their operations interleave, and a window is an
//! approximation: "decided" after a sync of the log may be another commit's, while the staged file's own is
//! still to come. Before the first rename it is exact, since only a decided commit renames.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plan::Kill;

/// A part of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Window {
    /// Right after a sync of the store's log, with nothing staged.
    Accepted,
    /// A staged file is synced, and the store's log isn't since then.
    Staged,
    /// The store's log is synced with staged files outstanding, and none is renamed since then.
    Decided,
    /// A staged file was renamed, and the store's log isn't synced since then.
    Applied,
    /// Right after the sync of the store's log that follows.
    Acknowledged,
}

impl Window {
    /// In the order of a commit.
    pub const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Staged,
        Self::Decided,
        Self::Applied,
        Self::Acknowledged,
    ];
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "accepted",
            Self::Staged => "staged",
            Self::Decided => "decided",
            Self::Applied => "applied",
            Self::Acknowledged => "acknowledged",
        })
    }
}

/// What a process does that moves it from window to window.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A staged file was synced.
    StagedFileSynced(&'a Path),
    /// The folder of staged files was synced.
    StagingFolderSynced,
    /// A staged file is about to be renamed.
    Renaming,
    /// A staged file got its name.
    Renamed(&'a Path),
    /// A staged file was removed.
    Unstaged(&'a Path),
    /// A folder of objects was synced.
    BucketFolderSynced,
    /// The store's log is about to be synced.
    SyncingStore,
    /// The store's log was synced.
    StoreSynced,
}

/// Follows the steps of one process, and says when to kill it.
#[derive(Debug, Default)]
pub struct Windows {
    kill: Option<Kill>,
    instants: u32,
    /// Synced staged files that have no name yet.
    staged: HashSet<PathBuf>,
    /// Renames since the sync of the log began that was the last to.
    renamed: u32,
    /// Renames that the sync of the log under way follows.
    followed: u32,
}

impl Windows {
    /// From the start of a process.
    pub fn new(kill: Option<Kill>) -> Self {
        Self {
            kill,
            ..Self::default()
        }
    }

    /// Takes a step. Returns the window that the process is to be killed in, now.
    #[must_use]
    pub fn step(&mut self, step: Step<'_>) -> Option<Window> {
        let window = self.window_of(step)?;
        let kill = self.kill.filter(|kill| kill.window == window)?;
        self.instants += 1;
        (self.instants == kill.nth).then_some(window)
    }

    fn window_of(&mut self, step: Step<'_>) -> Option<Window> {
        match step {
            Step::StagedFileSynced(path) => {
                self.staged.insert(path.to_owned());
                Some(Window::Staged)
            }
            Step::StagingFolderSynced => (!self.staged.is_empty()).then_some(Window::Staged),
            Step::Renaming => (self.renamed == 0).then_some(Window::Decided),
            Step::Renamed(path) => {
                self.staged.remove(path);
                self.renamed += 1;
                Some(Window::Applied)
            }
            Step::Unstaged(path) => {
                self.staged.remove(path);
                None
            }
            Step::BucketFolderSynced => (self.renamed > 0).then_some(Window::Applied),
            Step::SyncingStore => {
                self.followed = std::mem::take(&mut self.renamed);
                if self.followed > 0 {
                    Some(Window::Applied)
                } else {
                    (!self.staged.is_empty()).then_some(Window::Staged)
                }
            }
            Step::StoreSynced => Some(if self.followed > 0 {
                Window::Acknowledged
            } else if self.staged.is_empty() {
                Window::Accepted
            } else {
                Window::Decided
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_goes_through_every_window() {
        let token = Path::new("token");
        let mut windows = Windows::new(None);
        for (step, expected) in [
            (Step::SyncingStore, None),
            (Step::StoreSynced, Some(Window::Accepted)),
            (Step::StagedFileSynced(token), Some(Window::Staged)),
            (Step::StagingFolderSynced, Some(Window::Staged)),
            (Step::SyncingStore, Some(Window::Staged)),
            (Step::StoreSynced, Some(Window::Decided)),
            (Step::Renaming, Some(Window::Decided)),
            (Step::Renamed(token), Some(Window::Applied)),
            (Step::Renaming, None),
            (Step::BucketFolderSynced, Some(Window::Applied)),
            (Step::SyncingStore, Some(Window::Applied)),
            (Step::StoreSynced, Some(Window::Acknowledged)),
            (Step::BucketFolderSynced, None),
            (Step::SyncingStore, None),
            (Step::StoreSynced, Some(Window::Accepted)),
        ] {
            assert_eq!(windows.window_of(step), expected, "{step:?}");
        }
    }

    #[test]
    fn the_kill_comes_at_its_instant_and_once() {
        let kill = Kill {
            window: Window::Accepted,
            nth: 2,
        };
        let mut windows = Windows::new(Some(kill));
        let killed: Vec<_> = (0..4)
            .map(|_| windows.step(Step::StoreSynced).is_some())
            .collect();
        assert_eq!(killed, [false, true, false, false]);
    }
}
