//! What delivery asks of the store that holds events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{AnswerKey, Cost, Event, KeptAnswer, KeyChange, Outcome};
use crate::clock::Timestamp;

/// Holds accepted events until they are settled. What an operation reports as done is on disk.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Accepts events from a source, all of them or none; one answer each, in order. Refused where the
    /// store is at its quota: the source keeps them.
    async fn accept(&self, events: Vec<Accept>) -> Result<Vec<Accepted>, QueueError>;

    /// Leases up to `limit` deliveries of `function` that are due, oldest due first. A lease ends with its
    /// release, or the process; until then no other of its ordering key is leased. A paused function gets
    /// none.
    async fn take(&self, function: &str, limit: usize, now: Timestamp)
    -> Result<Taken, QueueError>;

    /// Has a function's dispatcher told of what is accepted for it, and handed some of it.
    async fn attend(&self, function: &str, waiter: Arc<dyn Waiter>) -> Result<(), QueueError>;

    /// Ends leases. Deliveries that weren't settled are due as they were.
    fn release(&self, seqs: &[u64]);

    /// Settles deliveries, and writes what they decided, in one step; one answer each, in order. With
    /// `together`, a conflict of one is a conflict of all.
    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        together: bool,
    ) -> Result<Vec<Settled>, QueueError>;

    /// Writes what a request decided, in one step; with the number that its intent was given.
    async fn commit(&self, commitment: Commitment) -> Result<(Settled, u64), QueueError>;

    /// The answer that is remembered under a key. Refused where there is none, and no room for another.
    async fn answer(&self, key: &AnswerKey) -> Result<Option<KeptAnswer>, QueueError>;

    /// Notes that an intent is applied, and accepts what follows from it; one answer each, in
    /// order. Events that are many are accepted in several steps, each of which is done once: after
    /// an error, call it again.
    async fn applied(&self, intent: u64) -> Result<Vec<Accepted>, QueueError>;

    /// Intents that were decided and not noted as applied.
    async fn intents(&self) -> Result<Intents, QueueError>;

    /// The version of an object that was last accepted.
    async fn sightings(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Sighting>, QueueError>;

    /// Forgets objects that are gone; a key that ends with a slash stands for all below it.
    async fn forget(&self, bucket: &str, keys: Vec<String>) -> Result<(), QueueError>;

    /// What the store holds for each function.
    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, QueueError>;

    /// What the store holds in all.
    async fn totals(&self) -> Result<Totals, QueueError>;

    /// Up to `limit` events of a function: those that run or are due first, then the delayed, then those
    /// that wait behind others of their ordering key.
    async fn list(
        &self,
        function: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Listed>, QueueError>;

    /// Stops giving a function its events, or goes on; whether that is a change.
    async fn pause(&self, function: &str, paused: bool) -> Result<bool, QueueError>;

    /// Dead letters that the filter chooses, oldest acceptance first, past `after`.
    async fn dead_letters(
        &self,
        filter: &DeadFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, QueueError>;

    /// The number that the next delivery will have: those that are there have lower ones.
    async fn next_seq(&self) -> Result<u64, QueueError>;

    /// Makes up to `limit` dead letters deliveries again, the first due at `due` and each `step_ms` after
    /// the one before. Returns how many of each function.
    async fn redrive(
        &self,
        filter: &DeadFilter,
        limit: usize,
        due: Timestamp,
        step_ms: u64,
    ) -> Result<BTreeMap<String, u64>, QueueError>;

    /// Removes up to `limit` dead letters for good. Returns how many.
    async fn drop_dead(&self, filter: &DeadFilter, limit: usize) -> Result<u64, QueueError>;

    /// Returns what keeps the store from accepting anything, and what to do; none where it is well.
    fn problem(&self) -> Option<String> {
        None
    }

    /// Writes the whole store as it is now into a new file.
    async fn backup(&self, to: &Path) -> Result<(), QueueError>;
}

/// Waits for what is accepted for a function. Called with the store locked: it must neither wait nor ask it.
pub trait Waiter: Send + Sync {
    /// How many deliveries it takes as things are.
    fn room(&self) -> usize;

    /// Takes deliveries that are leased to it, oldest first, and returns the last of them where it can't take
    /// all. Their acceptance isn't on disk yet; settling them succeeds only after it is, or with it.
    fn offer(&self, deliveries: Vec<Delivery>) -> Vec<Delivery>;

    /// How long the last that it took has taken until it could be settled.
    fn takes(&self) -> Duration;

    /// Something was accepted and not offered, or not taken, that is due then.
    fn wake(&self, due: Timestamp);
}

/// An event and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// What happened.
    pub event: Event,
    /// The functions that are woken; may be none.
    pub functions: Vec<String>,
    /// Of those for which the event's order counts, the ordering key: one at a time, in the order of
    /// acceptance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lanes: BTreeMap<String, String>,
    /// Not delivered before.
    pub due: Timestamp,
    /// How it is recognised as a duplicate.
    pub identity: Identity,
}

/// The most deliveries that the store writes in one step: nobody waits longer than for one of
/// these.
pub const STEP: usize = 500;
/// The bytes of events after which a step ends, however few they are.
pub const STEP_BYTES: usize = 1 << 20;

impl Accept {
    /// Returns how many deliveries the store writes for it, and about how many bytes they take.
    fn weight(&self) -> (usize, usize) {
        let copies = self.functions.len().max(1);
        (copies, copies.saturating_mul(self.event.size()))
    }

    /// Returns whether it wakes a function.
    pub fn wakes(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Returns how many of the first of `accepts` make one step; at least one.
    pub fn step(accepts: &[Self]) -> usize {
        let (mut deliveries, mut bytes) = (0, 0_usize);
        let fit = accepts.iter().take_while(|accept| {
            let (copies, size) = accept.weight();
            deliveries += copies;
            bytes = bytes.saturating_add(size);
            deliveries <= STEP && bytes <= STEP_BYTES
        });
        fit.count().max(1)
    }

    /// Returns whether `accepts` are more than one step.
    pub fn are_many(accepts: &[Self]) -> bool {
        accepts.len() > Self::step(accepts)
    }
}

/// How a second sight of the same event is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// It isn't: the id was made for this event.
    Unique,
    /// By the event's source and id, within the window of duplicates.
    Id,
    /// By the object's version.
    Object(Sighting),
}

/// A version of an object that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The version.
    pub etag: String,
}

