//! An attack, and how it must end.

use std::fmt;

use serde_json::Value;

use super::raw;
use crate::harness::{App, text};

/// One way to attack, by a function of its own, whose name is also its topic.
#[derive(Clone, Copy)]
pub struct Attack {
    pub name: &'static str,
    from: Source,
    /// Lines of the function's manifest.
    settings: &'static str,
    pub events: usize,
    pub ends: End,
    /// What stops it, and can be switched off.
    pub guard: Option<&'static str>,
    also: Option<Check>,
}

/// What must hold beside the outcome: given the application and what the attack's function said.
type Check = fn(&App, &[&Value]) -> Result<(), String>;

/// Where its component comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A guest, and what its message tells it to do.
    Guest(&'static str, &'static str),
    /// The module of its name in this text.
    Raw(&'static str),
    /// Made by the test.
    Made(fn() -> Vec<u8>),
}

/// How an attack ends.
#[derive(Clone, Copy)]
pub enum End {
    Done,
    Fuel(u64),
    Deadline(u64),
    Memory(u64),
    /// Another limit, of this figure.
    Limit(&'static str, u64),
    /// With these words in the reason.
    Trap(&'static str),
    Failed(&'static str),
}

/// By the guest `hostile`.
pub const fn guest(name: &'static str, settings: &'static str, ends: End) -> Attack {
    Attack {
        name,
        from: Source::Guest("hostile", name),
        settings,
        events: 1,
        ends,
        guard: None,
        also: None,
    }
}

/// By the module of this name in `text`.
pub const fn raw(text: &'static str, name: &'static str, ends: End) -> Attack {
    Attack {
        name,
        from: Source::Raw(text),
        settings: "",
        events: 1,
        ends,
        guard: None,
        also: None,
    }
}

/// By the component that the test makes.
pub const fn made(name: &'static str, component: fn() -> Vec<u8>, ends: End) -> Attack {
    Attack {
        from: Source::Made(component),
        ..raw("", name, ends)
    }
}

impl Attack {
    pub const fn with(mut self, settings: &'static str) -> Self {
        self.settings = settings;
        self
    }

    /// Has the guest do what another attack does.
    pub const fn doing(mut self, what: &'static str) -> Self {
        self.from = Source::Guest("hostile", what);
        self
    }

    /// Has another guest do it.
    pub const fn by(mut self, guest: &'static str) -> Self {
        self.from = Source::Guest(guest, self.name);
        self
    }

    /// By so many events at once.
    pub const fn at_once(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    pub const fn stopped_by(mut self, guard: &'static str) -> Self {
        self.guard = Some(guard);
        self
    }

    pub const fn also(mut self, check: Check) -> Self {
        self.also = Some(check);
        self
    }

    /// The function that attacks.
    pub fn manifest(&self, app: &App) -> String {
        let Self {
            name,
            settings,
            events,
            ..
        } = self;
        let component = match self.from {
            Source::Guest(guest, _) => format!("guest:{guest}"),
            Source::Raw(text) => put(app, name, raw::component(text, name)),
            Source::Made(component) => put(app, name, component()),
        };
        format!(
            r#"
            [[function]]
            name = "{name}"
            component = "{component}"
            on = {{ message = "{name}" }}
            retry = {{ attempts = 1 }}
            grants = {{ read = ["out"], write = ["out"], publish = ["out"], keyvalue = ["out"] }}
            limits.concurrency = {events}
            {settings}
            "#
        )
    }

    /// What its event says.
    pub fn message(&self) -> &'static str {
        match self.from {
            Source::Guest(_, what) => what,
            Source::Raw(_) | Source::Made(_) => self.name,
        }
    }

    /// Whether it goes on for so long that a neighbour's events must be done before it ends.
    pub fn lasts(&self) -> bool {
        matches!(self.ends, End::Deadline(_))
    }

    /// Whether it ended so, and changed nothing that it shouldn't.
    pub fn check(&self, app: &App, outcome: &Value, said: &[&Value]) -> Result<(), String> {
        self.ends
            .is(outcome)
            .then_some(())
            .ok_or_else(|| format!("{} in place of {}", shown(outcome), self.ends))?;
        self.also.map_or(Ok(()), |check| check(app, said))
    }
}

fn put(app: &App, name: &str, component: Vec<u8>) -> String {
    let file = format!("{name}.wasm");
    app.put(&file, component);
    file
}

impl End {
    fn is(&self, outcome: &Value) -> bool {
        let cost = &outcome["cost"];
        let limit = |of: &str, member: &str, limit: u64| {
            outcome["outcome"] == "limit" && outcome["of"] == of && outcome[member] == limit
        };
        let says = |kind: &str, words: &str| {
            outcome["outcome"] == kind && text(outcome, "reason").contains(words)
        };
        match *self {
            Self::Done => outcome["outcome"] == "done",
            Self::Fuel(units) => limit("fuel", "limit", units) && cost["fuel"] == units,
            Self::Deadline(ms) => limit("deadline", "limit_ms", ms),
            Self::Memory(bytes) => {
                let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
                limit("memory", "limit", bytes)
                    && number(&outcome["wanted"]) > bytes
                    && number(&cost["peak_memory"]) <= bytes
            }
            Self::Limit(of, figure) => limit(of, "limit", figure),
            Self::Trap(words) => says("trap", words),
            Self::Failed(words) => says("failed", words),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::Fuel(units) => write!(f, "limit: fuel, {units}"),
            Self::Deadline(ms) => write!(f, "limit: deadline, {ms} ms"),
            Self::Memory(bytes) => write!(f, "limit: memory, {bytes} bytes"),
            Self::Limit(of, figure) => write!(f, "limit: {of}, {figure}"),
            Self::Trap(words) => write!(f, "trap: {words}"),
            Self::Failed(words) => write!(f, "failed: {words}"),
        }
    }
}

/// An outcome for people.
pub fn shown(outcome: &Value) -> String {
    text(outcome, "text").chars().take(160).collect()
}
