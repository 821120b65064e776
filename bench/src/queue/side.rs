//! What the bench asks of either side, so that both get the same load.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;

use super::settled::Settled;
use crate::process::Process;

/// The size of a message's body, in bytes.
pub const BODY: usize = 300;

/// Which messages: what takes them tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Taken by nobody while the bench runs: the backlog.
    Waiting,
    /// Handled one by one.
    Single,
    /// Handled in batches, where a side has them.
    Batch,
}

/// A queue that can be filled and served.
#[async_trait]
pub trait Side {
    /// Puts messages into the store in `dir` while nothing takes them.
    async fn fill(&self, dir: &Path, lane: Lane, count: u64) -> Result<()>;

    /// Serves the store in `dir`; with `trace`, its syncs are written to that file.
    async fn start(&self, dir: &Path, trace: Option<&Path>) -> Result<Box<dyn Server>>;

    /// What the store in `dir` takes on the disk, in MiB.
    fn size_mib(&self, dir: &Path) -> Result<f64>;
}

/// A queue that is served.
#[async_trait]
pub trait Server: Send + Sync {
    /// Connects a publisher.
    async fn publisher(&self) -> Result<Box<dyn Publisher>>;

    /// What was settled.
    fn settled(&self) -> &Arc<Settled>;

    fn process(&self) -> &Process;

    /// Ends it, and what follows it.
    async fn stop(self: Box<Self>) -> Result<()>;
}

/// A connection of its own.
#[async_trait]
pub trait Publisher: Send {
    /// Publishes a message, and returns once that is on disk: the id that its settlement will have.
    async fn publish(&mut self, lane: Lane) -> Result<String>;
}

/// The body of the message with this number, which it begins with: it differs for each and doesn't
/// compress.
pub fn body(number: u64) -> Vec<u8> {
    let mut body = format!("{number:016x}").into_bytes();
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while body.len() < BODY {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(BODY);
    body
}
