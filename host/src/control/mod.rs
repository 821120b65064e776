//! What the command line and a running host speak: a socket beside the application's state, which only
//! its owner can open.

mod client;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use client::Client;
pub use server::{Control, Restore, answer};

use crate::clock::Timestamp;
use crate::events::NewMessage;
use crate::ports::{Accepted, Count, DeadFilter, DeadLetter, Listed, MemoryUse};

const SOCKET: &str = "control.sock";
/// The largest request or answer.
const MAX_FRAME: u32 = 256 << 20;

/// What a running host is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Publish messages: all of them or none.
    Publish {
        /// In this order.
        messages: Vec<NewMessage>,
    },
    /// Wake a function for every object below a prefix.
    Run {
        /// The function's name.
        function: String,
        /// The bucket's name.
        bucket: String,
        /// Keys start with this.
        prefix: String,
        /// The source that the events get.
        run: String,
    },
    /// Tell what the store holds for each function.
    Status,
    /// Tell what is wrong with the store and the buckets.
    Problems,
    /// Tell the events that a function has still to handle.
    Events {
        /// The function's name.
        function: String,
        /// At most so many.
        limit: usize,
    },
    /// Tell dead letters.
    DeadLetters {
        /// Which.
        filter: DeadFilter,
        /// Only with higher numbers.
        after: Option<u64>,
        /// At most so many.
        limit: usize,
    },
    /// Make dead letters deliveries again.
    Redrive {
        /// Which.
        filter: DeadFilter,
        /// So many a second; none: at once.
        rate: Option<f64>,
    },
    /// Remove dead letters for good.
    DropDead {
        /// Which.
        filter: DeadFilter,
    },
    /// Stop giving a function its events, or go on.
    Pause {
        /// The function's name.
        function: String,
        /// Whether to stop.
        paused: bool,
    },
    /// Write the whole store into a new file.
    Backup {
        /// The file's absolute path.
        to: PathBuf,
    },
    /// Put a backup in the place of the store: the host finishes what runs, and goes on with the backup.
    Restore {
        /// The file's absolute path.
        from: PathBuf,
    },
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Each message's id, and whether it was new.
    Published(Vec<(String, Accepted)>),
    /// How many events were accepted.
    Running(u64),
    /// What the store holds, by function, and what is taken of the host's memory.
    Status(Vec<Count>, MemoryUse),
    /// A sentence for each, with what to do.
    Problems(Vec<String>),
    /// Events that wait or run, and what time it is for the host.
    Events(Timestamp, Vec<Listed>),
    /// Dead letters.
    DeadLetters(Vec<DeadLetter>),
    /// How many dead letters of each function are deliveries again.
    Redriven(BTreeMap<String, u64>),
    /// How many dead letters are gone.
    Dropped(u64),
    /// Whether that was a change.
    Paused(bool),
    /// The file is there.
    BackedUp,
    /// The backup is in place; where the store is kept that was there, if there was one.
    Restored(Option<PathBuf>),
    /// Why not.
    Failed(String),
}

/// How the control socket fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It can't be made.
    #[error("can't listen on the control socket {path}: {reason}")]
    Listen {
        /// The socket.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The host went away in the middle.
    #[error("the running host doesn't answer: {reason}; see its output")]
    Broken {
        /// What failed.
        reason: String,
    },
}

/// A path to the socket that fits into a socket address, which holds 108 bytes: through the open folder
/// where the folder's own name is too long.
struct SocketPath {
    path: PathBuf,
    /// Held while the path is in use.
    _dir: std::fs::File,
}

impl SocketPath {
    fn new(state: &Path) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd;
        let dir = crate::files::open_folder(state)?;
        let direct = state.join(SOCKET);
        let path = if direct.as_os_str().len() < 100 {
            direct
        } else {
            PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
        };
        Ok(Self { path, _dir: dir })
    }
}

fn too_large() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::FileTooLarge,
        "more than 256 MiB at once",
    )
}

/// A frame is its length in four bytes, little end first, and MessagePack. Public so that it can be fuzzed.
#[doc(hidden)]
pub async fn send<T: Serialize>(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &T,
) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let body = rmp_serde::to_vec_named(value).map_err(std::io::Error::other)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or_else(too_large)?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await
}

/// Reads what `send` wrote.
#[doc(hidden)]
pub async fn receive<T: serde::de::DeserializeOwned>(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
) -> std::io::Result<T> {
    use tokio::io::AsyncReadExt;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length);
    if length > MAX_FRAME {
        return Err(too_large());
    }
    // Grows as bytes come: a length that was only claimed takes no memory.
    let mut body = Vec::new();
    stream.take(length.into()).read_to_end(&mut body).await?;
    rmp_serde::from_slice(&body).map_err(std::io::Error::other)
}