/// The answer to an `Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// It is on disk.
    New,
    /// It was accepted before.
    Duplicate,
}

/// Deliveries that were leased.
#[derive(Debug, Default)]
pub struct Taken {
    /// Oldest due first.
    pub deliveries: Vec<Delivery>,
    /// When the next one falls due, where nothing was.
    pub next_due: Option<Timestamp>,
    /// Deliveries that can't be read, each with what is wrong: they are set aside.
    pub damaged: Vec<String>,
    /// Whether the function gets nothing for now: it is paused, or has too many dead letters.
    pub held: bool,
}

/// One event on its way to one function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Orders all deliveries of the store by acceptance; also the id of its intent.
    pub seq: u64,
    /// The function's name.
    pub function: String,
    /// What happened.
    pub event: Event,
    /// Not before.
    pub due: Timestamp,
    /// The ordering key, where order counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// When it was last made a delivery again after it had been a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven: Option<Timestamp>,
    /// How many attempts ended.
    pub attempted: u32,
    /// How many of them failed by the function's own doing.
    #[serde(default)]
    pub failed: u32,
    /// How many of them the end of the host cut off.
    #[serde(default)]
    pub cut_off: u32,
    /// The last of them, oldest first.
    pub attempts: Vec<AttemptRecord>,
}

/// How many attempts are remembered in full: faults and conflicts don't count against a function's
/// attempts, so that there is no other bound.
const REMEMBERED_ATTEMPTS: usize = 20;

impl Delivery {
    /// The number of the attempt that comes next, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempted.saturating_add(1)
    }

    /// Since when it is on its way.
    pub fn since(&self) -> Timestamp {
        self.redriven.unwrap_or(self.event.accepted)
    }

    /// Adds an attempt that ended.
    pub fn record(&mut self, attempt: AttemptRecord) {
        self.attempted = self.attempted.saturating_add(1);
        if attempt.outcome.is_counted() {
            self.failed = self.failed.saturating_add(1);
        }
        if self.attempts.len() >= REMEMBERED_ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
    }
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// When it ended.
    pub time: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// What it cost.
    pub cost: Cost,
    /// The last lines that the guest logged.
    pub log_tail: Vec<String>,
}

