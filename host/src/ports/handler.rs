//! What delivery asks of the engine.

use super::{Cost, Delivery, Outcome, Reserved, Transaction};

/// Runs functions.
pub trait Handler: Send + Sync + 'static {
    /// Runs `function` on a batch of one or more deliveries, in a fresh instance. Never fails: what
    /// goes wrong is each delivery's outcome.
    fn handle(&self, function: &str, batch: &[Delivery]) -> impl Future<Output = Handled> + Send;
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
}
