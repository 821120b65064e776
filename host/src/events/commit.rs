//! From what a handler staged to what everybody sees: checked, decided, applied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::{Events, Stop, stopped};
use crate::ports::{
    Accept, Accepted, Change, Condition, Delivery, Discard, HostFault, Identity, IntendedChange,
    Intent, Intents, Journal, KeyChange, Level, ObjectError, Outcome, QueueError, Record,
    RecordKind, Sighting, Transaction,
};

/// The longest id that the ids of what follows begin with, in bytes: a longer one is known by its
/// digest, since each hop adds to it.
const MAX_ORIGIN: usize = 512;
/// Before an apply that failed is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Locks for the keys of a bucket: as many, and two events seldom wait for each other by chance.
const KEY_LOCKS: u64 = 256;

/// One lock for each bucket. A write with a condition holds its bucket alone from the check to the apply,
/// and so does one that may need a folder, which another's object might become; other writes share it, but
/// for the key: two commits of one key are applied in the order in which they were decided.
pub(super) struct BucketLocks(HashMap<String, BucketLock>);

#[derive(Default)]
struct BucketLock {
    bucket: Arc<RwLock<()>>,
    keys: BTreeMap<u64, Arc<Mutex<()>>>,
    /// Whether something that was decided for it waits for the next start: nothing newer may come first.
    closed: AtomicBool,
}

/// Held until the changes are applied.
pub enum BucketGuard {
    /// With other writers.
    Shared(OwnedRwLockReadGuard<()>),
    /// With nobody else.
    Alone(OwnedRwLockWriteGuard<()>),
    /// A key, and those that share its lock.
    Key(OwnedMutexGuard<()>),
}

impl BucketLocks {
    pub fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let lock = || BucketLock {
            bucket: Arc::default(),
            keys: (0..KEY_LOCKS)
                .map(|number| (number, Arc::default()))
                .collect(),
            closed: AtomicBool::new(false),
        };
        Self(names.map(|name| (name.clone(), lock())).collect())
    }

    /// Holds a bucket alone: no commit changes it meanwhile. Closed buckets can't be held any more.
    pub async fn alone(&self, bucket: &str) -> Result<BucketGuard, QueueError> {
        let lock = self.0.get(bucket).ok_or(QueueError::Closed)?;
        let guard = Arc::clone(&lock.bucket).write_owned().await;
        lock.check()?;
        Ok(BucketGuard::Alone(guard))
    }

    fn is_closed(&self, intent: &Intent) -> bool {
        let buckets = intent.changes.iter().map(|(bucket, _)| bucket);
        buckets
            .filter_map(|bucket| self.0.get(bucket))
            .any(|lock| lock.check().is_err())
    }

    /// Closes the buckets of intents that can't be carried out before the host ends. The caller holds them.
    fn close_all(&self, intents: &[Intent]) {
        for bucket in changed_buckets(intents) {
            if let Some(lock) = self.0.get(&bucket) {
                lock.closed.store(true, Ordering::Release);
            }
        }
    }

    /// Locks the buckets and keys that these transactions change, in one order for all so that two
    /// commits never wait for each other.
    pub async fn lock<'a>(
        &self,
        transactions: impl Iterator<Item = &'a Transaction>,
    ) -> Result<Vec<BucketGuard>, QueueError> {
        let mut buckets: BTreeMap<&str, (bool, BTreeSet<u64>)> = BTreeMap::new();
        for ((bucket, key), change) in transactions.flat_map(|t| &t.objects) {
            let conditional =
                matches!(change, Change::Write(object) if object.condition != Condition::None);
            let (alone, keys) = buckets.entry(bucket).or_default();
            *alone |= conditional || key.contains('/');
            keys.insert(key_lock(key));
        }
        let mut guards = Vec::new();
        for (bucket, (alone, keys)) in buckets {
            let Some(lock) = self.0.get(bucket) else {
                continue;
            };
            let whole = Arc::clone(&lock.bucket);
            guards.push(if alone {
                BucketGuard::Alone(whole.write_owned().await)
            } else {
                BucketGuard::Shared(whole.read_owned().await)
            });
            lock.check()?;
            if alone {
                continue;
            }
            for key in keys.iter().filter_map(|key| lock.keys.get(key)) {
                guards.push(BucketGuard::Key(Arc::clone(key).lock_owned().await));
            }
            // Its last holder of the key may have closed it.
            lock.check()?;
        }
        Ok(guards)
    }
}

