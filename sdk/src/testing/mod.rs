//! An in-memory host for native unit tests, with the rules of the real one.
//!
//! What a handler writes and publishes is staged: it sees that itself, and the host's buckets and topics
//! have it once the handler has succeeded. Buckets and topics must be granted, keys must be valid,
//! conditions hold, reads of an event's object are pinned to its version, and what a handler relied on in
//! a keyvalue bucket must be so still at the commit. Requests are sent to the test's own servers alone. Limits aren't
//! enforced.
//!
//! ```
//! use kinglet_sdk::testing::Host;
//! use kinglet_sdk::{Bucket, Config, Failure, ObjectCreated, Topic};
//!
//! #[kinglet_sdk::object_created]
//! fn count(event: ObjectCreated) -> Result<(), Failure> {
//!     let unit: String = Config::get_or("unit", "bytes".into())?;
//!     let size = event.object().read()?.len();
//!     Bucket::open("counts")?.put(event.key(), format!("{size} {unit}"), "text/plain")?;
//!     Topic::open("counted")?.publish(event.key())?;
//!     Ok(())
//! }
//!
//! let host = Host::new();
//! host.bucket("photos").read_only().put("cat.jpg", [1, 2, 3]);
//! host.bucket("counts");
//! host.topic("counted");
//! host.config("unit", "B");
//!
//! assert_eq!(host.run(count, host.object_created("photos", "cat.jpg")), Ok(()));
//! assert_eq!(host.bucket("counts").get("cat.jpg").unwrap(), b"3 B");
//! assert_eq!(host.topic("counted").messages()[0].text(), "cat.jpg");
//! ```

mod http;
mod rules;
mod state;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::bucket::{Condition, WriteOptions};
use crate::handler::{BatchHandler, Outcome};
use crate::{Attributes, Batch, Draft, Failure, Level, Message, ObjectCreated, ObjectInfo};

pub use http::{RequestBuilder, Response};
pub(crate) use state::{Seen, State};

/// The host of this thread, from [`Host::new`] until it is dropped.
///
/// A capability called outside of [`run`](Self::run) works as well, and what it writes is committed at
/// once: helpers can be tested by themselves. Other threads don't see the host.
#[derive(Debug)]
pub struct Host {
    state: Rc<RefCell<State>>,
    previous: Option<Rc<RefCell<State>>>,
}

impl Host {
    /// A host without buckets, topics or settings. Where the thread has one already, the new one stands
    /// in for it until it is dropped.
    #[expect(clippy::new_without_default, reason = "it has an effect on the thread")]
    pub fn new() -> Self {
        let state = Rc::new(RefCell::new(State::new()));
        let previous = State::install(Some(Rc::clone(&state)));
        Self { state, previous }
    }

