//! What an init moves to the build.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kinglet::engine::Engine;
use kinglet::ports::{Delivery, Handler};

use super::ours::{Ours, Settings};
use crate::report::{Better, Figure, Report};
use crate::setup::on_all_cores;

/// An entry of the table, which the function compares with its own.
const EVENT: &str = "5242879 1963795553";

/// Compare a function that was initialised when it was built with the same that wasn't.
#[derive(clap::Args)]
pub struct InitArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// How often each side is started.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Later events of each start.
    #[arg(long, default_value_t = 20)]
    events: usize,
    /// The folder with the function's component.
    #[arg(long)]
    guests: PathBuf,
}

/// Samples of one side, in microseconds, until the handler has returned.
#[derive(Default)]
struct Samples {
    first: Vec<f64>,
    unready: Vec<f64>,
    ready: Vec<f64>,
}

impl InitArgs {
    pub fn execute(self) -> Result<()> {
        on_all_cores(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let path = self.guests.join("kinglet_test_table.wasm");
        let wasm =
            std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let dir = tempfile::tempdir()?;
        let settings = || Settings {
            body: EVENT.as_bytes().to_vec(),
            ..Settings::default()
        };
        let plain = Ours::with(&dir.path().join("plain"), &wasm, settings()).await?;
        let made = plain.initialise(&wasm).await?;
        let report = Report {
            bench: "init",
            ours_name: "snapshot",
            rival_name: "none",
            json: self.json,
        };
        report.note(&format!(
            "the same function, which computes a table of 20 MB: by its init, or by its first use in each instance; \
             both from the cache; medians; the snapshot took {} ms, {} KiB became {}",
            made.took.as_millis(),
            wasm.len() >> 10,
            made.wasm.len() >> 10
        ));
        let snapshot = Ours::with(&dir.path().join("snapshot"), &made.wasm, settings()).await?;
        let (mut ours, mut rival) = (Samples::default(), Samples::default());
        for round in 0..=self.rounds {
            for (side, samples) in [(&snapshot, &mut ours), (&plain, &mut rival)] {
                // The first round warms up.
                let mut warm_up = Samples::default();
                let samples = if round > 0 { samples } else { &mut warm_up };
                self.start(side, samples).await?;
            }
        }
        report.header();
        let figure = |case: &str, ours: &mut Vec<f64>, rival: &mut Vec<f64>, goal: f64| {
            report.figure(&Figure {
                case,
                ours: median(ours),
                rival: median(rival),
                unit: "us",
                better: Better::Less,
                goal,
            });
        };
        figure(
            "first event after start",
            &mut ours.first,
            &mut rival.first,
            1.0,
        );
        figure(
            "later event, not ready",
            &mut ours.unready,
            &mut rival.unready,
            100.0,
        );
        figure(
            "later event, ready",
            &mut ours.ready,
            &mut rival.ready,
            100.0,
        );
        Ok(())
    }

    /// One start, and the events after it.
    async fn start(&self, side: &Ours, samples: &mut Samples) -> Result<()> {
        let engine = Arc::new(side.start()?);
        let name = &side.delivery.function;
        samples.first.push(handle(&engine, &side.delivery).await?);
        for _ in 0..self.events {
            samples.unready.push(handle(&engine, &side.delivery).await?);
            engine.prepare(name).await;
            ensure!(engine.ready(name) == 1, "no instance is ready");
            samples.ready.push(handle(&engine, &side.delivery).await?);
        }
        Ok(())
    }
}

async fn handle(engine: &Arc<Engine>, delivery: &Delivery) -> Result<f64> {
    let batch = Arc::new(vec![delivery.clone()]);
    let start = Instant::now();
    let handled = engine.handle(&delivery.function, &batch).await;
    let took = start.elapsed();
    for (outcome, _) in &handled.outcomes {
        ensure!(outcome.is_success(), "{outcome}");
    }
    Ok(micros(took))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}
