//! Effects that wait for the event's acknowledgement.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::{Expected, ObjectInfo};

/// What one event staged. Dropped without a commit, its staged files are removed.
#[derive(Debug, Default)]
pub struct Transaction {
    /// By bucket and key; the last change of a key wins.
    pub objects: BTreeMap<(String, String), Change>,
    /// In the order in which they were published.
    pub messages: Vec<Draft>,
    /// By bucket and key.
    pub keys: BTreeMap<(String, String), StagedKey>,
    /// Whether it holds effects that all of a batch share: then it commits with all of it or not at all.
    pub shared: bool,
}

impl Transaction {
    /// Whether nothing was staged.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.messages.is_empty() && self.keys.is_empty()
    }

    /// Adds what `later` staged after this.
    pub fn absorb(&mut self, later: Self) {
        self.objects.extend(later.objects);
        self.messages.extend(later.messages);
        for (key, change) in later.keys {
            match self.keys.entry(key) {
                Entry::Vacant(vacant) => {
                    vacant.insert(change);
                }
                // What the first one relied on is what was committed before both.
                Entry::Occupied(mut earlier) => earlier.get_mut().value = change.value,
            }
        }
        self.shared |= later.shared;
    }
}

/// A staged change of one object.
#[derive(Debug)]
pub enum Change {
    /// A new version.
    Write(StagedObject),
    /// No object any more.
    Remove,
}

/// A staged change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedKey {
    /// The new value; none where the key goes.
    pub value: Option<Vec<u8>>,
    /// Checked at the commit.
    pub expected: Expected,
}

/// A new version of an object, complete and synced, waiting for its name.
#[derive(Debug)]
pub struct StagedObject {
    /// What the store calls it while it waits.
    pub token: String,
    /// As it will be once committed.
    pub info: ObjectInfo,
    /// Checked again at the commit.
    pub condition: Condition,
    /// Removes the staged object unless its commit was decided.
    pub discard: Discard,
}

/// Undoes something when dropped, unless it is kept.
pub struct Discard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Discard {
    /// Runs `undo` when dropped.
    pub fn new(undo: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }

    /// Never mind.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

impl std::fmt::Debug for Discard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Discard").field(&self.0.is_some()).finish()
    }
}

/// What must hold of an object when a write commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Anything.
    #[default]
    None,
    /// There is no such object.
    Absent,
    /// Its etag is this.
    Matches(String),
}

impl Condition {
    /// Whether it holds where `etag` is the current version, or there is none.
    pub fn holds(&self, etag: Option<&str>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => etag.is_none(),
            Self::Matches(wanted) => etag == Some(wanted),
        }
    }
}

/// A message to be accepted with the acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// The topic's name.
    pub topic: String,
    /// The bytes.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// A media type.
    pub content_type: Option<String>,
    /// Messages of one key are delivered in order.
    pub ordering_key: Option<String>,
    /// Name and value pairs.
    pub attributes: Vec<(String, String)>,
    /// Not delivered before so many milliseconds after the commit.
    pub delay_ms: Option<u64>,
}
