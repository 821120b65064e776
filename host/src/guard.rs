//! What keeps a guest in its place, by name: so that a test can show that it fails without.
//!
//! A build with debug assertions can have one guard off for the whole process; `cli` reads which from the
//! environment. In all others each holds, and nothing is there that could switch it off.

use std::fmt;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that a guest can't get over. Where it is enforced, the code asks whether it `holds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// `limits.fuel`.
    Fuel,
    /// `limits.timeout`.
    Deadline,
    /// That who only computes gives way to others.
    Yields,
    /// `limits.memory`, of linear memories.
    Memory,
    /// `limits.memory`, of tables.
    Tables,
    /// `limits.memory`, of what one host call gives to the guest or holds for it.
    Reads,
    /// The bound of the native stack; without, there is a larger one.
    Stack,
    /// How many core instances, memories and tables a component may have.
    Instances,
    /// `limits.host-calls`, and what the arguments of one call may take in the host.
    HostCalls,
    /// How many handles a guest may hold.
    Handles,
    /// `limits.log`.
    LogBytes,
    /// That no control character of a guest's gets to a terminal.
    LogCharacters,
    /// That what a guest says of its failure is cut.
    Reasons,
    /// The length of names that a component has, as those of its functions, in outcomes and errors.
    Names,
    /// The text of a guest's error, which isn't sent to clients.
    ErrorTexts,
    /// How much the fields of a request or response may take.
    Headers,
    /// The length of a method, a path or an authority of a request.
    RequestParts,
    /// `limits.memory` and `host.memory`, of what handles of `wasi:http` hold: fields, and the parts of requests.
    HandleContents,
    /// `limits.memory` and `host.memory`, of bodies that the host buffers.
    Buffers,
    /// `limits.response`.
    Response,
    /// How many random bytes one call gives.
    Random,
    /// `limits.staging`.
    Staging,
    /// That each effect counts, however small, and how many writers are open at once.
    StagedCount,
    /// `queue.max-staging`.
    StagingRoom,
    /// `limits.effects`.
    Effects,
    /// The length of ids, sources, ordering keys and attributes of events.
    EventNames,
    /// Which strings are keys of objects.
    ObjectKeys,
    /// `grants`.
    Grants,
    /// How long keys of keyvalue buckets are.
    KeyvalueSizes,
    /// `host.memory`.
    Budget,
    /// That no request goes out. Without, its server is connected to.
    Outgoing,
    /// `limits.requests`.
    Requests,
    /// That addresses of the own network need a grant by name.
    OwnNetworks,
    /// That there are no files and no network. Without, all files can be read, and all addresses connected to.
    FilesAndSockets,
    /// That a batch has one answer for each message, and no scope but theirs.
    BatchShape,
    /// That a component imports nothing that this host hasn't.
    Imports,
    /// How many functions one event comes over.
    Hops,
    /// `compile.timeout`.
    CompileTime,
    /// `compile.memory`.
    CompileMemory,
    /// That no native code runs but what a host of this machine compiled.
    CacheSeal,
}

impl Guard {
    /// Each of them.
    pub const ALL: [Self; 40] = [
        Self::Fuel,
        Self::Deadline,
        Self::Yields,
        Self::Memory,
        Self::Tables,
        Self::Reads,
        Self::Stack,
        Self::Instances,
        Self::HostCalls,
        Self::Handles,
        Self::LogBytes,
        Self::LogCharacters,
        Self::Reasons,
        Self::Names,
        Self::ErrorTexts,
        Self::Headers,
        Self::RequestParts,
        Self::HandleContents,
        Self::Buffers,
        Self::Response,
        Self::Random,
        Self::Staging,
        Self::StagedCount,
        Self::StagingRoom,
        Self::Effects,
        Self::EventNames,
        Self::ObjectKeys,
        Self::Grants,
        Self::KeyvalueSizes,
        Self::Budget,
        Self::Outgoing,
        Self::Requests,
        Self::OwnNetworks,
        Self::FilesAndSockets,
        Self::BatchShape,
        Self::Imports,
        Self::Hops,
        Self::CompileTime,
        Self::CompileMemory,
        Self::CacheSeal,
    ];

