//! Values by key, which change with the acknowledgement of the event whose handler changed them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::QueueError;

/// Tells the values that are committed.
#[async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// The values of keys, in their order; none where there is none.
    async fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Value>>, QueueError>;

    /// Up to `limit` keys past `after`, in the order of their bytes.
    async fn keys(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, QueueError>;
}

/// A committed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Another one with each change.
    pub revision: u64,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The bucket's name.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The new value; none where the key goes.
    pub value: Option<Vec<u8>>,
    /// Made only on this version.
    pub expected: Expected,
}

/// What must hold of a key when its change commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Anything.
    Any,
    /// There is no value.
    Absent,
    /// The value is of this revision.
    Revision(u64),
}

impl Expected {
    /// What a handler saw, and relies on.
    pub fn seen(value: Option<&Value>) -> Self {
        value.map_or(Self::Absent, |value| Self::Revision(value.revision))
    }

    /// Whether it holds where this is the current revision, or there is no value.
    pub fn holds(self, current: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(revision) => current == Some(revision),
        }
    }
}
