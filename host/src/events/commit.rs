//! From what a handler staged to what everybody sees: checked, decided, applied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::{Events, Stop, stopped};
use crate::ports::{
    Accept, Change, Condition, Delivery, Discard, HostFault, Identity, IntendedChange, Intent,
    Journal, KeyChange, Level, ObjectError, Outcome, QueueError, Record, RecordKind, Sighting,
    Transaction,
};

/// Before an apply that failed is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One lock for each bucket. A write with a condition holds its bucket alone from the check to the apply,
/// and so does one that may need a folder, which another's object might become; other writes share it.
pub(super) struct BucketLocks(HashMap<String, Arc<RwLock<()>>>);

/// Held until the changes are applied.
pub enum BucketGuard {
    /// With other writers.
    Shared(OwnedRwLockReadGuard<()>),
    /// With nobody else.
    Alone(OwnedRwLockWriteGuard<()>),
}

impl BucketLocks {
    pub fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        Self(names.map(|name| (name.clone(), Arc::default())).collect())
    }

    /// Holds a bucket alone: no commit changes it meanwhile.
    pub async fn alone(&self, bucket: &str) -> Option<BucketGuard> {
        let lock = self.0.get(bucket).map(Arc::clone)?;
        Some(BucketGuard::Alone(lock.write_owned().await))
    }

    /// Locks the buckets that these transactions change, in the order of their names so that two
    /// commits never wait for each other.
    pub async fn lock<'a>(
        &self,
        transactions: impl Iterator<Item = &'a Transaction>,
    ) -> Vec<BucketGuard> {
        let mut alone: BTreeMap<&str, bool> = BTreeMap::new();
        for ((bucket, key), change) in transactions.flat_map(|t| &t.objects) {
            let conditional =
                matches!(change, Change::Write(object) if object.condition != Condition::None);
            *alone.entry(bucket).or_default() |= conditional || key.contains('/');
        }
        let mut guards = Vec::new();
        for (bucket, alone) in alone {
            let Some(lock) = self.0.get(bucket).map(Arc::clone) else {
                continue;
            };
            guards.push(if alone {
                BucketGuard::Alone(lock.write_owned().await)
            } else {
                BucketGuard::Shared(lock.read_owned().await)
            });
        }
        guards
    }
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

impl Events {
    /// Finds whether a transaction can be committed, and how. Its buckets are locked.
    pub(super) async fn plan(
        &self,
        delivery: &Delivery,
        transaction: Transaction,
        planned: &mut Planned,
    ) -> Result<Plan, Outcome> {
        let hops = delivery.event.hops.saturating_add(1);
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
                    if self
                        .manifest
                        .watched_buckets()
                        .contains(bucket_name.as_str())
                    {
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
            let id = format!("{}/{}/{number}", delivery.event.id, delivery.function);
            plan.published.push(draft.topic.clone());
            followers.push(self.message(id, hops, draft, Identity::Unique));
        }
        if changes.is_empty() {
            plan.accepts = followers;
        } else {
            let changes = changes.into_iter().collect();
            plan.intent = Some(Intent {
                seq: delivery.seq,
                changes,
                accepts: followers,
            });
        }
        Ok(plan)
    }

    /// Carries out a decided intent, and wakes whom its events are for. Goes on until it works: given up,
    /// it would be carried out over newer objects at the next start.
    pub(super) async fn apply(&self, intent: Intent) {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.try_apply(&intent).await {
            if pause == FIRST_PAUSE {
                self.say(Level::Error, cannot_apply(&error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.applied(intent).await;
    }

    async fn applied(&self, intent: Intent) {
        let woken: Vec<String> = intent
            .accepts
            .iter()
            .flat_map(|accept| accept.functions.iter().cloned())
            .collect();
        match self.queue.applied(intent.seq, intent.accepts).await {
            Ok(()) => self.wake(woken),
            Err(error) => {
                tracing::error!(%error, "an applied intent is applied again at the next start");
            }
        }
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
        let mut unfinished = Vec::new();
        for intent in self.queue.intents().await? {
            match self.try_apply(&intent).await {
                Ok(()) => self.applied(intent).await,
                Err(error) => {
                    self.say(Level::Error, cannot_apply(&error));
                    unfinished.push(intent);
                }
            }
        }
        *self.unfinished() = unfinished;
        let keep = self
            .queue
            .intents()
            .await?
            .into_iter()
            .flat_map(|intent| intent.changes)
            .flat_map(|(_, changes)| changes)
            .filter_map(|change| match change {
                IntendedChange::Write { token, .. } => Some(token),
                IntendedChange::Remove { .. } => None,
            })
            .collect();
        for bucket in self.buckets.values() {
            if let Err(error) = bucket.sweep(&keep).await {
                self.say(Level::Warn, format!("what was staged stays: {error}"));
            }
        }
        Ok(())
    }

    /// What `recover` left, with the buckets that it changes: they are held until it is done, since it
    /// would else be carried out over newer objects.
    pub(super) async fn finish(
        self: &Arc<Self>,
        mut stop: Stop,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let unfinished = std::mem::take(&mut *self.unfinished());
        let names: BTreeSet<&String> = unfinished
            .iter()
            .flat_map(|intent| intent.changes.iter().map(|(bucket, _)| bucket))
            .collect();
        let mut guards = Vec::new();
        for name in names {
            guards.extend(self.locks.alone(name).await);
        }
        let events = Arc::clone(self);
        (!unfinished.is_empty()).then_some(async move {
            for intent in unfinished {
                tokio::select! {
                    () = stopped(&mut stop) => return,
                    () = events.apply(intent) => {}
                }
            }
            drop(guards);
        })
    }

    fn unfinished(&self) -> MutexGuard<'_, Vec<Intent>> {
        self.unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a bucket still: what is seen of it while this is held is what it is, without a commit in
    /// between.
    pub async fn hold(&self, bucket: &str) -> Option<BucketGuard> {
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
