//! Records and figures as people read them.

use std::fmt;
use std::io::{self, Write};

use thiserror::Error;

use crate::clock::rfc3339;
use crate::ports::{Cost, Level, Outcome, Record, RecordKind, Stream, visible};

/// A record as one or more lines.
pub(super) fn record_text(record: &Record) -> String {
    let time = rfc3339(record.time);
    let mut scope = record
        .function
        .clone()
        .unwrap_or_else(|| "kinglet".to_owned());
    if let Some(subject) = &record.subject {
        scope = format!("{scope} {}", visible(subject));
    }
    if let Some(attempt) = record.attempt.filter(|attempt| *attempt > 1) {
        scope = format!("{scope} (attempt {attempt})");
    }
    let text = match &record.kind {
        RecordKind::Log {
            level,
            context,
            text,
        } if context.is_empty() => {
            format!("{}: {text}", level_word(*level))
        }
        RecordKind::Log {
            level,
            context,
            text,
        } => {
            format!("{} {context}: {text}", level_word(*level))
        }
        RecordKind::Output {
            stream: Stream::Stdout,
            text,
        } => format!("stdout: {text}"),
        RecordKind::Output {
            stream: Stream::Stderr,
            text,
        } => format!("stderr: {text}"),
        RecordKind::Host { level, text } => format!("{}: {text}", level_word(*level)),
        RecordKind::Outcome { .. } => outcome_text(&record.kind),
        RecordKind::Request {
            status,
            bytes,
            whole,
            run_us,
            client,
            ..
        } => {
            let cut = if *whole { "" } else { ", cut off" };
            format!(
                "{status}, {bytes} bytes to {client} in {}{cut}",
                micros(*run_us)
            )
        }
    };
    // Lines that follow are indented, so that a record is seen as one.
    format!("{time} {scope}: {}", text.replace('\n', "\n    "))
}

fn outcome_text(kind: &RecordKind) -> String {
    let RecordKind::Outcome {
        outcome,
        text,
        dead,
        retry_in_ms,
        cost,
        outputs,
        published,
        left_out,
        ..
    } = kind
    else {
        return String::new();
    };
    let mut line = text.clone();
    if let Outcome::Trap(trap) = outcome {
        for frame in trap.told() {
            line = format!("{line}\nin {frame}");
        }
    }
    if *outcome != Outcome::Done || cost.run_us > 0 {
        line = format!(
            "{line}{}{}",
            if line.contains('\n') { "\n" } else { ", " },
            cost_text(cost)
        );
    }
    if let Some(delay) = retry_in_ms {
        line = format!("{line}; again in {}", millis(*delay));
    }
    if *dead {
        line = format!("{line}; dead-lettered");
    }
    if !outputs.is_empty() {
        line = format!("{line} -> {}", visible(&outputs.join(", ")));
    }
    if !published.is_empty() {
        line = format!("{line}; published to {}", visible(&tallied(published)));
    }
    if *left_out > 0 {
        line = format!("{line} and {left_out} more");
    }
    line
}

/// Each name once, with how often it comes: `orders, made (3)`.
fn tallied(names: &[String]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(counted, _)| counted == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let texts: Vec<String> = counts
        .into_iter()
        .map(|(name, count)| match count {
            1 => name.to_owned(),
            _ => format!("{name} ({count})"),
        })
        .collect();
    texts.join(", ")
}

pub(super) fn cost_text(cost: &Cost) -> String {
    format!(
        "start {}, run {}, fuel {}, memory {}",
        micros(cost.start_us),
        micros(cost.run_us),
        count(cost.fuel),
        bytes(cost.peak_memory)
    )
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
        Level::Critical => "critical",
    }
}

/// Microseconds with a fitting unit.
pub(super) fn micros(value: u64) -> String {
    match value {
        0..1_000 => format!("{value} us"),
        1_000..1_000_000 => format!("{:.1} ms", value as f64 / 1e3),
        _ => format!("{:.2} s", value as f64 / 1e6),
    }
}

fn millis(value: u64) -> String {
    micros(value.saturating_mul(1_000))
}

/// A span of milliseconds, as people say it.
pub(super) fn time_span(value: u64) -> String {
    let seconds = value / 1_000;
    match seconds {
        0 => format!("{value} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A large number with a fitting unit.
pub(super) fn count(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..10_000_000 => format!("{:.0}k", value as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0}M", value as f64 / 1e6),
        _ => format!("{:.1}G", value as f64 / 1e9),
    }
}

/// Bytes with a fitting unit.
pub(super) fn bytes(value: u64) -> String {
    match value {
        0..1_024 => format!("{value} B"),
        1_024..1_048_576 => format!("{:.1} KiB", value as f64 / 1024.0),
        _ => format!("{:.1} MiB", value as f64 / 1_048_576.0),
    }
}

/// Standard output that can't be written.
#[derive(Debug, Error)]
#[error("can't write to standard output: {0}; free some space, or write to another file")]
pub(super) struct OutputError(io::Error);

/// Prints a line of results.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    write_output(format!("{line}\n").as_bytes())
}

/// Writes results. A reader that is gone comes back as an error too, which ends the command quietly.
pub(super) fn write_output(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    // In one piece: nothing of a line that failed stays to be written with the next.
    let written = out.write_all(bytes).and_then(|()| out.flush());
    Ok(written.map_err(OutputError)?)
}

/// Returns whether an error says that nobody reads standard output any more.
pub(super) fn is_unwanted(error: &anyhow::Error) -> bool {
    let output = error.downcast_ref::<OutputError>();
    output.is_some_and(|OutputError(error)| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a line to standard error, where that can be written; see `say!`.
pub(super) fn print_aside(line: fmt::Arguments<'_>) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Prints a value as a line of JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string(value)?)
}

/// Rows under a heading, their columns aligned.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heading.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}
