//! Attacks by what the host is asked for.

use serde_json::Value;

use super::attack::{Attack, End, guest, made};
use super::raw;
use crate::harness::{App, settled, text};

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
    guest("long-parts", "", End::Done)
        .by("hostile-network")
        .stopped_by("request-parts"),
    made("long-names", long_names, End::Trap("unreachable"))
        .stopped_by("names")
        .also(names_are_cut),
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

/// A function that calls itself before it traps, under a long name.
pub fn long_names() -> Vec<u8> {
    recursion_of(15_000)
}

/// Makes a component with such a function, whose name has so many bytes.
pub fn recursion_of(bytes: usize) -> Vec<u8> {
    let name = "N".repeat(bytes);
    let module = format!(
        r#"
        (func ${name} (param i32)
          (if (i32.eqz (local.get 0)) (then unreachable))
          (call ${name} (i32.sub (local.get 0) (i32.const 1))))
        (func (export "handle") (param i32) (result i32)
          (call ${name} (i32.const 100))
          (i32.const 0))
        "#
    );
    raw::compose(&module, "")
}

/// The outcome names all frames, and takes no more than a page of text.
fn names_are_cut(_: &App, said: &[&Value]) -> Result<(), String> {
    let outcome = said.iter().find(|record| settled(record));
    let outcome = outcome.ok_or("no outcome")?;
    let frames = outcome["backtrace"].as_array().map_or(0, Vec::len);
    let name = outcome["backtrace"][0].as_str().unwrap_or_default();
    let cut = name.starts_with("NNN") && name.ends_with("... (15,000 bytes)");
    let bytes = outcome.to_string().len();
    match (frames, bytes) {
        (20, ..=16_384) if cut => Ok(()),
        _ => Err(format!("{frames} frames, {bytes} bytes")),
    }
}
