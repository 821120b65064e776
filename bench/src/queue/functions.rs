//! What a thousand functions beside it cost one: at the start, and with each event.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::load::{Stats, Until, closed_loops};
use super::ours::{Functions, Ours};
use super::side::{Lane, Side};
use crate::report::{Better, Figure, Report};
use crate::setup::{on_all_cores, scratch};

/// Compare an application of many functions with one of a single function.
#[derive(clap::Args)]
pub struct FunctionsArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// How many functions, each with a component of its own.
    #[arg(long, default_value_t = 1_000)]
    functions: usize,
    /// Rounds, of which the best of each counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The program `kinglet`; `cargo xtask bench functions` names it.
    #[arg(long)]
    kinglet: PathBuf,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
}

/// What one application did at its best.
struct Best {
    start_ms: f64,
    idle_mib: f64,
    events: Stats,
}

impl FunctionsArgs {
    pub fn execute(self) -> Result<()> {
        on_all_cores(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let scratch = scratch(Path::new("."))?;
        let root = scratch.path().to_owned();
        let ours = |others| Ours {
            kinglet: self.kinglet.clone(),
            guests: self.guests.clone(),
            cache: root.join("cache"),
            concurrency: 64,
            batch_size: 64,
            functions: Functions::One { others },
        };
        let sides = [
            (ours(0), tempfile::tempdir_in(&root)?),
            (ours(self.functions), tempfile::tempdir_in(&root)?),
        ];
        for (side, dir) in &sides {
            // Compiles what isn't in the cache.
            side.start(dir.path(), None).await?.stop().await?;
        }
        let mut best: [Option<Best>; 2] = [None, None];
        for _ in 0..self.rounds {
            for ((side, dir), best) in sides.iter().zip(&mut best) {
                let now = round(side, dir.path()).await?;
                *best = Some(match best.take() {
                    None => now,
                    Some(before) => Best {
                        start_ms: before.start_ms.min(now.start_ms),
                        idle_mib: before.idle_mib.min(now.idle_mib),
                        events: if before.events.per_second > now.events.per_second {
                            before.events
                        } else {
                            now.events
                        },
                    },
                });
            }
        }
        if let [Some(one), Some(many)] = best {
            self.report(&one, &many);
        }
        Ok(())
    }

    fn report(&self, one: &Best, many: &Best) {
        let mut report = Report {
            bench: "functions",
            ours_name: "many",
            rival_name: "one",
            json: self.json,
        };
        report.note(&format!(
            "many: {} functions beside the one that both have, each with a component of its own, from the cache; \
             start: from the command to its word that it is ready; events: published and settled one after the other; the best of {} rounds",
            self.functions, self.rounds
        ));
        report.header();
        let mut figure = |rival_name, case: &str, ours, rival, unit, better, goal| {
            report.rival_name = rival_name;
            report.figure(&Figure {
                case,
                ours,
                rival,
                unit,
                better,
                goal,
            });
        };
        let less = Better::Less;
        figure("one", "start", many.start_ms, one.start_ms, "ms", less, 0.1);
        let rates = [many.events.per_second, one.events.per_second];
        figure(
            "one",
            "events",
            rates[0],
            rates[1],
            "/s",
            Better::More,
            1.0 / 1.1,
        );
        let p50 = [many.events.p50_us, one.events.p50_us];
        figure("one", "event, p50", p50[0], p50[1], "us", less, 1.0 / 1.1);
        figure(
            "one",
            "memory, idle",
            many.idle_mib,
            one.idle_mib,
            "MiB",
            less,
            0.0,
        );
        figure(
            "goal",
            "memory of one, idle",
            one.idle_mib,
            30.0,
            "MiB",
            less,
            1.0,
        );
    }
}

async fn round(side: &Ours, dir: &Path) -> Result<Best> {
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    let before = std::time::Instant::now();
    let server = side.start(dir, None).await?;
    let start_ms = before.elapsed().as_secs_f64() * 1e3;
    // Until what goes on after the start has ended.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle_mib = server.process().resident_mib()?;
    let span = Duration::from_millis(500);
    closed_loops(&*server, Lane::Single, Until::Settled, 1, span).await?;
    let events = closed_loops(&*server, Lane::Single, Until::Settled, 1, 2 * span).await?;
    server.stop().await?;
    Ok(Best {
        start_ms,
        idle_mib,
        events,
    })
}
