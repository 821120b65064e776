//! How a delivery attempt ends.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::shorten_in_place;
use crate::guard::{self, Guard};

/// The longest reason that is kept, in bytes. With its frames an outcome takes at most twice as
/// much.
pub const REASON_BYTES: usize = 8 << 10;
/// The longest name of a function or an interface that is kept, in bytes.
pub const NAME_BYTES: usize = 256;
/// The most frames of a backtrace that are kept.
const FRAMES: usize = 20;

/// How one attempt at one event ended. A guest's own failure, a guest's trap and a fault of the host
/// are distinct types, since they mean distinct things to the person who reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The handler succeeded; its effects are committed.
    Done,
    /// There was nothing left to do: the object is gone, or a newer version has its own event.
    Superseded {
        /// What happened to the object.
        reason: String,
    },
    /// It wasn't tried: it is too old, or came over too many functions.
    Undeliverable {
        /// Why not.
        reason: String,
    },
    /// The handler returned a failure.
    Failed(Failure),
    /// What the handler relied on was changed by somebody else before its effects could commit: tried
    /// again, and not counted as a failure.
    Conflict {
        /// What was changed.
        reason: String,
    },
    /// A limit of the function was reached.
    Limit(Limit),
    /// The guest trapped.
    Trap(Trap),
    /// The host couldn't do its part.
    Fault(HostFault),
}

impl Outcome {
    /// The word for it in logs and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Superseded { .. } => "superseded",
            Self::Undeliverable { .. } => "undeliverable",
            Self::Failed(Failure::Reject { .. }) => "rejected",
            Self::Failed(_) => "failed",
            Self::Conflict { .. } => "conflict",
            Self::Limit(_) => "limit",
            Self::Trap(_) => "trap",
            Self::Fault(_) => "fault",
        }
    }

    /// Cuts the texts of the outcome that come from a guest or a component, so that it takes at
    /// most 16 KiB.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if let Some(reason) = self.reason_mut()
            && guard::holds(Guard::Reasons)
        {
            shorten_in_place(reason, REASON_BYTES);
        }
        if let Self::Trap(trap) = &mut self
            && guard::holds(Guard::Names)
        {
            trap.backtrace.truncate(FRAMES);
            for name in &mut trap.backtrace {
                shorten_in_place(name, NAME_BYTES);
            }
        }
        self
    }

    fn reason_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Superseded { reason }
            | Self::Undeliverable { reason }
            | Self::Conflict { reason }
            | Self::Failed(
                Failure::Retry { reason, .. }
                | Failure::Reject { reason }
                | Failure::Other { reason },
            )
            | Self::Trap(Trap { reason, .. })
            | Self::Fault(HostFault { reason }) => Some(reason),
            Self::Done | Self::Limit(_) => None,
        }
    }

    /// Whether it uses up one of the function's attempts.
    pub fn is_counted(&self) -> bool {
        !matches!(self, Self::Fault(_) | Self::Conflict { .. })
    }

    /// Whether the event is finished with, and its effects are to be committed.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done | Self::Superseded { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Superseded { reason } => write!(f, "superseded: {reason}"),
            Self::Undeliverable { reason } => write!(f, "undeliverable: {reason}"),
            Self::Failed(failure) => write!(f, "{failure}"),
            Self::Conflict { reason } => write!(f, "conflict: {reason}"),
            Self::Limit(limit) => write!(f, "limit reached: {limit}"),
            Self::Trap(trap) => write!(f, "{trap}"),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

/// What a handler returned in place of success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "kebab-case")]
pub enum Failure {
    /// It asked for another attempt.
    Retry {
        /// Its words.
        reason: String,
        /// Overrides the backoff, in milliseconds.
        after_ms: Option<u64>,
    },
    /// The event can never succeed.
    Reject {
        /// Its words.
        reason: String,
    },
    /// An ordinary error; retried.
    Other {
        /// Its words.
        reason: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry {
                reason,
                after_ms: Some(after),
            } => {
                write!(f, "asked for a retry after {after} ms: {reason}")
            }
            Self::Retry {
                reason,
                after_ms: None,
            } => write!(f, "asked for a retry: {reason}"),
            Self::Reject { reason } => write!(f, "rejected: {reason}"),
            Self::Other { reason } => write!(f, "failed: {reason}"),
        }
    }
}

