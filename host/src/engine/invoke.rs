//! One invocation: a store, an instance, a call, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::Engine;
use super::limiter::{Limiter, MemoryExceeded};
use super::load::{Entry, LoadedFunction};
use super::settings::MAX_WASM_STACK;
use super::state::State;
use crate::bindings::types::Failure as WitFailure;
use crate::capabilities::{
    Context, GuestLog, LogScope, Staged, Staging, Trouble, failure_from, message_event,
    object_event,
};
use crate::clock::{Stopwatch, millis};
use crate::ports::{
    Cost, Delivery, Failure, Handled, HostFault, Limit, Outcome, Payload, Reserved, Transaction,
    Trap, visible,
};

/// How often a guest that only computes gives way to others: some tens of microseconds of work.
const YIELD_EVERY_FUEL: u64 = 100_000;
/// This often the same name in a backtrace is a recursion.
const RECURSION_FRAMES: usize = 8;

/// What a handler returned: for a batch one answer each, or one for all.
enum Answer {
    One(Result<(), WitFailure>),
    Each(Result<Vec<Result<(), WitFailure>>, WitFailure>),
}

/// A call that was cut short.
enum Cut {
    Deadline,
    Ended(wasmtime::Error),
}

impl Engine {
    pub(super) async fn invoke(&self, function: &LoadedFunction, batch: &[Delivery]) -> Handled {
        let watch = self.clock.stopwatch();
        let log = GuestLog::new(
            LogScope::of(&function.name, batch),
            self.journal.clone(),
            self.clock.clone(),
            function.limits.log.0,
        );
        let mut store = self.store(function, batch.len(), log.clone());
        let mut started = Duration::ZERO;
        let call = call(&mut store, function, batch, &watch, &mut started);
        let answer = match tokio::time::timeout(function.limits.timeout.0, call).await {
            Ok(answer) => answer.map_err(Cut::Ended),
            Err(_) => Err(Cut::Deadline),
        };
        let run = watch.elapsed().saturating_sub(started);
        let log_tail = log.finish();
        let cost = Cost {
            fuel: function
                .limits
                .fuel
                .saturating_sub(store.get_fuel().unwrap_or(0)),
            peak_memory: store.data().limiter.peak(),
            start_us: micros(started),
            run_us: micros(run),
        };
        let Context {
            staging, trouble, ..
        } = store.into_data().context;
        let Staged {
            shared,
            scoped,
            reserved,
        } = staging.finish();
        let mut outcomes = match answer {
            Ok(Answer::One(result)) => vec![(outcome_of(result), shared)],
            Ok(Answer::Each(results)) => outcomes_of_batch(results, batch, shared, scoped),
            Err(cut) => {
                let outcome = explain(cut, !started.is_zero(), function, &log);
                batch
                    .iter()
                    .map(|_| (outcome.clone(), Transaction::default()))
                    .collect()
            }
        };
        if let Some(reason) = trouble.into_reason() {
            outcomes.iter_mut().for_each(|end| excuse(end, &reason));
        }
        Handled {
            outcomes,
            cost,
            log_tail,
            reserved: Some(reserved),
        }
    }

    fn store(&self, function: &LoadedFunction, messages: usize, log: GuestLog) -> Store<State> {
        let limits = &function.limits;
        let scopes = if function.takes_batches() {
            messages
        } else {
            0
        };
        let context = Context {
            reach: function.reach.clone(),
            staging: Staging::new(
                scopes,
                limits.staging.0,
                Reserved::none(Arc::clone(&self.staging)),
            ),
            log,
            trouble: Trouble::default(),
            room: limits.memory.0,
            held: 0,
        };
        let mut store = Store::new(
            &self.engine,
            State::new(context, Limiter::new(limits.memory.0)),
        );
        store.limiter(|state| &mut state.limiter);
        store
    }
}

/// A function that fails after the host failed it is to be tried again without counting that.
fn excuse(end: &mut (Outcome, Transaction), reason: &str) {
    let excused = matches!(
        end.0,
        Outcome::Trap(_) | Outcome::Failed(Failure::Retry { .. } | Failure::Other { .. })
    );
    if excused {
        let reason = format!("{reason}; {}", end.0);
        *end = (Outcome::Fault(HostFault { reason }), Transaction::default());
    }
}

async fn call(
    store: &mut Store<State>,
    function: &LoadedFunction,
    batch: &[Delivery],
    watch: &Stopwatch,
    started: &mut Duration,
) -> wasmtime::Result<Answer> {
    store.set_fuel(function.limits.fuel)?;
    store.fuel_async_yield_interval(Some(YIELD_EVERY_FUEL))?;
    match (&function.entry, batch) {
        (Entry::Object(pre), [delivery]) => {
            let Payload::ObjectCreated { bucket, object } = &delivery.event.payload else {
                return Err(WrongEvent.into());
            };
            let event = object_event(delivery, bucket, object);
            let instance = pre.instantiate_async(&mut *store).await?;
            *started = watch.elapsed();
            let handler = instance.kinglet_events_object_created();
            Ok(Answer::One(handler.call_handle(store, &event).await?))
        }
        (Entry::Message(pre), [delivery]) => {
            let event = message_event(delivery, message_of(delivery)?);
            let instance = pre.instantiate_async(&mut *store).await?;
            *started = watch.elapsed();
            let handler = instance.kinglet_events_message();
            Ok(Answer::One(handler.call_handle(store, &event).await?))
        }
        (Entry::Batch(pre), batch) => {
            let events = batch
                .iter()
                .map(|delivery| Ok(message_event(delivery, message_of(delivery)?)))
                .collect::<Result<Vec<_>, WrongEvent>>()?;
            let instance = pre.instantiate_async(&mut *store).await?;
            *started = watch.elapsed();
            let handler = instance.kinglet_events_message_batch();
            Ok(Answer::Each(handler.call_handle(store, &events).await?))
        }
        _ => Err(WrongEvent.into()),
    }
}

