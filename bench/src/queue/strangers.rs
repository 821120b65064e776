//! A function that computes beside other programs, compared with a native thread beside them.
//!
//! Other programs take their share of the processors from both. A function loses more than a native
//! thread only where the host gives its guests a lower priority.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::busy::BusyThreads;
use super::load::{Until, closed_loops};
use super::ours::{Functions, Ours};
use super::side::{Lane, Server, Side};
use crate::report::{Better, Figure, Report};

/// The largest ratio of the two slowdowns that the host may reach.
const GOAL: f64 = 1.3;
/// Rounds of computing in an event, which take about 50 ms.
const ROUNDS: u64 = 25_000_000;

/// The case `strangers` of the bench `neighbours`.
pub struct Strangers<'a> {
    pub kinglet: &'a Path,
    pub guests: &'a Path,
    pub root: &'a Path,
    /// Repetitions of each measurement, in turn, of which the medians count.
    pub repetitions: u32,
    pub span: Duration,
}

impl Strangers<'_> {
    pub async fn measure(&self, report: &Report) -> Result<()> {
        let ours = Ours {
            kinglet: PathBuf::from(self.kinglet),
            guests: PathBuf::from(self.guests),
            cache: self.root.join("cache"),
            concurrency: 1,
            batch_size: 1,
            functions: Functions::Computing { rounds: ROUNDS },
        };
        let dir = tempfile::tempdir_in(self.root)?;
        let server = ours.start(dir.path(), None).await?;
        // The first event loads the component.
        self.event(&*server).await?;
        let (mut event, mut thread) = (Slowdown::default(), Slowdown::default());
        for _ in 0..self.repetitions {
            event.in_peace.push(self.event(&*server).await?);
            thread.in_peace.push(native(self.span).await?);
            let busy = BusyThreads::start(0)?;
            event.beside.push(self.event(&*server).await?);
            thread.beside.push(native(self.span).await?);
            busy.stop();
        }
        server.stop().await?;
        for (name, slowdown) in [("event", &event), ("native thread", &thread)] {
            report.note(&format!(
                "strangers: the {name} took {:.1} ms in peace, {:.1} ms beside them",
                median(&slowdown.in_peace) / 1e3,
                median(&slowdown.beside) / 1e3,
            ));
        }
        report.figure(&Figure {
            case: "strangers, p50, beside a native thread",
            ours: event.times(),
            rival: thread.times(),
            unit: "times in peace",
            better: Better::Less,
            goal: 1.0 / GOAL,
        });
        Ok(())
    }

    /// Measures the median event from its publication until it is settled, in microseconds.
    async fn event(&self, server: &dyn Server) -> Result<f64> {
        let stats = closed_loops(server, Lane::Single, Until::Settled, 1, self.span).await?;
        Ok(stats.p50_us)
    }
}

/// Medians of one kind of work, in microseconds.
#[derive(Default)]
struct Slowdown {
    in_peace: Vec<f64>,
    beside: Vec<f64>,
}

impl Slowdown {
    fn times(&self) -> f64 {
        median(&self.beside) / median(&self.in_peace)
    }
}

/// Measures the guest's work on a thread of ordinary priority, in microseconds.
async fn native(span: Duration) -> Result<f64> {
    let work = move || {
        let mut times = Vec::new();
        let started = Instant::now();
        while started.elapsed() < span {
            let before = Instant::now();
            let mut state = 1_u64;
            for _ in 0..ROUNDS {
                state ^= state << 13;
                state ^= state >> 7;
                state = std::hint::black_box(state ^ (state << 17));
            }
            times.push(before.elapsed().as_secs_f64() * 1e6);
            // A pause like that between two events, which lets the thread sleep.
            thread::sleep(Duration::from_millis(1));
        }
        median(&times)
    };
    Ok(tokio::task::spawn_blocking(work).await?)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
