//! The outward record: what guests logged, and how each attempt ended.

use serde::{Deserialize, Serialize};

use super::{Cost, NAME_BYTES, Outcome, REASON_BYTES, shorten_in_place};
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

/// The longest name in a record, in bytes: that of an event, its source, an object or a path.
const LONGEST_NAME: usize = 1_280;
/// The most objects, and the most topics, that a record lists.
const LISTED: usize = 1_000;

impl Record {
    /// Cuts names, outcomes and lists, so that no event takes much of the journal.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        shorten_names([&mut self.source, &mut self.event, &mut self.subject]);
        match &mut self.kind {
            RecordKind::Outcome {
                outcome,
                text,
                outputs,
                published,
                left_out,
                ..
            } => {
                *outcome = std::mem::replace(outcome, Outcome::Done).bounded();
                if guard::holds(Guard::Reasons) {
                    shorten_in_place(text, REASON_BYTES + NAME_BYTES);
                }
                for list in [outputs, published] {
                    let more = list.len().saturating_sub(LISTED);
                    *left_out = left_out.saturating_add(more as u64);
                    list.truncate(LISTED);
                }
            }
            RecordKind::Request {
                host, user_agent, ..
            } => shorten_names([host, user_agent]),
            RecordKind::Log { .. } | RecordKind::Output { .. } | RecordKind::Host { .. } => {}
        }
        self
    }
}

fn shorten_names<const COUNT: usize>(names: [&mut Option<String>; COUNT]) {
    for name in names.into_iter().filter_map(Option::as_mut) {
        shorten_in_place(name, LONGEST_NAME);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Trap;

    fn record(outcome: Outcome, outputs: usize) -> Record {
        Record {
            time: 1,
            function: None,
            source: None,
            event: None,
            subject: None,
            attempt: None,
            kind: RecordKind::Outcome {
                text: outcome.to_string(),
                outcome,
                settled: true,
                dead: false,
                retry_in_ms: None,
                cost: Cost::default(),
                queue_ms: 0,
                outputs: vec!["out/a".to_owned(); outputs],
                published: Vec::new(),
                left_out: 0,
            },
        }
    }

    #[test]
    fn an_outcome_without_end_is_cut() {
        let trap = |reason: usize, frames, name| {
            Outcome::Trap(Trap {
                reason: "r".repeat(reason),
                backtrace: vec!["N".repeat(name); frames],
            })
        };
        let short = record(trap(8 << 10, 20, 256), 1_000);
        assert_eq!(short.clone().bounded(), short);
        let cut = record(trap(1 << 20, 100, 1 << 20), 5_000).bounded();
        assert_eq!(cut.clone().bounded(), cut);
        let RecordKind::Outcome {
            outcome: Outcome::Trap(trap),
            text,
            outputs,
            left_out,
            ..
        } = cut.kind
        else {
            panic!("another record");
        };
        assert!(trap.reason.ends_with("... (1,048,576 bytes)"));
        assert_eq!(trap.backtrace.len(), 20);
        let names = trap.backtrace.iter().map(String::len).sum::<usize>();
        assert!(trap.reason.len() + names <= 16 << 10, "{names}");
        assert!(text.len() <= 9 << 10, "{} bytes", text.len());
        assert_eq!((outputs.len(), left_out), (1_000, 4_000));
    }
}
