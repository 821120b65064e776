//! What an operator does with events: look, hold, redrive, drop.

use std::collections::BTreeMap;

use super::Events;
use crate::config::Source;
use crate::ports::{Count, DeadFilter, QueueError, STEP};

impl Events {
    /// What the store holds for each function: those of the manifest, and those that it has no more.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn status(&self) -> Result<Vec<Count>, QueueError> {
        let mut counts = self.queue.counts(self.clock.now()).await?;
        for function in &self.manifest.functions {
            if !counts.iter().any(|count| count.function == function.name) {
                counts.push(Count {
                    function: function.name.clone(),
                    ..Count::default()
                });
            }
        }
        counts.sort_by(|a, b| a.function.cmp(&b.function));
        Ok(counts)
    }

    /// Makes dead letters deliveries again, `rate` a second where it is given. Returns how many of each
    /// function.
    ///
    /// # Errors
    /// Where the store fails: what was done by then stays done.
    pub async fn redrive(
        &self,
        filter: &DeadFilter,
        rate: Option<f64>,
    ) -> Result<BTreeMap<String, u64>, QueueError> {
        let step_ms = rate.map_or(0, |rate| (1_000.0 / rate) as u64);
        let mut due = self.clock.now();
        // Those that die again meanwhile aren't taken up once more.
        let filter = DeadFilter {
            below: Some(self.queue.next_seq().await?),
            ..filter.clone()
        };
        let mut total = BTreeMap::new();
        loop {
            let redriven = self.queue.redrive(&filter, STEP, due, step_ms).await?;
            let count: u64 = redriven.values().sum();
            due = due.saturating_add(step_ms.saturating_mul(count));
            self.wake(redriven.keys());
            for (function, count) in redriven {
                *total.entry(function).or_default() += count;
            }
            if count == 0 {
                return Ok(total);
            }
        }
    }

    /// Removes dead letters for good. Returns how many.
    ///
    /// # Errors
    /// Where the store fails: what was done by then stays done.
    pub async fn drop_dead(&self, filter: &DeadFilter) -> Result<u64, QueueError> {
        let mut total = 0;
        loop {
            let dropped = self.queue.drop_dead(filter, STEP).await?;
            total += dropped;
            if dropped < STEP as u64 {
                // One that was held for its many dead letters may go on.
                self.wake(self.wake.keys());
                return Ok(total);
            }
        }
    }

    /// Stops giving a function its events, or goes on; whether that is a change.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn pause(&self, function: &str, paused: bool) -> Result<bool, QueueError> {
        let answers = self
            .manifest
            .function(function)
            .is_some_and(|function| matches!(function.on.source(), Source::Http(_)));
        if answers {
            return Err(QueueError::Refused {
                reason: format!(
                    "function {function:?} answers requests, which can't wait, and isn't paused; remove it \
                     from the manifest, or stop the host"
                ),
            });
        }
        let changed = self.queue.pause(function, paused).await?;
        self.wake([function]);
        Ok(changed)
    }
}
