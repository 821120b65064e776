//! `kinglet logs`

use std::time::Duration;

use clap::Args;

use super::output::{print_json, print_line, record_text};
use super::{AppArgs, Verdict, find_function};
use crate::app::journal_dir;
use crate::clock::{Clock, millis};
use crate::ports::{Record, RecordKind};
use crate::stores::journal::JournalReader;

/// How often a followed journal is looked at.
pub(super) const FOLLOW: Duration = Duration::from_millis(50);

/// Show what functions logged and how their events ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet logs\n  kinglet logs -f --function thumbnail\n  kinglet logs --since 10m --failed"
)]
pub(super) struct Logs {
    #[command(flatten)]
    app: AppArgs,
    /// Go on as records are written, until ctrl-c.
    #[arg(short, long)]
    follow: bool,
    /// Only this function's.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only this event's.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only what is younger than this, as `10m` or `2h`.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only outcomes that aren't a success.
    #[arg(long)]
    failed: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Logs {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        if let Some(name) = &self.function {
            find_function(&manifest, name)?;
        }
        let oldest = self
            .since
            .map(|since| Clock::system().now().saturating_sub(millis(since)));
        let dir = journal_dir(&manifest);
        if !dir.exists() && !self.follow {
            say!("no logs yet; run `kinglet up`");
        }
        let mut journal = JournalReader::from_start(&dir);
        loop {
            while let Some(record) = journal.next_record()? {
                if self.wants(&record, oldest) {
                    if self.json {
                        print_json(&record)?;
                    } else {
                        print_line(&record_text(&record))?;
                    }
                }
            }
            if !self.follow {
                return Ok(Verdict::Good);
            }
            tokio::time::sleep(FOLLOW).await;
        }
    }

    fn wants(&self, record: &Record, oldest: Option<u64>) -> bool {
        let failed =
            || matches!(&record.kind, RecordKind::Outcome { outcome, .. } if !outcome.is_success());
        self.function
            .as_ref()
            .is_none_or(|name| record.function.as_ref() == Some(name))
            && self
                .event
                .as_ref()
                .is_none_or(|id| record.event.as_ref() == Some(id))
            && oldest.is_none_or(|oldest| record.time >= oldest)
            && (!self.failed || failed())
    }
}