/// An event reached a function that its kind doesn't wake: the manifest changed since it was accepted.
#[derive(Debug, thiserror::Error)]
#[error(
    "this event isn't of the kind that wakes the function; the manifest changed since it was accepted"
)]
struct WrongEvent;

fn message_of(delivery: &Delivery) -> Result<&crate::ports::Message, WrongEvent> {
    match &delivery.event.payload {
        Payload::Message(message) => Ok(message),
        Payload::ObjectCreated { .. } => Err(WrongEvent),
    }
}

fn outcome_of(result: Result<(), WitFailure>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(failure) => Outcome::Failed(failure_from(failure)),
    }
}

/// What was staged outside any message's scope commits with the first message, and only if every
/// message succeeded.
fn outcomes_of_batch(
    results: Result<Vec<Result<(), WitFailure>>, WitFailure>,
    batch: &[Delivery],
    shared: Transaction,
    scoped: Vec<Transaction>,
) -> Vec<(Outcome, Transaction)> {
    let results = match results {
        Ok(results) if results.len() == batch.len() => results,
        Ok(results) => {
            let reason = format!(
                "the handler returned {} results for {} messages; return one each",
                results.len(),
                batch.len()
            );
            let outcome = Outcome::Failed(Failure::Other { reason });
            return batch
                .iter()
                .map(|_| (outcome.clone(), Transaction::default()))
                .collect();
        }
        Err(failure) => {
            let outcome = Outcome::Failed(failure_from(failure));
            return batch
                .iter()
                .map(|_| (outcome.clone(), Transaction::default()))
                .collect();
        }
    };
    let mut shared = Some(shared).filter(|_| results.iter().all(Result::is_ok));
    if let Some(shared) = &mut shared {
        shared.shared = !shared.is_empty();
    }
    results
        .into_iter()
        .zip(scoped)
        .map(|(result, own)| {
            let mut transaction = shared.take().unwrap_or_default();
            transaction.absorb(own);
            (outcome_of(result), transaction)
        })
        .collect()
}

/// Names the true cause of a call that didn't return.
fn explain(cut: Cut, began: bool, function: &LoadedFunction, log: &GuestLog) -> Outcome {
    let limits = &function.limits;
    let error = match cut {
        Cut::Deadline => {
            return Outcome::Limit(Limit::Deadline {
                limit_ms: millis(limits.timeout.0),
            });
        }
        Cut::Ended(error) => error,
    };
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        let MemoryExceeded { limit, wanted } = *exceeded;
        return Outcome::Limit(Limit::Memory { limit, wanted });
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let reason = format!(
            "the guest ended itself with exit status {} in place of returning from its handler",
            exit.0
        );
        return Outcome::Trap(Trap {
            reason,
            backtrace: Vec::new(),
        });
    }
    if let Some(wrong) = error.downcast_ref::<WrongEvent>() {
        return Outcome::Failed(Failure::Reject {
            reason: wrong.to_string(),
        });
    }
    let backtrace = backtrace(&error);
    let Some(trap) = error.downcast_ref::<wasmtime::Trap>() else {
        let reason = format!("{error:#}");
        // The capabilities hand failures of the stores to the guest, so what ends a call that began is
        // the guest's own doing: a broken pointer, too many handles, an index past the end.
        return if began {
            Outcome::Trap(Trap { reason, backtrace })
        } else {
            Outcome::Fault(HostFault { reason })
        };
    };
    match trap {
        wasmtime::Trap::OutOfFuel => Outcome::Limit(Limit::Fuel { limit: limits.fuel }),
        wasmtime::Trap::StackOverflow => Outcome::Limit(Limit::Stack {
            limit: MAX_WASM_STACK as u64,
        }),
        wasmtime::Trap::UnreachableCodeReached => {
            let reason = log.panic_message().unwrap_or_else(|| trap.to_string());
            Outcome::Trap(Trap { reason, backtrace })
        }
        // A Rust guest keeps its own stack in linear memory, and runs out of that first.
        wasmtime::Trap::MemoryOutOfBounds if recurses(&backtrace) => Outcome::Trap(Trap {
            reason: format!(
                "{trap}: the guest's stack ran out, with {:?} calling itself again and again",
                backtrace.first().map_or("a function", String::as_str)
            ),
            backtrace,
        }),
        trap => Outcome::Trap(Trap {
            reason: trap.to_string(),
            backtrace,
        }),
    }
}

fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => demangle(name),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().map(name).collect()
}

/// A symbol as its author wrote it.
fn demangle(name: &str) -> String {
    visible(&format!("{:#}", rustc_demangle::demangle(name)))
}

fn recurses(backtrace: &[String]) -> bool {
    backtrace.first().is_some_and(|first| {
        backtrace.iter().filter(|name| *name == first).count() >= RECURSION_FRAMES
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Handled {
    /// The host couldn't run the batch at all.
    pub(super) fn fault(batch: &[Delivery], reason: String) -> Self {
        let outcome = Outcome::Fault(HostFault { reason });
        Self {
            outcomes: batch
                .iter()
                .map(|_| (outcome.clone(), Transaction::default()))
                .collect(),
            cost: Cost::default(),
            log_tail: Vec::new(),
            reserved: None,
        }
    }
}
