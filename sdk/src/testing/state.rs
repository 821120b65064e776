//! What the testing host holds, and the contract's rules over it.

mod keyvalue;
mod servers;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use super::http::Server;
use super::rules::{check_condition, guess_content_type, valid_draft, valid_key};
use super::{Log, Published};
use crate::bucket::{Condition, WriteOptions};
use crate::event::time_from_millis;
use crate::{Attributes, Delivery, Draft, Error, Failure, Level, ObjectInfo};

pub(crate) use keyvalue::Seen;
use keyvalue::{KeyBuckets, StagedKeys};

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// The contract's bound.
const PAGE: usize = 1000;

/// 2026-01-01T00:00:00Z: the clock starts there, and every event and write takes a second.
const START_MILLIS: u64 = 1_767_225_600_000;

#[derive(Debug)]
pub(crate) struct State {
    pub config: BTreeMap<String, String>,
    pub logs: Vec<Log>,
    pub attempt: u32,
    buckets: BTreeMap<String, Bucket>,
    topics: BTreeMap<String, Vec<Published>>,
    keyvalue: KeyBuckets,
    /// By scheme, host and port.
    servers: BTreeMap<String, Server>,
    run: Option<Run>,
    /// Counts what happened; ids, etags and times come from it.
    ticks: u64,
}

#[derive(Clone, Debug)]
struct Bucket {
    readable: bool,
    writable: bool,
    objects: BTreeMap<String, Stored>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub info: ObjectInfo,
    pub body: Rc<[u8]>,
}

impl Stored {
    fn etag(&self) -> &str {
        &self.info.etag
    }

    /// What a page tells of it: only `head` knows what was written with it.
    fn listed(&self) -> ObjectInfo {
        ObjectInfo {
            content_type: guess_content_type(&self.info.key),
            metadata: Attributes::default(),
            ..self.info.clone()
        }
    }
}

/// A handler at work: its effects in the order in which it made them.
#[derive(Debug)]
struct Run {
    batch: Option<usize>,
    scope: Option<usize>,
    staged: Vec<(Option<usize>, Effect)>,
    keys: StagedKeys,
}

#[derive(Clone, Debug)]
enum Effect {
    Write {
        bucket: String,
        object: Stored,
        condition: Condition,
    },
    Remove {
        bucket: String,
        key: String,
    },
    Publish {
        topic: String,
        messages: Vec<Draft>,
    },
}

impl State {
    pub fn new() -> Self {
        Self {
            config: BTreeMap::new(),
            logs: Vec::new(),
            attempt: 1,
            buckets: BTreeMap::new(),
            topics: BTreeMap::new(),
            keyvalue: KeyBuckets::new(),
            servers: BTreeMap::new(),
            run: None,
            ticks: 0,
        }
    }

    /// Makes this the thread's, and gives the one that was.
    pub fn install(state: Option<Rc<RefCell<Self>>>) -> Option<Rc<RefCell<Self>>> {
        CURRENT.with_borrow_mut(|current| std::mem::replace(current, state))
    }

    /// Gives the thread back to `previous`, if it is still this one's.
    pub fn uninstall(state: &Rc<RefCell<Self>>, previous: Option<Rc<RefCell<Self>>>) {
        CURRENT.with_borrow_mut(|current| {
            if current.as_ref().is_some_and(|own| Rc::ptr_eq(own, state)) {
                *current = previous;
            }
        });
    }

    /// Calls on the thread's host.
    pub fn with_current<T>(call: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let state = CURRENT.with_borrow(Option::clone).ok_or_else(|| {
            Error::Other(
                "no host on this thread: natively, keep a `kinglet_sdk::testing::Host` for as long as \
                 handlers run"
                    .to_owned(),
            )
        })?;
        call(&mut state.borrow_mut())
    }

    // What handlers ask for.

    pub fn open_bucket(&self, name: &str) -> Result<(), Error> {
        match self.buckets.get(name) {
            Some(bucket) if bucket.readable || bucket.writable => Ok(()),
            _ => Err(Error::Denied(format!(
                "bucket `{name}` isn't granted; grant it with `host.bucket({name:?})`"
            ))),
        }
    }

    /// A handler sees what it staged, whatever it may read.
    pub fn read(&self, bucket: &str, key: &str, etag: Option<&str>) -> Result<Stored, Error> {
        valid_key(key)?;
        let object = match self.staged_for(bucket, key) {
            Some(staged) => staged,
            None => {
                self.check_readable(bucket)?;
                self.stored(bucket, key)
            }
        };
        let object =
            object.ok_or_else(|| Error::NotFound(format!("`{key}` in bucket `{bucket}`")))?;
        match etag {
            Some(etag) if etag != object.info.etag => {
                Err(Error::Changed(format!("`{key}` in bucket `{bucket}`")))
            }
            _ => Ok(object.clone()),
        }
    }

