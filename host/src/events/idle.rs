//! A function's dispatcher while nothing is due: what is accepted for it is given to it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::config::Function;
use crate::ports::{Delivery, Waiter};

/// What an attempt begins with.
pub(super) struct Given {
    pub permit: OwnedSemaphorePermit,
    pub deliveries: Vec<Delivery>,
    pub since: Stopwatch,
}

pub(super) struct Idle {
    clock: Clock,
    permits: Arc<Semaphore>,
    batch_size: usize,
    /// Whether a batch waits until more has come.
    gathers: bool,
    given: mpsc::Sender<Given>,
    wake: Arc<Notify>,
    /// When the store is looked at in any case; 0 while it is.
    looks_at: AtomicU64,
    /// How long the last attempt took, in microseconds.
    took_us: AtomicU64,
}

impl Idle {
    pub fn new(
        function: &Function,
        permits: &Arc<Semaphore>,
        clock: Clock,
        wake: Arc<Notify>,
    ) -> (Self, mpsc::Receiver<Given>) {
        // Each that is given has a permit.
        let (given, receiver) = mpsc::channel(function.concurrency());
        let idle = Self {
            clock,
            permits: Arc::clone(permits),
            batch_size: function.on.batch_size.unwrap_or(1),
            gathers: function.on.batch_window.is_some(),
            given,
            wake,
            looks_at: AtomicU64::new(0),
            took_us: AtomicU64::new(u64::MAX),
        };
        (idle, receiver)
    }

    /// Nothing is due, and the store isn't looked at before then.
    pub fn begin(&self, looks_at: Timestamp) {
        self.looks_at.store(looks_at, Ordering::Release);
    }

    pub fn end(&self) {
        self.looks_at.store(0, Ordering::Release);
    }

    /// Notes how long an attempt took.
    pub fn took(&self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.took_us.store(micros, Ordering::Relaxed);
    }

    /// Ends once there is something in the store.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Waiter for Idle {
    fn room(&self) -> usize {
        if self.gathers || self.looks_at.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.permits
            .available_permits()
            .saturating_mul(self.batch_size)
    }

    fn offer(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let mut rest = deliveries.into_iter();
        while rest.len() > 0 {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                break;
            };
            let deliveries = rest.by_ref().take(self.batch_size).collect();
            let given = Given {
                permit,
                deliveries,
                since: self.clock.stopwatch(),
            };
            if let Err(TrySendError::Full(given) | TrySendError::Closed(given)) =
                self.given.try_send(given)
            {
                return given.deliveries.into_iter().chain(rest).collect();
            }
        }
        rest.collect()
    }

    fn takes(&self) -> Duration {
        Duration::from_micros(self.took_us.load(Ordering::Relaxed))
    }

    fn wake(&self, due: Timestamp) {
        let looks_at = self.looks_at.load(Ordering::Acquire);
        // A clock that was set forward makes due what the timer knows nothing of.
        if due < looks_at || looks_at <= self.clock.now() {
            // What comes later mustn't overtake what is in the store.
            self.end();
            self.wake.notify_one();
        }
    }
}