    /// Its name, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "deadline",
            Self::Yields => "yields",
            Self::Memory => "memory",
            Self::Tables => "tables",
            Self::Reads => "reads",
            Self::Stack => "stack",
            Self::Instances => "instances",
            Self::HostCalls => "host-calls",
            Self::Handles => "handles",
            Self::LogBytes => "log-bytes",
            Self::LogCharacters => "log-characters",
            Self::Reasons => "reasons",
            Self::Names => "names",
            Self::ErrorTexts => "error-texts",
            Self::Headers => "headers",
            Self::RequestParts => "request-parts",
            Self::HandleContents => "handle-contents",
            Self::Buffers => "buffers",
            Self::Response => "response",
            Self::Random => "random",
            Self::Staging => "staging",
            Self::StagedCount => "staged-count",
            Self::StagingRoom => "staging-room",
            Self::Effects => "effects",
            Self::EventNames => "event-names",
            Self::ObjectKeys => "object-keys",
            Self::Grants => "grants",
            Self::KeyvalueSizes => "keyvalue-sizes",
            Self::Budget => "budget",
            Self::Outgoing => "outgoing",
            Self::Requests => "requests",
            Self::OwnNetworks => "own-networks",
            Self::FilesAndSockets => "files-and-sockets",
            Self::BatchShape => "batch-shape",
            Self::Imports => "imports",
            Self::Hops => "hops",
            Self::CompileTime => "compile-time",
            Self::CompileMemory => "compile-memory",
            Self::CacheSeal => "cache-seal",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Guard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|guard| guard.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} isn't a guard; use one of {names}")
        })
    }
}

/// The one that is off: its place in the enum, past the last for none.
#[cfg(debug_assertions)]
static OFF: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Whether it is on.
#[cfg(debug_assertions)]
pub fn holds(guard: Guard) -> bool {
    OFF.load(Ordering::Relaxed) != guard as usize
}

/// Whether it is on, which it is.
#[cfg(not(debug_assertions))]
pub const fn holds(_: Guard) -> bool {
    true
}

/// Has the process go without it from now on, and says so.
#[cfg(debug_assertions)]
pub fn switch_off(guard: Guard) {
    OFF.store(guard as usize, Ordering::Relaxed);
    tracing::error!(
        "the guard `{guard}` is OFF in this process; guests may do what it keeps them from"
    );
}

/// Many times what is left of a bound whose guard is off: beyond what any test asks for, and no overflow.
pub const BEYOND: usize = 1 << 30;

/// A bound, or what stands for none where its guard is off.
pub fn bound(guard: Guard, limit: usize) -> usize {
    if holds(guard) {
        limit
    } else {
        BEYOND.max(limit)
    }
}

/// Makes control characters visible: text from outside must not steer the terminal it is read in, nor the
/// order in which its characters are shown.
pub fn visible(text: &str) -> String {
    if !holds(Guard::LogCharacters) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_and_holds() {
        for (at, guard) in Guard::ALL.into_iter().enumerate() {
            assert_eq!(guard as usize, at, "{guard} is listed in its place");
            assert_eq!(guard.name().parse(), Ok(guard));
            assert!(holds(guard));
        }
        let error = "gravity".parse::<Guard>().unwrap_err();
        assert!(
            error.contains("gravity") && error.contains("files-and-sockets"),
            "{error}"
        );
    }

    #[test]
    fn the_security_model_has_each() {
        const PAGE: &str = include_str!("../../docs/src/security/model.md");
        for guard in Guard::ALL {
            assert!(
                PAGE.contains(&format!("`{guard}`")),
                "the model lacks {guard}"
            );
        }
    }
}