/// The end of an attempt, as the store is to keep it.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The delivery as it was leased.
    pub delivery: Delivery,
    /// What becomes of it.
    pub disposition: Disposition,
    /// Objects to apply, and what follows from them.
    pub intent: Option<Intent>,
    /// Events that are accepted with it.
    pub accepts: Vec<Accept>,
    /// Changes of keys that are made with it.
    pub keys: Vec<KeyChange>,
    /// Versions that the intent makes: their events are in the intent, so that the source must not
    /// accept them again.
    pub sightings: Vec<Sighting>,
}

/// What a request decided, as the store is to keep it.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// Objects to apply, and what follows from them; its number is given by the store.
    pub intent: Option<Intent>,
    /// Events that are accepted with it.
    pub accepts: Vec<Accept>,
    /// Changes of keys that are made with it.
    pub keys: Vec<KeyChange>,
    /// Versions that the intent makes.
    pub sightings: Vec<Sighting>,
    /// The answer to remember.
    pub answer: Option<(AnswerKey, KeptAnswer)>,
}

/// The answer to a `Settlement`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is on disk.
    Committed,
    /// A key isn't as the handler saw it, and nothing of this settlement was done.
    Conflict {
        /// Which key.
        reason: String,
        /// Whether it was another settlement of the same step that changed the key: with `together` it will
        /// be so again.
        within: bool,
    },
}

/// What becomes of a delivery.
#[derive(Clone, Debug)]
pub enum Disposition {
    /// It is finished with.
    Done,
    /// It comes again.
    Retry {
        /// Not before.
        due: Timestamp,
        /// The attempt that just ended.
        attempt: AttemptRecord,
    },
    /// It goes to the dead letters.
    Dead {
        /// The attempt that just ended.
        attempt: AttemptRecord,
        /// Why no attempt follows.
        reason: String,
    },
}

/// A decision that is on disk and not yet carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The delivery that decided it; of a request's, a number that no delivery has.
    pub seq: u64,
    /// By bucket.
    pub changes: Vec<(String, Vec<IntendedChange>)>,
    /// Accepted once the changes are visible. The store keeps those of an intent that has many
    /// beside it.
    pub accepts: Vec<Accept>,
}

impl Intent {
    /// Returns the changes alone: the store has the events that follow.
    pub fn without_accepts(&self) -> Self {
        Self {
            seq: self.seq,
            changes: self.changes.clone(),
            accepts: Vec::new(),
        }
    }
}

/// All that were decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intents {
    /// Those that can be read.
    pub intents: Vec<Intent>,
    /// Why others can't.
    pub damaged: Vec<String>,
}

/// A change of one object that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntendedChange {
    /// A staged object gets its name.
    Write {
        /// The staged object.
        token: String,
        /// Its key.
        key: String,
        /// What must hold; looked at before the decision only.
        condition: super::Condition,
    },
    /// An object goes.
    Remove {
        /// Its key.
        key: String,
        /// Only this version: a later one isn't ours to remove when the intent is applied again.
        etag: String,
    },
}

/// A delivery that ended without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// With all its attempts.
    pub delivery: Delivery,
    /// When it was given up.
    pub time: Timestamp,
    /// Why no attempt followed.
    pub reason: String,
}

/// Which dead letters are meant: those that fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadFilter {
    /// These; empty: any.
    pub seqs: Vec<u64>,
    /// Of this function.
    pub function: Option<String>,
    /// Given up before this.
    pub before: Option<Timestamp>,
    /// With a number below this.
    pub below: Option<u64>,
}

