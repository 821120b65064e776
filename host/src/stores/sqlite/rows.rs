//! Rows on their way from the thread that finds them to the guest that reads them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::ports::{Row, Rows, size_of_row};

/// While so many bytes wait to be read no more rows are looked for.
pub const WAITING: usize = 64 << 10;

/// That nobody waits any more for what a statement does. Looked at while it runs.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it when what is returned is dropped.
    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(Some(self.clone()))
    }
}

/// Stops a statement when dropped.
#[derive(Debug)]
pub struct StopOnDrop(Option<Stop>);

impl StopOnDrop {
    /// Lets the statement come to its end.
    pub fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.0.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when rows were taken.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    rows: Vec<Row>,
    bytes: usize,
    /// No more come.
    over: bool,
    /// Nobody takes them.
    gone: bool,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where found rows are put.
pub struct Giver(Arc<Shared>);

/// Where they are taken.
pub struct Taker {
    shared: Arc<Shared>,
    _stop: StopOnDrop,
}

/// Both ends. `stop` is dropped with the one where rows are taken.
pub fn handover(stop: StopOnDrop) -> (Giver, Taker) {
    let shared = Arc::<Shared>::default();
    let giver = Giver(Arc::clone(&shared));
    (
        giver,
        Taker {
            shared,
            _stop: stop,
        },
    )
}

impl Giver {
    /// Puts a row there, once there is room; whether somebody may read it.
    pub fn give(&self, row: Row) -> bool {
        let mut state = self.0.lock();
        while state.bytes >= WAITING && !state.gone {
            state = self
                .0
                .taken
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.gone {
            return false;
        }
        state.bytes += size_of_row(&row);
        state.rows.push(row);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.over = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Rows for Taker {
    fn poll_some(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<Row>>> {
        let mut state = self.shared.lock();
        if !state.rows.is_empty() {
            state.bytes = 0;
            self.shared.taken.notify_one();
            return Poll::Ready(Some(std::mem::take(&mut state.rows)));
        }
        if state.over {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.shared.lock().gone = true;
        self.shared.taken.notify_one();
    }
}
