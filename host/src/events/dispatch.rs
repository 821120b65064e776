//! Takes what is due, within each function's concurrency, and hands it to the engine.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::Events;
use super::idle::{Given, Idle};
use crate::clock::{Stopwatch, Timestamp, millis};
use crate::config::{Function, Source};
use crate::guard::{self, Guard};
use crate::ports::{
    Cost, Delivery, Handled, Handler, Level, ObjectError, Outcome, Payload, QueueError, Taken,
    Transaction,
};

/// The most hops an event may make where its function states no bound of its own.
const MAX_HOPS: u32 = 64;
/// How long to wait before a failing store is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// An event during which the host ended so often is taken for the cause. Many: a host that is killed for other
/// reasons has innocent ones running too.
const MAX_CUT_OFF: u32 = 50;
/// How many events are taken in one look at the store, where more than one batch fits.
const TAKE: usize = 256;

/// How long to sleep at most: what is due may become so by more than a timer, as by a clock that is set, or a
/// function that is held no more.
const LOOK: Duration = Duration::from_secs(10);

/// Tells when to stop taking events. What runs is finished.
pub type Stop = watch::Receiver<bool>;

impl Events {
    /// Delivers until told to stop, and then until what runs is settled; to one function alone where
    /// `only` names it.
    pub async fn deliver<H: Handler>(
        self: Arc<Self>,
        handler: Arc<H>,
        mut stop: Stop,
        only: Option<&str>,
    ) {
        let mut functions = JoinSet::new();
        if let Some(finishing) = self.finish(stop.clone()).await {
            functions.spawn(finishing);
        }
        for function in self.manifest.functions.clone() {
            // Requests don't wait in the queue.
            let waits = !matches!(function.on.source(), Source::Http(_));
            if !waits || only.is_some_and(|only| only != function.name) {
                continue;
            }
            let permits = Arc::new(Semaphore::new(function.concurrency()));
            let wake = self.wake.get(&function.name).map(Arc::clone);
            let (idle, given) = Idle::new(
                &function,
                &permits,
                self.clock.clone(),
                wake.unwrap_or_default(),
            );
            let worker = Worker {
                permits,
                function: Arc::new(function),
                events: Arc::clone(&self),
                handler: Arc::clone(&handler),
                idle: Arc::new(idle),
            };
            functions.spawn(worker.serve(given, stop.clone()));
        }
        let events = Arc::clone(&self);
        functions.spawn(async move {
            stopped(&mut stop).await;
            events.closing.send_replace(true);
        });
        while functions.join_next().await.is_some() {}
    }
}

/// Serves one function.
struct Worker<H> {
    function: Arc<Function>,
    events: Arc<Events>,
    handler: Arc<H>,
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
}