/// What the store holds for a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Count {
    /// The function's name.
    pub function: String,
    /// All deliveries: those that are due, run, are delayed, or wait behind others.
    pub pending: u64,
    /// Of these, those that run.
    pub running: u64,
    /// Of these, those that fall due later; counted up to `COUNTED`.
    pub delayed: u64,
    /// Of these, those that wait behind another of their ordering key; counted up to `COUNTED`.
    pub waiting: u64,
    /// What the deliveries take in the store, in bytes.
    pub bytes: u64,
    /// How long the oldest that is due has been so, in milliseconds.
    pub oldest_due_ms: Option<u64>,
    /// Dead letters.
    pub dead: u64,
    /// Since when it is paused.
    pub paused: Option<Timestamp>,
    /// Whether it is held because its dead letters are at their quota.
    pub held: bool,
}

/// What the store holds in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Deliveries.
    pub events: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// What the ids take that are remembered to recognise duplicates, in bytes.
    pub remembered: u64,
    /// Dead letters, by function.
    pub dead: Vec<(String, u64)>,
}

/// How far those are counted that no figure is kept of.
pub const COUNTED: u64 = 100_000;

/// An event that the store holds, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// The delivery's number.
    pub seq: u64,
    /// The function's name.
    pub function: String,
    /// The event's id.
    pub id: String,
    /// The event's source.
    pub source: String,
    /// The object's key or the topic.
    pub subject: String,
    /// What it waits for.
    pub state: WaitState,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Not before.
    pub due: Timestamp,
    /// Its ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// How many attempts ended.
    pub attempted: u32,
    /// How the last of them ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<String>,
}

/// What an event waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitState {
    /// Its handler's end.
    Running,
    /// Its turn.
    Pending,
    /// Its time.
    Delayed,
    /// Another event of its ordering key.
    Waiting,
}

/// How the store of events fails.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// Another host has the store open.
    #[error("the store {path} is in use by {process}; stop that one, or use another folder")]
    InUse {
        /// The store's folder.
        path: String,
        /// Who has it.
        process: String,
    },
    /// The store can't be read or written.
    #[error("the store of events failed: {reason}")]
    Failed {
        /// The cause.
        reason: String,
    },
    /// The store's content isn't what was written.
    #[error(
        "the store of events is damaged: {reason}; restore it from a backup, or move it away to start empty"
    )]
    Damaged {
        /// What doesn't fit.
        reason: String,
    },
    /// What was asked for can't be done, and nothing was.
    #[error("{reason}")]
    Refused {
        /// Why not, and what to do.
        reason: String,
    },
    /// The store holds as much as it may.
    #[error("the store of events is full: {reason}; the source keeps what isn't accepted")]
    Full {
        /// What is how much, and what to do.
        reason: String,
    },
    /// The store was removed or replaced while it was in use.
    #[error("the store of events is gone: {reason}")]
    Lost {
        /// The name of what is gone, and the next step.
        reason: String,
    },
    /// The host is stopping.
    #[error("the store of events is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{Failure, HostFault, Message, Payload};

    /// What is remembered of attempts is bounded, and their number was counted from it: with more attempts
    /// allowed than remembered, an event never became a dead letter.
    #[test]
    fn failures_are_counted_beyond_what_is_remembered_and_faults_are_not() {
        let message = Message {
            topic: "t".to_owned(),
            body: Vec::new(),
            content_type: None,
            ordering_key: None,
            attributes: Vec::new(),
        };
        let mut delivery = Delivery {
            seq: 1,
            function: "f".to_owned(),
            event: Event {
                id: "1".to_owned(),
                source: "topic/t".to_owned(),
                accepted: 0,
                hops: 0,
                payload: Payload::Message(message),
            },
            due: 0,
            lane: None,
            redriven: None,
            attempted: 0,
            failed: 0,
            cut_off: 0,
            attempts: Vec::new(),
        };
        let reason = || "no".to_owned();
        let failed = Outcome::Failed(Failure::Other { reason: reason() });
        let fault = Outcome::Fault(HostFault { reason: reason() });
        for outcome in [failed, fault] {
            for _ in 0..25 {
                delivery.record(AttemptRecord {
                    time: 0,
                    outcome: outcome.clone(),
                    cost: Cost::default(),
                    log_tail: Vec::new(),
                });
            }
        }
        assert_eq!((delivery.attempt(), delivery.failed), (51, 25));
        assert_eq!(delivery.attempts.len(), REMEMBERED_ATTEMPTS);
    }
}
