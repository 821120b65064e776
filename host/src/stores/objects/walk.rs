//! Lists a folder in the byte order of keys, reading only the directories that a page needs.

use std::io;

use cap_std::fs::{Dir, FileType, Metadata};

use crate::ports::validate_key;

/// What to list.
pub(super) struct Query<'a> {
    pub prefix: &'a str,
    pub after: Option<&'a str>,
    pub limit: usize,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub files: Vec<(String, Metadata)>,
    pub problems: Vec<String>,
}

/// Lists regular files below `root`. Links to files are followed as long as they stay inside; links to
/// directories aren't, since they could make a circle.
pub(super) fn walk(root: &Dir, query: &Query<'_>) -> io::Result<Found> {
    let mut found = Found::default();
    descend(root, "", query, &mut found)?;
    Ok(found)
}

struct Entry {
    /// The key, with a slash at its end for a directory: this makes the order of entries that of the
    /// keys below them.
    key: String,
    file_type: FileType,
}

fn descend(dir: &Dir, base: &str, query: &Query<'_>, found: &mut Found) -> io::Result<()> {
    for entry in entries(dir, base, query, found)? {
        if found.files.len() >= query.limit {
            return Ok(());
        }
        let name = entry
            .key
            .strip_prefix(base)
            .unwrap_or(&entry.key)
            .trim_end_matches('/');
        if entry.file_type.is_dir() {
            match dir.open_dir(name) {
                Ok(below) => descend(&below, &entry.key, query, found)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.problems.push(format!(
                    "folder {:?} can't be read: {error}; mend its permissions",
                    entry.key
                )),
            }
            continue;
        }
        match file_metadata(dir, name, entry.file_type) {
            Ok(metadata) => found.files.push((entry.key, metadata)),
            Err(Skip::Gone) => {}
            Err(Skip::Problem(why)) => {
                found.problems.push(format!("file {:?} {why}", entry.key));
            }
        }
    }
    Ok(())
}

/// The entries of one directory that the page may need, in the order of keys.
fn entries(dir: &Dir, base: &str, query: &Query<'_>, found: &mut Found) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in dir.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            found.problems.push(format!(
                "file name {name:?} in {base:?} isn't UTF-8, so it can't be a key; rename it"
            ));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let file_type = match entry.file_type() {
            Ok(file_type) => file_type,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let slash = if file_type.is_dir() { "/" } else { "" };
        let key = format!("{base}{name}{slash}");
        if !wanted(&key, file_type.is_dir(), query) {
            continue;
        }
        if let Err(problem) = validate_key(key.trim_end_matches('/')) {
            found.problems.push(format!("{problem}; rename the file"));
            continue;
        }
        entries.push(Entry { key, file_type });
    }
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}

fn wanted(key: &str, is_dir: bool, query: &Query<'_>) -> bool {
    let in_prefix = key.starts_with(query.prefix) || (is_dir && query.prefix.starts_with(key));
    let past = query
        .after
        .is_none_or(|after| key > after || (is_dir && after.starts_with(key)));
    in_prefix && past
}

pub(super) enum Skip {
    Gone,
    Problem(String),
}

/// The metadata of a regular file, or of the one that a link inside the folder leads to.
pub(super) fn file_metadata(dir: &Dir, name: &str, file_type: FileType) -> Result<Metadata, Skip> {
    let metadata = if file_type.is_symlink() {
        dir.metadata(name)
    } else {
        dir.symlink_metadata(name)
    };
    match metadata {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(metadata) if metadata.is_dir() => Err(Skip::Problem(
            "is a link to a folder, which isn't followed; move the folder here".to_owned(),
        )),
        Ok(_) => Err(Skip::Problem(
            "isn't a regular file; move it away".to_owned(),
        )),
        Err(error) if file_type.is_symlink() => Err(Skip::Problem(format!(
            "is a link that leads nowhere or out of the bucket ({error}); copy the file here"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Skip::Gone),
        Err(error) => Err(Skip::Problem(format!(
            "can't be read: {error}; mend its permissions"
        ))),
    }
}
