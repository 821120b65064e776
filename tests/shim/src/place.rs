//! Which file or folder a call is about.

use std::ffi::{CStr, OsStr, c_int};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kinglet_powercut::FileId;

/// What a call names.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// An open file or folder.
    Open(c_int),
    /// A path, from an open folder or the current one.
    Path(c_int, &'a CStr),
}

/// A file or folder below the watched one.
pub struct Found {
    pub path: PathBuf,
    pub id: FileId,
    pub metadata: Metadata,
}

impl Found {
    /// None where it isn't below `root`. A link at the path's end is followed.
    pub fn new(root: &Path, target: Target<'_>) -> Option<Self> {
        let path = match target {
            Target::Open(fd) => fs::read_link(link(fd)).ok()?,
            Target::Path(folder, path) => fs::canonicalize(joined(folder, path)?).ok()?,
        };
        if !path.starts_with(root) {
            return None;
        }
        let metadata = match target {
            // It may have lost its name.
            Target::Open(fd) => fs::metadata(link(fd)),
            Target::Path(..) => fs::metadata(&path),
        };
        let metadata = metadata.ok()?;
        Some(Self {
            path,
            id: FileId::of(&metadata),
            metadata,
        })
    }
}

/// A name in a folder below the watched one, or in that itself, whether or not there is anything.
pub struct Place {
    pub folder: FileId,
    pub path: PathBuf,
}

impl Place {
    /// None where its folder isn't below `root`.
    pub fn new(root: &Path, folder: c_int, path: &CStr) -> Option<Self> {
        let joined = joined(folder, path)?;
        let name = joined.file_name()?;
        let parent = match joined.parent()? {
            parent if parent.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        let parent = fs::canonicalize(parent).ok()?;
        if !parent.starts_with(root) {
            return None;
        }
        Some(Self {
            folder: FileId::of(&fs::metadata(&parent).ok()?),
            path: parent.join(name),
        })
    }

    /// What is there now; a link itself.
    pub fn found(&self) -> Option<Metadata> {
        fs::symlink_metadata(&self.path).ok()
    }
}

/// The system's own link to an open file.
pub fn link(fd: c_int) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{fd}"))
}

fn joined(folder: c_int, path: &CStr) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    if path.is_absolute() || folder == libc::AT_FDCWD {
        return Some(path.to_owned());
    }
    Some(fs::read_link(link(folder)).ok()?.join(path))
}
