//! `kinglet up`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::logs::FOLLOW;
use super::output::{is_unwanted, micros, print_json, print_line, record_text};
use super::{
    AppArgs, CacheArgs, HELD, NO_FUNCTIONS, VariableArgs, Verdict, check_roots, open_as_host,
    restore_store,
};
use crate::app::{App, journal_dir};
use crate::clock::Clock;
use crate::config::{HostName, Manifest, Requests, Source, Verb};
use crate::control::{Response, Restore};
use crate::engine::{CacheUse, Engine};
use crate::stores::journal::JournalReader;
use crate::stores::queue::HostTurn;

/// Components that load sooner than this need no word.
const PATIENCE: Duration = Duration::from_millis(500);
/// The time that the last records may lie unread once all is finished.
const UNREAD: Duration = Duration::from_secs(5);

/// Run the application until ctrl-c: the first finishes what runs, the second exits at once.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet up\n  kinglet up --manifest examples/photos --json\n  kinglet up --from spin.toml --variable token=secret"
)]
pub(super) struct Up {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    variables: VariableArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Don't show logs and outcomes; `kinglet logs` has them.
    #[arg(short, long)]
    quiet: bool,
    /// Where to listen for requests, instead of at the manifest's `http.listen`; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Logs and outcomes as one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Up {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        use_all_files();
        let clock = Clock::system();
        let mut watch = clock.stopwatch();
        let manifest = self.app.load_with(&self.variables.variables()?)?;
        if manifest.functions.is_empty() {
            anyhow::bail!(NO_FUNCTIONS);
        }
        check_roots(&manifest)?;
        let (mut app, turn) = open_as_host(&manifest, &clock, None).await?;
        app.check_schedules().await?;
        let mut listening = app.listen()?;
        let mut engine = self.load(&app)?;
        let mut http = app.listen_http(self.listen).await?;
        if self.listen.is_some() && http.is_none() {
            say!(
                "note: no function answers requests and no events are posted, so that `--listen` does nothing"
            );
        }
        let (stopper, stop) = watch::channel(false);
        let signals = tokio::spawn(stop_on_signals(stopper)?);
        let journal = JournalReader::from_end(&journal_dir(&manifest))?;
        let (running, ended) = watch::channel(());
        let follower = (!self.quiet).then(|| tokio::spawn(follow(journal, self.json, ended)));
        loop {
            let address = http.as_ref().and_then(|http| http.address().ok());
            let introduction = introduce(&engine, &app, address).await?;
            let ready = || {
                say!("{}", introduction.trim_end());
                let started = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
                say!("ready in {}; stop with ctrl-c", micros(started));
            };
            let Some(restore) = app.up(engine, listening, http, stop.clone(), ready).await? else {
                break;
            };
            drop(app);
            watch = clock.stopwatch();
            app = restored(restore, &manifest, &clock, &turn).await?;
            listening = app.listen()?;
            http = app.listen_http(self.listen).await?;
            engine = self.load(&app)?;
        }
        drop(running);
        if let Some(follower) = follower
            // Whoever reads the output may have stopped reading, and not gone.
            && let Ok(followed) = tokio::time::timeout(UNREAD, follower).await
        {
            followed??;
        }
        signals.abort();
        say!("stopped; what waits is kept for the next start");
        Ok(Verdict::Good)
    }

    fn load(&self, app: &App) -> anyhow::Result<Engine> {
        let patience = tokio::spawn(async {
            tokio::time::sleep(PATIENCE).await;
            say!("compiling components, which are kept for the next start");
        });
        let engine = tokio::task::block_in_place(|| app.load(self.cache.cache()));
        patience.abort();
        Ok(engine?)
    }
}

/// Connections must not take from the stores what they open: as many files as the system allows, in place of the
/// thousand that are usual.
fn use_all_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "no more files than before");
    }
}

/// Restores what a running host was asked to, and opens what is there then: the backup, or the store as it
/// was where the backup is no good.
async fn restored(
    restore: Restore,
    manifest: &Arc<Manifest>,
    clock: &Clock,
    turn: &Arc<HostTurn>,
) -> anyhow::Result<App> {
    let Restore { from, answer } = restore;
    let outcome = restore_store(&from, manifest, HELD, Some(turn)).await;
    match &outcome {
        Ok(_) => say!("restored {}", from.display()),
        Err(error) => say!("not restored: {error:#}"),
    }
    let app = open_as_host(manifest, clock, Some(Arc::clone(turn))).await;
    let response = match (&app, outcome) {
        (Err(error), _) => {
            Response::Failed(format!("the host ends, since it can't go on: {error}"))
        }
        (Ok(_), Ok(kept)) => Response::Restored(kept),
        (Ok(_), Err(error)) => Response::Failed(format!("{error:#}")),
    };
    // Who asked may be gone; it is said above.
    let _ = answer.send(response);
    if app.is_err() {
        // The answer is sent beside this, and the process ends with the error.
        tokio::time::sleep(PATIENCE).await;
    }
    Ok(app?.0)
}

