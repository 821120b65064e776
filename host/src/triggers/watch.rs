//! Hints about a folder and the folders in it, as the operating system gives them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;

/// How watching fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The system can't watch the folder.
    #[error("can't watch folder {path}: {reason}")]
    Watch {
        /// The folder.
        path: String,
        /// Why not, and what to do.
        reason: String,
    },
}

/// Watches a folder and all in it, but for hidden ones. Each folder has a watch of its own: one that may
/// not be read then costs no other its hints, and what the host itself stages in a hidden one gives none.
pub(super) struct FolderWatch {
    watcher: RecommendedWatcher,
    root: PathBuf,
}

impl FolderWatch {
    /// Watches nothing yet.
    pub(super) fn new(root: &Path, handler: impl notify::EventHandler) -> Result<Self, WatchError> {
        let watcher = notify::recommended_watcher(handler).map_err(|error| failed(root, &error))?;
        Ok(Self {
            watcher,
            root: root.to_owned(),
        })
    }

    /// Watches the folder of a key prefix and all below; what is watched already stays so. Returns what
    /// can't be watched, other than the root: changes there wait for the next look at everything.
    ///
    /// # Errors
    /// Where the root itself can't be watched, or the system's limit is reached.
    pub(super) fn watch_below(&mut self, prefix: &str) -> Result<Vec<String>, WatchError> {
        let mut problems = Vec::new();
        let mut folders = vec![self.root.join(prefix)];
        while let Some(folder) = folders.pop() {
            // Watched first and read then: what appears in between is hinted at or found.
            if let Err(error) = self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                match kind(&error) {
                    _ if folder == self.root => return Err(failed(&folder, &error)),
                    Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                    Some(_) => {
                        problems.push(failed(&folder, &error).to_string());
                        continue;
                    }
                    None => return Err(failed(&folder, &error)),
                }
            }
            // One that can't be read, a look at it names.
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden && entry.file_type().is_ok_and(|found| found.is_dir()) {
                    folders.push(entry.path());
                }
            }
        }
        Ok(problems)
    }
}

/// What the system said; none for a limit.
fn kind(error: &notify::Error) -> Option<ErrorKind> {
    match &error.kind {
        notify::ErrorKind::Io(error) => Some(error.kind()),
        notify::ErrorKind::PathNotFound => Some(ErrorKind::NotFound),
        _ => None,
    }
}

fn failed(folder: &Path, error: &notify::Error) -> WatchError {
    let reason = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system's limit of watches is reached; raise `fs.inotify.max_user_watches`"
                .to_owned()
        }
        notify::ErrorKind::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
            format!("{error}; mend its permissions")
        }
        notify::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    WatchError::Watch {
        path: folder.display().to_string(),
        reason,
    }
}
