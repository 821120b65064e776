//! The outward record: what guests logged, and how each attempt ended.

use serde::{Deserialize, Serialize};

use super::{Cost, Outcome};
use crate::clock::Timestamp;
use crate::guard::{self, Guard};

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
    /// The event's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The object's key or the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What is recorded.
    #[serde(flatten)]
    pub kind: RecordKind,
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

/// Makes control characters visible: text from outside must not steer the terminal it is read in, nor the
/// order in which its characters are shown.
pub fn visible(text: &str) -> String {
    if !guard::holds(Guard::LogCharacters) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if reorders || (c.is_control() && c != '\t' && c != '\n') {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}