/// A limit that was reached, with the figure and how far the guest got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Limit {
    /// Fuel: about one unit for each WebAssembly instruction.
    Fuel {
        /// The function's limit.
        limit: u64,
    },
    /// Wall-clock time, blocked host calls included.
    Deadline {
        /// The function's limit, in milliseconds.
        limit_ms: u64,
    },
    /// Linear memories and tables together.
    Memory {
        /// The function's limit, in bytes.
        limit: u64,
        /// What the guest had and asked for, together, in bytes.
        wanted: u64,
    },
    /// What the host has for all functions together, less what it needs itself.
    HostMemory {
        /// The most that one attempt can have, in bytes.
        limit: u64,
        /// What it had and asked for, together and with what an instance takes, in bytes.
        wanted: u64,
    },
    /// The body of a request.
    Request {
        /// The function's limit, in bytes.
        limit: u64,
    },
    /// The call stack.
    Stack {
        /// The engine's limit, in bytes.
        limit: u64,
    },
    /// Bytes that moved through host calls, both ways.
    HostCalls {
        /// The function's limit, in bytes.
        limit: u64,
    },
    /// What one host call was given.
    Arguments {
        /// The most that the host takes, in bytes.
        limit: u64,
    },
    /// Handles that were held at once.
    Handles {
        /// The engine's limit.
        limit: u64,
    },
    /// The body of a response.
    Response {
        /// The function's limit, in bytes.
        limit: u64,
    },
    /// Requests that were sent.
    Requests {
        /// The function's limit.
        limit: u64,
    },
    /// The fields of a response, as its headers.
    Headers {
        /// The engine's limit, in bytes.
        limit: u64,
    },
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fuel { limit } => write!(f, "fuel, {limit} units; raise `limits.fuel`"),
            Self::Deadline { limit_ms } => write!(
                f,
                "timeout, {}; raise `limits.timeout`",
                humantime::format_duration(Duration::from_millis(*limit_ms))
            ),
            Self::Memory { limit, wanted } => write!(
                f,
                "memory, {limit} bytes where {wanted} were wanted; raise `limits.memory`"
            ),
            Self::HostMemory { limit, wanted } => write!(
                f,
                "memory of the host, {limit} bytes where {wanted} were wanted; raise `host.memory`, or lower \
                 `limits.memory`"
            ),
            Self::Request { limit } => write!(
                f,
                "body of the request, {limit} bytes; raise `limits.request`"
            ),
            Self::Requests { limit } => write!(
                f,
                "requests, {limit} in one attempt; raise `limits.requests`"
            ),
            Self::Stack { limit } => write!(f, "stack, {limit} bytes; recurse less deeply"),
            Self::HostCalls { limit } => write!(
                f,
                "host calls, {limit} bytes moved in one attempt; raise `limits.host-calls`"
            ),
            Self::Arguments { limit } => write!(
                f,
                "arguments of one host call, {limit} bytes; give it less at once, as through a writer, or raise \
                 `limits.memory`"
            ),
            Self::Handles { limit } => write!(
                f,
                "handles, {limit} held at once; close those that aren't needed any more"
            ),
            Self::Response { limit } => write!(
                f,
                "response, a body of {limit} bytes; raise `limits.response`"
            ),
            Self::Headers { limit } => write!(
                f,
                "headers, {limit} bytes of names and values with what each takes; answer with fewer"
            ),
        }
    }
}

/// A guest that trapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// What the engine says, or the panic's own message where the guest printed one.
    pub reason: String,
    /// Function names, innermost first.
    pub backtrace: Vec<String>,
}

impl Trap {
    /// The frames that tell where the guest's own code went wrong: a few, without those with which Rust's
    /// library ends a panic.
    pub fn told(&self) -> impl Iterator<Item = &String> {
        const FRAMES: usize = 5;
        const LIBRARY: [&str; 7] = [
            "std::", "core::", "alloc::", "rust_", "__rust", "<core::", "abort",
        ];
        let own = self
            .backtrace
            .iter()
            .position(|frame| !LIBRARY.iter().any(|name| frame.starts_with(name)));
        self.backtrace.iter().skip(own.unwrap_or(0)).take(FRAMES)
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trapped: {}", self.reason)
    }
}

/// A fault of the host's own: the event is retried, and the cause is ours to mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFault {
    /// The whole chain of causes, for the operator.
    pub reason: String,
}

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host fault: {}", self.reason)
    }
}

/// What one invocation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Units burnt.
    pub fuel: u64,
    /// The most that memories and tables held together, in bytes.
    pub peak_memory: u64,
    /// From the start of making the instance to the call, in microseconds.
    pub start_us: u64,
    /// The call itself, in microseconds.
    pub run_us: u64,
}
