//! `wasi:logging`, standard output and standard error: bounded, escaped, and on to the journal.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::View;
use crate::bindings::logging::{Host, Level as WitLevel};
use crate::clock::Clock;
use crate::guard::{self, Guard};
use crate::ports::{
    Delivery, Journal, Level, Record, RecordKind, Stream, shorten_in_place, visible,
};

/// How many lines of an attempt go into its dead letter.
const TAIL_LINES: usize = 20;
/// What a record takes beside its text, in bytes.
const KEEPING: usize = 64;
/// The bytes and lines of a guest's last output that go into the outcome of one that ended itself.
const CAUSE_BYTES: usize = 1_000;
const CAUSE_LINES: usize = 8;
/// Things that are remembered to be logged once.
const MAX_THINGS: usize = 256;
/// A longer line is broken, so that a guest that never ends its lines doesn't fill memory.
const MAX_LINE_BYTES: usize = 8 << 10;

/// Whose log it is.
pub struct LogScope {
    /// The function.
    pub function: String,
    /// The event; absent for a batch of several.
    pub source: Option<String>,
    /// Its id.
    pub event: Option<String>,
    /// The object's key or the topic.
    pub subject: Option<String>,
    /// The attempt.
    pub attempt: Option<u32>,
}

impl LogScope {
    /// The scope of a batch: that of its event where it is one.
    pub fn of(function: &str, batch: &[Delivery]) -> Self {
        let one = match batch {
            [one] => Some(one),
            _ => None,
        };
        Self {
            function: function.to_owned(),
            source: one.map(|d| d.event.source.clone()),
            event: one.map(|d| d.event.id.clone()),
            subject: one.map(|d| d.event.payload.subject().to_owned()),
            attempt: one.map(Delivery::attempt),
        }
    }
}

/// Where one instance logs to. Clones share it.
#[derive(Clone)]
pub struct GuestLog {
    shared: Arc<Shared>,
}

struct Shared {
    scope: LogScope,
    /// None where nothing is kept.
    journal: Option<Arc<dyn Journal>>,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    limit: u64,
    /// What is left of it.
    room: u64,
    full: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// The last lines, with the stream of those that were printed.
    tail: VecDeque<(Option<Stream>, String)>,
    /// Things whose line was logged, of those that have one line.
    things: BTreeSet<String>,
}

impl GuestLog {
    /// A log of at most `limit` bytes.
    pub fn new(scope: LogScope, journal: Arc<dyn Journal>, clock: Clock, limit: u64) -> Self {
        Self::of(scope, Some(journal), clock, limit)
    }

    /// A log that keeps nothing.
    pub fn none() -> Self {
        Self::of(LogScope::of("", &[]), None, Clock::default(), 0)
    }

    fn of(scope: LogScope, journal: Option<Arc<dyn Journal>>, clock: Clock, limit: u64) -> Self {
        let state = State {
            limit,
            room: limit,
            full: false,
            stdout: Vec::new(),
            stderr: Vec::new(),
            tail: VecDeque::new(),
            things: BTreeSet::new(),
        };
        Self {
            shared: Arc::new(Shared {
                scope,
                journal,
                clock,
                state: Mutex::new(state),
            }),
        }
    }

    /// Takes what the guest printed; whole lines go on at once.
    pub fn print(&self, stream: Stream, bytes: &[u8]) {
        let mut lines = Vec::new();
        {
            let mut state = self.state();
            let taken = state.take(bytes.len());
            let bytes = bytes.get(..taken).unwrap_or(bytes);
            let pending = state.pending(stream);
            for byte in bytes {
                if *byte == b'\n' || pending.len() >= MAX_LINE_BYTES {
                    lines.push(std::mem::take(pending));
                }
                if *byte != b'\n' {
                    pending.push(*byte);
                }
            }
        }
        for line in lines {
            self.line(stream, &line);
        }
        self.say_when_full();
    }

    /// Logs a line of the host about what the guest does, the first time in this attempt that
    /// `thing` comes up. It takes of the log's room, as what the guest logs does.
    pub fn once(&self, level: Level, thing: String, text: impl FnOnce() -> String) {
        {
            let mut state = self.state();
            if state.full || state.things.contains(&thing) {
                return;
            }
            // What is forgotten is logged a second time, within the same room.
            if state.things.len() >= MAX_THINGS {
                state.things.clear();
            }
            state.things.insert(thing);
        }
        let text = text();
        let bytes = text.len() + KEEPING;
        if self.state().take(bytes) == bytes {
            let text = visible(&text);
            self.keep(None, text.clone());
            self.write(RecordKind::Host { level, text });
        }
        self.say_when_full();
    }

