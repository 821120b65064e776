//! Folders that others rely on: their names are on disk before anything in them is.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a folder with those above it where they are missing, and has their names on disk. The folder's own
/// name is synced even where it is there: an ended process may have made it a moment ago.
///
/// # Errors
/// Where a folder can't be made or synced.
pub fn make(path: &Path) -> io::Result<()> {
    let missing = path
        .ancestors()
        .take_while(|folder| !folder.exists())
        .count();
    fs::create_dir_all(path)?;
    for above in path.ancestors().skip(1).take(missing.max(1)) {
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        match File::open(above) {
            Ok(folder) => folder.sync_all()?,
            // A folder of somebody else's, in which this one was made by somebody else.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_where_they_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        make(&path).unwrap();
        make(&path).unwrap();
        assert!(path.is_dir());
        fs::write(dir.path().join("file"), "").unwrap();
        make(&dir.path().join("file/below")).unwrap_err();
    }
}
