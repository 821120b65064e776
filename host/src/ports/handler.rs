//! What delivery asks of the engine.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Cost, Delivery, Outcome, Reserved, Transaction};

/// Runs functions.
pub trait Handler: Send + Sync + 'static {
    /// Runs `function` on a batch of one or more deliveries, in a fresh instance. Never fails: what
    /// goes wrong is each delivery's outcome.
    fn handle(
        self: &Arc<Self>,
        function: &str,
        batch: &Arc<Vec<Delivery>>,
    ) -> impl Future<Output = Handled> + Send;

    /// Where an attempt of `function` is to run, with all that comes before and after its handler, if not here: it is
    /// likely to hold its thread for long.
    fn apart(&self, function: &str) -> Option<&Handle>;

    /// Makes ready what the next event of `function` needs, so that it needn't wait for it.
    fn prepare(&self, function: &str) -> impl Future<Output = ()> + Send;
}

/// What came of a batch.
#[derive(Debug)]
pub struct Handled {
    /// One for each delivery, in order, with what it staged. Discard the transaction of an outcome
    /// that isn't a success.
    pub outcomes: Vec<(Outcome, Transaction)>,
    /// What the batch cost, as one.
    pub cost: Cost,
    /// The last lines that the guest logged, for dead letters.
    pub log_tail: Vec<String>,
    /// What the transactions take; hold it as long as them.
    pub reserved: Option<Reserved>,
    /// What is left of the instance. To drop it takes as long as to make one, and nobody waits for it.
    pub spent: Option<Spent>,
}

/// An instance that had its event: there is nothing to do with it but to drop it.
pub struct Spent(#[expect(dead_code, reason = "held to be dropped")] Box<dyn Send>);

impl Spent {
    /// Whatever an engine has left.
    pub fn new(instance: impl Send + 'static) -> Self {
        Self(Box::new(instance))
    }
}

impl fmt::Debug for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spent")
    }
}
