//! Warnings before a quota is reached: at four fifths of it, once each time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Events, Stop, stopped};
use crate::ports::{Level, QueueError};

/// How often the store is looked at.
const LOOK: Duration = Duration::from_secs(5);

impl Events {
    /// Watches the quotas until told to stop.
    pub async fn watch_quotas(self: Arc<Self>, mut stop: Stop) {
        let mut said = BTreeSet::new();
        loop {
            match self.near_quota().await {
                Ok(near) => {
                    for text in near.iter().filter(|(name, _)| !said.contains(name)) {
                        self.say(Level::Warn, text.1.clone());
                    }
                    said = near.into_iter().map(|(name, _)| name).collect();
                }
                Err(QueueError::Closed) => return,
                Err(error) => tracing::warn!(%error, "the quotas can't be looked at"),
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The quotas that are nearly used up, by name, and what to say.
    async fn near_quota(&self) -> Result<Vec<(String, String)>, QueueError> {
        let limits = &self.manifest.queue;
        let totals = self.queue.totals().await?;
        let dead = totals.dead.iter().map(|(function, dead)| {
            let name = format!("`queue.max-dead-letters` of function {function:?}");
            (
                name,
                *dead,
                limits.max_dead_letters,
                "redrive or drop some with `kinglet dlq`, or raise it",
            )
        });
        let full = "past it sources are held back; let functions catch up, or raise it";
        let quotas = [
            (
                "`queue.max-events`".to_owned(),
                totals.events,
                limits.max_events,
                full,
            ),
            (
                "`queue.max-bytes`".to_owned(),
                totals.bytes.saturating_add(totals.remembered),
                limits.max_bytes.0,
                full,
            ),
            (
                "`queue.max-staging`".to_owned(),
                self.staging.used(),
                self.staging.most(),
                "past it attempts come again later; lower `limits.concurrency`, or raise it",
            ),
        ];
        let near = quotas
            .into_iter()
            .chain(dead)
            .filter(|(_, used, limit, _)| *used >= limit.saturating_sub(limit / 5).max(1));
        Ok(near
            .map(|(name, used, limit, next)| {
                let text = format!("{used} of {limit} of {name} are used; {next}");
                (name, text)
            })
            .collect())
    }
}
