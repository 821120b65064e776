//! Events, as sources hand them over and functions receive them.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Something that happened, on its way to one function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unique within `source`.
    pub id: String,
    /// Where it came from: `bucket/photos`, `s3/photos`, `topic/orders`, `run/…`, or what a CloudEvent says.
    pub source: String,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// How many functions' effects led to it: 0 where it came from outside.
    pub hops: u32,
    /// What happened.
    pub payload: Payload,
}

/// What the source of an event begins with where another store told of its object: that needn't be in the bucket.
pub const TOLD: &str = "s3/";

impl Event {
    /// Returns about how many bytes it takes in the store.
    pub fn size(&self) -> usize {
        let pairs = |pairs: &[(String, String)]| -> usize {
            let pairs = pairs.iter();
            pairs.map(|(name, value)| name.len() + value.len()).sum()
        };
        let payload = match &self.payload {
            Payload::ObjectCreated { object, .. } => {
                object.key.len() + object.etag.len() + pairs(&object.metadata)
            }
            Payload::Message(message) => message.body.len() + pairs(&message.attributes),
        };
        self.id.len() + self.source.len() + payload
    }

    /// Whether another store told of its object.
    pub fn is_told(&self) -> bool {
        matches!(self.payload, Payload::ObjectCreated { .. }) && self.source.starts_with(TOLD)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// An object was created or replaced.
    ObjectCreated {
        /// The bucket's name in the manifest.
        bucket: String,
        /// The version that was seen.
        object: ObjectInfo,
    },
    /// A message was published.
    Message(Message),
}

/// The topic that the messages of a schedule have.
pub const SCHEDULE_TOPIC: &str = "schedule";

impl Payload {
    /// What a person would call this event: an object's key, or the topic.
    pub fn subject(&self) -> &str {
        match self {
            Self::ObjectCreated { object, .. } => &object.key,
            Self::Message(message) => &message.topic,
        }
    }
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The full key, with `/` between its parts.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Names the version; opaque.
    pub etag: String,
    /// As stored, or guessed from the key's extension.
    pub content_type: Option<String>,
    /// Unix milliseconds.
    pub modified: Timestamp,
    /// As stored with the object.
    pub metadata: Vec<(String, String)>,
}

/// A message on a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The topic's name.
    pub topic: String,
    /// The bytes that were published.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// A media type.
    pub content_type: Option<String>,
    /// Messages of one key are delivered in order.
    pub ordering_key: Option<String>,
    /// Name and value pairs.
    pub attributes: Vec<(String, String)>,
}
