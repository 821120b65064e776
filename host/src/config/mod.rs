//! `kinglet.toml`: typed and validated. Nothing here reads the environment.

mod advice;
mod destination;
#[cfg(test)]
mod documented;
mod grants;
mod index;
mod ingress;
mod parse;
mod route;
mod schedule;
mod snapshot;
mod spin;
mod target;
mod unfinished;
mod validate;
mod values;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{self, FileError};
use crate::guard::visible;

pub use destination::Destination;
pub use grants::{Grant, GrantKind, keyvalue_bucket};
use index::Index;
pub use ingress::{Auth, ExactPath, Format, Ingress, Keys, Sns};
pub use route::{HostName, Requests, Route, Segment, SpinRoute, Verb};
pub use schedule::{Missed, Schedule, Zone};
pub use snapshot::{Allowed, SnapshotConfig};
pub use spin::{Variables, is_variable};
pub use target::Target;
pub use validate::{NAME_RULE, is_name};
pub use values::{Backoff, ByteSize, OrderBy, Period, duration};
use values::{address, one_or_many, texts};

/// The host's own folder, beside the manifest: events, logs and the control socket.
pub const STATE_FOLDER: &str = ".kinglet";

/// A whole application.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// What the application is.
    pub app: App,
    /// Buckets by name.
    #[serde(default)]
    pub buckets: BTreeMap<String, BucketConfig>,
    /// Topics by name; those that functions name needn't be listed.
    #[serde(default)]
    pub topics: BTreeMap<String, TopicConfig>,
    /// Where requests come in.
    #[serde(default)]
    pub http: HttpConfig,
    /// How much the store of events holds, and for how long.
    #[serde(default)]
    pub queue: QueueLimits,
    /// How far compiling a component may go.
    #[serde(default)]
    pub compile: CompileConfig,
    /// What the host takes of its machine.
    #[serde(default)]
    pub host: HostLimits,
    /// The functions.
    #[serde(default, rename = "function")]
    pub functions: Vec<Function>,
    /// Events that others post over HTTP.
    #[serde(default, rename = "ingress")]
    pub ingresses: Vec<Ingress>,
    /// Where relative paths start: the manifest's folder.
    #[serde(skip)]
    pub root: PathBuf,
    /// Sentences about what of a `spin.toml` does nothing here, or something else.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// What wakes whom, so that no event looks at each of a thousand functions.
    #[serde(skip)]
    index: Index,
}

/// What the application is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Shown in logs.
    pub name: String,
}

/// Where a bucket's objects are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BucketConfig {
    /// A folder, relative to the manifest; by default the one of the bucket's name.
    pub path: Option<PathBuf>,
    /// Refused by now: only folders are supported.
    pub url: Option<String>,
    /// Endings of unfinished files' names, in whatever case: such a file wakes nobody until it is
    /// renamed. By default endings of browsers, of programs that transfer files, of editors and of backups.
    pub unfinished: Option<Vec<String>>,
    /// The time that a file must stand still before it is an object, for those written in several opens;
    /// by default one that its writer has closed is an object at once.
    pub settle: Option<Period>,
}

/// A topic.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {}

/// Where requests come in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HttpConfig {
    /// Address and port; by default port 3000 of this machine alone.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Has connections be of TLS.
    pub tls: Option<TlsConfig>,
    /// Connections at once; more wait.
    pub max_connections: usize,
    /// Whether the logs tell each request.
    pub access_log: bool,
}

/// The server's own certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsConfig {
    /// A file in PEM: the certificate, and those that it was signed with. Relative to the manifest, and read again when it
    /// changes.
    pub certificate: PathBuf,
    /// A file in PEM: its private key.
    pub key: PathBuf,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3_000)),
            tls: None,
            max_connections: 1_024,
            access_log: false,
        }
    }
}

/// How much the store of events holds, and for how long.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct QueueLimits {
    /// How long a message's id is remembered: another message of that id isn't delivered. As long a request with an
    /// `Idempotency-Key` has the same answer.
    pub duplicate_window: Period,
    /// Events that wait, of all functions together. A full store accepts nothing from sources, which keep
    /// what they have; what functions publish is accepted still, since else it could never drain.
    pub max_events: u64,
    /// What they take in the store. It is full past this.
    pub max_bytes: ByteSize,
    /// What all events under way may stage together. An attempt that finds no room comes again, without
    /// using up the function's attempts.
    pub max_staging: ByteSize,
    /// Dead letters of one function. One that has as many gets no more events until some are redriven or
    /// dropped: nothing is lost.
    pub max_dead_letters: u64,
    /// What all answers take that are remembered for requests with an `Idempotency-Key`. Past this no other such
    /// request is answered until the oldest are forgotten.
    pub max_answers: ByteSize,
    /// Dead letters that are older are dropped; by default none.
    pub dead_letter_age: Option<Period>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            duplicate_window: Period::from_secs(24 * 60 * 60),
            max_events: 100_000_000,
            max_bytes: ByteSize(64 << 30),
            max_staging: ByteSize(16 << 30),
            max_dead_letters: 100_000,
            max_answers: ByteSize(1 << 30),
            dead_letter_age: None,
        }
    }
}

