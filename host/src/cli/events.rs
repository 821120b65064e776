//! `kinglet events`

use std::sync::Arc;

use clap::Args;

use super::output::{print_json, print_line, table, time_span};
use super::{AppArgs, Verdict, ask, find_function, unexpected};
use crate::config::Manifest;
use crate::control::{Request, Response};
use crate::ports::{Listed, WaitState, visible};

/// List the events that are still to be handled: those that run, wait, or are delayed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet events\n  kinglet events thumbnail --limit 1000 --json"
)]
pub(super) struct Events {
    #[command(flatten)]
    app: AppArgs,
    /// Only this function's.
    function: Option<String>,
    /// At most so many of each function.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// One JSON object an event.
    #[arg(long)]
    json: bool,
}

impl Events {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let functions: Vec<String> = match &self.function {
            Some(name) => vec![find_function(&manifest, name)?.name.clone()],
            None => manifest.functions.iter().map(|f| f.name.clone()).collect(),
        };
        let mut rows = Vec::new();
        for function in functions {
            let (now, listed) = self.of(&manifest, function).await?;
            for event in listed {
                if self.json {
                    print_json(&event)?;
                } else {
                    rows.push(row(&event, now));
                }
            }
        }
        if self.json {
            return Ok(Verdict::Good);
        }
        if rows.is_empty() {
            print_line("no events wait")?;
        } else {
            let heading = [
                "FUNCTION",
                "SUBJECT",
                "STATE",
                "AGE",
                "ATTEMPTS",
                "ID",
                "LAST OUTCOME",
            ];
            print_line(&table(&heading, &rows))?;
        }
        Ok(Verdict::Good)
    }

    async fn of(
        &self,
        manifest: &Arc<Manifest>,
        function: String,
    ) -> anyhow::Result<(u64, Vec<Listed>)> {
        let limit = self.limit;
        match ask(manifest, Request::Events { function, limit }).await? {
            Response::Events(now, listed) => Ok((now, listed)),
            other => Err(unexpected(&other)),
        }
    }
}

fn row(event: &Listed, now: u64) -> Vec<String> {
    let state = match event.state {
        WaitState::Running => "running".to_owned(),
        WaitState::Pending => "pending".to_owned(),
        WaitState::Delayed => format!("in {}", time_span(event.due.saturating_sub(now))),
        WaitState::Waiting => {
            let key = event.ordering_key.as_deref().unwrap_or_default();
            format!("behind {:?}", visible(key))
        }
    };
    vec![
        event.function.clone(),
        visible(&event.subject),
        state,
        time_span(now.saturating_sub(event.accepted)),
        event.attempted.to_string(),
        visible(&event.id),
        event
            .last_outcome
            .as_deref()
            .map_or_else(String::new, visible),
    ]
}
