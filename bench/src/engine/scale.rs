//! What a second core adds.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use kinglet::ports::Handler;

use super::bare::{Bare, noop};
use super::ours::Ours;
use crate::report::{Better, Figure, Report};

/// Compare the throughput on two cores with that on one.
#[derive(clap::Args)]
pub struct ScaleArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Rounds, of which the best of each counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
}

/// How long each measurement is.
const SPAN: Duration = Duration::from_millis(500);

impl ScaleArgs {
    pub fn execute(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let wasm = noop(&self.guests)?;
        let dir = tempfile::tempdir()?;
        let ours = runtime.block_on(Ours::new(dir.path(), &wasm))?;
        let bare = Bare::new(&wasm, 16)?;
        let batch = Arc::new(vec![ours.delivery.clone()]);
        let ours_once = async || {
            let name = &ours.delivery.function;
            let handled = ours.engine.handle(name, &batch).await;
            let good = handled
                .outcomes
                .iter()
                .all(|(outcome, _)| outcome.is_success());
            drop(handled);
            ours.engine.prepare(name).await;
            ensure!(good, "an event failed");
            Ok(())
        };
        let bare_once = async || bare.cycle(&ours.delivery).await.map(|_| ());
        let mut best = [[0.0_f64; 2]; 2];
        for _ in 0..self.rounds {
            for (at, threads) in [1, 2].into_iter().enumerate() {
                let rates = [rate(threads, &ours_once)?, rate(threads, &bare_once)?];
                for (best, rate) in best.iter_mut().zip(rates) {
                    if let Some(best) = best.get_mut(at) {
                        *best = best.max(rate);
                    }
                }
            }
        }
        let mut report = Report {
            bench: "scale",
            ours_name: "two cores",
            rival_name: "one core",
            json: self.json,
        };
        report.note("whole cycles a second of a function that does nothing, a thread on each core");
        report.header();
        for (case, name, [one, two]) in [
            ("kinglet", "kinglet on one core", best[0]),
            ("bare wasmtime", "bare wasmtime on one core", best[1]),
        ] {
            report.rival_name = name;
            report.figure(&Figure {
                case,
                ours: two,
                rival: one,
                unit: "/s",
                better: Better::More,
                goal: 1.8,
            });
        }
        Ok(())
    }
}

/// Cycles a second of so many threads, each with a runtime of its own.
#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn rate<F>(threads: usize, once: &F) -> Result<f64>
where
    F: AsyncFn() -> Result<()> + Sync,
{
    let (stop, count) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (stop, count) = (&stop, Arc::clone(&count));
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?;
                    runtime.block_on(async {
                        let mut own = 0;
                        while !stop.load(Ordering::Relaxed) {
                            once().await?;
                            own += 1;
                        }
                        count.fetch_add(own, Ordering::Relaxed);
                        anyhow::Ok(())
                    })
                })
            })
            .collect();
        std::thread::sleep(SPAN);
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(count.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}
