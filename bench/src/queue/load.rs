//! Closed loops: each publisher waits for its answer before it sends the next message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::side::{Lane, Server};

/// What a publisher waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The message is on disk.
    Published,
    /// A consumer has handled it, and the store has settled it.
    Settled,
}

/// What the loops did.
pub struct Stats {
    pub count: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Runs `publishers` loops for as long as `span`.
pub async fn closed_loops(
    server: &dyn Server,
    lane: Lane,
    until: Until,
    publishers: usize,
    span: Duration,
) -> Result<Stats> {
    let start = Arc::new(Barrier::new(publishers + 1));
    let mut loops = JoinSet::new();
    for _ in 0..publishers {
        let mut publisher = server.publisher().await?;
        let (settled, start) = (Arc::clone(server.settled()), Arc::clone(&start));
        loops.spawn(async move {
            let mut latencies = Vec::new();
            start.wait().await;
            let started = Instant::now();
            while started.elapsed() < span {
                let before = Instant::now();
                let id = publisher.publish(lane).await?;
                let after = match until {
                    Until::Published => Instant::now(),
                    Until::Settled => settled.wait(id).await?,
                };
                latencies.push(after.saturating_duration_since(before));
            }
            anyhow::Ok(latencies)
        });
    }
    start.wait().await;
    let started = Instant::now();
    let mut latencies = Vec::new();
    while let Some(done) = loops.join_next().await {
        latencies.extend(done??);
    }
    Ok(stats(latencies, started.elapsed()))
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds' work")]
fn stats(mut latencies: Vec<Duration>, elapsed: Duration) -> Stats {
    latencies.sort_unstable();
    let at = |hundredth: usize| {
        let latency = latencies.get(latencies.len() * hundredth / 100);
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    Stats {
        count: latencies.len() as u64,
        per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50_us: at(50),
        p99_us: at(99),
    }
}
