//! Attacks by what the host is asked for.

use serde_json::Value;

use super::attack::{Attack, End, guest};
use crate::harness::{App, text};

/// The log's limit, and what its records may have in all: what is escaped gets longer.
const LOGGED: &str = "limits.log = 20_000";
const LOG: usize = 2 * 20_000;

const HEADERS: End = End::Limit("headers", 64 << 10);

pub const ATTACKS: &[Attack] = &[
    guest(
        "ask-the-time",
        "limits.fuel = 50_000_000",
        End::Fuel(50_000_000),
    )
    .stopped_by("fuel"),
    guest("huge-line", LOGGED, End::Done)
        .stopped_by("log-bytes")
        .also(log_is_bounded),
    guest("log-flood", LOGGED, End::Done)
        .stopped_by("log-bytes")
        .also(log_is_bounded),
    guest("log-escapes", LOGGED, End::Done)
        .doing("log-flood")
        .stopped_by("log-characters")
        .also(log_is_plain),
    guest("print-flood", LOGGED, End::Done)
        .stopped_by("log-bytes")
        .also(log_is_bounded),
    guest("print-escapes", LOGGED, End::Done)
        .doing("print-flood")
        .stopped_by("log-characters")
        .also(log_is_plain),
    guest("panic-at-length", LOGGED, End::Trap("at length"))
        .stopped_by("log-bytes")
        .also(log_is_bounded),
    guest("random-at-once", "", End::Trap("exceeds limit 65536")).stopped_by("random"),
    guest(
        "random-by-pieces",
        "limits.host-calls = \"16MiB\"",
        End::Limit("host-calls", 16 << 20),
    )
    .stopped_by("host-calls"),
    guest("huge-header", "", HEADERS)
        .by("hostile-network")
        .stopped_by("headers"),
    guest("many-headers", "", HEADERS)
        .by("hostile-network")
        .stopped_by("headers"),
    guest("reach-the-machine", "", End::Done)
        .by("hostile-network")
        .stopped_by("files-and-sockets"),
    guest("send-a-request", "", End::Done)
        .by("hostile-network")
        .stopped_by("outgoing"),
    guest("open-ungranted", "", End::Done).stopped_by("grants"),
    guest(
        "answer-too-few",
        "config = { how = \"short\" }",
        End::Failed("0 results for 1 messages"),
    )
    .by("batch-whole")
    .stopped_by("batch-shape"),
    guest("exit", "", End::Trap("exit status 0")),
];

fn texts<'a>(said: &[&'a Value]) -> Vec<&'a str> {
    let logged = said
        .iter()
        .filter(|r| r["kind"] == "log" || r["kind"] == "output");
    logged.map(|record| text(record, "text")).collect()
}

fn log_is_bounded(_: &App, said: &[&Value]) -> Result<(), String> {
    let bytes: usize = texts(said).iter().map(|text| text.len()).sum();
    match bytes {
        0..=LOG => Ok(()),
        _ => Err(format!("{bytes} bytes of log")),
    }
}

/// No control character but for the ends of lines, which are indented where they are shown.
fn log_is_plain(_: &App, said: &[&Value]) -> Result<(), String> {
    let hostile = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
    match texts(said).into_iter().find(|text| text.contains(hostile)) {
        None => Ok(()),
        Some(text) => Err(format!("logged {text:.40?}")),
    }
}
