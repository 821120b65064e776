//! What becomes of the effects of requests.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{Outcome, QueueError, Reserved, Transaction};

/// Under what an answer is remembered: a hash of the function, of the key that came with the request, and of who sent
/// it.
pub type AnswerKey = [u8; 32];

/// Commits what requests stage.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Commits all of it, with the answer that is to be remembered, or nothing. On return it is visible. Goes on where
    /// it isn't waited for any more, and has its witness hear what was committed.
    ///
    /// # Errors
    /// What the request comes to where it can't be committed: a conflict is to be tried again.
    async fn commit(self: Arc<Self>, effects: RequestEffects) -> Result<(), Outcome>;

    /// The answer that is remembered under a key.
    ///
    /// # Errors
    /// Where the store fails, or has no room to remember another.
    async fn answer(&self, key: &AnswerKey) -> Result<Option<KeptAnswer>, QueueError>;
}

/// What one request staged.
#[derive(Debug)]
pub struct RequestEffects {
    /// The function that answers it.
    pub function: Arc<str>,
    /// All of it.
    pub transaction: Transaction,
    /// What that takes.
    pub reserved: Reserved,
    /// The answer, where a repeat of the request is to have the same.
    pub answer: Option<(AnswerKey, KeptAnswer)>,
    /// Who hears of it.
    pub witness: Arc<dyn Witness>,
}

/// Hears what was committed of a request, also where nobody waits for that any more.
pub trait Witness: fmt::Debug + Send + Sync + 'static {
    /// All of it is decided.
    fn committed(&self, committed: Committed);
}

/// What was committed, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// `bucket/key` of each object.
    pub outputs: Vec<String>,
    /// The topic of each message.
    pub published: Vec<String>,
}

/// An answer that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// A hash of the request that it answers.
    #[serde(with = "serde_bytes")]
    pub request: Vec<u8>,
    /// Its status.
    pub status: u16,
    /// Its headers, by name.
    pub headers: Vec<Field>,
    /// All of its body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// What follows the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<Field>,
}

/// A header: its name, and its value, which needn't be text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// In lower case.
    pub name: String,
    /// As it was sent.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

impl Field {
    /// All that there are, in order.
    pub fn of(headers: &HeaderMap) -> Vec<Self> {
        let fields = headers.iter().map(|(name, value)| Self {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_owned(),
        });
        fields.collect()
    }
}
