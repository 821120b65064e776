//! `kinglet invoke`

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::output::{bytes, cost_text, print_json, print_line, record_text};
use super::publish::parse_attribute;
use super::{AppArgs, CacheArgs, Verdict, check_roots, find_function};
use crate::app::{Rooms, load_function, new_engine, open_buckets};
use crate::capabilities::Buckets;
use crate::clock::{Clock, rfc3339};
use crate::config::{Manifest, Source};
use crate::files;
use crate::ports::{
    Bucket, Change, Cost, Delivery, Event, Handled, Handler, Journal, KeyValue, Message,
    ObjectInfo, Outcome, Payload, Record, SCHEDULE_TOPIC, Transaction,
};
use crate::stores::keyvalue::EmptyKeyValue;
use crate::stores::objects::OverlayBucket;

/// At once JSON, text and a number, so that most functions make something of it.
const SAMPLE_MESSAGE: &[u8] = b"42";
/// A stand-in for a photo: 64 x 64 pixels of a colour gradient.
const SAMPLE_IMAGE: &[u8] = include_bytes!("sample.png");

/// Run a function on one event, here and now, and show what it does. Nothing it does is kept.
///
/// The event doesn't go through the queue, isn't retried, and its effects are shown and discarded. Keyvalue
/// buckets are empty. Without a flag that makes an event, a built-in sample is used: a small PNG image, the
/// message `42`, or for a schedule the present time.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet invoke thumbnail --file cat.jpg --save out\n  kinglet invoke thumbnail --object photos/cat.jpg\n  kinglet invoke order --body '{\"id\": 7}'\n  kinglet invoke order --event event.json\n\nAn event file is {\"object\": \"BUCKET/KEY\"} or {\"message\": {\"body\": TEXT, \"content-type\": TEXT,\n\"ordering-key\": TEXT, \"attributes\": {NAME: TEXT}}}, all of a message's members optional."
)]
pub(super) struct Invoke {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// The function's name.
    function: String,
    /// An object that is in a bucket of the application.
    #[arg(long, value_name = "BUCKET/KEY", group = "event_from")]
    object: Option<String>,
    /// A file: as the object, or as the message's body.
    #[arg(long, value_name = "FILE", group = "event_from")]
    file: Option<PathBuf>,
    /// The key that the file has as an object; by default its name.
    #[arg(long, value_name = "KEY", requires = "file")]
    key: Option<String>,
    /// A message's body, as text.
    #[arg(long, value_name = "TEXT", group = "event_from")]
    body: Option<String>,
    /// A file that has the event as JSON.
    #[arg(long, value_name = "FILE", group = "event_from")]
    event: Option<PathBuf>,
    /// A message's attribute, as `name=value`; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_attribute, conflicts_with_all = ["event", "object"])]
    attribute: Vec<(String, String)>,
    /// The attempt that the function is told.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// Save the objects that it writes below this folder, by bucket and key.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// The result as a JSON object.
    #[arg(long)]
    json: bool,
}

/// What a function did.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    outcome: Outcome,
    text: String,
    cost: Cost,
    effects: Vec<Effect>,
}

#[derive(Serialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
enum Effect {
    Write {
        bucket: String,
        key: String,
        size: u64,
        content_type: Option<String>,
    },
    Remove {
        bucket: String,
        key: String,
    },
    Publish {
        topic: String,
        size: usize,
        text: Option<String>,
    },
    Set {
        bucket: String,
        key: String,
        size: usize,
        text: Option<String>,
    },
    Delete {
        bucket: String,
        key: String,
    },
}

/// An event as a file has it. Public so that it can be fuzzed.
#[doc(hidden)]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum EventFile {
    Object(String),
    Message(MessageFile),
}

#[doc(hidden)]
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MessageFile {
    body: String,
    content_type: Option<String>,
    ordering_key: Option<String>,
    attributes: std::collections::BTreeMap<String, String>,
}

/// Guest logs go to standard error as they come.
struct Shown;

impl Journal for Shown {
    fn write(&self, record: Record) {
        say!("{}", record_text(&record));
    }
}

