//! Kinglet: `kinglet up`, its control socket, and its journal, from which settlements are known.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use inotify::{Inotify, WatchMask};
use kinglet::app::{App, journal_dir, state_dir};
use kinglet::clock::Clock;
use kinglet::config::Manifest;
use kinglet::control::{Client, Request, Response, answer};
use kinglet::events::NewMessage;
use kinglet::ports::{Draft, RecordKind};
use kinglet::stores::journal::JournalReader;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::settled::Settled;
use super::side::{Lane, Publisher, Server, Side, body};
use crate::process::{Process, size_mib};

/// Messages that are published in one request while filling.
const FILL: u64 = 20_000;
/// The backlog isn't due while the bench runs: thirty days.
const LATER_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Nobody waits for this function's outcomes.
const ATTACK: &str = "attack";

/// Which functions an application has.
#[derive(Clone, Copy)]
pub enum Functions {
    /// One for each lane, and one that holds the backlog.
    Lanes,
    /// One that takes messages one by one, and so many others, each with a component of its own.
    One { others: usize },
    /// The same one, and the guest `hostile` with these lines of a manifest, whose outcomes nobody waits for.
    Attacked { settings: &'static str },
    /// One that takes messages one by one and computes for this many rounds.
    Computing { rounds: u64 },
}

fn single(concurrency: usize) -> String {
    format!(
        r#"
[[function]]
name = "single"
component = "noop_message.wasm"
on = {{ message = "single" }}
limits = {{ concurrency = {concurrency} }}
"#
    )
}

/// The function `waiting` never comes to run: its messages are due too late.
fn batch_and_waiting(batch_size: usize) -> String {
    format!(
        r#"
[[function]]
name = "batch"
component = "noop_batch.wasm"
on = {{ message = "batch", batch-size = {batch_size} }}
limits = {{ concurrency = 2 }}
[[function]]
name = "waiting"
component = "noop_message.wasm"
on = {{ message = "waiting" }}
limits = {{ concurrency = 1 }}
"#
    )
}

/// The function that attacks, which may have effects to attack with.
fn attack(settings: &str) -> String {
    format!(
        r#"
[[function]]
name = "{ATTACK}"
component = "hostile.wasm"
on = {{ message = "attack" }}
retry = {{ attempts = 1 }}
grants = {{ write = ["out"], publish = ["out"] }}
{settings}
[buckets.out]
"#
    )
}

/// The same component with a section of its own, so that it is compiled and kept as another.
fn renamed(wasm: &[u8], name: &str) -> Vec<u8> {
    // A custom section: its number, the length of what follows, the length of its name, and its name.
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX).min(100);
    let name = name.as_bytes().iter().take(usize::from(length));
    wasm.iter()
        .copied()
        .chain([0, length + 1, length])
        .chain(name.copied())
        .collect()
}

/// The host, and the guests that it runs.
pub struct Ours {
    pub kinglet: PathBuf,
    pub guests: PathBuf,
    /// Compiled components, kept between starts.
    pub cache: PathBuf,
    pub concurrency: usize,
    pub batch_size: usize,
    pub functions: Functions,
}

impl Ours {
    /// Makes an application in `dir`, where there is none yet.
    fn manifest(&self, dir: &Path) -> Result<Manifest> {
        let path = dir.join("kinglet.toml");
        if !path.exists() {
            for guest in ["noop_message.wasm", "noop_batch.wasm"] {
                let built = self.guests.join(guest);
                std::fs::copy(&built, dir.join(guest))
                    .with_context(|| format!("can't copy {}", built.display()))?;
            }
            let mut text = format!("[app]\nname = \"bench\"\n{}", single(self.concurrency));
            match self.functions {
                Functions::Computing { rounds } => {
                    let built = self.guests.join("compute.wasm");
                    std::fs::copy(&built, dir.join("compute.wasm"))
                        .with_context(|| format!("can't copy {}", built.display()))?;
                    text = text.replace("noop_message.wasm", "compute.wasm");
                    text += &format!("config = {{ rounds = \"{rounds}\" }}\n");
                }
                Functions::Lanes => text += &batch_and_waiting(self.batch_size),
                Functions::One { others } => {
                    let wasm = std::fs::read(dir.join("noop_message.wasm"))?;
                    for number in 0..others {
                        let name = format!("other-{number}");
                        std::fs::write(dir.join(format!("{name}.wasm")), renamed(&wasm, &name))?;
                        text += &format!(
                            "[[function]]\nname = \"{name}\"\ncomponent = \"{name}.wasm\"\n\
                             on = {{ message = \"{name}\" }}\nlimits = {{ concurrency = 1 }}\n"
                        );
                    }
                }
                Functions::Attacked { settings } => {
                    let hostile = self.guests.join("hostile.wasm");
                    std::fs::copy(&hostile, dir.join("hostile.wasm"))
                        .with_context(|| format!("can't copy {}", hostile.display()))?;
                    text += &attack(settings);
                }
            }
            std::fs::write(&path, text)?;
        }
        Ok(Manifest::load(&path)?)
    }
}

#[async_trait]
impl Side for Ours {
    /// As the command line publishes where no host runs.
    async fn fill(&self, dir: &Path, lane: Lane, count: u64) -> Result<()> {
        let app = App::open(Arc::new(self.manifest(dir)?), Clock::system()).await?;
        let mut left = count;
        while left > 0 {
            let some = left.min(FILL);
            let messages = (left - some..left).map(|number| message(lane, number));
            let messages = messages.collect();
            published(answer(app.events(), Request::Publish { messages }).await)?;
            left -= some;
        }
        Ok(())
    }

