//! `kinglet dlq`

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::{cost_text, print_json, print_line, table, time_span};
use super::{AppArgs, Verdict, ask, find_function, unexpected};
use crate::clock::{Clock, Timestamp, millis, rfc3339};
use crate::config::{Manifest, duration};
use crate::control::{Request, Response};
use crate::ports::{DeadFilter, DeadLetter, Outcome, Payload, visible};

/// Look at dead letters, redrive them, or drop them: the events that no attempt follows.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet dlq list\n  kinglet dlq show 42\n  kinglet dlq redrive --function thumbnail"
)]
pub(super) struct Dlq {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Redrive(Redrive),
    Drop(Drop),
}

/// List dead letters in the order of their acceptance or redrive, each with its number.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet dlq list\n  kinglet dlq list --function thumbnail --limit 100"
)]
struct List {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    chosen: Chosen,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only with numbers past this: the last of the list before.
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// One JSON object a letter.
    #[arg(long)]
    json: bool,
}

/// Show the whole story of a dead letter: the event, and each attempt.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kinglet dlq show 42")]
struct Show {
    #[command(flatten)]
    app: AppArgs,
    /// Its number in the list.
    number: u64,
    /// As a JSON object.
    #[arg(long)]
    json: bool,
}

/// Give dead letters to their functions again, with as many attempts as at first.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet dlq redrive 42 43\n  kinglet dlq redrive --function thumbnail --rate 10\n  kinglet dlq redrive --all"
)]
struct Redrive {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    which: Which,
    /// So many a second; without, at once.
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f64>,
    /// The result as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Remove dead letters for good.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet dlq drop 42\n  kinglet dlq drop --function thumbnail --older-than 30d"
)]
struct Drop {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    which: Which,
    /// The result as a JSON object.
    #[arg(long)]
    json: bool,
}

/// By what dead letters are chosen.
#[derive(Debug, Args)]
struct Chosen {
    /// Only this function's.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only those that were given up longer ago than this, as `12h`.
    #[arg(long, value_name = "AGE", value_parser = duration)]
    older_than: Option<Duration>,
}

/// Which dead letters: something must be said.
#[derive(Debug, Args)]
struct Which {
    /// The numbers that `kinglet dlq list` shows.
    #[arg(value_name = "NUMBER")]
    numbers: Vec<u64>,
    #[command(flatten)]
    chosen: Chosen,
    /// All of them.
    #[arg(long, conflicts_with_all = ["numbers", "function", "older_than"])]
    all: bool,
}

impl Dlq {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        match self.command {
            Command::List(command) => command.execute().await,
            Command::Show(command) => command.execute().await,
            Command::Redrive(command) => command.execute().await,
            Command::Drop(command) => command.execute().await,
        }
    }
}

impl Chosen {
    fn filter(&self, manifest: &Manifest, seqs: Vec<u64>) -> anyhow::Result<DeadFilter> {
        // A function that the manifest has no more may still have dead letters: it is only asked for.
        if let Some(name) = &self.function
            && !crate::config::is_name(name)
        {
            find_function(manifest, name)?;
        }
        let now = Clock::system().now();
        Ok(DeadFilter {
            seqs,
            function: self.function.clone(),
            before: self.older_than.map(|age| now.saturating_sub(millis(age))),
            below: None,
        })
    }
}

impl List {
    async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let request = Request::DeadLetters {
            filter: self.chosen.filter(&manifest, Vec::new())?,
            after: self.after,
            limit: self.limit,
        };
        let letters = letters(ask(&manifest, request).await?)?;
        if self.json {
            letters.iter().try_for_each(print_json)?;
            return Ok(Verdict::Good);
        }
        if letters.is_empty() {
            print_line("no dead letters")?;
            return Ok(Verdict::Good);
        }
        let now = Clock::system().now();
        let rows: Vec<_> = letters.iter().map(|letter| row(letter, now)).collect();
        let heading = [
            "NUMBER",
            "FUNCTION",
            "SUBJECT",
            "DEAD FOR",
            "ATTEMPTS",
            "REASON",
            "LAST OUTCOME",
        ];
        print_line(&table(&heading, &rows))?;
        if letters.len() == self.limit
            && let Some(last) = letters.last()
        {
            say!("there may be more: --after {}", last.delivery.seq);
        }
        Ok(Verdict::Good)
    }
}

impl Show {
    async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let number = self.number;
        let request = Request::DeadLetters {
            filter: DeadFilter {
                seqs: vec![number],
                ..DeadFilter::default()
            },
            after: None,
            limit: 1,
        };
        let letters = letters(ask(&manifest, request).await?)?;
        let Some(letter) = letters.first() else {
            anyhow::bail!("there is no dead letter {number}; see `kinglet dlq list`");
        };
        if self.json {
            print_json(letter)?;
        } else {
            print_line(&story(letter))?;
        }
        Ok(Verdict::Good)
    }
}

