//! What is left to do once an answer is on its way: to drop what it took, and to make ready what the next needs.
//!
//! All of it that came up in one turn of the executor is done together. Each step finds its code and tables in the
//! processor's caches then; in turn with the network's code, request by request, it takes twice as long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::task::yield_now;
use wasmtime::Store;

use super::Engine;
use super::instance::{READY_EACH, Room};
use super::load::LoadedFunction;
use super::state::State;
use crate::ports::Afterwards;

/// So many are swept at once, at the latest: more wouldn't find their memory in the caches.
const TOGETHER: usize = READY_EACH;

/// An instance that has answered.
pub(super) struct Used {
    pub function: Arc<LoadedFunction>,
    #[expect(dead_code, reason = "held to be dropped")]
    pub store: Store<State>,
    #[expect(dead_code, reason = "given back after the store")]
    pub room: Option<Room>,
}

/// Instances that have answered.
#[derive(Default)]
pub(super) struct Sweep {
    waiting: Mutex<Waiting>,
    /// The connection that the last request came by.
    last: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    used: Vec<Used>,
    /// Whether somebody comes for them.
    sweeping: bool,
}

impl Sweep {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request came by another connection than the one before, so that connections share the time.
    pub fn is_of_another(&self, connection: &Arc<Afterwards>) -> bool {
        let own = Arc::as_ptr(connection).addr();
        self.last.swap(own, Ordering::Relaxed) != own
    }
}

impl Engine {
    /// Leaves an instance to be dropped soon, and its function to be made ready.
    pub(super) fn sweep(self: &Arc<Self>, used: Used, afterwards: &Weak<Afterwards>) {
        let mut waiting = self.sweep.lock();
        waiting.used.push(used);
        if waiting.used.len() >= TOGETHER
            && let Some(afterwards) = afterwards.upgrade()
        {
            let engine = Arc::clone(self);
            afterwards.push(async move { engine.sweep_waiting().await });
        }
        if !std::mem::replace(&mut waiting.sweeping, true) {
            let engine = Arc::clone(self);
            tokio::spawn(async move {
                // Behind all that can run now.
                yield_now().await;
                engine.sweep.lock().sweeping = false;
                engine.sweep_waiting().await;
            });
        }
    }

    async fn sweep_waiting(&self) {
        let used = std::mem::take(&mut self.sweep.lock().used);
        // All are dropped before the first is made: their places are taken again while they are warm.
        let functions: Vec<_> = used.into_iter().map(|used| used.function).collect();
        for function in functions {
            self.make_ready(&function).await;
        }
    }
}
