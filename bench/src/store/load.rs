//! The writer thread which commits in groups, and the closed loops which load it.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::model::{Change, Delivery, Reader, Store, accept, delivery};

/// Commands that may wait; the channel is full beyond it, and the publisher waits instead.
const WAITING_MAX: usize = 1024;

/// Everything due, in any store's range of times.
pub const FOREVER_MS: u64 = i64::MAX.cast_unsigned();

struct Request {
    change: Change,
    reply: SyncSender<()>,
}

/// A publisher's end of the writer thread.
pub struct Client {
    requests: SyncSender<Request>,
}

impl Client {
    /// Returns once the change is durable.
    pub fn call(&self, change: Change) -> Result<()> {
        let (reply, replied) = sync_channel(1);
        let request = Request { change, reply };
        self.requests
            .send(request)
            .map_err(|_| anyhow!("the writer has stopped"))?;
        replied.recv().context("the writer failed")
    }
}

/// Drains all that waits into one transaction, commits it, replies to all; until no client is left.
fn write_groups(store: &mut dyn Store, requests: &Receiver<Request>) -> Result<u64> {
    let mut commits = 0;
    while let Ok(first) = requests.recv() {
        let (mut changes, mut replies) = (vec![first.change], vec![first.reply]);
        while changes.len() < WAITING_MAX
            && let Ok(request) = requests.try_recv()
        {
            changes.push(request.change);
            replies.push(request.reply);
        }
        store.apply(&changes)?;
        commits += 1;
        for reply in replies {
            // A client that left no longer needs the answer.
            let _ = reply.send(());
        }
    }
    Ok(commits)
}

/// What a closed loop did.
pub struct Stats {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of the whole process, which a busy machine does not stretch.
    pub cpu_us: f64,
    pub commits: u64,
}

/// Processor time that this process has used, from the clock ticks of `/proc/self/stat`.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is a name in parentheses; of those after it, 11 and 12 are user and system.
    let (_, fields) = stat
        .rsplit_once(')')
        .context("no name in /proc/self/stat")?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    // Linux reports 100 ticks a second to programs on every architecture it shares with Kinglet.
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// Runs `work` in `threads` closed loops until it returns false or `span` has passed.
pub fn closed_loop(
    store: &mut dyn Store,
    threads: u64,
    span: Duration,
    work: impl Fn(&Client, u64) -> Result<bool> + Sync,
) -> Result<Stats> {
    let (requests, waiting) = sync_channel(WAITING_MAX);
    let (started, cpu_before) = (Instant::now(), cpu_seconds()?);
    let (mut latencies, commits) = thread::scope(|scope| {
        let writer = scope.spawn(move || write_groups(store, &waiting));
        let loops: Vec<_> = (0..threads)
            .map(|number| {
                let (client, work) = (
                    Client {
                        requests: requests.clone(),
                    },
                    &work,
                );
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut latencies = Vec::new();
                    while started.elapsed() < span {
                        let before = Instant::now();
                        if !work(&client, number)? {
                            break;
                        }
                        latencies.push(before.elapsed());
                    }
                    Ok(latencies)
                })
            })
            .collect();
        drop(requests);
        let mut latencies = Vec::new();
        for one in loops {
            latencies.extend(one.join().map_err(|_| anyhow!("a publisher panicked"))??);
        }
        let commits = writer
            .join()
            .map_err(|_| anyhow!("the writer panicked"))??;
        anyhow::Ok((latencies, commits))
    })?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    latencies.sort_unstable();
    let at = |hundredth: usize| {
        let place = latencies.len() * hundredth / 100;
        latencies
            .get(place)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' work")]
    let count = latencies.len() as f64;
    let (per_second, cpu_us) = (count / seconds, cpu * 1e6 / count.max(1.0));
    Ok(Stats {
        per_second,
        p50_us: at(50),
        p99_us: at(99),
        cpu_us,
        commits,
    })
}

/// Publishers only: each loop is one durable accept.
pub fn publish(
    store: &mut dyn Store,
    seqs: &AtomicU64,
    threads: u64,
    span: Duration,
    body_len: usize,
) -> Result<Stats> {
    closed_loop(store, threads, span, |client, _| {
        client.call(accept(seqs.fetch_add(1, Ordering::Relaxed), body_len))?;
        Ok(true)
    })
}

/// Publish, take and settle: each loop does the three, and two of them are durable.
///
/// One loop in twenty retries instead of settling; three in ten settle with follow-ups.
pub fn deliver(
    store: &mut dyn Store,
    seqs: &AtomicU64,
    threads: u64,
    span: Duration,
    body_len: usize,
) -> Result<Stats> {
    let taker = Mutex::new(Taker {
        reader: store.reader()?,
        leased: HashSet::new(),
    });
    closed_loop(store, threads, span, |client, _| {
        let seq = seqs.fetch_add(1, Ordering::Relaxed);
        let published = accept(seq, body_len);
        let Change::Accept {
            delivery: ref sent, ..
        } = published
        else {
            return Ok(false);
        };
        let function = sent.key.function;
        client.call(published)?;
        // Each loop has put one in before it takes one out, so there is always one to take.
        let taken = locked(&taker).take(function)?.context("nothing to take")?;
        let key = taken.key;
        let change = if seq % 20 == 7 {
            Change::Retry {
                key,
                due_ms: key.due_ms + 60_000,
                blob: taken.blob,
            }
        } else {
            let count = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]
                .get((seq % 10) as usize)
                .copied();
            let follow_ups = (0..count.unwrap_or(0))
                .map(|_| delivery(seqs.fetch_add(1, Ordering::Relaxed), body_len))
                .collect();
            Change::Settle { key, follow_ups }
        };
        client.call(change)?;
        locked(&taker).leased.remove(&key.seq);
        Ok(true)
    })
}

struct Taker {
    reader: Box<dyn Reader>,
    leased: HashSet<u64>,
}

impl Taker {
    fn take(&mut self, function: u32) -> Result<Option<Delivery>> {
        let taken = self
            .reader
            .due(function, FOREVER_MS, &self.leased, 1)?
            .pop();
        if let Some(delivery) = &taken {
            self.leased.insert(delivery.key.seq);
        }
        Ok(taken)
    }
}

fn locked(taker: &Mutex<Taker>) -> std::sync::MutexGuard<'_, Taker> {
    taker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts `count` deliveries in transactions of 20,000.
pub fn fill(store: &mut dyn Store, seqs: &AtomicU64, count: u64, body_len: usize) -> Result<()> {
    let first = seqs.fetch_add(count, Ordering::Relaxed);
    let all: Vec<u64> = (first..first + count).collect();
    for seqs in all.chunks(20_000) {
        let changes: Vec<_> = seqs.iter().map(|&seq| accept(seq, body_len)).collect();
        store.apply(&changes)?;
    }
    Ok(())
}

/// Takes and settles everything, function by function; returns how many there were.
pub fn drain(store: &mut dyn Store) -> Result<u64> {
    let mut reader = store.reader()?;
    let mut drained = 0;
    for function in 0..u32::try_from(super::model::FUNCTIONS)? {
        loop {
            let due = reader.due(function, FOREVER_MS, &HashSet::new(), 5_000)?;
            if due.is_empty() {
                break;
            }
            drained += due.len() as u64;
            let settle = |one: Delivery| Change::Settle {
                key: one.key,
                follow_ups: Vec::new(),
            };
            store.apply(&due.into_iter().map(settle).collect::<Vec<_>>())?;
        }
    }
    Ok(drained)
}
