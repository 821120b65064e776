use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Error, Failure, Object, ObjectInfo, backend};

/// An object was created, or replaced by another version.
///
/// ```
/// use kinglet_sdk::{Failure, ObjectCreated};
///
/// #[kinglet_sdk::object_created]
/// fn measure(event: ObjectCreated) -> Result<(), Failure> {
///     kinglet_sdk::info!("{} in {} has {} bytes", event.key(), event.bucket(), event.info().size());
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.bucket("photos").put("cat.jpg", [0; 10]);
/// assert_eq!(host.run(measure, host.object_created("photos", "cat.jpg")), Ok(()));
/// assert_eq!(host.logs()[0].message, "cat.jpg in photos has 10 bytes");
/// ```
#[derive(Clone, Debug)]
pub struct ObjectCreated {
    pub(crate) delivery: Delivery,
    pub(crate) bucket: String,
    pub(crate) info: ObjectInfo,
}

impl ObjectCreated {
    /// Which delivery of which event this is.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The name of the bucket, as the manifest has it.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The object's full key.
    pub fn key(&self) -> &str {
        self.info.key()
    }

    /// Size, etag, content type and metadata of the version that the event is about.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The object itself, pinned to the version that the event is about: where another version has
    /// replaced it, reading fails with [`Error::Changed`]. Nothing is read yet.
    pub fn object(&self) -> Object {
        Object::new(self.bucket.clone(), self.info.clone())
    }
}

/// A message was published to a topic.
///
/// ```
/// use kinglet_sdk::{Failure, Message};
///
/// #[kinglet_sdk::message]
/// fn greet(event: Message) -> Result<(), Failure> {
///     let name = event.text().map_err(Failure::reject)?;
///     kinglet_sdk::info!("hello {name}");
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// assert_eq!(host.run(greet, host.message("names", "wren")), Ok(()));
/// assert_eq!(host.logs()[0].message, "hello wren");
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    pub(crate) delivery: Delivery,
    pub(crate) topic: String,
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) attributes: Attributes,
}

impl Message {
    /// Which delivery of which event this is.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The name of the topic, as the manifest has it.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The message itself, in bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The message itself, without a copy.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The message as text.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it isn't UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        str::from_utf8(&self.body)
            .map_err(|error| Error::Invalid(format!("the message's body isn't text: {error}")))
    }

    /// The body's media type, where the publisher gave one.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Messages of one key are delivered in the order of their acceptance.
    pub fn ordering_key(&self) -> Option<&str> {
        self.ordering_key.as_deref()
    }

    /// Name and value pairs that the publisher gave.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

/// Several messages at once, for a handler that works on all of them together, such as a model that
/// infers over a batch.
///
/// Effects belong to one message each: what is staged inside [`each`](Self::each) commits with that
/// message's success alone, whatever happens to the others. What was staged before commits only if every
/// message succeeds.
///
/// ```
/// use kinglet_sdk::{Batch, Failure, Topic};
///
/// #[kinglet_sdk::message_batch]
/// fn score(batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure> {
///     let lengths: Vec<usize> = batch.messages().iter().map(|m| m.body().len()).collect();
///     let longest = lengths.iter().max().ok_or("an empty batch")?;
///     let scores = Topic::open("scores")?;
///     Ok(batch.each(|index, message| {
///         if message.body().is_empty() {
///             return Err(Failure::reject("an empty message"));
///         }
///         scores.publish(format!("{}/{longest}", lengths[index]))?;
///         Ok(())
///     }))
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.topic("scores");
/// let batch = [host.message("texts", "abc"), host.message("texts", ""), host.message("texts", "a")];
/// let outcomes = host.run_batch(score, batch);
/// assert_eq!(outcomes[1], Err(Failure::Reject("an empty message".into())));
/// assert_eq!(host.topic("scores").messages()[1].text(), "1/3");
/// ```
///
/// Where the messages have nothing to do with each other, a `message_batch` handler takes a [`Message`]
/// and needs none of this.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(crate) messages: Vec<Message>,
}

impl Batch {
    /// The messages, in the order of their results.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Handles one message after the other, each in its own scope, and collects the results.
    pub fn each(
        &self,
        mut handle: impl FnMut(usize, &Message) -> Result<(), Failure>,
    ) -> Vec<Result<(), Failure>> {
        self.messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                self.scope(index)?;
                handle(index, message)
            })
            .collect()
    }

    /// Says that what is staged from here on belongs to the message at `index`. A message may be entered
    /// more than once. [`each`](Self::each) does it by itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no such message.
    pub fn scope(&self, index: usize) -> Result<(), Error> {
        match u32::try_from(index) {
            Ok(number) if index < self.messages.len() => backend::enter_scope(number),
            _ => Err(Error::Invalid(format!(
                "no message {index} in a batch of {}",
                self.messages.len()
            ))),
        }
    }
}

/// Which delivery of which event this is. The same event keeps its id and source over all attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) accepted: SystemTime,
    pub(crate) attempt: u32,
}

impl Delivery {
    /// Unique within [`source`](Self::source), as a CloudEvents `id` is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the event came from, as a CloudEvents `source` is: `bucket/photos`, `topic/orders`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// When the host accepted the event, to the millisecond.
    pub fn accepted(&self) -> SystemTime {
        self.accepted
    }

    /// Counted from 1, over all attempts at this event for this function.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// Name and value pairs, in the order in which they were given. The first of a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub(crate) Vec<(String, String)>);

impl Attributes {
    /// The value of a name, the first where there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Gives a name a value, in place of any that it had.
    pub(crate) fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a str, &'a str);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, (String, String)>,
        fn(&'a (String, String)) -> (&'a str, &'a str),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The contract's timestamps: milliseconds since 1970-01-01T00:00:00Z.
pub(crate) fn time_from_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .unwrap_or(UNIX_EPOCH)
}
