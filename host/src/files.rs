//! Files that are opened by path: regular ones, and no more of them than their reader has room for.
//!
//! A path leads to whatever somebody put there. A named pipe without a writer never opens, and a device
//! never ends; either would hold up a start, a reload or a stop for good.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

/// The largest of the host's own small files: ids, locks, seals.
pub const SMALL: u64 = 64 << 10;
/// The largest manifest, certificate, key, list of secrets or list of buckets.
pub const TEXT: u64 = 16 << 20;
/// The largest body or event that the command line takes, as one request of the control socket.
pub const INPUT: u64 = 256 << 20;

/// The names by which a process reads what its parent opened for it: a pipe there has its writer.
const OPENED_BY_PARENT: [&str; 2] = ["/dev/fd", "/proc/self/fd"];
/// The names of standard input, which is read as it is: a named pipe mustn't be opened a second time.
const STANDARD_INPUT: [&str; 4] = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// A file that can't be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refuses it.
    #[error("can't {doing} {}: {error}", .path.display())]
    Io {
        /// The purpose: to read or to write.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A pipe, device, socket or folder.
    #[error("can't use {}: it isn't a file but {kind}; name a regular file", .path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// The kind of what is there, with its article.
        kind: &'static str,
    },
    /// More than its reader has room for.
    #[error("can't read {}: it has {size}, and at most {most} bytes are read; name a smaller file", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, as text.
        size: String,
        /// The most that is read, in bytes.
        most: u64,
    },
    /// Bytes that aren't UTF-8.
    #[error("can't read {}: it isn't UTF-8; name a text file", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl FileError {
    /// Returns whether there is no such file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { error, .. } => error,
            error => Self::other(error),
        }
    }
}

/// Opens a regular file to be read. Never waits for the other end of a pipe.
///
/// # Errors
/// Where the file can't be opened, or isn't a regular one.
pub fn open(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(without_waiting())
        .open(path);
    checked("read", path, file)
}

/// Opens a regular file to be written, empty, and makes it where it is missing. Never waits for the other
/// end of a pipe.
///
/// # Errors
/// Where the file can't be opened, or isn't a regular one.
pub fn create(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(without_waiting())
        .open(path);
    checked("write", path, file)
}

/// Opens a regular file to be appended to, and makes it where it is missing.
///
/// # Errors
/// Where the file can't be opened, or isn't a regular one.
pub fn append(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(without_waiting())
        .open(path);
    checked("write", path, file)
}

/// Opens a folder.
///
/// # Errors
/// Where there is none, or it can't be read.
pub fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(bits(flags))
        .open(path)
}

/// Reads a regular file of up to `most` bytes.
///
/// # Errors
/// Where the file can't be read, isn't a regular one, or has more.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    read_up_to(path, &file, most)
}

/// Reads a regular text file of up to `most` bytes.
///
/// # Errors
/// As `read`, and where the file isn't UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, most)?).map_err(|_| FileError::NotText {
        path: path.to_owned(),
    })
}

/// Reads what a person named on the command line: a regular file, `-` for standard input, or a pipe that
/// the shell opened, as in `<(command)`. Waits for that pipe's end.
///
/// # Errors
/// As `read`.
pub fn read_input(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    if STANDARD_INPUT.iter().any(|name| path == Path::new(name)) {
        return read_up_to(Path::new("standard input"), io::stdin().lock(), most);
    }
    if !OPENED_BY_PARENT
        .iter()
        .any(|opened| path.starts_with(opened))
    {
        return read(path, most);
    }
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    let found = file
        .metadata()
        .map_err(|error| failed("read", path, error))?;
    if found.is_dir() || found.file_type().is_block_device() {
        return Err(not_regular(path, &found));
    }
    read_up_to(path, &file, most)
}

/// Reads up to `most` bytes of `from`; `path` is for errors.
///
/// # Errors
/// Where it can't be read, or has more.
pub fn read_up_to(path: &Path, from: impl Read, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failed("read", path, error))?;
    if bytes.len() as u64 > most {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
            size: format!("more than {most} bytes"),
            most,
        });
    }
    Ok(bytes)
}

fn checked(doing: &'static str, path: &Path, file: io::Result<File>) -> Result<File, FileError> {
    // Nobody reads a pipe, or a socket lies there: what it is says more than the system's number.
    let file = file.map_err(|error| match path.metadata() {
        Ok(found) if !found.is_file() => not_regular(path, &found),
        _ => failed(doing, path, error),
    })?;
    let found = file
        .metadata()
        .map_err(|error| failed(doing, path, error))?;
    if !found.is_file() {
        return Err(not_regular(path, &found));
    }
    Ok(file)
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> FileError {
    FileError::Io {
        doing,
        path: path.to_owned(),
        error,
    }
}

fn not_regular(path: &Path, found: &Metadata) -> FileError {
    let found = found.file_type();
    let kind = if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    FileError::NotRegular {
        path: path.to_owned(),
        kind,
    }
}

fn without_waiting() -> i32 {
    bits(OFlags::NONBLOCK | OFlags::NOCTTY)
}

fn bits(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    /// A certificate that was a pipe held up the host's stop until it was killed, and a link to
    /// `/dev/zero` took its memory.
    #[test]
    fn only_regular_files_within_their_bound_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("text"), "four").unwrap();
        assert_eq!(read_text(&at("text"), 4).unwrap(), "four");
        pipe(&at("pipe"));
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        std::fs::write(at("bytes"), [0xff]).unwrap();
        for (name, most, says) in [
            ("pipe", 4, "a pipe"),
            ("zero", 4, "a device"),
            ("socket", 4, "a socket"),
            (".", 4, "a folder"),
            ("text", 3, "at most 3 bytes"),
            ("bytes", 4, "UTF-8"),
            ("none", 4, "No such file"),
        ] {
            let error = read_text(&at(name), most).unwrap_err();
            assert!(error.to_string().contains(says), "{name}: {error}");
            assert!(error.to_string().contains(name), "{name}: {error}");
            assert_eq!(error.is_absent(), name == "none");
        }
        for name in ["pipe", "zero", "socket"] {
            create(&at(name)).unwrap_err();
            append(&at(name)).unwrap_err();
        }
        open_folder(&at("pipe")).unwrap_err();
        open_folder(dir.path()).unwrap();
    }

    #[test]
    fn a_pipe_that_the_parent_opened_is_read() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"sent").unwrap();
        drop(writer);
        let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        assert_eq!(read_input(&path, 4).unwrap(), b"sent");
    }
}