impl BucketLock {
    fn check(&self) -> Result<(), QueueError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(QueueError::Closed);
        }
        Ok(())
    }
}

/// The number of a key's lock.
fn key_lock(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() % KEY_LOCKS
}

/// What the plans of one settlement change so far: none of it is applied yet, so that no look at the
/// bucket shows it. Whether a change stands alone is noted with it.
#[derive(Default)]
pub(super) struct Planned(BTreeMap<(String, String), bool>);

impl Planned {
    fn add(&mut self, bucket: &str, key: &str, alone: bool) -> Result<(), ObjectError> {
        let has = |key: &str| self.0.contains_key(&(bucket.to_owned(), key.to_owned()));
        let above = key
            .match_indices('/')
            .filter_map(|(at, _)| key.get(..at))
            .any(has);
        let folder = (bucket.to_owned(), format!("{key}/"));
        let below = self
            .0
            .range(folder.clone()..)
            .next()
            .is_some_and(|((in_bucket, next), _)| {
                in_bucket == bucket && next.starts_with(&folder.1)
            });
        if above || below {
            return Err(ObjectError::Invalid(format!(
                "key {key:?} would be both an object and a folder of others in bucket {bucket:?}; \
                 choose another key"
            )));
        }
        match self.0.insert((bucket.to_owned(), key.to_owned()), alone) {
            Some(earlier) if earlier || alone => Err(ObjectError::Changed {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Whose effects they are.
pub(super) struct Origin {
    pub function: String,
    /// What ids of what follows begin with: unique over all events and requests.
    pub id: String,
    pub hops: u32,
    /// The number of an intent.
    pub seq: u64,
}

impl Origin {
    pub fn of(delivery: &Delivery) -> Self {
        // Ids are unique within a source, and what follows comes from a source of ours.
        let event = &delivery.event;
        let id = match event.hops {
            0 => format!("{}/{}", event.source, event.id),
            _ => event.id.clone(),
        };
        let id = if id.len() > MAX_ORIGIN {
            format!("blake3/{}", blake3::hash(id.as_bytes()).to_hex())
        } else {
            id
        };
        Self {
            function: delivery.function.clone(),
            id,
            hops: event.hops,
            seq: delivery.seq,
        }
    }
}

/// What a successful handler's transaction comes to.
#[derive(Default)]
pub(super) struct Plan {
    pub intent: Option<Intent>,
    pub accepts: Vec<Accept>,
    pub sightings: Vec<Sighting>,
    pub keys: Vec<KeyChange>,
    /// `bucket/key` of each object, for people.
    pub outputs: Vec<String>,
    /// The topic of each message.
    pub published: Vec<String>,
    /// Keep these once the decision is on disk: from then on the staged files are needed.
    pub discards: Vec<Discard>,
}

impl Plan {
    /// Has the events that are accepted with the decision follow from an intent of that number.
    pub fn defer(&mut self, seq: u64) {
        if !self.accepts.is_empty() {
            let intent = self.intent.get_or_insert_with(|| Intent {
                seq,
                changes: Vec::new(),
                accepts: Vec::new(),
            });
            intent.accepts.append(&mut self.accepts);
        }
    }
}

impl Events {
    /// Finds whether a transaction can be committed, and how. Its buckets are locked.
    pub(super) async fn plan(
        &self,
        origin: &Origin,
        transaction: Transaction,
        planned: &mut Planned,
    ) -> Result<Plan, Outcome> {
        let hops = origin.hops.saturating_add(1);
        let mut plan = Plan::default();
        let mut changes: BTreeMap<String, Vec<IntendedChange>> = BTreeMap::new();
        let mut followers = Vec::new();
        for ((bucket_name, key), change) in transaction.objects {
            let Some(bucket) = self.buckets.get(&bucket_name) else {
                continue;
            };
            let alone = match &change {
                Change::Remove => true,
                Change::Write(object) => object.condition != Condition::None,
            };
            planned
                .add(&bucket_name, &key, alone)
                .map_err(|error| refused(&error))?;
            let intended = match change {
                Change::Remove => match bucket.head(&key).await {
                    Ok(info) => IntendedChange::Remove {
                        key: key.clone(),
                        etag: info.etag,
                    },
                    Err(ObjectError::NotFound { .. }) => continue,
                    Err(error) => return Err(refused(&error)),
                },
                Change::Write(object) => {
                    let functions = self.manifest.woken_by_object(&bucket_name, &key);
                    if self.manifest.is_watched(&bucket_name) {
                        plan.sightings.push(Sighting {
                            bucket: bucket_name.clone(),
                            key: key.clone(),
                            etag: object.info.etag.clone(),
                        });
                    }
                    if !functions.is_empty() {
                        let mut accept = self.object(&bucket_name, object.info, functions, hops);
                        accept.identity = Identity::Unique;
                        followers.push(accept);
                    }
                    plan.discards.push(object.discard);
                    plan.outputs.push(format!("{bucket_name}/{key}"));
                    let condition = object.condition;
                    IntendedChange::Write {
                        token: object.token,
                        key: key.clone(),
                        condition,
                    }
                }
            };
            bucket
                .prepare(&intended)
                .await
                .map_err(|error| refused(&error))?;
            changes.entry(bucket_name).or_default().push(intended);
        }
        let keys = transaction.keys.into_iter();
        plan.keys = keys
            .map(|((bucket, key), staged)| KeyChange {
                bucket,
                key,
                value: staged.value,
                expected: staged.expected,
            })
            .collect();
        for (number, draft) in transaction.messages.into_iter().enumerate() {
            let id = format!("{}/{}/{number}", origin.id, origin.function);
            plan.published.push(draft.topic.clone());
            followers.push(self.message(id, hops, draft, Identity::Unique));
        }
        // Events that are many follow from an intent: the store accepts them in steps that others
        // go between.
        if changes.is_empty() && !Accept::are_many(&followers) {
            plan.accepts = followers;
        } else {
            let changes = changes.into_iter().collect();
            plan.intent = Some(Intent {
                seq: origin.seq,
                changes,
                accepts: followers,
            });
        }
        Ok(plan)
    }

    /// Applies a committed intent, retrying until it succeeds: given up, it would be carried out
    /// over newer objects at the next start. Returns an answer for each event that followed. Where
    /// the host is to end first, the next start carries it out, and its buckets, which the caller
    /// holds, are closed until then.
    pub(super) async fn apply(&self, intent: Intent) -> Result<Vec<Accepted>, QueueError> {
        if self.locks.is_closed(&intent) {
            // An earlier one of the same settlement waits for the next start, and this after it.
            self.locks.close_all(&[intent]);
            return Err(QueueError::Closed);
        }
        let mut pause = FIRST_PAUSE;
        let mut closing = self.closing.subscribe();
        loop {
            let reason = match self.carry_out(&intent).await {
                Ok(answers) => return Ok(answers),
                Err(reason) => reason,
            };
            if pause == FIRST_PAUSE {
                self.say(Level::Error, reason);
            }
            tokio::select! {
                () = stopped(&mut closing) => {
                    self.locks.close_all(&[intent]);
                    return Err(QueueError::Closed);
                }
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Applies an intent and notes that; what was done of it before is done again without harm. The error is
    /// for people.
    async fn carry_out(&self, intent: &Intent) -> Result<Vec<Accepted>, String> {
        let applied = self.try_apply(intent).await;
        applied.map_err(|error| cannot_apply(&error))?;
        let noted = self.queue.applied(intent.seq).await;
        noted.map_err(|error| {
            format!("that effects are applied can't be noted, and is tried again: {error}")
        })
    }

    async fn try_apply(&self, intent: &Intent) -> Result<(), ObjectError> {
        for (name, changes) in &intent.changes {
            match self.buckets.get(name) {
                Some(bucket) => bucket.apply(changes).await?,
                None => {
                    return Err(ObjectError::Unavailable {
                        bucket: name.clone(),
                        reason: "the manifest has it no more; put it back".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Finishes what an ended host had decided, and removes what it had staged beside that. Call it
    /// before anything is delivered. What can't be finished now is tried on while events are delivered.
    ///
    /// # Errors
    /// Where the store of events can't be read.
    pub async fn recover(&self) -> Result<(), QueueError> {
        let Intents { intents, damaged } = self.queue.intents().await?;
        for reason in &damaged {
            self.say(
                Level::Error,
                format!("decided effects can't be read, and stay as they are: {reason}"),
            );
        }
        let unfinished = self.try_to_finish(intents, true).await;
        let keep = unfinished
            .iter()
            .flat_map(|intent| &intent.changes)
            .flat_map(|(_, changes)| changes)
            .filter_map(|change| match change {
                IntendedChange::Write { token, .. } => Some(token.clone()),
                IntendedChange::Remove { .. } => None,
            })
            .collect();
        *self.unfinished() = unfinished;
        if !damaged.is_empty() {
            // What is staged may be theirs.
            return Ok(());
        }
        for bucket in self.buckets.values() {
            if let Err(error) = bucket.sweep(&keep).await {
                self.say(Level::Warn, format!("what was staged stays: {error}"));
            }
        }
        Ok(())
    }

    /// What `recover` left, with the buckets that it changes: each is held until what concerns it is done,
    /// since that would else be carried out over newer objects.
    pub async fn finish(
        self: &Arc<Self>,
        mut stop: Stop,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let mut unfinished = std::mem::take(&mut *self.unfinished());
        let mut guards = BTreeMap::new();
        for bucket in changed_buckets(&unfinished) {
            // One that the manifest has no more needs no holding.
            if let Ok(guard) = self.locks.alone(&bucket).await {
                guards.insert(bucket, guard);
            }
        }
        let events = Arc::clone(self);
        (!unfinished.is_empty()).then_some(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                // Said once.
                let first = pause == FIRST_PAUSE;
                unfinished = events.try_to_finish(unfinished, first).await;
                let held = changed_buckets(&unfinished);
                guards.retain(|bucket, _| held.contains(bucket));
                if unfinished.is_empty() {
                    return;
                }
                tokio::select! {
                    () = stopped(&mut stop) => {
                        events.locks.close_all(&unfinished);
                        return;
                    }
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        })
    }

    /// Tries each, but none over a bucket that an earlier one still has to change. Returns those that are
    /// left.
    async fn try_to_finish(&self, intents: Vec<Intent>, say: bool) -> Vec<Intent> {
        let mut left: Vec<Intent> = Vec::new();
        for intent in intents {
            let waited_for = changed_buckets(&left);
            let free = !intent
                .changes
                .iter()
                .any(|(bucket, _)| waited_for.contains(bucket));
            if !free {
                left.push(intent);
                continue;
            }
            match self.carry_out(&intent).await {
                // The next of its ordering key may be anybody's.
                Ok(_) => self.wake(self.wake.keys()),
                Err(reason) => {
                    if say {
                        self.say(Level::Error, reason);
                    }
                    left.push(intent);
                }
            }
        }
        left
    }

    fn unfinished(&self) -> MutexGuard<'_, Vec<Intent>> {
        self.unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a bucket still: what is seen of it while this is held is what it is, without a commit in
    /// between.
    ///
    /// # Errors
    /// Where the host is ending, and the bucket changes no more until the next start.
    pub async fn hold(&self, bucket: &str) -> Result<BucketGuard, QueueError> {
        self.locks.alone(bucket).await
    }

    /// The host's own word in the journal.
    pub fn say(&self, level: Level, text: String) {
        let journal: &dyn Journal = &*self.journal;
        journal.write(Record {
            time: self.clock.now(),
            function: None,
            source: None,
            event: None,
            subject: None,
            attempt: None,
            kind: RecordKind::Host { level, text },
        });
    }
}

fn changed_buckets(intents: &[Intent]) -> BTreeSet<String> {
    intents
        .iter()
        .flat_map(|intent| intent.changes.iter().map(|(bucket, _)| bucket.clone()))
        .collect()
}

fn cannot_apply(error: &ObjectError) -> String {
    format!(
        "the effects of an event are decided and can't be applied: {error}; they are kept, and applied \
         once this is mended"
    )
}

/// A commit that the bucket refuses is in conflict with somebody else's write, or failed by a key that can't
/// be; else it is the host's own fault.
fn refused(error: &ObjectError) -> Outcome {
    match error {
        ObjectError::Unavailable { .. } => Outcome::Fault(HostFault {
            reason: format!("the effects can't be committed: {error}"),
        }),
        ObjectError::Changed { .. } => Outcome::Conflict {
            reason: error.to_string(),
        },
        error => Outcome::Failed(crate::ports::Failure::Other {
            reason: format!("the effects can't be committed: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler wrote `a` and `a/b`: both passed their checks, the event was acknowledged, and the rename
    /// to `a` failed for ever.
    #[test]
    fn a_key_is_an_object_or_a_folder_within_one_settlement() {
        for (first, second) in [("a", "a/b"), ("a/b", "a"), ("x/y/z", "x/y"), ("x", "x/y/z")] {
            let mut planned = Planned::default();
            planned.add("out", first, false).unwrap();
            planned.add("other", second, false).unwrap();
            let refused = planned.add("out", second, false);
            assert!(
                matches!(refused, Err(ObjectError::Invalid(_))),
                "{first} {second}"
            );
        }
        let mut planned = Planned::default();
        for key in ["a", "a.txt", "a0", "ab/c", "ab/d"] {
            planned.add("out", key, false).unwrap();
        }
    }

    /// Two attempts wrote one key of a watched bucket at once: the one that was decided last was applied
    /// first, and the look at the bucket took the other for a new object.
    #[tokio::test]
    async fn two_commits_of_one_key_are_one_after_the_other() {
        let names = ["out".to_owned()];
        let locks = BucketLocks::new(names.iter());
        let removes = |key: &str| {
            let mut transaction = Transaction::default();
            let name = ("out".to_owned(), key.to_owned());
            transaction.objects.insert(name, Change::Remove);
            transaction
        };
        let (one, other) = (removes("a"), removes("b"));
        let held = locks.lock([&one].into_iter()).await.unwrap();
        locks.lock([&other].into_iter()).await.unwrap();
        let same = removes("a");
        let mut waits = std::pin::pin!(locks.lock([&same].into_iter()));
        tokio::select! {
            biased;
            _ = waits.as_mut() => panic!("both hold the key"),
            () = std::future::ready(()) => {}
        }
        drop(held);
        waits.await.unwrap();
    }

    /// Effects that can't be applied before the host ends are for the next start; nothing newer may come
    /// first, and nobody waits for them.
    #[tokio::test]
    async fn a_closed_bucket_is_held_no_more() {
        let names = ["out".to_owned()];
        let locks = BucketLocks::new(names.iter());
        let guard = locks.alone("out").await.unwrap();
        locks.close_all(&[Intent {
            seq: 1,
            changes: vec![("out".to_owned(), Vec::new())],
            accepts: Vec::new(),
        }]);
        drop(guard);
        assert!(matches!(locks.alone("out").await, Err(QueueError::Closed)));
    }

    /// Two messages of a batch each wrote the key on the condition that it is absent, and both did.
    #[test]
    fn a_change_that_stands_alone_shares_its_key_with_no_other() {
        for (first, second, good) in [
            (false, false, true),
            (true, false, false),
            (false, true, false),
            (true, true, false),
        ] {
            let mut planned = Planned::default();
            planned.add("out", "k", first).unwrap();
            assert_eq!(
                planned.add("out", "k", second).is_ok(),
                good,
                "{first} {second}"
            );
        }
    }
}
