//! `kinglet backup` and `kinglet restore`

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::output::print_line;
use super::{AppArgs, Verdict, ask, unexpected};
use crate::app::state_dir;
use crate::control::{Request, Response};
use crate::stores::queue;

/// Write the store of events into a new file, also while the host runs: what waits, dead letters,
/// keyvalue buckets, and what was seen. Objects in folders aren't part of it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kinglet backup events-2026-11-22.backup")]
pub(super) struct Backup {
    #[command(flatten)]
    app: AppArgs,
    /// The file; there must be none of that name.
    file: PathBuf,
}

/// Put a backup in the place of the store of events. No host may run; the store that was there is kept
/// beside it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kinglet restore events-2026-11-22.backup")]
pub(super) struct Restore {
    #[command(flatten)]
    app: AppArgs,
    /// A file that `kinglet backup` wrote.
    file: PathBuf,
}

impl Backup {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        // The host has a working folder of its own.
        let to = std::path::absolute(&self.file)
            .with_context(|| format!("can't find {}", self.file.display()))?;
        match ask(&manifest, Request::Backup { to }).await? {
            Response::BackedUp => print_line(&format!("wrote {}", self.file.display()))?,
            other => return Err(unexpected(&other)),
        }
        Ok(Verdict::Good)
    }
}

impl Restore {
    pub fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let kept = queue::restore(&self.file, &state_dir(&manifest))
            .with_context(|| format!("can't restore {}", self.file.display()))?;
        print_line(&format!("restored {}", self.file.display()))?;
        if let Some(kept) = kept {
            eprintln!("the store that was there is kept as {}", kept.display());
        }
        Ok(Verdict::Good)
    }
}