    /// Ends the log: unfinished lines go on, and the last lines come back.
    pub fn finish(&self) -> Vec<String> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(self.state().pending(stream));
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
        let state = self.state();
        state.tail.iter().map(|(_, line)| line.clone()).collect()
    }

    /// What it has kept, in bytes.
    pub fn taken(&self) -> u64 {
        let state = self.state();
        state.limit.saturating_sub(state.room)
    }

    /// Returns the message of the last panic that the guest printed, as Rust's own hook or Go's runtime words
    /// it, with the lines of standard error before it: a runtime in Rust panics once it has printed its
    /// guest's error.
    pub fn panic_message(&self) -> Option<String> {
        let state = self.state();
        let begins = |line: &str| {
            let go = ["panic: ", "fatal error: "];
            line.contains("panicked at") || go.iter().any(|words| line.starts_with(words))
        };
        let from = state.tail.iter().rposition(|(_, line)| begins(line))?;
        let lines: Vec<&str> = state
            .tail
            .iter()
            .skip(from)
            .map(|(_, line)| line.as_str())
            .take_while(|line| !line.starts_with("note: run with"))
            .filter(|line| !line.is_empty())
            .collect();
        let mut message = lines.join(" ");
        if message.len() > CAUSE_BYTES {
            message.truncate(message.floor_char_boundary(CAUSE_BYTES));
            message.push_str("...");
        }
        Some(match last_errors(state.tail.iter().take(from)) {
            Some(errors) => format!("{message}; standard error before: {errors}"),
            None => message,
        })
    }

    /// Returns the last lines of standard error, where there are any: most language runtimes print there why
    /// they end their guest.
    pub fn last_errors(&self) -> Option<String> {
        last_errors(self.state().tail.iter())
    }

    fn log(&self, level: Level, context: &str, message: &str) {
        let taken = self.state().take(message.len() + context.len() + KEEPING);
        if taken < message.len() + context.len() + KEEPING {
            self.say_when_full();
            return;
        }
        let (context, text) = (visible(context), visible(message));
        self.keep(None, text.clone());
        self.write(RecordKind::Log {
            level,
            context,
            text,
        });
    }

    fn line(&self, stream: Stream, line: &[u8]) {
        let text = visible(&String::from_utf8_lossy(line));
        self.keep(Some(stream), text.clone());
        self.write(RecordKind::Output { stream, text });
    }

    /// Keeps a line for the dead letter of the event.
    fn keep(&self, stream: Option<Stream>, mut line: String) {
        if guard::holds(Guard::LogBytes) {
            shorten_in_place(&mut line, MAX_LINE_BYTES);
        }
        let mut state = self.state();
        if state.tail.len() == TAIL_LINES {
            state.tail.pop_front();
        }
        state.tail.push_back((stream, line));
    }

    fn say_when_full(&self) {
        {
            let mut state = self.state();
            if state.room > 0 || state.full {
                return;
            }
            state.full = true;
        }
        self.write(RecordKind::Host {
            level: Level::Warn,
            text: "the rest of this attempt's log is dropped: it reached `limits.log`".to_owned(),
        });
    }

    fn write(&self, kind: RecordKind) {
        let Shared {
            scope,
            journal,
            clock,
            ..
        } = &*self.shared;
        let Some(journal) = journal else {
            return;
        };
        journal.write(Record {
            time: clock.now(),
            function: Some(scope.function.clone()),
            source: scope.source.clone(),
            event: scope.event.clone(),
            subject: scope.subject.clone(),
            attempt: scope.attempt,
            kind,
        });
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the last lines of standard error among these, cut.
fn last_errors<'a>(
    lines: impl DoubleEndedIterator<Item = &'a (Option<Stream>, String)>,
) -> Option<String> {
    let errors = lines
        .rev()
        .filter(|(stream, line)| matches!(stream, Some(Stream::Stderr)) && !line.trim().is_empty());
    let last = errors.map(|(_, line)| line.trim()).take(CAUSE_LINES);
    let mut lines: Vec<&str> = last.collect();
    lines.reverse();
    let text = lines.join(" | ");
    let cut = text.ceil_char_boundary(text.len().saturating_sub(CAUSE_BYTES));
    match text.get(cut..) {
        None | Some("") => None,
        Some(kept) if cut > 0 => Some(format!("...{kept}")),
        Some(_) => Some(text),
    }
}

