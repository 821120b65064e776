//! One invocation: a fresh instance, a call, and what came of it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use wasmtime::Store;

use super::Engine;
use super::explain::{ended, explain};
use super::instance::{Exports, Instance, Room};
use super::limiter::{Limiter, with_instance};
use super::load::{Entry, LoadedFunction};
use super::state::{State, max_handles};
use crate::bindings::types::Failure as WitFailure;
use crate::capabilities::{
    Context, GuestLog, HostCalls, LogScope, Staged, Staging, StagingLimits, Trouble, failure_from,
    message_event, object_event,
};
use crate::clock::Stopwatch;
use crate::guard::{self, Guard};
use crate::ports::{
    Cost, Delivery, Failure, Handled, HostFault, Outcome, Payload, Reserved, Share, Spent,
    Transaction,
};

/// How often a guest that only computes gives way to others: some tens of microseconds of work.
pub(super) const YIELD_EVERY_FUEL: u64 = 100_000;

/// What a handler returned: for a batch one answer each, or one for all.
enum Answer {
    One(Result<(), WitFailure>),
    Each(Result<Vec<Result<(), WitFailure>>, WitFailure>),
}

/// What an event begins with.
pub(super) struct Begun {
    pub store: Store<State>,
    /// Of an instance that was ready.
    pub exports: Option<Exports>,
    pub room: Option<Room>,
    /// How many requests it has answered before.
    pub answered: u32,
    pub log: GuestLog,
    pub watch: Stopwatch,
}

impl Engine {
    pub(super) async fn invoke(
        &self,
        function: &Arc<LoadedFunction>,
        batch: &[Delivery],
    ) -> Handled {
        let entry = match function.entry(&self.loader).await {
            Ok(entry) => entry,
            Err(error) => return Handled::fault(batch, error.to_string()),
        };
        // The room first, so that it is given back last.
        let Begun {
            room,
            mut store,
            exports,
            log,
            watch,
            ..
        } = self
            .begin(
                function,
                entry,
                LogScope::of(&function.name, batch),
                batch.len(),
            )
            .await;
        let mut started = Duration::ZERO;
        let ready = (entry, exports);
        let call = call(&mut store, ready, function, batch, &watch, &mut started);
        let called = within(function.limits.timeout.0, &watch, pin!(call)).await;
        let answer = ended(called, store.data());
        let run = watch.elapsed().saturating_sub(started);
        let log_tail = log.finish();
        function.pace.count(log.taken());
        let cost = Cost {
            fuel: function
                .limits
                .fuel
                .saturating_sub(store.get_fuel().unwrap_or(0)),
            peak_memory: store.data().limiter.peak(),
            start_us: micros(started),
            run_us: micros(run),
        };
        let context = &mut store.data_mut().context;
        let Staged {
            shared,
            scoped,
            reserved,
        } = context.staging.finish();
        let trouble = std::mem::take(&mut context.trouble);
        let wanted = store.data().limiter.wanted();
        function.likely.learn(wanted, reserved.wanted());
        let mut outcomes = match answer {
            Ok(Answer::One(result)) => vec![(outcome_of(result), shared)],
            Ok(Answer::Each(results)) => outcomes_of_batch(results, batch, shared, scoped),
            Err(cut) => {
                let outcome = explain(cut, !started.is_zero(), function, store.data());
                batch
                    .iter()
                    .map(|_| (outcome.clone(), Transaction::default()))
                    .collect()
            }
        };
        if let Some(reason) = trouble.into_reason() {
            outcomes.iter_mut().for_each(|end| excuse(end, &reason));
        }
        let outcomes = outcomes
            .into_iter()
            .map(|(outcome, staged)| (outcome.bounded(), staged))
            .collect();
        Handled {
            outcomes,
            cost,
            log_tail,
            reserved: Some(reserved),
            spent: Some(Spent::new((store, room))),
        }
    }

    /// A store for one event, or for a batch of so many messages. Waits while as many are alive as may be, or while
    /// they have the host's memory; no deadline counts that.
    pub(super) async fn begin(
        &self,
        function: &Arc<LoadedFunction>,
        entry: &Entry,
        scope: LogScope,
        messages: usize,
    ) -> Begun {
        function.pace.keep().await;
        let (likely, staged) = (function.likely_memory(), function.likely.staged());
        // One that can't have what it is likely to want gives back what it has: else all could wait for each other.
        let mut staging = Share::none(&self.budget);
        let ready = self.ready.take(function).and_then(|mut ready| {
            let enough = ready.store.data_mut().limiter.reserve(likely) && staging.cover(staged);
            enough.then_some(ready)
        });
        let (room, share) = match &ready {
            Some(_) => (None, Share::endless()),
            None => {
                // Never closed, so that there always is one.
                let room = Arc::clone(&self.room).acquire_many_owned(function.places);
                let room = room.await.ok();
                let instance = with_instance(likely);
                let mut share = self.budget.take(instance.saturating_add(staged)).await;
                staging = share.split_off(instance);
                (room, share)
            }
        };
        let watch = self.clock.stopwatch();
        let (journal, clock) = (Arc::clone(&self.journal), self.clock.clone());
        let log = GuestLog::new(scope, journal, clock, function.limits.log.0);
        let context = self.context(function, messages, log.clone(), staging);
        let (store, exports, room, answered) = match ready {
            Some(Instance {
                mut store,
                exports,
                room,
                answered,
            }) => {
                store.data_mut().begin(context);
                (store, Some(exports), Some(room), answered)
            }
            None => (store(entry, function, context, share), None, room, 0),
        };
        Begun {
            store,
            exports,
            room,
            answered,
            log,
            watch,
        }
    }

