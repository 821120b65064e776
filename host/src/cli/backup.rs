//! `kinglet backup` and `kinglet restore`

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::output::print_line;
use super::{AppArgs, Verdict, ask, restore_store, unexpected};
use crate::app::state_dir;
use crate::control::{Client, Request, Response};

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

/// Put a backup in the place of the store of events. A host that runs finishes what is under way, and goes
/// on with the backup; the store that was there is kept beside it.
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
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let shown = self.file.display();
        let cant = || format!("can't restore {shown}");
        let from = std::path::absolute(&self.file).with_context(cant)?;
        // Asked first: a host that runs shouldn't stop for a mistyped name.
        std::fs::File::open(&from).with_context(cant)?;
        let kept = match Client::connect(&state_dir(&manifest)).await? {
            Some(mut host) => match host.ask(&Request::Restore { from }).await? {
                Response::Restored(kept) => kept,
                Response::Failed(reason) => bail!("can't restore {shown}: {reason}"),
                other => return Err(unexpected(&other)),
            },
            None => restore_store(&from, &manifest).await.with_context(cant)?,
        };
        print_line(&format!("restored {shown}"))?;
        if let Some(kept) = kept {
            eprintln!("the store that was there is kept as {}", kept.display());
        }
        Ok(Verdict::Good)
    }
}
