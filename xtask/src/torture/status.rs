//! Asks a host what waits, over its control socket: a frame is its length in four bytes, little end first,
//! and MessagePack.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, bail};
use serde_json::Value;

use super::app::App;

/// How many deliveries aren't settled.
pub fn pending(app: &App) -> anyhow::Result<u64> {
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
    let pending = counts.iter().filter_map(|count| count["pending"].as_u64());
    Ok(pending.sum())
}