/// What an instance takes of `host.memory` beside its memories and tables: its stack, and what the host keeps of it.
pub const INSTANCE: ByteSize = ByteSize(256 << 10);

/// How far compiling one component may go. It is done in a process of its own.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CompileConfig {
    /// Processor time of that process, over all its threads: what else the machine does isn't counted.
    pub timeout: Period,
    /// Memory of that process, and the largest file that is read as a component; by default 2 GiB, or half of what this
    /// process may have where that is less.
    pub memory: Option<ByteSize>,
}

impl Default for CompileConfig {
    fn default() -> Self {
        Self {
            timeout: Period::from_secs(120),
            memory: None,
        }
    }
}

/// What compiling the smallest component takes.
pub const COMPILER: ByteSize = ByteSize(64 << 20);

/// What the host takes of its machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HostLimits {
    /// Memory of all instances, of what they stage there and of loaded components together; by default half of the
    /// machine's, or of what the host's control group may have.
    pub memory: Option<ByteSize>,
}

/// A function: what it is, what wakes it, what it may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Function {
    /// Unique in the application.
    pub name: String,
    /// The component's file, relative to the manifest.
    pub component: PathBuf,
    /// The crate that `kinglet build` builds it from, relative to the manifest.
    pub source: Option<PathBuf>,
    /// The hosts that `kinglet build` makes a component for, beside its own.
    #[serde(default, deserialize_with = "one_or_many")]
    pub targets: Vec<Target>,
    /// How its init is run, when it is built.
    #[serde(default)]
    pub snapshot: SnapshotConfig,
    /// What wakes it.
    pub on: Trigger,
    /// How far it may go.
    #[serde(default)]
    pub limits: Limits,
    /// How failures are tried again.
    #[serde(default)]
    pub retry: Retry,
    /// What it may reach.
    #[serde(default)]
    pub grants: Grants,
    /// What it reads through `wasi:config`.
    #[serde(default, deserialize_with = "texts")]
    pub config: BTreeMap<String, String>,
    /// What it finds in its environment.
    #[serde(default, deserialize_with = "texts")]
    pub environment: BTreeMap<String, String>,
    /// Permits effects that wake the function again, up to so many hops.
    pub allow_loop: Option<u32>,
    /// What a `spin.toml` says its component is built with.
    #[serde(skip)]
    pub spin_build: Option<String>,
}

impl Function {
    /// How many attempts or requests run at once. Without a figure of its manifest requests have more: a function that
    /// answers them waits for clients and servers most of its time.
    pub fn concurrency(&self) -> usize {
        const EVENTS: usize = 4;
        const REQUESTS: usize = 16;
        let usual = if self.on.http.is_empty() {
            EVENTS
        } else {
            REQUESTS
        };
        self.limits.concurrency.unwrap_or(usual)
    }
}

/// What wakes a function.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Trigger {
    /// Objects in this bucket.
    pub object_created: Option<String>,
    /// Only keys that start with this.
    pub prefix: Option<String>,
    /// Only keys that end with one of these, in whatever case.
    #[serde(default, deserialize_with = "one_or_many")]
    pub suffix: Vec<String>,
    /// Messages on this topic.
    pub message: Option<String>,
    /// Requests to these paths.
    #[serde(default, deserialize_with = "one_or_many")]
    pub http: Vec<Route>,
    /// Only requests of these methods.
    #[serde(default, deserialize_with = "one_or_many")]
    pub methods: Vec<Verb>,
    /// Only requests that name one of these hosts.
    #[serde(default, deserialize_with = "one_or_many")]
    pub hosts: Vec<HostName>,
    /// Whether requests have the headers that Spin gives them.
    #[serde(default)]
    pub spin_headers: bool,
    /// How many requests an instance answers, one after the other; by default one.
    pub reuse: Option<u32>,
    /// At these times; the function takes them as messages.
    pub schedule: Option<Schedule>,
    /// The time zone of the schedule; by default UTC.
    pub time_zone: Option<Zone>,
    /// What happens with times at which no host ran.
    pub missed: Option<Missed>,
    /// The most messages that a batch function takes at once.
    pub batch_size: Option<usize>,
    /// How long a batch waits for more messages.
    pub batch_window: Option<Period>,
    /// By what events are kept in order; by default messages by their own ordering key, and objects not.
    pub order_by: Option<OrderBy>,
}

