//! `kinglet backup` and `kinglet restore`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::output::print_line;
use super::{AppArgs, HELD, HELD_PAUSE, Verdict, ask, restore_store, unexpected};
use crate::app::state_dir;
use crate::config::Manifest;
use crate::control::{Client, Request, Response};
use crate::files;
use crate::ports::QueueError;

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
        files::open(&from)?;
        let kept = self
            .put_in_place(&from, &manifest)
            .await
            .with_context(cant)?;
        print_line(&format!("restored {shown}"))?;
        if let Some(kept) = kept {
            say!("the store that was there is kept as {}", kept.display());
        }
        Ok(Verdict::Good)
    }

    /// Through the host that runs, or by itself. A host that is starting is waited for.
    async fn put_in_place(
        &self,
        from: &Path,
        manifest: &Manifest,
    ) -> anyhow::Result<Option<PathBuf>> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(mut host) = Client::connect(&state_dir(manifest)).await? {
                let from = from.to_owned();
                return match host.ask(&Request::Restore { from }).await? {
                    Response::Restored(kept) => Ok(kept),
                    Response::Failed(reason) => bail!(reason),
                    other => Err(unexpected(&other)),
                };
            }
            match restore_store(from, manifest, HELD_PAUSE, None).await {
                Err(QueueError::InUse { process, .. }) if waited < HELD => {
                    if waited.is_zero() {
                        say!("the store is in use by {process}; waiting for it");
                    }
                    waited += HELD_PAUSE;
                }
                restored => return Ok(restored?),
            }
        }
    }
}
