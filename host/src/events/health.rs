//! Notices a store or a bucket that is taken away under the host, and says once what to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Events, Stop, stopped};
use crate::ports::Level;

/// The pause between two looks at the store and the buckets.
const LOOK: Duration = Duration::from_secs(1);

impl Events {
    /// Watches the store and the buckets until told to stop.
    pub async fn watch_health(self: Arc<Self>, mut stop: Stop) {
        let mut before = BTreeMap::new();
        loop {
            let now = tokio::select! {
                () = stopped(&mut stop) => return,
                now = self.problems() => now,
            };
            for (what, problem) in &now {
                if before.get(what) != Some(problem) {
                    self.say(Level::Error, problem.clone());
                    // The journal may be gone with the store.
                    tracing::error!("{problem}");
                }
            }
            for what in before.keys().filter(|what| !now.contains_key(*what)) {
                self.say(Level::Info, format!("{what} is back, and in use again"));
            }
            before = now;
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Returns what is wrong with the store and with each bucket, and what to do.
    pub async fn problems(&self) -> BTreeMap<String, String> {
        let mut problems = BTreeMap::new();
        if let Some(problem) = self.queue.problem() {
            problems.insert("the store of events".to_owned(), problem);
        }
        for (name, bucket) in &*self.buckets {
            if let Err(error) = bucket.check().await {
                problems.insert(format!("bucket {name:?}"), error.to_string());
            }
        }
        problems
    }
}