impl<H: Handler> Worker<H> {
    async fn serve(self, mut given: mpsc::Receiver<Given>, mut stop: Stop) {
        let mut running = JoinSet::new();
        if !self.attend(&mut stop).await {
            return;
        }
        loop {
            // The permits come first: what can't run stays in the store.
            let mut permits = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(given) = given.recv() => {
                    self.begin(given, &mut running);
                    continue;
                }
                permit = Arc::clone(&self.permits).acquire_owned() => match permit {
                    Ok(permit) => permit,
                    Err(_) => break,
                },
            };
            while running.try_join_next().is_some() {}
            let size = self.function.on.batch_size.unwrap_or(1);
            let batches = (TAKE / size)
                .min(self.permits.available_permits() + 1)
                .max(1);
            // One look at the store for all that can run now.
            if let Ok(more) = Arc::clone(&self.permits)
                .try_acquire_many_owned(u32::try_from(batches - 1).unwrap_or(0))
            {
                permits.merge(more);
            }
            let taken = match self.take(size, permits.num_permits(), &mut stop).await {
                Ok(taken) => taken,
                Err(QueueError::Closed) => break,
                Err(error) => {
                    self.events.say(Level::Error, error.to_string());
                    tokio::select! {
                        () = stopped(&mut stop) => break,
                        () = tokio::time::sleep(STORE_PAUSE) => continue,
                    }
                }
            };
            if taken.deliveries.is_empty() {
                drop(permits);
                if !taken.damaged.is_empty() {
                    continue;
                }
                let now = self.events.clock.now();
                let due = taken.next_due.map_or(LOOK, |due| {
                    Duration::from_millis(due.saturating_sub(now).max(1))
                });
                let longest = due.min(LOOK);
                // What a function that is held is given when it goes on is the store's to say.
                if !taken.held {
                    self.idle.begin(now.saturating_add(millis(longest)));
                }
                self.wait(longest, &mut given, &mut stop, &mut running)
                    .await;
                self.idle.end();
                continue;
            }
            let mut deliveries = taken.deliveries.into_iter().peekable();
            while deliveries.peek().is_some()
                && let Some(permit) = permits.split(1)
            {
                let deliveries = deliveries.by_ref().take(size).collect();
                let since = self.events.clock.stopwatch();
                let given = Given {
                    permit,
                    deliveries,
                    since,
                };
                self.begin(given, &mut running);
            }
            // What was taken begins before the next look at the store.
            tokio::task::yield_now().await;
        }
        given.close();
        while let Some(given) = given.recv().await {
            self.begin(given, &mut running);
        }
        while running.join_next().await.is_some() {}
    }

    /// Has the store tell what is accepted; whether it does before it is time to stop.
    async fn attend(&self, stop: &mut Stop) -> bool {
        let (queue, name) = (&self.events.queue, &self.function.name);
        while let Err(error) = queue.attend(name, Arc::clone(&self.idle) as _).await {
            self.events.say(Level::Error, error.to_string());
            tokio::select! {
                () = stopped(stop) => return false,
                () = tokio::time::sleep(STORE_PAUSE) => {}
            }
        }
        true
    }

    /// Begins what is given, until it is time to look at the store or to stop.
    async fn wait(
        &self,
        longest: Duration,
        given: &mut mpsc::Receiver<Given>,
        stop: &mut Stop,
        running: &mut JoinSet<()>,
    ) {
        let look = tokio::time::sleep(longest);
        tokio::pin!(look);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop) => return,
                Some(given) = given.recv() => {
                    while running.try_join_next().is_some() {}
                    self.begin(given, running);
                }
                () = self.idle.woken() => return,
                () = &mut look => return,
            }
        }
    }

    fn begin(&self, given: Given, running: &mut JoinSet<()>) {
        let Given {
            permit,
            deliveries,
            since,
        } = given;
        let attempt = Attempt {
            function: Arc::clone(&self.function),
            events: Arc::clone(&self.events),
            handler: Arc::clone(&self.handler),
            idle: Arc::clone(&self.idle),
            since,
            permit,
        };
        let attempt = attempt.run(deliveries);
        match self.handler.apart(&self.function.name) {
            Some(apart) => running.spawn_on(attempt, apart),
            None => running.spawn(attempt),
        };
    }

    /// What is due, up to so many batches; a batch waits for more as long as its window is.
    async fn take(
        &self,
        size: usize,
        batches: usize,
        stop: &mut Stop,
    ) -> Result<Taken, QueueError> {
        let Events { queue, clock, .. } = &*self.events;
        let name = &self.function.name;
        let mut taken = queue.take(name, size * batches, clock.now()).await?;
        self.say_damaged(&taken);
        if let Some(window) = self.function.on.batch_window
            && !taken.deliveries.is_empty()
            && taken.deliveries.len() < size
        {
            tokio::select! {
                () = stopped(stop) => return Ok(taken),
                () = tokio::time::sleep(window.0) => {}
            }
            let missing = size - taken.deliveries.len();
            match queue.take(name, missing, clock.now()).await {
                Ok(more) => {
                    self.say_damaged(&more);
                    taken.deliveries.extend(more.deliveries);
                }
                Err(error) => {
                    queue.release(&seqs(&taken.deliveries));
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    fn say_damaged(&self, taken: &Taken) {
        for damaged in &taken.damaged {
            let name = &self.function.name;
            let text = format!("an event for function {name:?} is set aside: {damaged}");
            self.events.say(Level::Error, text);
        }
    }
}

/// One attempt at a batch. Dropped unsettled, it gives its deliveries back.
struct Attempt<H> {
    function: Arc<Function>,
    events: Arc<Events>,
    handler: Arc<H>,
    idle: Arc<Idle>,
    since: Stopwatch,
    permit: OwnedSemaphorePermit,
}

impl<H: Handler> Attempt<H> {
    async fn run(self, deliveries: Vec<Delivery>) {
        let events = &self.events;
        let mut lease = Lease {
            events: Arc::clone(events),
            function: Arc::clone(&self.function),
            seqs: seqs(&deliveries),
        };
        let now = events.clock.now();
        let queue_ms = deliveries
            .iter()
            .map(|d| now.saturating_sub(d.due))
            .max()
            .unwrap_or(0);
        let (ended, deliveries) = self.ended_beforehand(deliveries, now);
        let leased = &mut lease.seqs;
        let settled = match self.settle_unhandled(ended, queue_ms, leased).await {
            Ok(()) => self.handle(deliveries, queue_ms, leased).await,
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            events.say(
                Level::Error,
                format!("an attempt couldn't be settled: {error}"),
            );
            tokio::time::sleep(STORE_PAUSE).await;
        }
        drop(lease);
        drop(self.permit);
        self.handler.prepare(&self.function.name).await;
    }

    async fn handle(
        &self,
        mut deliveries: Vec<Delivery>,
        queue_ms: u64,
        leased: &mut Vec<u64>,
    ) -> Result<(), QueueError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let handled = match self.settled_beforehand(&mut deliveries).await {
            Some(outcome) => unhandled(vec![outcome; deliveries.len()]),
            None => {
                let batch = Arc::new(deliveries);
                let handled = self.handler.handle(&self.function.name, &batch).await;
                deliveries = Arc::unwrap_or_clone(batch);
                self.idle.took(self.since.elapsed());
                handled
            }
        };
        self.events
            .settle(&self.function, deliveries, handled, queue_ms, leased)
            .await
    }

    /// Parts from the others the events that aren't to be tried: those that came here over more functions
    /// than a loop may take, those that are too old, and those that seem to bring the host down.
    fn ended_beforehand(
        &self,
        deliveries: Vec<Delivery>,
        now: Timestamp,
    ) -> (Vec<(Delivery, Outcome)>, Vec<Delivery>) {
        let most = self.function.allow_loop.unwrap_or(MAX_HOPS);
        let max_age = self.function.retry.max_age.map(|age| millis(age.0));
        let (mut ended, mut others) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let hops = delivery.event.hops;
            let age = now.saturating_sub(delivery.since());
            let reason = if hops > most && guard::holds(Guard::Hops) {
                format!(
                    "it came here over {hops} functions, and {most} are allowed: {}; see `allow-loop`",
                    delivery.event.id
                )
            } else if delivery.cut_off >= MAX_CUT_OFF {
                format!(
                    "the host ended {} times while it was handled; see what it does with \
                     `kinglet invoke`",
                    delivery.cut_off
                )
            } else if max_age.is_some_and(|max_age| age > max_age) {
                format!(
                    "it is {age} ms old, and `retry.max-age` is {} ms",
                    max_age.unwrap_or(0)
                )
            } else {
                others.push(delivery);
                continue;
            };
            ended.push((delivery, Outcome::Undeliverable { reason }));
        }
        (ended, others)
    }

    async fn settle_unhandled(
        &self,
        ended: Vec<(Delivery, Outcome)>,
        queue_ms: u64,
        leased: &mut Vec<u64>,
    ) -> Result<(), QueueError> {
        if ended.is_empty() {
            return Ok(());
        }
        let (deliveries, outcomes) = ended.into_iter().unzip();
        self.events
            .settle(
                &self.function,
                deliveries,
                unhandled(outcomes),
                queue_ms,
                leased,
            )
            .await
    }

    /// Whether there is anything to run. An object's event takes the metadata that is stored with it.
    async fn settled_beforehand(&self, deliveries: &mut [Delivery]) -> Option<Outcome> {
        let [delivery] = deliveries else { return None };
        let told = delivery.event.is_told();
        let Payload::ObjectCreated { bucket, object } = &mut delivery.event.payload else {
            return None;
        };
        let superseded = |reason: &str| {
            Some(Outcome::Superseded {
                reason: reason.to_owned(),
            })
        };
        match self.events.buckets.get(bucket)?.head(&object.key).await {
            Ok(current) if current.etag == object.etag => {
                *object = current;
                None
            }
            // By its size: the other store's name of the version isn't the folder's.
            Ok(current) if told && current.size == object.size => superseded(
                "the object is in the bucket's folder by now, and has an event of its own there",
            ),
            _ if told => None,
            Ok(_) => superseded("a newer version of the object has an event of its own"),
            Err(ObjectError::NotFound { .. }) => superseded("the object was deleted"),
            // The handler will meet the same error, and say what it makes of it.
            Err(_) => None,
        }
    }
}

/// Outcomes without the handler.
fn unhandled(outcomes: Vec<Outcome>) -> Handled {
    let outcomes = outcomes.into_iter();
    Handled {
        outcomes: outcomes
            .map(|outcome| (outcome, Transaction::default()))
            .collect(),
        cost: Cost::default(),
        log_tail: Vec::new(),
        reserved: None,
        spent: None,
    }
}

/// Gives leased deliveries back when dropped, as when a task is ended.
struct Lease {
    events: Arc<Events>,
    function: Arc<Function>,
    seqs: Vec<u64>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.seqs.is_empty() {
            self.events.queue.release(&self.seqs);
            self.events.wake([&self.function.name]);
        }
    }
}

fn seqs(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.seq).collect()
}

/// Ends once it is time to stop.
pub async fn stopped(stop: &mut Stop) {
    // A sender that is gone can't say stop any more, and means it.
    let _ = stop.wait_for(|stop| *stop).await;
}