impl Invoke {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let function = find_function(&manifest, &self.function)?;
        check_roots(&manifest)?;
        let clock = Clock::system();
        let buckets =
            open_buckets(&manifest, &format!("invoke-{}", clock.new_id()), &clock)?.buckets;
        let (payload, buckets) = self
            .event(&manifest, function.on.source(), buckets, &clock)
            .await?;
        let keyvalue: Arc<dyn KeyValue> = Arc::new(EmptyKeyValue);
        let mut engine = new_engine(
            &manifest,
            self.cache.cache(),
            Arc::new(Shown),
            clock.clone(),
            Rooms::of(&manifest),
            None,
        )?;
        tokio::task::block_in_place(|| {
            load_function(&mut engine, &manifest, function, &buckets, &keyvalue, None)
        })?;
        let engine = Arc::new(engine);
        let delivery = Delivery {
            seq: 0,
            function: function.name.clone(),
            event: Event {
                id: clock.new_id(),
                source: "invoke".to_owned(),
                accepted: clock.now(),
                hops: 0,
                payload,
            },
            due: clock.now(),
            lane: None,
            redriven: None,
            attempted: self.attempt - 1,
            failed: self.attempt - 1,
            cut_off: 0,
            attempts: Vec::new(),
        };
        let batch = Arc::new(vec![delivery]);
        let Handled { outcomes, cost, .. } = engine.handle(&function.name, &batch).await;
        let Some((outcome, transaction)) = outcomes.into_iter().next() else {
            bail!("the engine gave no outcome");
        };
        if let Some(folder) = &self.save {
            save(folder, &buckets, &transaction).await?;
        }
        let good = outcome.is_success();
        let text = outcome.to_string();
        self.show(&Report {
            outcome,
            text,
            cost,
            effects: effects(transaction),
        })?;
        Ok(if good { Verdict::Good } else { Verdict::Bad })
    }

    /// The event that the flags make, and the buckets in which its object is.
    async fn event(
        &self,
        manifest: &Manifest,
        source: Source<'_>,
        buckets: Buckets,
        clock: &Clock,
    ) -> anyhow::Result<(Payload, Buckets)> {
        let file = match &self.event {
            Some(path) => {
                let text = files::read_input(path, files::INPUT)?;
                Some(serde_json::from_slice::<EventFile>(&text).with_context(|| {
                    format!(
                        "{} isn't an event; see `kinglet invoke --help`",
                        path.display()
                    )
                })?)
            }
            None => None,
        };
        // A time comes as a message does.
        let now = rfc3339(clock.now());
        let (source, sample) = match source {
            Source::Schedule(_) => (Source::Topic(SCHEDULE_TOPIC), now.as_bytes()),
            source => (source, SAMPLE_MESSAGE),
        };
        match (source, file) {
            (Source::Schedule(_), _) => bail!("a schedule takes no event of another kind"),
            (Source::Http(requests), _) => bail!(
                "{:?} answers requests to {requests}; start `kinglet up`, and send it one with `curl`",
                self.function
            ),
            (Source::Topic(topic), Some(EventFile::Message(message))) => {
                Ok((message_payload(topic, message), buckets))
            }
            (Source::Topic(topic), None) => {
                if self.object.is_some() {
                    bail!(
                        "{:?} is woken by messages; use `--body` or `--file`",
                        self.function
                    );
                }
                let body = match (&self.body, &self.file) {
                    (Some(text), _) => text.clone().into_bytes(),
                    (None, Some(path)) => files::read_input(path, files::INPUT)?,
                    (None, None) => sample.to_vec(),
                };
                let mut payload = message_payload(topic, MessageFile::default());
                if let Payload::Message(message) = &mut payload {
                    message.body = body;
                    message.attributes.clone_from(&self.attribute);
                }
                Ok((payload, buckets))
            }
            (Source::Bucket(_), Some(EventFile::Object(object))) => {
                existing_object(manifest, &buckets, &object)
                    .await
                    .map(|event| (event, buckets))
            }
            (Source::Bucket(bucket), None) => match &self.object {
                Some(object) => existing_object(manifest, &buckets, object)
                    .await
                    .map(|event| (event, buckets)),
                None => self.object_from_file(bucket, buckets, clock),
            },
            (Source::Topic(_), Some(EventFile::Object(_))) => {
                bail!(
                    "{:?} is woken by messages; the event file has an object",
                    self.function
                )
            }
            (Source::Bucket(_), Some(EventFile::Message(_))) => {
                bail!(
                    "{:?} is woken by objects; the event file has a message",
                    self.function
                )
            }
        }
    }

    /// Lays a file, or the sample, over the bucket.
    fn object_from_file(
        &self,
        bucket: &str,
        buckets: Buckets,
        clock: &Clock,
    ) -> anyhow::Result<(Payload, Buckets)> {
        if self.body.is_some() || !self.attribute.is_empty() {
            bail!(
                "{:?} is woken by objects, which have no body and no attributes to give; use `--file` or \
                 `--object`",
                self.function
            );
        }
        let (key, body) = match &self.file {
            Some(path) => {
                let name = path.file_name().and_then(std::ffi::OsStr::to_str);
                let key = match (&self.key, name) {
                    (Some(key), _) => key.clone(),
                    (None, Some(name)) => name.to_owned(),
                    (None, None) => bail!("{} has no name; give one with `--key`", path.display()),
                };
                let body = files::read_input(path, files::INPUT)?;
                (key, body)
            }
            None => ("sample.png".to_owned(), SAMPLE_IMAGE.to_vec()),
        };
        crate::ports::validate_key(&key).map_err(anyhow::Error::msg)?;
        let below = buckets
            .get(bucket)
            .context("the bucket isn't in the manifest")?;
        let object = ObjectInfo {
            size: body.len() as u64,
            etag: "invoked".to_owned(),
            content_type: mime_guess::from_path(&key)
                .first()
                .map(|m| m.essence_str().to_owned()),
            modified: clock.now(),
            metadata: Vec::new(),
            key,
        };
        let payload = Payload::ObjectCreated {
            bucket: bucket.to_owned(),
            object: object.clone(),
        };
        let overlay: Arc<dyn Bucket> =
            Arc::new(OverlayBucket::new(Arc::clone(below), object, body));
        let mut buckets: HashMap<_, _> = (*buckets).clone();
        buckets.insert(bucket.to_owned(), overlay);
        Ok((payload, Arc::new(buckets)))
    }

    fn show(&self, report: &Report) -> anyhow::Result<()> {
        if self.json {
            return print_json(report);
        }
        print_line(&format!("{} ({})", report.text, cost_text(&report.cost)))?;
        if let Outcome::Trap(trap) = &report.outcome {
            trap.backtrace
                .iter()
                .try_for_each(|frame| print_line(&format!("  in {frame}")))?;
        }
        for effect in &report.effects {
            print_line(&match effect {
                Effect::Write {
                    bucket,
                    key,
                    size,
                    content_type,
                } => format!(
                    "would write {bucket}/{key}, {}, {}",
                    bytes(*size),
                    content_type.as_deref().unwrap_or("of no known type")
                ),
                Effect::Remove { bucket, key } => format!("would remove {bucket}/{key}"),
                Effect::Delete { bucket, key } => {
                    format!("would delete {key:?} in keyvalue bucket {bucket}")
                }
                Effect::Set {
                    bucket,
                    key,
                    size,
                    text,
                } => format!(
                    "would set {key:?} in keyvalue bucket {bucket}, {}: {}",
                    bytes(*size as u64),
                    text.as_deref().unwrap_or("not text")
                ),
                Effect::Publish { topic, size, text } => format!(
                    "would publish to {topic}, {}: {}",
                    bytes(*size as u64),
                    text.as_deref().unwrap_or("not text")
                ),
            })?;
        }
        Ok(())
    }
}