impl State {
    /// How many of so many bytes still fit. Once one doesn't, none does.
    fn take(&mut self, bytes: usize) -> usize {
        let bytes = bytes as u64;
        if !guard::holds(Guard::LogBytes) {
            return usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if bytes > self.room {
            let taken = std::mem::take(&mut self.room);
            return usize::try_from(taken).unwrap_or(0);
        }
        self.room -= bytes;
        usize::try_from(bytes).unwrap_or(0)
    }

    fn pending(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

impl Host for View<'_> {
    async fn log(
        &mut self,
        level: WitLevel,
        context: String,
        message: String,
    ) -> wasmtime::Result<()> {
        let level = match level {
            WitLevel::Trace => Level::Trace,
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error => Level::Error,
            WitLevel::Critical => Level::Critical,
        };
        self.carry(context.len() + message.len()).await?;
        self.context.log.log(level, &context, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<RecordKind>>);

    impl Journal for Kept {
        fn write(&self, record: Record) {
            self.0.lock().unwrap().push(record.kind);
        }
    }

    fn log(limit: u64) -> (GuestLog, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        let scope = LogScope::of("f", &[]);
        (
            GuestLog::new(scope, kept.clone(), Clock::manual(1), limit),
            kept,
        )
    }

    fn texts(kept: &Kept) -> Vec<String> {
        let kinds = kept.0.lock().unwrap();
        kinds
            .iter()
            .map(|kind| match kind {
                RecordKind::Log { text, .. }
                | RecordKind::Output { text, .. }
                | RecordKind::Host { text, .. } => text.clone(),
                RecordKind::Outcome { text, .. } => text.clone(),
                RecordKind::Request { client, .. } => client.clone(),
            })
            .collect()
    }

    #[test]
    fn lines_are_put_together_and_escaped() {
        let (log, kept) = log(1_000);
        log.print(Stream::Stdout, b"one\ntw");
        log.print(Stream::Stderr, b"err\x1b[2J\n");
        log.print(Stream::Stdout, b"o\nrest");
        assert_eq!(log.finish(), ["one", "err\\u{1b}[2J", "two", "rest"]);
        assert_eq!(texts(&kept).len(), 4);
    }

    #[test]
    fn a_flood_is_cut_and_said_once() {
        let (log, kept) = log(10);
        for _ in 0..100 {
            log.print(Stream::Stdout, b"12345678\n");
        }
        log.finish();
        let texts = texts(&kept);
        assert_eq!(texts.first().map(String::as_str), Some("12345678"));
        assert_eq!(
            texts
                .iter()
                .filter(|text| text.contains("limits.log"))
                .count(),
            1
        );
        assert!(texts.len() <= 3, "{texts:?}");
    }

    #[test]
    fn a_line_about_a_thing_comes_once_and_within_the_limit() {
        let (log, kept) = log(1_000);
        for _ in 0..1_000_000 {
            log.once(Level::Warn, "a".to_owned(), || "denied: a".to_owned());
        }
        assert_eq!(texts(&kept), ["denied: a"]);
        for nth in 0..100_000 {
            log.once(Level::Warn, nth.to_string(), || format!("denied: {nth}"));
        }
        let texts = texts(&kept);
        assert!(texts.len() < 20, "{texts:?}");
        assert!(texts.last().unwrap().contains("`limits.log`"), "{texts:?}");
        assert!(log.state().things.len() <= MAX_THINGS);
        assert_eq!(log.finish().first().map(String::as_str), Some("denied: a"));
    }

    #[test]
    fn a_panic_is_found_in_what_was_printed() {
        let (log, _) = log(1_000);
        log.print(
            Stream::Stderr,
            b"\nthread 'main' panicked at src/lib.rs:3:5:\nno cat\nnote: run with `RUST_BACKTRACE=1`\n",
        );
        let message = log.panic_message().unwrap();
        assert_eq!(message, "thread 'main' panicked at src/lib.rs:3:5: no cat");
    }
    #[test]
    fn a_panic_of_go_is_found_and_cut() {
        let (log, _) = log(100_000);
        log.print(Stream::Stderr, b"panic: no cat\n\ngoroutine 1 [running]:\n");
        for _ in 0..15 {
            log.print(Stream::Stderr, &[[b'f'; 100].as_slice(), b"\n"].concat());
        }
        let message = log.panic_message().unwrap();
        assert!(
            message.starts_with("panic: no cat goroutine 1 [running]: f"),
            "{message}"
        );
        assert!(message.ends_with("f..."), "{message}");
        assert_eq!(message.len(), CAUSE_BYTES + 3);
    }

    #[test]
    fn what_is_printed_before_a_panic_is_its_cause() {
        let (log, _) = log(1_000);
        log.print(
            Stream::Stderr,
            b"ValueError: no cat\n\nthread '<unnamed>' panicked at lib.rs:1:2:\nPython threw\n",
        );
        assert_eq!(
            log.panic_message().unwrap(),
            "thread '<unnamed>' panicked at lib.rs:1:2: Python threw; standard error before: \
             ValueError: no cat"
        );
    }

    #[test]
    fn the_last_lines_of_standard_error_are_kept_and_cut() {
        let (log, _) = log(100_000);
        assert_eq!(log.last_errors(), None);
        log.print(Stream::Stdout, b"fine\n");
        log.print(Stream::Stderr, b"\n  \n");
        assert_eq!(log.last_errors(), None);
        log.print(Stream::Stderr, b"Stack:\n  at handle\n");
        log.print(Stream::Stdout, b"still fine\n");
        log.print(Stream::Stderr, b"KeyError: 'cat\x1b'\n");
        assert_eq!(
            log.last_errors().unwrap(),
            "Stack: | at handle | KeyError: 'cat\\u{1b}'"
        );
        for number in 0..10 {
            log.print(Stream::Stderr, format!("{number}\n").as_bytes());
        }
        let eight = "2 | 3 | 4 | 5 | 6 | 7 | 8 | 9";
        assert_eq!(log.last_errors().unwrap(), eight);
        log.print(Stream::Stderr, "é".repeat(2_000).as_bytes());
        log.print(Stream::Stderr, b"s");
        log.finish();
        let cut = log.last_errors().unwrap();
        assert!(cut.starts_with("...é") && cut.ends_with("és"), "{cut}");
        assert!(cut.len() <= CAUSE_BYTES + 3, "{}", cut.len());
    }
}
