//! `kinglet status`

use clap::Args;
use serde::Serialize;

use super::output::{bytes, print_json, print_line, table, time_span};
use super::{AppArgs, Holder, Verdict, reach, unexpected};
use crate::clock::Clock;
use crate::config::Manifest;
use crate::control::{Request, Response, answer};
use crate::ports::{COUNTED, Count, MemoryUse};

/// Show how much waits for each function, since when, and how much is dead-lettered.
#[derive(Debug, Args)]
#[command(after_help = "\
Columns:
  PENDING  events that are not settled, those of the next three columns included
  RUNNING  attempts that are under way
  DELAYED  events that are not due yet: published with a delay, or failed and to be retried
  WAITING  events behind another of their ordering key
  OLDEST   for how long the first that could run has been due
  STORED   what pending events take in the store
  DEAD     dead letters: see `kinglet dlq`
Below them, what instances, what they stage in memory and loaded components have taken of
`host.memory`, and the next three times of each schedule. On standard error, with exit status 1,
what is wrong with the store or a bucket: one was removed or replaced.

Examples:
  kinglet status
  kinglet status --json
  kinglet status --memory --json")]
pub(super) struct Status {
    #[command(flatten)]
    app: AppArgs,
    /// Show what is taken of the host's memory instead.
    #[arg(long)]
    memory: bool,
    /// One JSON object a function.
    #[arg(long)]
    json: bool,
}

/// A function's figures, and what its manifest says is to come.
#[derive(Serialize)]
struct FunctionStatus<'a> {
    #[serde(flatten)]
    count: &'a Count,
    /// The next times of its schedule.
    next: Vec<String>,
}

impl Status {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let (status, problems) = match reach(&manifest, &Clock::system()).await? {
            Holder::Host(mut host) => {
                let status = host.ask(&Request::Status).await?;
                // A host of an older version doesn't know the question.
                (status, host.ask(&Request::Problems).await.ok())
            }
            Holder::Here(app) => {
                let status = answer(app.events(), Request::Status).await;
                let problems = answer(app.events(), Request::Problems).await;
                (status, Some(problems))
            }
        };
        let verdict = match status {
            Response::Status(counts, memory) => self.show(&manifest, &counts, memory)?,
            Response::Failed(reason) => anyhow::bail!(reason),
            other => return Err(unexpected(&other)),
        };
        let problems = match problems {
            Some(Response::Problems(problems)) => problems,
            _ => Vec::new(),
        };
        for problem in &problems {
            say!("problem: {problem}");
        }
        Ok(if problems.is_empty() {
            verdict
        } else {
            Verdict::Bad
        })
    }

    fn show(
        &self,
        manifest: &Manifest,
        counts: &[Count],
        memory: MemoryUse,
    ) -> anyhow::Result<Verdict> {
        let now = Clock::system().now();
        let upcoming = |function: &str| {
            let function = manifest.function(function);
            function.map_or_else(Vec::new, |function| function.on.upcoming(now))
        };
        if self.memory && self.json {
            print_json(&memory)?;
            return Ok(Verdict::Good);
        }
        let shown = format!(
            "memory: {} of {} taken",
            bytes(memory.taken),
            bytes(memory.total)
        );
        if self.memory {
            print_line(&shown)?;
            return Ok(Verdict::Good);
        }
        if self.json {
            for count in counts {
                print_json(&FunctionStatus {
                    count,
                    next: upcoming(&count.function),
                })?;
            }
            return Ok(Verdict::Good);
        }
        let heading = [
            "FUNCTION", "PENDING", "RUNNING", "DELAYED", "WAITING", "OLDEST", "STORED", "DEAD",
            "STATE",
        ];
        let rows: Vec<_> = counts.iter().map(row).collect();
        print_line(&table(&heading, &rows))?;
        print_line(&shown)?;
        for count in counts {
            let next = upcoming(&count.function);
            if !next.is_empty() {
                print_line(&format!("next of {}: {}", count.function, next.join(", ")))?;
            }
        }
        for count in counts {
            if manifest.function(&count.function).is_none() && count.pending > 0 {
                say!(
                    "note: {:?} isn't in the manifest any more; its events wait until it is",
                    count.function
                );
            }
        }
        Ok(Verdict::Good)
    }
}

fn row(count: &Count) -> Vec<String> {
    let counted = |count: u64| {
        if count >= COUNTED {
            format!("{COUNTED}+")
        } else {
            count.to_string()
        }
    };
    let state = match count.paused {
        Some(_) => "paused",
        None if count.held => "held: too many dead letters",
        None => "",
    };
    vec![
        count.function.clone(),
        count.pending.to_string(),
        count.running.to_string(),
        counted(count.delayed),
        counted(count.waiting),
        count.oldest_due_ms.map_or_else(String::new, time_span),
        bytes(count.bytes),
        count.dead.to_string(),
        state.to_owned(),
    ]
}
