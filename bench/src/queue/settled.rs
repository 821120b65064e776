//! What was settled and when, for publishers that wait for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;

/// How long a message may take, and how long a drain may stand still.
const LONGEST: Duration = Duration::from_secs(60);

/// Filled by whoever follows a server's settlements.
#[derive(Default)]
pub struct Settled(Mutex<State>);

#[derive(Default)]
struct State {
    count: u64,
    span: Option<(Instant, Instant)>,
    /// Settled before its publisher asked: it may be faster than the answer.
    unasked: HashMap<String, Instant>,
    waiting: HashMap<String, oneshot::Sender<Instant>>,
}

impl Settled {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a message is settled by now.
    pub fn note(&self, id: String) {
        let now = Instant::now();
        let mut state = self.state();
        state.count += 1;
        let first = state.span.map_or(now, |(first, _)| first);
        state.span = Some((first, now));
        match state.waiting.remove(&id) {
            // A publisher that went away doesn't want to know.
            Some(waiting) => drop(waiting.send(now)),
            None => drop(state.unasked.insert(id, now)),
        }
    }

    /// When a message was settled.
    pub async fn wait(&self, id: String) -> Result<Instant> {
        let receiver = {
            let mut state = self.state();
            if let Some(at) = state.unasked.remove(&id) {
                return Ok(at);
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(id, sender);
            receiver
        };
        let waited = tokio::time::timeout(LONGEST, receiver).await;
        Ok(waited.context("a message wasn't settled within a minute")??)
    }

    /// Settlements a second, once there are `count`.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few million")]
    pub async fn drained(&self, count: u64) -> Result<f64> {
        let mut last = (0, Instant::now());
        loop {
            let (seen, span) = {
                let state = self.state();
                (state.count, state.span)
            };
            if let Some((first, end)) = span
                && seen >= count
            {
                return Ok((seen - 1) as f64 / (end - first).as_secs_f64());
            }
            if seen > last.0 {
                last = (seen, Instant::now());
            }
            if last.1.elapsed() > LONGEST {
                bail!("after {seen} of {count} nothing more was settled for a minute");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