    /// A bucket by this name, granted for reading and writing where it is new.
    pub fn bucket(&self, name: impl Into<String>) -> Bucket<'_> {
        let name = name.into();
        self.state.borrow_mut().add_bucket(&name);
        Bucket { host: self, name }
    }

    /// A topic by this name, granted for publishing.
    pub fn topic(&self, name: impl Into<String>) -> Topic<'_> {
        let name = name.into();
        self.state.borrow_mut().add_topic(&name);
        Topic { host: self, name }
    }

    /// A keyvalue bucket by this name, granted.
    pub fn keyvalue(&self, name: impl Into<String>) -> KeyValue<'_> {
        let name = name.into();
        self.state.borrow_mut().add_keyvalue(&name);
        KeyValue { host: self, name }
    }

    /// Gives a setting a value, as the manifest's `config` does.
    pub fn config(&self, key: impl Into<String>, value: impl Into<String>) -> &Self {
        self.state
            .borrow_mut()
            .config
            .insert(key.into(), value.into());
        self
    }

    /// The attempt, counted from 1, of the events that are made from here on.
    pub fn attempt(&self, attempt: u32) -> &Self {
        self.state.borrow_mut().attempt = attempt;
        self
    }

    /// The event of an object that is in a bucket.
    ///
    /// # Panics
    /// Where the bucket has no such object.
    pub fn object_created(&self, bucket: &str, key: &str) -> ObjectCreated {
        let mut state = self.state.borrow_mut();
        let delivery = state.delivery(format!("bucket/{bucket}"));
        let Some(info) = state.stored(bucket, key).map(|object| object.info.clone()) else {
            no_such_object(bucket, key)
        };
        ObjectCreated {
            delivery,
            bucket: bucket.to_owned(),
            info,
        }
    }

    /// The event of a message: its body, or a [`Draft`] with attributes and an ordering key.
    pub fn message(&self, topic: &str, message: impl Into<Draft>) -> Message {
        let draft = message.into();
        Message {
            delivery: self.state.borrow_mut().delivery(format!("topic/{topic}")),
            topic: topic.to_owned(),
            body: draft.body,
            content_type: draft.content_type,
            ordering_key: draft.ordering_key,
            attributes: draft.attributes,
        }
    }

    /// Runs a handler of one event. What it staged is committed where it succeeds and discarded where it
    /// fails or panics. A write's condition that fails at the commit makes it a retry, as does a value that
    /// [`increment`](crate::KeyValue::increment) or [`update`](crate::KeyValue::update) relied on and that
    /// was changed meanwhile.
    ///
    /// # Errors
    /// The handler's failure.
    ///
    /// # Panics
    /// As the handler does, and where a handler is running on this host already.
    pub fn run<E, O: Outcome>(
        &self,
        handler: impl FnOnce(E) -> O,
        event: E,
    ) -> Result<(), Failure> {
        let run = Run::begin(self, None);
        let mut results = [handler(event).into_result()];
        run.settle(&mut results);
        let [result] = results;
        result
    }

    /// Runs a handler of several messages, and gives one result for each. What it staged in a message's
    /// scope is committed with that message's success. Of two messages that increment or update one key,
    /// the second is a retry, as if two handlers had run at once; the real host tries it again by itself.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_batch<Shape>(
        &self,
        handler: impl BatchHandler<Shape>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Vec<Result<(), Failure>> {
        let messages: Vec<Message> = messages.into_iter().collect();
        let count = messages.len();
        let run = Run::begin(self, Some(count));
        let mut results = match handler.handle(Batch { messages }) {
            Ok(results) if results.len() == count => results,
            Ok(results) => {
                let failure = format!("{} results for {count} messages", results.len());
                vec![Err(Failure::Other(failure)); count]
            }
            Err(failure) => vec![Err(failure); count],
        };
        run.settle(&mut results);
        results
    }

    /// What was logged so far, in order. Logs stay where the handler fails.
    pub fn logs(&self) -> Vec<Log> {
        self.state.borrow().logs.clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        State::uninstall(&self.state, self.previous.take());
    }
}

/// A handler being run: dropped unsettled, as by a panic, it discards what was staged.
struct Run<'a> {
    host: &'a Host,
}

impl<'a> Run<'a> {
    fn begin(host: &'a Host, batch: Option<usize>) -> Self {
        let began = host.state.borrow_mut().begin(batch);
        assert!(began, "a handler is running on this host already");
        Self { host }
    }

    fn settle(self, results: &mut [Result<(), Failure>]) {
        self.host.state.borrow_mut().settle(results);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.host.state.borrow_mut().discard();
    }
}

/// A bucket of the testing [`Host`], as the test sees it: without what is only staged.
#[derive(Debug)]
pub struct Bucket<'a> {
    host: &'a Host,
    name: String,
}

