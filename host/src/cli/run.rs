//! `kinglet run`

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::logs::FOLLOW;
use super::output::{print_json, print_line};
use super::{
    AppArgs, CacheArgs, Holder, Verdict, check_roots, find_function, listed, reach, unexpected,
};
use crate::app::{App, journal_dir};
use crate::clock::Clock;
use crate::config::{Manifest, Source};
use crate::control::{Request, Response, answer};
use crate::ports::RecordKind;
use crate::stores::journal::JournalReader;

/// Wake a function for every object that is already there: a new function, old photos.
///
/// The objects go through the same queue as any event: retried, limited, and kept if this is
/// interrupted. Where no host runs the application, it is run for this function until all are settled.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet run thumbnail photos\n  kinglet run thumbnail photos/2026/"
)]
pub(super) struct Run {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// The function's name.
    function: String,
    /// A bucket, or the keys of it that start with a prefix.
    #[arg(value_name = "BUCKET[/PREFIX]")]
    objects: String,
    /// The result as a JSON object.
    #[arg(long)]
    json: bool,
}

/// How the events of a run ended.
#[derive(Debug, Default, serde::Serialize)]
struct Tally {
    total: u64,
    done: u64,
    superseded: u64,
    dead: u64,
}

impl Run {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let (bucket, prefix) = self.objects.split_once('/').unwrap_or((&self.objects, ""));
        check(&manifest, &self.function, bucket)?;
        check_roots(&manifest)?;
        let clock = Clock::system();
        let run = format!("run/{}", clock.new_id());
        let request = Request::Run {
            function: self.function.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            run: run.clone(),
        };
        let tally = match reach(&manifest, &clock).await? {
            Holder::Host(mut host) => {
                let journal = JournalReader::from_end(&journal_dir(&manifest))?;
                let total = accepted(host.ask(&request).await?)?;
                tokio::select! {
                    tally = await_outcomes(journal, &run, total) => tally?,
                    () = host.ended() => anyhow::bail!(
                        "the host stopped; what is left is kept, and `kinglet up` goes on with it"
                    ),
                }
            }
            Holder::Here(app) => self.run_here(&manifest, &app, request, &run).await?,
        };
        if self.json {
            print_json(&tally)?;
        } else {
            let Tally {
                total,
                done,
                superseded,
                dead,
            } = &tally;
            let mut line = format!("{total} objects: {done} done, {dead} dead-lettered");
            if *superseded > 0 {
                line = format!("{line}, {superseded} gone or replaced meanwhile");
            }
            print_line(&line)?;
        }
        if tally.dead > 0 {
            say!(
                "see why with `kinglet logs --function {} --failed`",
                self.function
            );
            return Ok(Verdict::Bad);
        }
        Ok(Verdict::Good)
    }

    /// No host runs: this process is one, for this function alone.
    async fn run_here(
        &self,
        manifest: &Arc<Manifest>,
        app: &App,
        request: Request,
        run: &str,
    ) -> anyhow::Result<Tally> {
        let engine = tokio::task::block_in_place(|| app.load(self.cache.cache()))?;
        let journal = JournalReader::from_end(&journal_dir(manifest))?;
        let total = accepted(answer(app.events(), request).await)?;
        let (stopper, stop) = watch::channel(false);
        let function = self.function.clone();
        let events = Arc::clone(app.events());
        let delivery = tokio::spawn(async move {
            events
                .deliver(Arc::new(engine), stop, Some(&function))
                .await;
        });
        let tally = tokio::select! {
            tally = await_outcomes(journal, run, total) => tally,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!(
                "interrupted; what is left is kept, and `kinglet up` goes on with it"
            )),
        };
        let _ = stopper.send(true);
        tokio::select! {
            ended = delivery => ended?,
            _ = tokio::signal::ctrl_c() => std::process::exit(130),
        }
        tally
    }
}

fn check(manifest: &Manifest, function: &str, bucket: &str) -> anyhow::Result<()> {
    let found = find_function(manifest, function)?;
    match found.on.source() {
        Source::Bucket(watched) if watched != bucket && manifest.buckets.contains_key(bucket) => {
            anyhow::bail!(
                "{function:?} is woken by objects in {watched:?}, not in {bucket:?}; use `kinglet run \
                 {function} {watched}`"
            );
        }
        Source::Bucket(_) => {}
        Source::Topic(topic) => anyhow::bail!(
            "{function:?} is woken by messages on {topic:?}, not by objects; use `kinglet publish {topic}`"
        ),
        Source::Http(requests) => anyhow::bail!(
            "{function:?} answers requests to {requests}, and isn't woken by objects; start `kinglet up`, and send \
             it one with `curl`"
        ),
        Source::Schedule(_) => anyhow::bail!(
            "{function:?} is woken by the clock, not by objects; use `kinglet invoke {function}`"
        ),
    }
    if !manifest.buckets.contains_key(bucket) {
        anyhow::bail!(
            "there is no bucket {bucket:?}; the manifest has {}",
            listed(manifest.buckets.keys().map(String::as_str))
        );
    }
    Ok(())
}

fn accepted(response: Response) -> anyhow::Result<u64> {
    match response {
        Response::Running(total) => Ok(total),
        Response::Failed(reason) => anyhow::bail!(reason),
        other => Err(unexpected(&other)),
    }
}

async fn await_outcomes(
    mut journal: JournalReader,
    run: &str,
    total: u64,
) -> anyhow::Result<Tally> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}")?;
    let progress = ProgressBar::new(total).with_style(style);
    let mut tally = Tally {
        total,
        ..Tally::default()
    };
    while tally.done + tally.superseded + tally.dead < total {
        while let Some(record) = journal.next_record()? {
            let RecordKind::Outcome {
                outcome,
                settled: true,
                dead,
                ..
            } = &record.kind
            else {
                continue;
            };
            if record.source.as_deref() != Some(run) {
                continue;
            }
            if *dead {
                tally.dead += 1;
            } else if outcome.name() == "done" {
                tally.done += 1;
            } else {
                tally.superseded += 1;
            }
            progress.inc(1);
            progress.set_message(record.subject.unwrap_or_default());
        }
        tokio::time::sleep(FOLLOW.min(Duration::from_millis(20))).await;
    }
    progress.finish_and_clear();
    Ok(tally)
}