/// Where requests of a function go.
fn addresses(requests: Requests<'_>, scheme: &str, listening: SocketAddr) -> String {
    let methods: Vec<&str> = requests
        .methods
        .iter()
        .map(|Verb(method)| method.as_str())
        .collect();
    let mut hosts: Vec<String> = requests.hosts.iter().map(HostName::to_string).collect();
    if hosts.is_empty() {
        hosts.push(listening.to_string());
    }
    let places = hosts.iter().flat_map(|host| {
        let routes = requests.routes.iter();
        routes.map(move |route| format!("{scheme}://{host}{route}"))
    });
    let places: Vec<String> = places.collect();
    let methods = match methods.is_empty() {
        true => String::new(),
        false => methods.join("|") + " ",
    };
    format!("{methods}{}", places.join(", "))
}

/// What is about to run, for the person who starts it.
async fn introduce(engine: &Engine, app: &App, http: Option<SocketAddr>) -> anyhow::Result<String> {
    let paused: Vec<String> = app
        .events()
        .status()
        .await?
        .into_iter()
        .filter(|count| count.paused.is_some())
        .map(|count| count.function)
        .collect();
    let manifest = app.events().manifest();
    let mut text = match manifest.functions.len() {
        1 => format!("{}: 1 function\n", manifest.app.name),
        several => format!("{}: {several} functions\n", manifest.app.name),
    };
    for note in &manifest.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    let now = app.events().clock().now();
    let scheme = match manifest.http.tls {
        Some(_) => "https",
        None => "http",
    };
    for function in &manifest.functions {
        let woken_by = match function.on.source() {
            Source::Bucket(bucket) => {
                format!("objects in {}", manifest.bucket_path(bucket).display())
            }
            Source::Topic(topic) => format!("messages on {topic}"),
            Source::Schedule(schedule) => format!("schedule {}", schedule.as_str()),
            Source::Http(requests) => match http {
                Some(address) => addresses(requests, scheme, address),
                None => format!("requests to {requests}"),
            },
        };
        let compiled = match engine
            .functions()
            .find(|loaded| loaded.name == function.name)
        {
            Some(loaded) if loaded.cache == CacheUse::Hit => "from the cache",
            _ => "compiled",
        };
        let state = if paused.contains(&function.name) {
            ", paused: `kinglet resume` lets it go on"
        } else {
            ""
        };
        let reuse = match function.on.reuse {
            None | Some(1) => String::new(),
            Some(reuse) => format!(", an instance answers up to {reuse} requests"),
        };
        text.push_str(&format!(
            "  {} on {woken_by} ({compiled}{reuse}{state})\n",
            function.name
        ));
        let upcoming = function.on.upcoming(now);
        if !upcoming.is_empty() {
            text.push_str(&format!("    next at {}\n", upcoming.join(", ")));
        } else if let Source::Schedule(schedule) = function.on.source() {
            text.push_str(&format!("    note: {}\n", schedule.is_over()));
        }
        for sentence in manifest.advice(function) {
            text.push_str(&format!("    note: {sentence}\n"));
        }
    }
    for ingress in &manifest.ingresses {
        let place = match http {
            Some(address) => format!("{scheme}://{address}{}", ingress.path),
            None => ingress.path.to_string(),
        };
        text.push_str(&format!("  events at {place}: {}\n", ingress.describe()));
        for sentence in ingress.advice(manifest) {
            text.push_str(&format!("    note: {sentence}\n"));
        }
    }
    Ok(text)
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
                say!("stopping: finishing what runs; ctrl-c again to exit at once");
                let _ = stopper.send(true);
            } else {
                say!("exiting at once; what ran comes again at the next start");
                std::process::exit(130);
            }
        }
    })
}

/// Shows the journal as it is written, to the last record. A reader that is gone ends the showing alone; where
/// standard output can't be written for a while, as on a full disk, records of that time aren't shown.
async fn follow(
    mut journal: JournalReader,
    json: bool,
    ended: watch::Receiver<()>,
) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        // Asked before the look: what was written until then is seen by it.
        let stopping = ended.has_changed().is_err();
        loop {
            let record = match journal.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        say!("the logs can't be shown: {error}");
                    }
                    break;
                }
            };
            let printed = if json {
                print_json(&record)
            } else {
                print_line(&record_text(&record))
            };
            match printed {
                Ok(()) => failing = false,
                Err(error) if is_unwanted(&error) => return Ok(()),
                Err(error) if !failing => {
                    say!("{error}; until then `kinglet logs` has the records");
                    failing = true;
                }
                Err(_) => {}
            }
        }
        if stopping {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
