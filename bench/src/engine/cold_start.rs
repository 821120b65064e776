//! What a fresh instance costs each event.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinglet::ports::Handler;

use super::bare::{Bare, noop};
use super::ours::Ours;
use crate::report::{Better, Figure, Report};

/// Instances at once: one, and room for those that are ready.
const INSTANCES: u32 = 80;

/// Compare what a fresh instance costs with the least that wasmtime itself can do.
#[derive(clap::Args)]
pub struct ColdStartArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// How often each side has its turn.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Events in a turn.
    #[arg(long, default_value_t = 300)]
    events: usize,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
}

/// Samples of one side, in microseconds.
#[derive(Default)]
struct Samples {
    /// Until the handler, which does nothing, has returned.
    called: Vec<f64>,
    /// Until nothing is left of the instance, and where instances are made ahead the next is ready.
    whole: Vec<f64>,
}

impl ColdStartArgs {
    pub fn execute(self) -> Result<()> {
        // One thread: what is done beside an event's way counts in its cycle.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let wasm = noop(&self.guests)?;
        let dir = tempfile::tempdir()?;
        let ours = Ours::new(dir.path(), &wasm).await?;
        let bare = Bare::new(&wasm, INSTANCES)?;
        let (mut ready, mut unready, mut least) =
            (Samples::default(), Samples::default(), Samples::default());
        for round in 0..=self.rounds {
            let sides = [
                self.ours(&ours, true).await?,
                self.ours(&ours, false).await?,
                self.bare(&bare, &ours).await?,
            ];
            // The first round warms up.
            if round > 0 {
                for (samples, side) in [&mut ready, &mut unready, &mut least]
                    .into_iter()
                    .zip(sides)
                {
                    samples.called.extend(side.called);
                    samples.whole.extend(side.whole);
                }
            }
        }
        let report = Report {
            bench: "cold-start",
            ours_name: "kinglet",
            rival_name: "bare wasmtime",
            json: self.json,
        };
        report.note(
            "the same component, which does nothing; both: pooling allocator with pagemap_scan, no support for \
             concurrent tasks; bare: no fuel, limits, log, grants, staging or deadline; medians of single events",
        );
        report.header();
        let figure = |case: &str, ours: &mut Vec<f64>, rival: &mut Vec<f64>, most: f64| {
            report.figure(&Figure {
                case,
                ours: median(ours),
                rival: median(rival),
                unit: "us",
                better: Better::Less,
                goal: 1.0 / most,
            });
        };
        figure(
            "event taken to handler returned, ready",
            &mut ready.called,
            &mut least.called,
            0.5,
        );
        figure(
            "event taken to handler returned, not ready",
            &mut unready.called,
            &mut least.called,
            1.3,
        );
        figure(
            "whole cycle, the next made ready",
            &mut ready.whole,
            &mut least.whole,
            1.5,
        );
        figure(
            "whole cycle, not ready",
            &mut unready.whole,
            &mut least.whole,
            1.5,
        );
        Ok(())
    }

    async fn ours(&self, ours: &Ours, ready: bool) -> Result<Samples> {
        let Ours {
            engine, delivery, ..
        } = ours;
        let name = &delivery.function;
        let batch = &Arc::new(vec![delivery.clone()]);
        // What is left of the other turn.
        while engine.ready(name) > 0 {
            engine.handle(name, batch).await;
        }
        if ready {
            engine.prepare(name).await;
        }
        let mut samples = Samples::default();
        for _ in 0..self.events {
            ensure!(
                engine.ready(name) == usize::from(ready),
                "not as it is to be"
            );
            let start = Instant::now();
            let handled = engine.handle(name, batch).await;
            let after = start.elapsed();
            let mut outcomes = handled.outcomes.iter();
            ensure!(outcomes.all(|(outcome, _)| outcome.is_success()));
            let again = Instant::now();
            drop(handled);
            if ready {
                engine.prepare(name).await;
            }
            let whole = after + again.elapsed();
            samples.called.push(micros(after));
            samples.whole.push(micros(whole));
        }
        Ok(samples)
    }

    async fn bare(&self, bare: &Bare, ours: &Ours) -> Result<Samples> {
        let mut samples = Samples::default();
        for _ in 0..self.events {
            let cycle = bare.cycle(&ours.delivery).await?;
            samples.called.push(micros(cycle.called));
            samples.whole.push(micros(cycle.whole));
        }
        Ok(samples)
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}
