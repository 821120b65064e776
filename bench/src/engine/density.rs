//! How many instances can be alive at once, and what they take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kinglet::engine::Engine;
use kinglet::ports::Handler;
use tokio::task::JoinSet;

use super::ours::{Ours, Settings};
use crate::report::{Better, Figure, Report};
use crate::setup::on_all_cores;

/// How many there are to be, and in how much memory.
const GOAL: usize = 5_000;
const GOAL_MIB: f64 = 512.0;
/// Until all of them wait: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Have thousands of instances wait in a host call at once.
#[derive(clap::Args)]
pub struct DensityArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// How many.
    #[arg(long, default_value_t = GOAL)]
    instances: usize,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
}

impl DensityArgs {
    pub fn execute(self) -> Result<()> {
        on_all_cores(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let path = self.guests.join("sleep.wasm");
        let wasm =
            std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let dir = tempfile::tempdir()?;
        let settings = Settings {
            concurrency: self.instances,
            timeout: "10m",
            ..Settings::default()
        };
        let ours = Ours::with(dir.path(), &wasm, settings).await?;
        let engine = ours.engine;
        let before = resident_mib()?;
        let mut alive = JoinSet::new();
        // One more than there is room for.
        let all = self.instances + Engine::ready_for(1) as usize;
        for _ in 0..=all {
            let (engine, delivery) = (Arc::clone(&engine), ours.delivery.clone());
            alive.spawn(async move {
                let batch = Arc::new(vec![delivery.clone()]);
                engine.handle(&delivery.function, &batch).await
            });
        }
        let waiting = async {
            while engine.alive() < all {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // And a while, in which the one too many would fail.
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let reached = tokio::time::timeout(PATIENCE, waiting).await;
        if let Some(ended) = alive.try_join_next() {
            let ended = ended?;
            anyhow::bail!(
                "one ended: {:?}",
                ended.outcomes.first().map(|(outcome, _)| outcome)
            );
        }
        reached.with_context(|| format!("only {} are alive", engine.alive()))?;
        ensure!(alive.len() == all + 1, "one is missing");
        let mib = resident_mib()? - before;
        let maps = std::fs::read_to_string("/proc/self/maps")?.lines().count();
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count")?;
        let report = Report {
            bench: "density",
            ours_name: "kinglet",
            rival_name: "goal",
            json: self.json,
        };
        report.note(&format!(
            "{all} instances wait in a host call, and one more for its place; {maps} mappings of {} that \
             `vm.max_map_count` allows",
            most.trim()
        ));
        report.header();
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let (count, goal) = (all as f64, self.instances as f64);
        for (case, ours, rival, unit, better) in [
            ("instances alive at once", count, goal, "", Better::More),
            (
                "memory",
                mib,
                GOAL_MIB * goal / 5_000.0,
                "MiB",
                Better::Less,
            ),
        ] {
            report.figure(&Figure {
                case,
                ours,
                rival,
                unit,
                better,
                goal: 1.0,
            });
        }
        alive.shutdown().await;
        Ok(())
    }
}

fn resident_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    Ok(kib.context("a status without VmRSS")?.parse::<f64>()? / 1024.0)
}