fn message_payload(topic: &str, message: MessageFile) -> Payload {
    Payload::Message(Message {
        topic: topic.to_owned(),
        body: message.body.into_bytes(),
        content_type: message.content_type,
        ordering_key: message.ordering_key,
        attributes: message.attributes.into_iter().collect(),
    })
}

async fn existing_object(
    manifest: &Manifest,
    buckets: &Buckets,
    object: &str,
) -> anyhow::Result<Payload> {
    let (name, key) = object
        .split_once('/')
        .with_context(|| format!("{object:?} has no slash; write BUCKET/KEY"))?;
    let Some(bucket) = buckets.get(name) else {
        let names: Vec<&str> = manifest.buckets.keys().map(String::as_str).collect();
        bail!(
            "there is no bucket {name:?}; the manifest has {}",
            names.join(", ")
        );
    };
    let object = bucket.head(key).await?;
    Ok(Payload::ObjectCreated {
        bucket: name.to_owned(),
        object,
    })
}

async fn save(folder: &Path, buckets: &Buckets, transaction: &Transaction) -> anyhow::Result<()> {
    for ((bucket, key), change) in &transaction.objects {
        let (Change::Write(object), Some(store)) = (change, buckets.get(bucket)) else {
            continue;
        };
        let body = store.read_staged(&object.token, 0, u64::MAX).await?;
        let path = folder.join(bucket).join(key);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("can't make {}", parent.display()))?;
        }
        files::create(&path)
            .map_err(std::io::Error::from)
            .and_then(|mut file| file.write_all(&body))
            .with_context(|| format!("can't write {}", path.display()))?;
        say!("saved {}", path.display());
    }
    Ok(())
}

fn effects(transaction: Transaction) -> Vec<Effect> {
    let objects = transaction
        .objects
        .into_iter()
        .map(|((bucket, key), change)| match change {
            Change::Write(object) => Effect::Write {
                bucket,
                key,
                size: object.info.size,
                content_type: object.info.content_type,
            },
            Change::Remove => Effect::Remove { bucket, key },
        });
    let messages = transaction
        .messages
        .into_iter()
        .map(|draft| Effect::Publish {
            topic: draft.topic,
            size: draft.body.len(),
            text: String::from_utf8(draft.body).ok(),
        });
    let keys = transaction
        .keys
        .into_iter()
        .map(|((bucket, key), staged)| match staged.value {
            Some(value) => Effect::Set {
                bucket,
                key,
                size: value.len(),
                text: String::from_utf8(value).ok(),
            },
            None => Effect::Delete { bucket, key },
        });
    objects.chain(messages).chain(keys).collect()
}
