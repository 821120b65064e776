//! The store's file after something other than the host wrote to it.

mod base;
mod edits;
mod log;

use std::collections::BTreeSet;
use std::path::Path;

use kinglet::clock::Clock;
use kinglet::ports::{
    Accept, DeadFilter, Delivery, Disposition, KeyValue, Queue, QueueError, Settled, Settlement,
};
use kinglet::stores::queue::{EmbeddedQueue, QueueConfig, restore};

use crate::{block_on, choice, in_time, scratch};
use base::{Base, LATER, bases};
use edits::{Damage, Edited};

/// The store's file and its log.
const FILE: &str = "events.sqlite";
const LOG: &str = "events.sqlite-wal";
/// What tells which deliveries an ended host had leased.
const RUNNING: &str = "running";
/// More rounds than any store here has deliveries.
const ROUNDS: usize = 200;

/// A store whose files were changed opens, or is refused in words. What it hands out is what was put in: no delivery,
/// dead letter or intent differs, and none comes twice. Where records alone were changed it opens, sets those aside,
/// and hands out all others; where what stands beside them in their rows was changed, whatever it answers names the
/// damage. What a restore takes, opens.
///
/// The first byte chooses the store (`base`), the rest is a list of edits (`edits`).
pub fn store(data: &[u8]) {
    let Some((which, edits)) = choice(data, 3) else {
        return;
    };
    let base = &bases()[usize::from(which)];
    let edited = edits::apply(base, edits);
    in_time(|| block_on(check(base, &edited)));
}

async fn check(base: &Base, edited: &Edited) {
    let dir = scratch();
    edited.write(dir.path());
    let queue = match open(dir.path()) {
        Ok(queue) => queue,
        Err(error) => {
            return assert_told(edited, &error);
        }
    };
    let mut look = Look {
        queue,
        base,
        edited,
        delivered: BTreeSet::new(),
        followers: Vec::new(),
        refused: false,
    };
    look.around().await;
    look.drain().await;
    look.check_all_there();
    drop(look);
    if edited.damage == Damage::Anything {
        check_restore(edited, dir.path());
    }
}

fn open(dir: &Path) -> Result<EmbeddedQueue, QueueError> {
    let config = QueueConfig {
        duplicate_window_ms: 60_000,
        max_events: 1_000,
        max_bytes: 1 << 30,
        max_dead_letters: 100,
        max_answers: 1 << 30,
        dead_letter_age_ms: None,
    };
    EmbeddedQueue::open(dir, Clock::manual(LATER), config)
}

/// What a restore puts in the store's place is a whole store.
fn check_restore(edited: &Edited, damaged: &Path) {
    let dir = scratch();
    match restore(&damaged.join(FILE), dir.path()) {
        Ok(_) => drop(open(dir.path()).unwrap()),
        Err(error) => assert_told(edited, &error),
    }
}

/// A record alone is set aside without a word of the store's. Where a row was changed what comes names the damage;
/// where a page was, SQLite has many words.
fn assert_told(edited: &Edited, error: &QueueError) {
    let named = matches!(error, QueueError::Damaged { .. });
    let told = match edited.damage {
        Damage::Records => false,
        Damage::Rows => named,
        Damage::Anything => !error.to_string().ends_with(": "),
    };
    assert!(told, "{error}");
}

/// Everything that a host does with its store.
struct Look<'a> {
    queue: EmbeddedQueue,
    base: &'a Base,
    edited: &'a Edited,
    delivered: BTreeSet<u64>,
    /// What follows from intents that were applied: each comes once.
    followers: Vec<Accept>,
    /// Whether it was said that the store is damaged: then not all can be there.
    refused: bool,
}