    /// Makes an instance for an event to come, where the function could do with one.
    pub(super) async fn make_ready(&self, function: &Arc<LoadedFunction>) {
        let Some(_alone) = function.readying.try_lock().ok() else {
            return;
        };
        if function.asks_at_start() || !self.ready.wants(function) {
            return;
        }
        let Some(entry) = function.loaded() else {
            return;
        };
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(function.places) else {
            return;
        };
        let watch = self.clock.stopwatch();
        // It takes what it begins with, and the rest when its event comes.
        let Some(share) = self
            .budget
            .try_take(with_instance(function.initial_memory()))
        else {
            return;
        };
        let context = self.context(function, 0, GuestLog::none(), Share::none(&self.budget));
        let mut store = store(entry, function, context, share);
        let start = async {
            arm(&mut store, function)?;
            entry.instantiate(&mut store).await
        };
        let started = within(function.limits.timeout.0, &watch, pin!(start)).await;
        // What fails here fails again when an event comes, and is told then.
        if let Some(Ok(exports)) = started {
            if store.data().asked {
                function.note_asks_at_start();
            } else {
                let instance = Instance {
                    store,
                    exports,
                    room,
                    answered: 0,
                };
                self.ready.put(function, instance);
            }
        }
    }

    /// Has an instance wait for the next request.
    pub(super) fn reuse(&self, function: &Arc<LoadedFunction>, mut instance: Instance) {
        if arm(&mut instance.store, function).is_ok() {
            self.ready.put(function, instance);
        }
    }

    /// What one instance works on: for a batch of so many messages, or for one event.
    pub(super) fn context(
        &self,
        function: &LoadedFunction,
        messages: usize,
        log: GuestLog,
        staged: Share,
    ) -> Context {
        let limits = &function.limits;
        let scopes = if function.takes_batches() {
            messages
        } else {
            0
        };
        Context {
            reach: Arc::clone(&function.reach),
            staging: Staging::new(
                scopes,
                StagingLimits {
                    bytes: limits.staging.0,
                    effects: limits.effects,
                },
                Reserved::none(Arc::clone(&self.staging), staged),
            ),
            log,
            trouble: Trouble::default(),
            room: limits.memory.0,
            held: 0,
            side_by_side: Arc::default(),
            calls: Arc::new(HostCalls::new(limits.host_calls.0)),
        }
    }
}

fn store(entry: &Entry, function: &LoadedFunction, context: Context, share: Share) -> Store<State> {
    let limiter = Limiter::new(function.limits.memory.0, share);
    let mut store = Store::new(entry.engine(), State::new(context, limiter));
    store.limiter(|state| state);
    store.set_max_component_handles(max_handles());
    store.set_hostcall_fuel(guard::bound(Guard::HostCalls, function.arguments));
    if let Some(tasks) = store.concurrent_resource_table() {
        tasks.set_max_capacity(max_handles());
    }
    store
}

/// Ends a call that takes longer than it may. Most end before they wait for anything, and need no timer.
pub(super) async fn within<T>(
    limit: Duration,
    watch: &Stopwatch,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let first = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    if let Poll::Ready(value) = first {
        return Some(value);
    }
    if !guard::holds(Guard::Deadline) {
        return Some(call.await);
    }
    let left = limit.saturating_sub(watch.elapsed());
    tokio::time::timeout(left, call).await.ok()
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

/// Gives a new store what its guest may use, for its start and for the call together.
pub(super) fn arm(store: &mut Store<State>, function: &LoadedFunction) -> wasmtime::Result<()> {
    let bounded = guard::holds(Guard::Fuel);
    store.set_fuel(if bounded {
        function.limits.fuel
    } else {
        u64::MAX
    })?;
    store.fuel_async_yield_interval(Some(YIELD_EVERY_FUEL).filter(|_| guard::holds(Guard::Yields)))
}

async fn call(
    store: &mut Store<State>,
    (entry, ready): (&Entry, Option<Exports>),
    function: &LoadedFunction,
    batch: &[Delivery],
    watch: &Stopwatch,
    started: &mut Duration,
) -> wasmtime::Result<Answer> {
    let exports = match ready {
        Some(exports) => exports,
        None => {
            arm(store, function)?;
            entry.instantiate(store).await?
        }
    };
    match (&exports, batch) {
        (Exports::Object(exports), [delivery]) => {
            let Payload::ObjectCreated { bucket, object } = &delivery.event.payload else {
                return Err(WrongEvent.into());
            };
            let event = object_event(delivery, bucket, object);
            *started = watch.elapsed();
            let handler = exports.kinglet_events_object_created();
            Ok(Answer::One(handler.call_handle(store, &event).await?))
        }
        (Exports::Message(exports), [delivery]) => {
            let event = message_event(delivery, message_of(delivery)?);
            *started = watch.elapsed();
            let handler = exports.kinglet_events_message();
            Ok(Answer::One(handler.call_handle(store, &event).await?))
        }
        (Exports::Batch(exports), batch) => {
            let events = batch
                .iter()
                .map(|delivery| Ok(message_event(delivery, message_of(delivery)?)))
                .collect::<Result<Vec<_>, WrongEvent>>()?;
            *started = watch.elapsed();
            let handler = exports.kinglet_events_message_batch();
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
pub(super) struct WrongEvent;

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
        Ok(results) if results.len() == batch.len() || !guard::holds(Guard::BatchShape) => results,
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

pub(super) fn micros(duration: Duration) -> u64 {
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
            spent: None,
        }
    }
}