/// What a trigger comes to, once validated.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Objects in this bucket.
    Bucket(&'a str),
    /// Messages on this topic.
    Topic(&'a str),
    /// The clock.
    Schedule(&'a Schedule),
    /// These requests.
    Http(Requests<'a>),
}

impl Trigger {
    /// The bucket, topic, schedule or route. Validation has seen to it that there is exactly one.
    pub fn source(&self) -> Source<'_> {
        if let Some(bucket) = &self.object_created {
            Source::Bucket(bucket)
        } else if let Some(schedule) = &self.schedule {
            Source::Schedule(schedule)
        } else if !self.http.is_empty() {
            Source::Http(Requests {
                routes: &self.http,
                methods: &self.methods,
                hosts: &self.hosts,
                spin_headers: self.spin_headers,
            })
        } else {
            Source::Topic(self.message.as_deref().unwrap_or_default())
        }
    }

    /// Returns the next times of the schedule after `now`, as the clock of its zone shows them;
    /// none without a schedule.
    pub fn upcoming(&self, now: u64) -> Vec<String> {
        const SHOWN: usize = 3;
        let Some(schedule) = &self.schedule else {
            return Vec::new();
        };
        let zone = self.time_zone.clone().unwrap_or_default();
        let times = schedule.upcoming(now, &zone, SHOWN);
        times.into_iter().map(|time| zone.show(time)).collect()
    }

    /// Whether an object of this key wakes the function.
    pub fn matches_key(&self, key: &str) -> bool {
        let suffixed = |suffix: &String| {
            key.len() >= suffix.len()
                && key
                    .get(key.len() - suffix.len()..)
                    .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        self.prefix
            .as_deref()
            .is_none_or(|prefix| key.starts_with(prefix))
            && (self.suffix.is_empty() || self.suffix.iter().any(suffixed))
    }
}

/// How far a function may go, for each event.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Linear memories, tables and what handles of `wasi:http` hold, together.
    pub memory: ByteSize,
    /// Units: about one for each WebAssembly instruction.
    pub fuel: u64,
    /// Wall-clock time for an attempt, blocked host calls included.
    pub timeout: Period,
    /// Attempts at once; see [`Function::concurrency`].
    pub concurrency: Option<usize>,
    /// Bytes that an event may stage: objects and messages together.
    pub staging: ByteSize,
    /// Effects that an attempt may have: objects written and removed, messages and keys, together.
    pub effects: u32,
    /// Bytes that an attempt may log; the rest is dropped, and the log says so.
    pub log: ByteSize,
    /// Bytes that an attempt may move through host calls, both ways.
    pub host_calls: ByteSize,
    /// Bytes that the body of a request may have.
    pub request: ByteSize,
    /// Bytes that the body of a response may have.
    pub response: ByteSize,
    /// Requests that an attempt may send.
    pub requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize(128 << 20),
            fuel: 10_000_000_000,
            timeout: Period::from_secs(30),
            concurrency: None,
            staging: ByteSize(256 << 20),
            effects: 10_000,
            log: ByteSize(64 << 10),
            host_calls: ByteSize(1 << 30),
            request: ByteSize(1 << 30),
            response: ByteSize(1 << 30),
            requests: 100,
        }
    }
}

/// How failures are tried again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// The delay before the second attempt and the longest one; each is twice the one before, less a
    /// random part of up to a half.
    pub backoff: Backoff,
    /// An event that was accepted longer ago isn't tried any more; by default however old.
    pub max_age: Option<Period>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Backoff::default(),
            max_age: None,
        }
    }
}

/// What a function may reach.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Buckets, or `bucket/prefix`, whose objects it may read and list.
    #[serde(deserialize_with = "one_or_many")]
    pub read: Vec<Grant>,
    /// Buckets, or `bucket/prefix`, whose objects it may write and remove.
    #[serde(deserialize_with = "one_or_many")]
    pub write: Vec<Grant>,
    /// Topics that it may publish to.
    #[serde(deserialize_with = "one_or_many")]
    pub publish: Vec<String>,
    /// Keyvalue buckets that it may use.
    #[serde(deserialize_with = "one_or_many")]
    pub keyvalue: Vec<String>,
    /// Where it may send requests.
    #[serde(deserialize_with = "one_or_many")]
    pub http: Vec<Destination>,
    /// Set where they are the lines of a `spin.toml`.
    #[serde(skip)]
    pub of_spin: bool,
}

