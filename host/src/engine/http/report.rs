//! The outcome that the host gives a request whose guest didn't fail, logged with what the attempt cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Told;
use crate::clock::Stopwatch;
use crate::engine::Engine;
use crate::engine::invoke::micros;
use crate::engine::load::LoadedFunction;
use crate::ports::{Cost, Failure, Outcome};

/// A report on one attempt at a request. What is wrong with its response and what it cost come in either
/// order, since a guest may run on when its response is known to be bad, and the other way round.
pub(super) struct AttemptReport {
    engine: Arc<Engine>,
    function: Arc<LoadedFunction>,
    /// The request as the logs name it.
    pub told: Told,
    watch: Stopwatch,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The fault of the response, until it is logged.
    wrong: Option<Outcome>,
    /// None while the guest runs.
    cost: Option<Cost>,
    /// The last lines of its standard error.
    errors: Option<String>,
}

impl AttemptReport {
    pub fn new(engine: &Arc<Engine>, function: &Arc<LoadedFunction>, told: Told) -> Self {
        Self {
            engine: Arc::clone(engine),
            function: Arc::clone(function),
            told,
            watch: engine.clock.stopwatch(),
            known: Mutex::default(),
        }
    }

    /// Logs what is wrong with the response: at once where the guest has returned, else when it does.
    pub fn wrong(&self, outcome: Outcome) {
        let (cost, errors) = {
            let mut known = self.known();
            let Some(cost) = known.cost else {
                known.wrong = Some(outcome);
                return;
            };
            (cost, known.errors.take())
        };
        self.log(outcome, cost, errors);
    }

    /// Takes what the attempt cost, and the last lines of its standard error, once its guest has returned.
    pub fn returned(&self, cost: Cost, errors: Option<String>) {
        let outcome = {
            let mut known = self.known();
            known.cost = Some(cost);
            let Some(outcome) = known.wrong.take() else {
                known.errors = errors;
                return;
            };
            outcome
        };
        self.log(outcome, cost, errors);
    }

    fn log(&self, mut outcome: Outcome, cost: Cost, errors: Option<String>) {
        // A runtime whose handler throws prints why, and returns without a whole response.
        if let (Outcome::Failed(Failure::Other { reason }), Some(errors)) = (&mut outcome, errors) {
            *reason = format!("{reason}; standard error ended with: {errors}");
        }
        self.engine
            .tell(&self.function, self.told.clone(), &outcome, cost, None);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs the fault of a response whose guest is dropped before it returns, as when its connection ends:
/// of such a guest only the time is known.
impl Drop for AttemptReport {
    fn drop(&mut self) {
        let wrong = self.known().wrong.take();
        if let Some(outcome) = wrong {
            let cost = Cost {
                run_us: micros(self.watch.elapsed()),
                ..Cost::default()
            };
            self.log(outcome, cost, None);
        }
    }
}
