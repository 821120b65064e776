//! Asks a host for what only it knows: what waits, the keyvalue bucket, through a function, and its dead
//! letters.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use kinglet_powercut::Plan;
use serde_json::Value;

use super::app::{App, REPORT};
use super::process::{PATIENCE, Tools};

/// Dead letters that are asked for at once.
const PAGE: usize = 500;
const POLL: Duration = Duration::from_millis(20);

/// What a host that has nothing left to do tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the keyvalue bucket has: counters, and the keys of events' own.
    pub tallies: BTreeMap<String, String>,
    pub dead_letters: Vec<DeadLetter>,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub function: String,
    /// Its name: what the message says, or the object's key.
    pub event: String,
    pub reason: String,
}

impl Told {
    pub fn ask(tools: &Tools, app: &App, plan: &Plan) -> anyhow::Result<Self> {
        Ok(Self {
            tallies: tallies(tools, app, plan)?,
            dead_letters: dead_letters(tools, app, plan)?,
        })
    }
}

/// How many deliveries aren't settled. Where no host runs the command is killed before it takes over the
/// store, and this fails.
pub fn pending(tools: &Tools, app: &App, plan: &Plan) -> anyhow::Result<u64> {
    let plan = Plan {
        idle: true,
        ..plan.clone()
    };
    let counts = lines(tools, app, &plan, &["status", "--json"])?;
    let pending = counts
        .iter()
        .map(|count| count["pending"].as_u64().context("a count of nothing"));
    pending.sum()
}

/// The lines of JSON that a command prints.
fn lines(tools: &Tools, app: &App, plan: &Plan, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut command = tools.command(app, plan, arguments)?;
    let printed = command.stdout(Stdio::piped()).output()?;
    if !printed.status.success() {
        bail!(
            "{arguments:?} ended with {}: {}",
            printed.status,
            String::from_utf8_lossy(&printed.stderr)
        );
    }
    let printed = String::from_utf8(printed.stdout)?;
    let values = printed.lines().map(serde_json::from_str);
    Ok(values.collect::<Result<_, _>>()?)
}

fn tallies(tools: &Tools, app: &App, plan: &Plan) -> anyhow::Result<BTreeMap<String, String>> {
    let name = format!("{:016x}", fastrand::u64(..));
    let mut publish = tools
        .command(app, plan, &["publish", "report"])?
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = publish.stdin.take() {
        stdin.write_all(name.as_bytes())?;
    }
    if !publish.wait()?.success() {
        bail!("nobody takes the message that asks for a report");
    }
    let path = app.bucket(REPORT).join("tallies");
    let mut waited = Duration::ZERO;
    // The object appears as a whole, in the place of the one before.
    let report = loop {
        let report = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(report) = report.strip_prefix(&format!("{name}\n")) {
            break report.to_owned();
        }
        if waited >= PATIENCE {
            bail!("no report on the keyvalue bucket comes");
        }
        std::thread::sleep(POLL);
        waited += POLL;
    };
    let pairs = report.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect())
}

fn dead_letters(tools: &Tools, app: &App, plan: &Plan) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    let mut after = 0;
    loop {
        let (limit, last) = (PAGE.to_string(), u64::to_string(&after));
        let arguments = ["dlq", "list", "--json", "--limit", &limit, "--after", &last];
        let page = lines(tools, app, plan, &arguments)?;
        for letter in &page {
            after = letter["delivery"]["seq"]
                .as_u64()
                .context("a dead letter has no number")?;
            letters.push(read(letter)?);
        }
        if page.len() < PAGE {
            return Ok(letters);
        }
    }
}

fn read(letter: &Value) -> anyhow::Result<DeadLetter> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let payload = &letter["delivery"]["event"]["payload"];
    let event = match payload["message"]["body"].as_array() {
        Some(body) => {
            let byte = |value: &Value| u8::try_from(value.as_u64()?).ok();
            let bytes: Option<Vec<u8>> = body.iter().map(byte).collect();
            bytes.and_then(|bytes| String::from_utf8(bytes).ok())
        }
        None => text(&payload["object-created"]["object"]["key"]),
    };
    Ok(DeadLetter {
        function: text(&letter["delivery"]["function"]).context("a dead letter has no function")?,
        event: event.with_context(|| format!("a dead letter has no name: {payload}"))?,
        reason: text(&letter["reason"]).unwrap_or_default(),
    })
}