impl Redrive {
    async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let filter = self.which.filter(&manifest)?;
        self.which.name_missing(&manifest, &filter).await?;
        let request = Request::Redrive {
            filter,
            rate: self.rate,
        };
        let redriven = match ask(&manifest, request).await? {
            Response::Redriven(redriven) => redriven,
            other => return Err(unexpected(&other)),
        };
        let total: u64 = redriven.values().sum();
        if self.json {
            print_json(&redriven)?;
        } else {
            print_line(&format!("{total} redriven"))?;
        }
        Ok(if total == 0 {
            Verdict::Bad
        } else {
            Verdict::Good
        })
    }
}

impl Drop {
    async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let filter = self.which.filter(&manifest)?;
        self.which.name_missing(&manifest, &filter).await?;
        let dropped = match ask(&manifest, Request::DropDead { filter }).await? {
            Response::Dropped(dropped) => dropped,
            other => return Err(unexpected(&other)),
        };
        if self.json {
            print_json(&serde_json::json!({ "dropped": dropped }))?;
        } else {
            print_line(&format!("{dropped} dropped"))?;
        }
        Ok(if dropped == 0 {
            Verdict::Bad
        } else {
            Verdict::Good
        })
    }
}

impl Which {
    fn filter(&self, manifest: &Manifest) -> anyhow::Result<DeadFilter> {
        let Chosen {
            function,
            older_than,
        } = &self.chosen;
        if self.numbers.is_empty() && function.is_none() && older_than.is_none() && !self.all {
            anyhow::bail!(
                "which dead letters? Give their numbers, --function, --older-than, or --all"
            );
        }
        self.chosen.filter(manifest, self.numbers.clone())
    }

    /// Says which numbers are no dead letters, and that a function isn't known.
    async fn name_missing(
        &self,
        manifest: &Arc<Manifest>,
        filter: &DeadFilter,
    ) -> anyhow::Result<()> {
        if let Some(name) = &self.chosen.function
            && let Err(unknown) = find_function(manifest, name)
        {
            say!("note: {unknown}");
        }
        if self.numbers.is_empty() {
            return Ok(());
        }
        let request = Request::DeadLetters {
            filter: filter.clone(),
            after: None,
            limit: self.numbers.len(),
        };
        let found = letters(ask(manifest, request).await?)?;
        let missing: Vec<String> = self
            .numbers
            .iter()
            .filter(|number| !found.iter().any(|letter| letter.delivery.seq == **number))
            .map(u64::to_string)
            .collect();
        if !missing.is_empty() {
            say!(
                "note: no such dead letter: {}; see `kinglet dlq list`",
                missing.join(", ")
            );
        }
        Ok(())
    }
}

fn letters(response: Response) -> anyhow::Result<Vec<DeadLetter>> {
    match response {
        Response::DeadLetters(letters) => Ok(letters),
        other => Err(unexpected(&other)),
    }
}

fn row(letter: &DeadLetter, now: Timestamp) -> Vec<String> {
    let delivery = &letter.delivery;
    let last = delivery.attempts.last();
    vec![
        delivery.seq.to_string(),
        delivery.function.clone(),
        visible(delivery.event.payload.subject()),
        time_span(now.saturating_sub(letter.time)),
        delivery.attempted.to_string(),
        visible(&letter.reason),
        last.map_or_else(String::new, |attempt| visible(&attempt.outcome.to_string())),
    ]
}

/// Everything that is known of a dead letter, for people.
fn story(letter: &DeadLetter) -> String {
    let delivery = &letter.delivery;
    let event = &delivery.event;
    let mut lines = vec![
        format!(
            "dead letter {} of function {}",
            delivery.seq, delivery.function
        ),
        format!(
            "event     {} from {}",
            visible(&event.id),
            visible(&event.source)
        ),
        format!("accepted  {}, hops {}", rfc3339(event.accepted), event.hops),
    ];
    match &event.payload {
        Payload::ObjectCreated { bucket, object } => lines.push(format!(
            "object    {bucket}/{}, {} bytes, etag {}",
            visible(&object.key),
            object.size,
            object.etag
        )),
        Payload::Message(message) => lines.push(format!(
            "message   on {}, {} bytes: {}",
            message.topic,
            message.body.len(),
            visible(&String::from_utf8_lossy(
                message.body.get(..200).unwrap_or(&message.body)
            ))
        )),
    }
    lines.push(format!(
        "given up  {}: {}",
        rfc3339(letter.time),
        visible(&letter.reason)
    ));
    let first = u64::from(delivery.attempted).saturating_sub(delivery.attempts.len() as u64);
    for (number, attempt) in (first + 1..).zip(&delivery.attempts) {
        lines.push(format!(
            "attempt {number}, {}: {}",
            rfc3339(attempt.time),
            visible(&attempt.outcome.to_string())
        ));
        if attempt.cost.run_us > 0 {
            lines.push(format!("    {}", cost_text(&attempt.cost)));
        }
        if let Outcome::Trap(trap) = &attempt.outcome {
            lines.extend(trap.told().map(|frame| format!("    in {frame}")));
        }
        lines.extend(
            attempt
                .log_tail
                .iter()
                .map(|line| format!("    | {}", visible(line))),
        );
    }
    lines.join("\n")
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err(format!(
            "{text:?} isn't a rate; use a number of events a second, as 10 or 0.5"
        )),
    }
}
