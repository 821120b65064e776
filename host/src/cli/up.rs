//! `kinglet up`

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::logs::FOLLOW;
use super::output::{micros, print_json, print_line, record_text};
use super::{AppArgs, CacheArgs, Verdict};
use crate::app::{App, journal_dir};
use crate::clock::Clock;
use crate::config::Source;
use crate::engine::{CacheUse, Engine};
use crate::stores::journal::JournalReader;

/// Run the application until ctrl-c: the first finishes what runs, the second exits at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kinglet up\n  kinglet up --manifest examples/photos --json")]
pub(super) struct Up {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Don't show logs and outcomes; `kinglet logs` has them.
    #[arg(short, long)]
    quiet: bool,
    /// Logs and outcomes as one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Up {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let clock = Clock::system();
        let watch = clock.stopwatch();
        let manifest = self.app.load()?;
        if manifest.functions.is_empty() {
            anyhow::bail!("the manifest has no functions; add a `[[function]]`");
        }
        let app = App::open(Arc::clone(&manifest), clock).await?;
        let engine = tokio::task::block_in_place(|| app.load(self.cache.cache()))?;
        let (stopper, stop) = watch::channel(false);
        let signals = tokio::spawn(stop_on_signals(stopper)?);
        let journal = JournalReader::from_end(&journal_dir(&manifest))?;
        let (running, ended) = watch::channel(());
        let follower = (!self.quiet).then(|| tokio::spawn(follow(journal, self.json, ended)));
        let introduction = introduce(&engine, &app);
        app.up(engine, stop, || {
            eprint!("{introduction}");
            let started = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
            eprintln!("ready in {}; stop with ctrl-c", micros(started));
        })
        .await?;
        drop(running);
        if let Some(follower) = follower {
            follower.await??;
        }
        signals.abort();
        eprintln!("stopped; what waits is kept for the next start");
        Ok(Verdict::Good)
    }
}

/// What is about to run, for the person who starts it.
fn introduce(engine: &Engine, app: &App) -> String {
    let manifest = app.events().manifest();
    let mut text = format!(
        "{}: {} functions\n",
        manifest.app.name,
        manifest.functions.len()
    );
    for function in &manifest.functions {
        let woken_by = match function.on.source() {
            Source::Bucket(bucket) => {
                format!("objects in {}", manifest.bucket_path(bucket).display())
            }
            Source::Topic(topic) => format!("messages on {topic}"),
            Source::Schedule(schedule) => format!("schedule {}", schedule.as_str()),
        };
        let compiled = match engine
            .functions()
            .find(|loaded| loaded.name == function.name)
        {
            Some(loaded) if loaded.cache == CacheUse::Hit => "from the cache",
            _ => "compiled",
        };
        text.push_str(&format!("  {} on {woken_by} ({compiled})\n", function.name));
    }
    text
}

/// The first signal says stop, the second ends the process.
fn stop_on_signals(
    stopper: watch::Sender<bool>,
) -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                eprintln!("stopping: finishing what runs; ctrl-c again to exit at once");
                let _ = stopper.send(true);
            } else {
                eprintln!("exiting at once; what ran comes again at the next start");
                std::process::exit(130);
            }
        }
    })
}

/// Shows the journal as it is written, to the last record. A closed pipe only ends the showing.
async fn follow(
    mut journal: JournalReader,
    json: bool,
    ended: watch::Receiver<()>,
) -> anyhow::Result<()> {
    loop {
        // Asked before the look: what was written until then is seen by it.
        let stopping = ended.has_changed().is_err();
        while let Some(record) = journal.next_record()? {
            let printed = if json {
                print_json(&record)
            } else {
                print_line(&record_text(&record))
            };
            if printed.is_err() {
                return Ok(());
            }
        }
        if stopping {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
