//! Threads for guests that compute for long, which keep the threads that serve free.
//!
//! Most handlers take microseconds, and run on the thread that received their event. A guest that holds
//! such a thread for longer than `LONG` moves to a thread for guests of its kind. An attempt starts there
//! if earlier attempts of its function moved. Both kinds of threads have ordinary priority: threads that
//! serve preempt the others by shorter time slices (`scheduling`).

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::load::LoadedFunction;
use crate::clock::{Stopwatch, thread_time};
use crate::ports::{KeepsApart, Place};
use crate::scheduling::use_default_slices;

/// What an attempt may take of a thread that others need.
pub(super) const LONG: Duration = Duration::from_millis(1);

std::thread_local! {
    static IS_APART: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// As many threads as there are processors, made at the first need.
#[derive(Default)]
pub(super) struct Apart(OnceLock<Option<Runtime>>);

impl Apart {
    /// None where the system gives no threads: then all run together.
    pub fn handle(&self) -> Option<&Handle> {
        let runtime = self.0.get_or_init(|| {
            let runtime = Builder::new_multi_thread()
                .thread_name("kinglet-apart")
                .enable_all()
                .on_thread_start(|| {
                    IS_APART.set(true);
                    use_default_slices();
                })
                .build();
            runtime
                .inspect_err(
                    |error| tracing::warn!(%error, "no threads for guests that compute for long"),
                )
                .ok()
        });
        runtime.as_ref().map(Runtime::handle)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take().flatten() {
            // It may be dropped where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

/// A guest at work.
pub(super) struct Moving<T> {
    place: At<T>,
    apart: Arc<Apart>,
}

enum At<T> {
    Here(Timed<T>),
    Apart(JoinHandle<T>),
    /// On its way.
    None,
}

impl<T: Send + 'static> Moving<T> {
    /// `work` is begun where it is polled, unless its function is likely to compute for long.
    pub fn new(
        apart: &Arc<Apart>,
        function: &Arc<LoadedFunction>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let mut moving = Self {
            place: At::Here(Timed::new(function, work)),
            apart: Arc::clone(apart),
        };
        if function.likely.computes_for_long() {
            moving.go();
        }
        moving
    }

    /// On to the others that compute for long, if it isn't there.
    fn go(&mut self) {
        if IS_APART.get() {
            return;
        }
        let Some(handle) = self.apart.handle() else {
            return;
        };
        self.place = match mem::replace(&mut self.place, At::None) {
            At::Here(timed) => At::Apart(handle.spawn(timed)),
            place => place,
        };
    }
}

impl<T: Send + 'static> Future for Moving<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let At::Here(timed) = &mut self.place {
            let polled = Pin::new(&mut *timed).poll(context);
            if polled.is_ready() || timed.busy < LONG {
                return polled;
            }
            self.go();
        }
        match &mut self.place {
            At::Apart(task) => match Pin::new(task).poll(context) {
                Poll::Ready(Ok(value)) => Poll::Ready(value),
                Poll::Ready(Err(error)) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The host ends.
                    Err(_) => Poll::Pending,
                },
                Poll::Pending => Poll::Pending,
            },
            _ => Poll::Pending,
        }
    }
}

impl<T> Drop for Moving<T> {
    fn drop(&mut self) {
        if let At::Apart(task) = &self.place {
            task.abort();
        }
    }
}

/// A guest that is polled together with its connection, which is served apart where the guest computes for long.
pub(super) struct Placed<T> {
    timed: Timed<T>,
    place: Arc<Place>,
    keeps_apart: Option<KeepsApart>,
    begun: bool,
}

impl<T> Placed<T> {
    pub fn new(
        place: &Arc<Place>,
        function: &Arc<LoadedFunction>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let apart = function.likely.computes_for_long();
        Self {
            timed: Timed::new(function, work),
            place: Arc::clone(place),
            keeps_apart: apart.then(|| place.keep_apart()),
            begun: !apart || IS_APART.get(),
        }
    }
}

impl<T> Future for Placed<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if !mem::replace(&mut self.begun, true) {
            // There.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.timed).poll(context);
        if polled.is_pending() && self.timed.busy >= LONG && self.keeps_apart.is_none() {
            self.keeps_apart = Some(self.place.keep_apart());
        }
        polled
    }
}

/// Work, and how long it has held a thread.
struct Timed<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
    function: Arc<LoadedFunction>,
    busy: Duration,
    /// Whether that is processor time.
    exact: bool,
}

impl<T> Timed<T> {
    fn new(function: &Arc<LoadedFunction>, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            work: Box::pin(work),
            function: Arc::clone(function),
            busy: Duration::ZERO,
            exact: true,
        }
    }
}

impl<T> Future for Timed<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if IS_APART.get() {
            // Others have the processor in between, which isn't the guest's doing.
            let begun = thread_time();
            let polled = self.work.as_mut().poll(context);
            self.busy += thread_time().saturating_sub(begun);
            return polled;
        }
        // Cheaper, and as good as long as it is short.
        self.exact = false;
        let begun = Stopwatch::of_host();
        let polled = self.work.as_mut().poll(context);
        self.busy += begun.elapsed();
        polled
    }
}

impl<T> Drop for Timed<T> {
    fn drop(&mut self) {
        if self.busy.is_zero() {
            return;
        }
        let likely = &self.function.likely;
        match self.exact {
            true => likely.learn_processor_time(self.busy),
            false => likely.learn_time(self.busy),
        }
    }
}