    pub fn check_write(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), Error> {
        valid_key(key)?;
        match self.buckets.get(bucket) {
            Some(found) if found.writable => {}
            _ => {
                return Err(Error::Denied(format!(
                    "writing to bucket `{bucket}` isn't granted"
                )));
            }
        }
        check_condition(
            condition,
            bucket,
            key,
            self.seen(bucket, key).map(Stored::etag),
        )
    }

    pub fn write(
        &mut self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        options: WriteOptions,
    ) -> Result<(), Error> {
        self.check_write(bucket, key, &options.condition)?;
        self.stage_object(bucket, key, body, options)
    }

    /// Stages an object whose key and condition were checked when it was begun.
    pub fn stage_object(
        &mut self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
        options: WriteOptions,
    ) -> Result<(), Error> {
        let condition = options.condition.clone();
        let object = self.object(key, body.into(), options);
        self.stage(Effect::Write {
            bucket: bucket.to_owned(),
            object,
            condition,
        })
    }

    pub fn remove(&mut self, bucket: &str, key: &str) -> Result<(), Error> {
        self.check_write(bucket, key, &Condition::None)?;
        self.stage(Effect::Remove {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    pub fn list_page(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Vec<ObjectInfo>, Error> {
        self.check_readable(bucket)?;
        let mut keys: BTreeMap<&str, ()> = BTreeMap::new();
        if let Some(bucket) = self.buckets.get(bucket) {
            keys.extend(bucket.objects.keys().map(|key| (key.as_str(), ())));
        }
        for (_, effect) in self.staged() {
            if let Effect::Write {
                bucket: own,
                object,
                ..
            } = effect
                && own == bucket
            {
                keys.insert(&object.info.key, ());
            }
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(keys
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(key, ())| key.starts_with(prefix))
            .filter_map(|(key, ())| match self.staged_for(bucket, key) {
                Some(staged) => staged.map(|object| object.info.clone()),
                None => self.stored(bucket, key).map(Stored::listed),
            })
            .take(PAGE)
            .collect())
    }

    pub fn open_topic(&self, name: &str) -> Result<(), Error> {
        if self.topics.contains_key(name) {
            return Ok(());
        }
        Err(Error::Denied(format!(
            "publishing to topic `{name}` isn't granted; grant it with `host.topic({name:?})`"
        )))
    }

    pub fn publish(&mut self, topic: &str, messages: Vec<Draft>) -> Result<(), Error> {
        self.open_topic(topic)?;
        messages.iter().try_for_each(valid_draft)?;
        self.stage(Effect::Publish {
            topic: topic.to_owned(),
            messages,
        })
    }

    pub fn log(&mut self, level: Level, context: &str, message: &str) {
        self.logs.push(Log {
            level,
            context: context.to_owned(),
            message: message.to_owned(),
        });
    }

    pub fn enter_scope(&mut self, index: u32) -> Result<(), Error> {
        let index = index as usize;
        match &mut self.run {
            Some(run) if run.batch.is_some_and(|count| index < count) => {
                run.scope = Some(index);
                Ok(())
            }
            _ => Err(Error::Invalid(format!(
                "no message {index} is being handled; run a batch with `Host::run_batch`"
            ))),
        }
    }

    // What the host does around them.

    /// Begins to stage; false where a handler is running already.
    pub fn begin(&mut self, batch: Option<usize>) -> bool {
        if self.run.is_some() {
            return false;
        }
        self.run = Some(Run {
            batch,
            scope: None,
            staged: Vec::new(),
            keys: StagedKeys::new(),
        });
        true
    }

    pub fn discard(&mut self) {
        self.run = None;
    }

    /// Commits what succeeded. A condition that fails now turns its message's result into a retry, and
    /// the rest is committed without it; with effects that all of a batch share, every result.
    pub fn settle(&mut self, results: &mut [Result<(), Failure>]) {
        let Some(Run { staged, keys, .. }) = self.run.take() else {
            return;
        };
        let mut scopes = staged
            .iter()
            .map(|(scope, _)| scope)
            .chain(keys.keys().map(|(scope, ..)| scope));
        let together = scopes.any(Option::is_none) && results.iter().all(Result::is_ok);
        loop {
            let commits = |scope: Option<usize>| match scope {
                Some(index) => results.get(index).is_some_and(Result::is_ok),
                None => results.iter().all(Result::is_ok),
            };
            let before = (
                self.buckets.clone(),
                self.topics.clone(),
                self.keyvalue.clone(),
            );
            let failed = staged
                .iter()
                .filter(|(scope, _)| commits(*scope))
                .find_map(|(scope, effect)| self.apply(effect).err().map(|error| (*scope, error)))
                .or_else(|| self.commit_keys(&keys, commits).err());
            let Some((scope, error)) = failed else { return };
            (self.buckets, self.topics, self.keyvalue) = before;
            for (index, result) in results.iter_mut().enumerate() {
                let concerned = together || scope.is_none_or(|own| own == index);
                if concerned {
                    *result = Err(Failure::retry(&error));
                }
            }
        }
    }

    pub fn delivery(&mut self, source: String) -> Delivery {
        let (tick, millis) = self.tick();
        Delivery {
            id: format!("event-{tick}"),
            source,
            accepted: time_from_millis(millis),
            attempt: self.attempt,
        }
    }

    // What tests arrange and look at.

    pub fn add_bucket(&mut self, name: &str) {
        self.buckets
            .entry(name.to_owned())
            .or_insert_with(|| Bucket {
                readable: true,
                writable: true,
                objects: BTreeMap::new(),
            });
    }

    pub fn grant(&mut self, name: &str, readable: bool, writable: bool) {
        if let Some(bucket) = self.buckets.get_mut(name) {
            (bucket.readable, bucket.writable) = (readable, writable);
        }
    }

    pub fn add_topic(&mut self, name: &str) {
        self.topics.entry(name.to_owned()).or_default();
    }

    pub fn insert(
        &mut self,
        bucket: &str,
        key: &str,
        body: &[u8],
        options: WriteOptions,
    ) -> Result<(), Error> {
        valid_key(key)?;
        let object = self.object(key, body.into(), options);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.objects.insert(key.to_owned(), object);
        }
        Ok(())
    }

    pub fn take(&mut self, bucket: &str, key: &str) {
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.objects.remove(key);
        }
    }

    pub fn stored(&self, bucket: &str, key: &str) -> Option<&Stored> {
        self.buckets.get(bucket)?.objects.get(key)
    }

    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.buckets
            .get(bucket)
            .map(|b| b.objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub fn published(&self, topic: &str) -> Vec<Published> {
        self.topics.get(topic).cloned().unwrap_or_default()
    }

    // What they share.

    fn staged(&self) -> &[(Option<usize>, Effect)] {
        self.run
            .as_ref()
            .map(|run| run.staged.as_slice())
            .unwrap_or_default()
    }

    /// An object as the handler sees it: the last staged effect on it, or what is stored.
    fn seen(&self, bucket: &str, key: &str) -> Option<&Stored> {
        self.staged_for(bucket, key)
            .unwrap_or_else(|| self.stored(bucket, key))
    }

    /// What the last staged effect on an object leaves of it; `None` where there is no such effect.
    fn staged_for(&self, bucket: &str, key: &str) -> Option<Option<&Stored>> {
        self.staged()
            .iter()
            .rev()
            .find_map(|(_, effect)| match effect {
                Effect::Write {
                    bucket: own,
                    object,
                    ..
                } => (own == bucket && object.info.key == key).then_some(Some(object)),
                Effect::Remove {
                    bucket: own,
                    key: removed,
                } => (own == bucket && removed == key).then_some(None),
                Effect::Publish { .. } => None,
            })
    }

    fn check_readable(&self, bucket: &str) -> Result<(), Error> {
        match self.buckets.get(bucket) {
            Some(found) if found.readable => Ok(()),
            _ => Err(Error::Denied(format!(
                "reading bucket `{bucket}` isn't granted"
            ))),
        }
    }

    /// Outside of a run there is nothing to wait for: this is the commit.
    fn stage(&mut self, effect: Effect) -> Result<(), Error> {
        match &mut self.run {
            Some(run) => {
                run.staged.push((run.scope, effect));
                Ok(())
            }
            None => self.apply(&effect),
        }
    }

    fn apply(&mut self, effect: &Effect) -> Result<(), Error> {
        match effect {
            Effect::Write {
                bucket,
                object,
                condition,
            } => {
                let key = &object.info.key;
                check_condition(
                    condition,
                    bucket,
                    key,
                    self.stored(bucket, key).map(Stored::etag),
                )?;
                if let Some(bucket) = self.buckets.get_mut(bucket) {
                    bucket.objects.insert(key.clone(), object.clone());
                }
            }
            Effect::Remove { bucket, key } => self.take(bucket, key),
            Effect::Publish { topic, messages } => {
                let published = messages.iter().cloned().map(Published::from);
                self.topics
                    .entry(topic.clone())
                    .or_default()
                    .extend(published);
            }
        }
        Ok(())
    }

    fn object(&mut self, key: &str, body: Rc<[u8]>, options: WriteOptions) -> Stored {
        let (tick, millis) = self.tick();
        let content_type = options.content_type.or_else(|| guess_content_type(key));
        let info = ObjectInfo {
            key: key.to_owned(),
            size: body.len() as u64,
            etag: format!("version-{tick}"),
            content_type,
            modified: time_from_millis(millis),
            metadata: options.metadata,
        };
        Stored { info, body }
    }

    fn tick(&mut self) -> (u64, u64) {
        self.ticks += 1;
        (self.ticks, START_MILLIS + self.ticks * 1000)
    }
}