impl Bucket<'_> {
    /// Grants reading alone.
    pub fn read_only(self) -> Self {
        self.host.state.borrow_mut().grant(&self.name, true, false);
        self
    }

    /// Grants writing alone.
    pub fn write_only(self) -> Self {
        self.host.state.borrow_mut().grant(&self.name, false, true);
        self
    }

    /// Puts an object there, with a content type guessed from its key's extension.
    ///
    /// # Panics
    /// Where the key is invalid.
    pub fn put(&self, key: &str, body: impl AsRef<[u8]>) -> &Self {
        self.insert(key, body.as_ref(), WriteOptions::default())
    }

    /// Puts an object there, with a content type and metadata.
    ///
    /// # Panics
    /// Where the key is invalid.
    pub fn put_with(
        &self,
        key: &str,
        body: impl AsRef<[u8]>,
        content_type: &str,
        metadata: &[(&str, &str)],
    ) -> &Self {
        let mut options = WriteOptions {
            content_type: Some(content_type.to_owned()),
            metadata: Attributes::default(),
            condition: Condition::None,
        };
        for (name, value) in metadata {
            options
                .metadata
                .set((*name).to_owned(), (*value).to_owned());
        }
        self.insert(key, body.as_ref(), options)
    }

    #[expect(
        clippy::panic,
        reason = "a test that uses an invalid key is wrong itself"
    )]
    fn insert(&self, key: &str, body: &[u8], options: WriteOptions) -> &Self {
        if let Err(error) = self
            .host
            .state
            .borrow_mut()
            .insert(&self.name, key, body, options)
        {
            panic!("{error}");
        }
        self
    }

    /// Removes an object, if it is there.
    pub fn remove(&self, key: &str) -> &Self {
        self.host.state.borrow_mut().take(&self.name, key);
        self
    }

    /// An object's body.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.host
            .state
            .borrow()
            .stored(&self.name, key)
            .map(|object| object.body.to_vec())
    }

    /// What is known of an object.
    pub fn info(&self, key: &str) -> Option<ObjectInfo> {
        self.host
            .state
            .borrow()
            .stored(&self.name, key)
            .map(|object| object.info.clone())
    }

    /// The keys of all objects, in byte order.
    pub fn keys(&self) -> Vec<String> {
        self.host.state.borrow().keys(&self.name)
    }
}

/// A topic of the testing [`Host`], as the test sees it: without what is only staged.
#[derive(Debug)]
pub struct Topic<'a> {
    host: &'a Host,
    name: String,
}

impl Topic<'_> {
    /// What was published so far, in order.
    pub fn messages(&self) -> Vec<Published> {
        self.host.state.borrow().published(&self.name)
    }
}

/// A keyvalue bucket of the testing [`Host`], as the test sees it: without what is only staged.
#[derive(Debug)]
pub struct KeyValue<'a> {
    host: &'a Host,
    name: String,
}

impl KeyValue<'_> {
    /// Gives a key a value.
    ///
    /// # Panics
    /// Where the key is invalid.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> &Self {
        self.change(key, Some(value.as_ref().to_owned()))
    }

    /// Removes a key, if it is there.
    ///
    /// # Panics
    /// Where the key is invalid.
    pub fn remove(&self, key: &str) -> &Self {
        self.change(key, None)
    }

    #[expect(
        clippy::panic,
        reason = "a test that uses an invalid key is wrong itself"
    )]
    fn change(&self, key: &str, value: Option<Vec<u8>>) -> &Self {
        let mut state = self.host.state.borrow_mut();
        if let Err(error) = state.put_key(&self.name, key, value) {
            panic!("{error}");
        }
        self
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.host.state.borrow().stored_key(&self.name, key)
    }

    /// All keys, in byte order.
    pub fn keys(&self) -> Vec<String> {
        self.host.state.borrow().stored_keys(&self.name)
    }
}

/// A message that a handler published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The message itself.
    pub body: Vec<u8>,
    /// The body's media type, where one was given.
    pub content_type: Option<String>,
    /// Messages of one key are delivered in the order of their acceptance.
    pub ordering_key: Option<String>,
    /// Name and value pairs.
    pub attributes: Attributes,
    /// How long it is held back after the commit.
    pub delay: Option<Duration>,
}

impl Published {
    /// The body as text, with U+FFFD in place of what isn't UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl From<Draft> for Published {
    fn from(draft: Draft) -> Self {
        Self {
            body: draft.body,
            content_type: draft.content_type,
            ordering_key: draft.ordering_key,
            attributes: draft.attributes,
            delay: draft.delay,
        }
    }
}

/// A line that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// How grave it is.
    pub level: Level,
    /// The path of the module that logged it.
    pub context: String,
    /// The line itself.
    pub message: String,
}

#[expect(
    clippy::panic,
    reason = "a test whose event has no object is wrong itself"
)]
fn no_such_object(bucket: &str, key: &str) -> ! {
    panic!("no object `{key}` in bucket `{bucket}`; `put` it before its event")
}

#[cfg(test)]
mod tests;