    async fn start(&self, dir: &Path, trace: Option<&Path>) -> Result<Box<dyn Server>> {
        let manifest = self.manifest(dir)?;
        let logs = journal_dir(&manifest);
        std::fs::create_dir_all(&logs)?;
        let journal = JournalReader::from_end(&logs)?;
        let args = [
            "up".into(),
            "--quiet".into(),
            "--manifest".into(),
            dir.into(),
        ];
        let args = [
            &args[..],
            &["--cache-dir".into(), self.cache.clone().into()],
        ]
        .concat();
        let mut process = Process::start(&self.kinglet, &args, trace)?;
        let mut lines = BufReader::new(process.stderr()?).lines();
        let mut said = String::new();
        loop {
            let Some(line) = lines.next_line().await? else {
                bail!("the host didn't start: {said}");
            };
            if line.starts_with("ready") {
                break;
            }
            said += &line;
            said.push('\n');
        }
        // What it says later must not fill the pipe up.
        let stderr = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if !line.starts_with("stop") {
                    eprintln!("  kinglet: {line}");
                }
            }
        });
        let settled = Arc::<Settled>::default();
        let changes = Inotify::init()?;
        changes
            .watches()
            .add(&logs, WatchMask::MODIFY | WatchMask::CREATE)?;
        let (ended, told) = oneshot::channel();
        let follower = tokio::spawn(follow(journal, changes, Arc::clone(&settled), told));
        Ok(Box::new(OurServer {
            process,
            stderr,
            state: state_dir(&manifest),
            settled,
            follower,
            ended,
            numbers: Arc::default(),
        }))
    }

    fn size_mib(&self, dir: &Path) -> Result<f64> {
        let state = state_dir(&self.manifest(dir)?);
        // The log of outcomes beside it is bounded, and no part of the store.
        let mut size = 0.0;
        for file in ["events.sqlite", "events.sqlite-wal"] {
            let path = state.join(file);
            if path.exists() {
                size += size_mib(&path)?;
            }
        }
        Ok(size)
    }
}

struct OurServer {
    process: Process,
    stderr: JoinHandle<()>,
    state: PathBuf,
    settled: Arc<Settled>,
    follower: JoinHandle<Result<()>>,
    ended: oneshot::Sender<()>,
    numbers: Arc<AtomicU64>,
}

#[async_trait]
impl Server for OurServer {
    async fn publisher(&self) -> Result<Box<dyn Publisher>> {
        let client = Client::connect(&self.state).await?;
        Ok(Box::new(OurPublisher {
            client: client.context("the host doesn't listen")?,
            numbers: Arc::clone(&self.numbers),
        }))
    }

    fn settled(&self) -> &Arc<Settled> {
        &self.settled
    }

    fn process(&self) -> &Process {
        &self.process
    }

    async fn stop(self: Box<Self>) -> Result<()> {
        self.process.stop().await?;
        // A follower that ended by itself says why below.
        let _ = self.ended.send(());
        self.follower.await??;
        Ok(self.stderr.await?)
    }
}

/// The host writes an outcome after its settlement is on disk. Reads to the end of what was written before
/// `ended`.
async fn follow(
    mut journal: JournalReader,
    changes: Inotify,
    settled: Arc<Settled>,
    mut ended: oneshot::Receiver<()>,
) -> Result<()> {
    #[expect(
        deprecated,
        reason = "what took its place is unsafe, and `Inotify` owns its descriptor"
    )]
    let mut changes = AsyncFd::new(changes)?;
    let mut buffer = [0; 4_096];
    let mut last = false;
    loop {
        while let Some(record) = journal.next_record()? {
            if let RecordKind::Outcome {
                outcome,
                settled: end,
                ..
            } = record.kind
            {
                if record.function.as_deref() == Some(ATTACK) {
                    continue;
                }
                ensure!(end && outcome.is_success(), "a message ended as {outcome}");
                settled.note(record.event.context("an outcome without its event")?);
            }
        }
        if last {
            return Ok(());
        }
        tokio::select! {
            ready = changes.readable_mut() => {
                let read = ready?.try_io(|changes| {
                    changes.get_mut().read_events(&mut buffer).map(|_| ())
                });
                // Nothing to read is for the next turn.
                read.unwrap_or(Ok(()))?;
            }
            _ = &mut ended => last = true,
        }
    }
}

struct OurPublisher {
    client: Client,
    numbers: Arc<AtomicU64>,
}

#[async_trait]
impl Publisher for OurPublisher {
    async fn publish(&mut self, lane: Lane) -> Result<String> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let messages = vec![message(lane, number)];
        let response = self.client.ask(&Request::Publish { messages }).await?;
        published(response)?.pop().context("no id for a message")
    }
}

fn message(lane: Lane, number: u64) -> NewMessage {
    let (topic, delay_ms) = match lane {
        Lane::Waiting => ("waiting", Some(LATER_MS)),
        Lane::Single => ("single", None),
        Lane::Batch => ("batch", None),
    };
    NewMessage {
        id: None,
        source: None,
        draft: Draft {
            topic: topic.to_owned(),
            body: body(number),
            content_type: None,
            ordering_key: None,
            attributes: Vec::new(),
            delay_ms,
        },
    }
}

fn published(response: Response) -> Result<Vec<String>> {
    match response {
        Response::Published(ids) => Ok(ids.into_iter().map(|(id, _)| id).collect()),
        other => bail!("not published: {other:?}"),
    }
}
