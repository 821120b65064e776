//! The outward record: what guests logged, and how each attempt ended.

use serde::{Deserialize, Serialize};

use super::{Cost, Outcome, cut};
use crate::clock::Timestamp;

/// Takes records. Never blocks for long and never fails towards a guest.
pub trait Journal: Send + Sync {
    /// Adds a record.
    fn write(&self, record: Record);
}

/// One line of `kinglet logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unix milliseconds.
    pub time: Timestamp,
    /// The function, or absent where the host itself speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The event's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The event's id, or the request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The object's key, the topic, or the request's method and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What is recorded.
    #[serde(flatten)]
    pub kind: RecordKind,
}

/// The longest name in a record, in characters: that of an event, its source, an object or a path.
const MAX_NAME: usize = 1_280;
/// How many objects, and how many messages, the record of an outcome lists.
const MAX_LISTED: usize = 1_000;

impl Record {
    /// Cuts what others named, so that no event takes much of the journal.
    pub fn cut(&mut self) {
        let names = [&mut self.source, &mut self.event, &mut self.subject];
        let names = names.into_iter().filter_map(Option::as_mut);
        names.for_each(|name| cut(name, MAX_NAME));
        match &mut self.kind {
            RecordKind::Outcome {
                outputs,
                published,
                left_out,
                ..
            } => {
                for list in [outputs, published] {
                    let more = list.len().saturating_sub(MAX_LISTED);
                    *left_out = left_out.saturating_add(more as u64);
                    list.truncate(MAX_LISTED);
                }
            }
            RecordKind::Request {
                host, user_agent, ..
            } => {
                let names = [host, user_agent].into_iter().filter_map(Option::as_mut);
                names.for_each(|name| cut(name, MAX_NAME));
            }
            RecordKind::Log { .. } | RecordKind::Output { .. } | RecordKind::Host { .. } => {}
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RecordKind {
    /// A guest's `wasi:logging` call.
    Log {
        /// How grave.
        level: Level,
        /// The guest's grouping word, often empty.
        context: String,
        /// Control characters are escaped.
        text: String,
    },
    /// A line that the guest printed.
    Output {
        /// Where to.
        stream: Stream,
        /// Control characters are escaped.
        text: String,
    },
    /// The end of an attempt.
    Outcome {
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
        /// In words.
        text: String,
        /// Whether no attempt follows.
        settled: bool,
        /// Whether it went to the dead letters.
        dead: bool,
        /// Milliseconds until the next attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<u64>,
        /// What the invocation cost.
        cost: Cost,
        /// From due to taken, in milliseconds.
        queue_ms: u64,
        /// The objects that were committed, as `bucket/key`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<String>,
        /// The topic of each message that was published.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        published: Vec<String>,
        /// How many objects and messages there were beside those: the first 1,000 of each are
        /// listed.
        #[serde(default, skip_serializing_if = "is_zero")]
        left_out: u64,
    },
    /// A request and its answer, where `http.access-log` asks for them.
    Request {
        /// Of the answer.
        status: u16,
        /// Of the answer's body, as it went to the connection.
        bytes: u64,
        /// Whether all of the answer went there.
        whole: bool,
        /// From the request's head to the end of the answer, in microseconds.
        run_us: u64,
        /// Its address.
        client: String,
        /// The host that the request named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// As `HTTP/1.1`.
        version: String,
        /// The program that it says it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_agent: Option<String>,
    },
    /// The host's own word: a file that can't be an object, a folder that can't be read.
    Host {
        /// How grave.
        level: Level,
        /// What and what to do.
        text: String,
    },
}

/// How grave a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The flow of control.
    Trace,
    /// For somebody debugging.
    Debug,
    /// For somebody watching.
    Info,
    /// Something hazardous.
    Warn,
    /// Something failed.
    Error,
    /// Nothing goes on.
    Critical,
}

/// Where a guest printed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
