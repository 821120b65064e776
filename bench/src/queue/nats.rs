//! NATS JetStream: a file store that syncs each message, a work queue, and a durable pull consumer.
//!
//! What is settled leaves a work queue, as it leaves ours. The consumer asks for the acknowledgement of its
//! acknowledgement, which says that the server has taken it: with this store and these settings that makes a
//! sync of its own, as a settlement of ours does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, AckKind, Message};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::settled::Settled;
use super::side::{Lane, Publisher, Server, Side, body};
use crate::process::{Process, size_mib};

/// Messages under way to the server while filling.
const WINDOW: usize = 1_000;
/// How long a server may take to read its store at start.
const START: Duration = Duration::from_secs(120);
/// Acknowledgements under way at once.
const ACKS: usize = 256;

/// The server's program.
pub struct Nats {
    pub program: PathBuf,
}

/// When the server syncs what it wrote.
#[derive(Clone, Copy)]
enum Sync {
    /// With each message, as it is measured.
    Always,
    /// Now and then and at its end, to be filled in bearable time.
    Filling,
}

impl Nats {
    async fn serve(&self, dir: &Path, sync: Sync, trace: Option<&Path>) -> Result<Running> {
        let interval = match sync {
            Sync::Always => "always",
            Sync::Filling => "1m",
        };
        let store = dir.join("store");
        let config = dir.join("nats.conf");
        std::fs::write(
            &config,
            format!(
                "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: {store:?}, sync_interval: {interval}, \
                 max_file_store: 100GB }}\n"
            ),
        )?;
        let args = [
            "--config".into(),
            config.into(),
            "--ports_file_dir".into(),
            dir.into(),
        ];
        let log = ["--log".into(), dir.join("nats.log").into()];
        let mut process = Process::start(&self.program, &[&args[..], &log[..]].concat(), trace)?;
        // The server tells which port it took in a file, which it writes once it listens.
        let ports = dir.join(format!("nats-server_{}.ports", process.id()));
        let started = Instant::now();
        let url = loop {
            process.check()?;
            ensure!(started.elapsed() < START, "nats-server doesn't start");
            if let Ok(text) = std::fs::read_to_string(&ports)
                && let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text)
                && let Some(url) = ports.pointer("/nats/0").and_then(|url| url.as_str())
            {
                break url.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        let context = jetstream::new(async_nats::connect(&url).await?);
        let stream = context
            .get_or_create_stream(Config {
                name: "events".to_owned(),
                subjects: vec!["events.>".to_owned()],
                retention: RetentionPolicy::WorkQueue,
                storage: StorageType::File,
                ..Config::default()
            })
            .await?;
        Ok(Running {
            process,
            url,
            context,
            stream,
        })
    }
}

struct Running {
    process: Process,
    url: String,
    context: jetstream::Context,
    stream: Stream,
}

#[async_trait]
impl Side for Nats {
    async fn fill(&self, dir: &Path, lane: Lane, count: u64) -> Result<()> {
        let Running {
            process, context, ..
        } = self.serve(dir, Sync::Filling, None).await?;
        let mut acks = std::collections::VecDeque::with_capacity(WINDOW);
        for number in 0..count {
            if acks.len() >= WINDOW
                && let Some(oldest) = acks.pop_front()
            {
                let oldest: jetstream::context::PublishAckFuture = oldest;
                oldest.await?;
            }
            acks.push_back(context.publish(subject(lane), body(number).into()).await?);
        }
        for ack in acks {
            ack.await?;
        }
        process.stop().await
    }

    async fn start(&self, dir: &Path, trace: Option<&Path>) -> Result<Box<dyn Server>> {
        let Running {
            process,
            url,
            stream,
            ..
        } = self.serve(dir, Sync::Always, trace).await?;
        let config = pull::Config {
            durable_name: Some("measured".to_owned()),
            ack_policy: AckPolicy::Explicit,
            filter_subject: subject(Lane::Single).to_owned(),
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer("measured", config).await?;
        let settled = Arc::<Settled>::default();
        let consuming = tokio::spawn(consume(consumer, Arc::clone(&settled)));
        Ok(Box::new(NatsServer {
            process,
            url,
            settled,
            consuming,
            numbers: Arc::default(),
        }))
    }

    fn size_mib(&self, dir: &Path) -> Result<f64> {
        size_mib(&dir.join("store"))
    }
}

struct NatsServer {
    process: Process,
    url: String,
    settled: Arc<Settled>,
    consuming: JoinHandle<Result<()>>,
    numbers: Arc<AtomicU64>,
}

#[async_trait]
impl Server for NatsServer {
    async fn publisher(&self) -> Result<Box<dyn Publisher>> {
        let client = async_nats::connect(&self.url).await?;
        Ok(Box::new(NatsPublisher {
            context: jetstream::new(client),
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
        ensure!(
            !self.consuming.is_finished(),
            "the consumer ended: {:?}",
            self.consuming.await
        );
        self.consuming.abort();
        self.process.stop().await
    }
}

async fn consume(consumer: PullConsumer, settled: Arc<Settled>) -> Result<()> {
    let messages = consumer
        .stream()
        .max_messages_per_batch(500)
        .messages()
        .await?;
    let acked = messages.map(|message| settle(message.map_err(anyhow::Error::from), &settled));
    let mut acked = std::pin::pin!(acked.buffer_unordered(ACKS));
    while let Some(acked) = acked.next().await {
        acked?;
    }
    Ok(())
}

async fn settle(message: Result<Message>, settled: &Settled) -> Result<()> {
    let message = message?;
    let reply = message
        .reply
        .clone()
        .context("a message that can't be acknowledged")?;
    // As `double_ack`, which would subscribe anew for each message.
    let ack = AckKind::Ack.into();
    message.context.client().request(reply, ack).await?;
    let id = message
        .payload
        .get(..16)
        .context("a body without its number")?;
    settled.note(String::from_utf8_lossy(id).into_owned());
    Ok(())
}

struct NatsPublisher {
    context: jetstream::Context,
    numbers: Arc<AtomicU64>,
}

#[async_trait]
impl Publisher for NatsPublisher {
    async fn publish(&mut self, lane: Lane) -> Result<String> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let sent = self
            .context
            .publish(subject(lane), body(number).into())
            .await?;
        sent.await?;
        Ok(format!("{number:016x}"))
    }
}

fn subject(lane: Lane) -> &'static str {
    match lane {
        Lane::Waiting => "events.waiting",
        Lane::Single | Lane::Batch => "events.measured",
    }
}
