//! A fresh instance in a store of its own, and those that are made before their events come.
//!
//! An instance is used once, but for requests to a function that asks for its instances to be reused. One that is
//! ready has run its start function, with fuel and a deadline, and has asked the host for nothing yet: it knows no
//! time, no random number and no event, so that it is as fresh as one that is made when its event comes. A component
//! whose start asks for something gets none made ahead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p3::bindings::Service;

use super::load::{Entry, LoadedFunction};
use super::state::State;
use crate::bindings::batch_function::BatchFunction;
use crate::bindings::message_function::MessageFunction;
use crate::bindings::object_function::ObjectFunction;
use crate::ports::Budget;

/// The places that ready instances of one function take: events that come together find one each, where
/// an instance takes one place.
pub(super) const READY_EACH: usize = 16;
/// The places that all ready instances take. An idle instance takes some 100 KiB of memory.
pub(super) const READY_IN_ALL: usize = 64;

/// What an instance exports.
pub(super) enum Exports {
    Object(ObjectFunction),
    Message(MessageFunction),
    Batch(BatchFunction),
    Http(Proxy),
    Service(Service),
}

/// An instance that hasn't had its event yet.
pub(super) struct Instance {
    pub store: Store<State>,
    pub exports: Exports,
    pub room: Room,
    /// How many requests it has answered: none, but where its function asks for that.
    pub answered: u32,
}

/// The places of one instance among those that there are. Dropped after its store.
pub(super) type Room = OwnedSemaphorePermit;

impl Entry {
    /// Runs the component's start.
    pub async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        Ok(match self {
            Self::Object(pre) => Exports::Object(pre.instantiate_async(store).await?),
            Self::Message(pre) => Exports::Message(pre.instantiate_async(store).await?),
            Self::Batch(pre) => Exports::Batch(pre.instantiate_async(store).await?),
            Self::Http(pre) => Exports::Http(pre.instantiate_async(store).await?),
            Self::Service(pre) => Exports::Service(pre.instantiate_async(store).await?),
        })
    }
}

/// Instances that wait for their events, of all functions.
pub(super) struct Ready {
    /// What their memory is of.
    budget: Arc<Budget>,
    /// Longest waiting first.
    waiting: Mutex<VecDeque<(Arc<LoadedFunction>, Instance)>>,
}

impl Ready {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            waiting: Mutex::default(),
        }
    }

    /// Drops the one that waits longest, whose memory somebody needs; whether there was one.
    pub fn give_up(&self) -> bool {
        let longest = self.lock().pop_front();
        longest.is_some()
    }

    /// The instance of a function that was made last: most of it is in the processor's caches still.
    pub fn take(&self, function: &Arc<LoadedFunction>) -> Option<Instance> {
        let mut waiting = self.lock();
        let place = waiting
            .iter()
            .rposition(|(other, _)| Arc::ptr_eq(other, function))?;
        let (_, instance) = waiting.remove(place)?;
        Some(instance)
    }

    /// Returns whether one more of a function has room without taking that of another.
    pub fn has_room(&self, function: &LoadedFunction) -> bool {
        places(&self.lock()) + function.places as usize <= READY_IN_ALL
    }

    /// Returns whether a function could do with one more.
    pub fn wants(&self, function: &Arc<LoadedFunction>) -> bool {
        (self.of(function) + 1) * function.places as usize <= READY_EACH
    }

    pub fn of(&self, function: &Arc<LoadedFunction>) -> usize {
        let waiting = self.lock();
        let own = waiting
            .iter()
            .filter(|(other, _)| Arc::ptr_eq(other, function));
        own.count()
    }

    /// Keeps an instance. Those that wait longest are dropped where all take too many places: ready instances
    /// must leave some to the events of functions that have none ready.
    pub fn put(&self, function: &Arc<LoadedFunction>, instance: Instance) {
        let mut dropped = Vec::new();
        {
            let mut waiting = self.lock();
            waiting.push_back((Arc::clone(function), instance));
            // Who waits for memory has looked here before.
            if self.budget.is_short() {
                dropped.extend(waiting.pop_front());
            }
            while places(&waiting) > READY_IN_ALL {
                dropped.extend(waiting.pop_front());
            }
        }
        // Outside of the lock: it unmaps memory.
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Arc<LoadedFunction>, Instance)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how many places all these instances take.
fn places(waiting: &VecDeque<(Arc<LoadedFunction>, Instance)>) -> usize {
    let places = waiting.iter().map(|(function, _)| function.places as usize);
    places.sum()
}