/// How a manifest fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{error}; {next}")]
    Read {
        /// Why.
        error: FileError,
        /// What to do.
        next: &'static str,
    },
    /// The file isn't what a manifest looks like.
    #[error("{path}: {message}")]
    Parse {
        /// The file, with line and column.
        path: String,
        /// The problem there.
        message: String,
    },
    /// The values don't fit together.
    #[error("{path}: {}", problems.join("\n"))]
    Invalid {
        /// The file.
        path: String,
        /// A sentence each.
        problems: Vec<String>,
    },
}

impl Manifest {
    /// Reads and validates a manifest: one of Kinglet, or a `spin.toml` whose variables have no values but their
    /// defaults.
    ///
    /// # Errors
    /// Where it can't be read or isn't a valid manifest: every problem at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &Variables::default())
    }

    /// The same, with values for the variables of a `spin.toml`.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_with(path: &Path, variables: &Variables) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = files::read_text(path, files::TEXT).map_err(|error| ConfigError::Read {
            next: if error.is_absent() {
                "name the manifest with `--manifest`, or run in its folder"
            } else {
                "it must be a text file that you may read"
            },
            error,
        })?;
        let root = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if spin::is_spin(&text) {
            return spin::parse(&text, root, &shown, variables);
        }
        if let Some(name) = variables.given() {
            return Err(ConfigError::Invalid {
                path: shown,
                problems: vec![format!(
                    "a value for the variable {name:?} goes with a `spin.toml`; here a function's values are its \
                     `config`"
                )],
            });
        }
        Self::parse(&text, root, &shown)
    }

    /// Parses and validates the text of a manifest whose relative paths start at `root`; `name` is for
    /// errors.
    ///
    /// # Errors
    /// As `load`.
    pub fn parse(text: &str, root: &Path, name: &str) -> Result<Self, ConfigError> {
        if spin::is_spin(text) {
            return spin::parse(text, root, name, &Variables::default());
        }
        let mut manifest: Self = parse::parse(text, name)?;
        manifest.root = root.to_owned();
        manifest.checked(Vec::new(), name)
    }

    /// With an index, if nothing is wrong with it.
    fn checked(mut self, mut problems: Vec<String>, name: &str) -> Result<Self, ConfigError> {
        self.index = Index::new(&self);
        problems.extend(self.problems());
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(ConfigError::Invalid {
                path: name.to_owned(),
                problems: problems.iter().map(|problem| visible(problem)).collect(),
            })
        }
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(self.index.function(name)?)
    }

    /// The folder of a bucket.
    pub fn bucket_path(&self, name: &str) -> PathBuf {
        self.root.join(self.bucket_folder(name))
    }

    /// The folder of a bucket as the manifest names it.
    pub fn bucket_folder(&self, name: &str) -> PathBuf {
        let bucket = self.buckets.get(name);
        let path = bucket.and_then(|bucket| bucket.path.clone());
        path.unwrap_or_else(|| PathBuf::from(name))
    }

    /// Returns whether an object of this bucket is passed over as unfinished, by its key.
    pub fn is_unfinished(&self, bucket: &str, key: &str) -> bool {
        let bucket = self.buckets.get(bucket);
        bucket.is_some_and(|bucket| bucket.is_unfinished(key))
    }

    /// Every topic that is listed, subscribed to or granted.
    pub fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.index.topics()
    }

    /// Whether there is such a topic.
    pub fn has_topic(&self, name: &str) -> bool {
        self.index.has_topic(name)
    }

    /// The functions that objects of this key in this bucket wake; none where it is of an unfinished file.
    pub fn woken_by_object(&self, bucket: &str, key: &str) -> Vec<String> {
        if self.is_unfinished(bucket, key) {
            return Vec::new();
        }
        let watching = self.index.watching(bucket).iter();
        watching
            .filter_map(|at| self.functions.get(*at))
            .filter(|function| function.on.matches_key(key))
            .map(|function| function.name.clone())
            .collect()
    }

    /// The functions that messages on this topic wake.
    pub fn woken_by_message(&self, topic: &str) -> Vec<String> {
        let listening = self.index.listening(topic).iter();
        listening
            .filter_map(|at| self.functions.get(*at))
            .map(|function| function.name.clone())
            .collect()
    }

    /// Whether objects in this bucket wake some function.
    pub fn is_watched(&self, bucket: &str) -> bool {
        !self.index.watching(bucket).is_empty()
    }

    /// The buckets whose objects wake some function.
    pub fn watched_buckets(&self) -> impl Iterator<Item = &str> {
        self.index.buckets()
    }
}