impl Look<'_> {
    /// What may fail only where pages are broken, and says so.
    fn told<T>(&mut self, answer: Result<T, QueueError>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                assert_told(self.edited, &error);
                self.refused = true;
                None
            }
        }
    }

    async fn around(&mut self) {
        let counts = self.queue.counts(LATER).await;
        self.told(counts);
        let totals = self.queue.totals().await;
        self.told(totals);
        let sightings = self.queue.sightings("photos", None, 100).await;
        self.told(sightings);
        let keys = KeyValue::keys(&self.queue, "counters", None, 100).await;
        let keys = self.told(keys).unwrap_or_default();
        let values = self.queue.get("counters", &keys).await;
        self.told(values);
        self.look_at_dead_letters().await;
        let intents = self.queue.intents().await;
        let intents = self.told(intents).unwrap_or_default();
        for intent in intents.intents {
            let put_in = |base: &Base| base.intents.get(&intent.seq) == Some(&intent);
            assert!(bases().iter().any(put_in), "{intent:?} differs");
            let applied = self.queue.applied(intent.seq).await;
            if self.told(applied).is_some() {
                self.followers.extend(intent.accepts);
            }
        }
        assert!(intents.damaged.iter().all(|reason| !reason.is_empty()));
    }

    async fn look_at_dead_letters(&mut self) {
        let dead = self
            .queue
            .dead_letters(&DeadFilter::default(), None, 100)
            .await;
        for letter in self.told(dead).unwrap_or_default() {
            let put_in = |base: &Base| base.dead.get(&letter.delivery.seq) == Some(&letter);
            assert!(bases().iter().any(put_in), "{letter:?} differs");
        }
    }

    async fn drain(&mut self) {
        for function in &self.base.functions {
            let listed = self.queue.list(function, 100, LATER).await;
            self.told(listed);
            let resumed = self.queue.pause(function, false).await;
            self.told(resumed);
            for round in 0.. {
                assert!(round < ROUNDS, "{function} never comes to an end");
                let taken = self.queue.take(function, 4, LATER).await;
                let Some(taken) = self.told(taken) else {
                    break;
                };
                assert!(taken.damaged.iter().all(|reason| !reason.is_empty()));
                if taken.deliveries.is_empty() && taken.damaged.is_empty() {
                    break;
                }
                if !self.settle(taken.deliveries).await {
                    break;
                }
            }
        }
        let redriven = self
            .queue
            .redrive(&DeadFilter::default(), 100, LATER, 0)
            .await;
        self.told(redriven);
    }

    /// Whether all could be settled.
    async fn settle(&mut self, deliveries: Vec<Delivery>) -> bool {
        let mut all = true;
        for delivery in deliveries {
            self.check_same(&delivery);
            let seq = delivery.seq;
            let settlement = Settlement {
                delivery,
                disposition: Disposition::Done,
                intent: None,
                accepts: Vec::new(),
                keys: Vec::new(),
                sightings: Vec::new(),
            };
            let settled = self.queue.settle(vec![settlement], false).await;
            let settled = self.told(settled);
            all &= settled.is_some_and(|settled| settled == [Settled::Committed]);
            self.queue.release(&[seq]);
        }
        all
    }

    fn check_same(&mut self, delivery: &Delivery) {
        assert!(self.delivered.insert(delivery.seq), "{delivery:?} again");
        let same = |put_in: &Delivery| {
            let mut delivery = delivery.clone();
            // A host that ended adds an attempt to each that it had.
            if delivery.cut_off > put_in.cut_off {
                delivery.cut_off = put_in.cut_off;
                delivery.attempted = put_in.attempted;
                delivery.attempts.clone_from(&put_in.attempts);
            }
            delivery == *put_in
        };
        // A store's file may have been changed for another's, or its log be cut short.
        let put_in = |base: &Base| {
            let now = base.deliveries.get(&delivery.seq);
            let then = base.earlier.get(&delivery.seq);
            now.into_iter().chain(then).any(same)
        };
        if bases().iter().any(put_in) {
            return;
        }
        let follows = self.followers.iter().position(|accept| {
            accept.event == delivery.event && accept.functions.contains(&delivery.function)
        });
        let follows = follows.unwrap_or_else(|| panic!("{delivery:?} differs"));
        self.followers.swap_remove(follows);
    }

    /// Where rows alone were changed, all others are there.
    fn check_all_there(&self) {
        if self.refused || self.edited.damage == Damage::Anything {
            return;
        }
        for (seq, delivery) in &self.base.deliveries {
            // Behind one whose row says something else now, others may wait.
            let waits = self.edited.damage > Damage::Records && delivery.lane.is_some();
            // What is left of it is its intent.
            let done = self.base.intents.contains_key(seq);
            if !waits && !done && !self.edited.changed.contains(seq) {
                assert!(self.delivered.contains(seq), "{delivery:?} is gone");
            }
        }
        for seq in &self.edited.records_changed {
            assert!(!self.delivered.contains(seq), "{seq} was changed");
        }
    }
}
