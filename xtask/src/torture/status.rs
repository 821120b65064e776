//! Asks a host what waits, over its control socket: a frame is its length in four bytes, little end first,
//! and MessagePack.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail};
use serde_json::Value;

use super::app::App;

/// What a host says of its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Deliveries that aren't settled.
    pub pending: u64,
    /// Deliveries that were given up.
    pub dead: u64,
}

pub fn ask(app: &App) -> anyhow::Result<Status> {
    // Through the open folder: a socket's path has 108 bytes at most.
    let state = std::fs::File::open(app.root.join(".kinglet"))?;
    let path = format!("/proc/self/fd/{}/control.sock", state.as_raw_fd());
    let mut stream = UnixStream::connect(path).context("the host doesn't listen")?;
    let request = rmp_serde::to_vec("status")?;
    stream.write_all(&u32::try_from(request.len())?.to_le_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    let answer: Value = rmp_serde::from_slice(&body)?;
    let Some(counts) = answer["status"].as_array() else {
        bail!("the host answers {answer}");
    };
    let sum = |name: &str| counts.iter().filter_map(|count| count[name].as_u64()).sum();
    Ok(Status {
        pending: sum("pending"),
        dead: sum("dead"),
    })
}
