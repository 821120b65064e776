//! What comes from outside, and what was answered.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use kinglet_powercut::Plan;

use super::app::{App, INBOX, Kind};
use super::process::{Tools, drop_file};
use super::round::Arrival;

/// Publishers at once.
const PUBLISHERS: usize = 2;

/// Whether an event is the host's to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The host took it: its effects must be there once.
    Accepted,
    /// Nobody knows: its effects may be there, once.
    Unknown,
}

/// An event that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub kind: Kind,
    pub answer: Answer,
    /// It has an id, and is sent again until it is answered.
    pub has_id: bool,
    pub ordering_key: Option<String>,
    /// How many were sent before it.
    pub number: usize,
}

/// Every event that was sent, by name.
pub type Ledger = BTreeMap<String, Sent>;

/// Sends what a round brings. Publishers that find no host take the store themselves, under the shim as well.
pub fn send(
    tools: &Tools,
    app: &App,
    plan: &Plan,
    load: &[Arrival],
    ledger: &mut Ledger,
) -> anyhow::Result<()> {
    let sent = Mutex::new(std::mem::take(ledger));
    let share = load.len().div_ceil(PUBLISHERS).max(1);
    let results: Vec<anyhow::Result<()>> = std::thread::scope(|scope| {
        let publishers: Vec<_> = load
            .chunks(share)
            .map(|arrivals| {
                let sent = &sent;
                scope.spawn(move || {
                    arrivals.iter().try_for_each(|arrival| {
                        let answered = arrive(tools, app, plan, arrival)?;
                        let mut ledger = sent.lock().unwrap_or_else(PoisonError::into_inner);
                        enter(&mut ledger, arrival, answered);
                        Ok(())
                    })
                })
            })
            .collect();
        publishers
            .into_iter()
            .map(|publisher| {
                let joined = publisher.join();
                joined.unwrap_or_else(|_| Err(anyhow::anyhow!("a publisher panicked")))
            })
            .collect()
    });
    *ledger = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().collect()
}

/// Sends again what has an id and no answer. Whether all of it is answered now.
pub fn send_again(
    tools: &Tools,
    app: &App,
    plan: &Plan,
    ledger: &mut Ledger,
) -> anyhow::Result<bool> {
    let open: Vec<Arrival> = ledger
        .iter()
        .filter(|(_, sent)| sent.has_id && sent.answer == Answer::Unknown)
        .map(|(event, sent)| Arrival::WithId {
            kind: sent.kind,
            event: event.clone(),
        })
        .collect();
    send(tools, app, plan, &open, ledger)?;
    let answered = |sent: &Sent| !sent.has_id || sent.answer == Answer::Accepted;
    Ok(ledger.values().all(answered))
}

fn enter(ledger: &mut Ledger, arrival: &Arrival, answer: Answer) {
    let (kind, events) = match arrival {
        Arrival::Messages { kind, events } => (*kind, events.as_slice()),
        Arrival::Ordered { events, .. } => (Kind::Ordered, events.as_slice()),
        Arrival::WithId { kind, event } => (*kind, std::slice::from_ref(event)),
        Arrival::File { event } => (Kind::File, std::slice::from_ref(event)),
        Arrival::Redrive { .. } => return,
    };
    let ordering_key = match arrival {
        Arrival::Ordered { key, .. } => Some(key),
        _ => None,
    };
    for event in events {
        let sent = Sent {
            kind,
            answer,
            has_id: matches!(arrival, Arrival::WithId { .. }),
            ordering_key: ordering_key.cloned(),
            number: ledger.len(),
        };
        ledger.insert(event.clone(), sent);
    }
}

fn arrive(tools: &Tools, app: &App, plan: &Plan, arrival: &Arrival) -> anyhow::Result<Answer> {
    let (kind, input, more) = match arrival {
        Arrival::File { event } => {
            drop_file(app, &app.bucket(INBOX), event)?;
            return Ok(Answer::Accepted);
        }
        Arrival::Messages { kind, events } => (kind, events.join("\n"), vec!["--lines"]),
        Arrival::Ordered { key, events } => (
            &Kind::Ordered,
            events.join("\n"),
            vec!["--lines", "--ordering-key", key.as_str()],
        ),
        Arrival::WithId { kind, event } => (kind, event.clone(), vec!["--id", event.as_str()]),
        Arrival::Redrive { kind } => (kind, String::new(), Vec::new()),
    };
    let arguments: Vec<&str> = match arrival {
        Arrival::Redrive { kind } => vec!["dlq", "redrive", "--function", kind.topic()],
        _ => ["publish", kind.topic()].into_iter().chain(more).collect(),
    };
    let mut command = tools.command(app, plan, &arguments)?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that gave up early doesn't read: its end says so.
        let _ = stdin.write_all(input.as_bytes());
    }
    Ok(if child.wait()?.success() {
        Answer::Accepted
    } else {
        Answer::Unknown
    })
}
