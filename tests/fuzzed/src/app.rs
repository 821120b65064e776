//! An application for guests that do anything: what they may reach, and what must hold of whatever they did.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kinglet::app::{AppError, Rooms, load_function, new_engine};
use kinglet::capabilities::Buckets;
use kinglet::clock::Clock;
use kinglet::config::{Function, Manifest};
use kinglet::engine::{Cache, Compiler, Engine};
use kinglet::ports::{
    Bucket, Change, Delivery, Event, Handled, Handler, Journal, KeyValue, Message, ObjectInfo,
    Outcome, Payload, QueueError, Record, Transaction, Value, validate_key,
};
use kinglet::stores::objects::FolderBucket;

use crate::{block_on, scratch};

/// Functions of every kind, which may do all that can be granted, and little of it.
const MANIFEST: &str = r#"
    [app]
    name = "fuzzed"
    [buckets.photos]
    [buckets.out]
    [buckets.secret]
    [[function]]
    name = "object"
    component = "guest.wasm"
    on = { object-created = "photos" }
    limits = { memory = "8MiB", fuel = 2_000_000, timeout = "2s", concurrency = 1, staging = "64KiB", log = "8KiB" }
    grants = { read = ["photos", "out"], write = "out/made/", publish = "made", keyvalue = "counters" }
    config = { size = "7", "a key" = "a value" }
    [[function]]
    name = "message"
    component = "guest.wasm"
    on = { message = "orders" }
    limits = { memory = "8MiB", fuel = 2_000_000, timeout = "2s", concurrency = 1, staging = "64KiB", log = "8KiB" }
    grants = { read = ["photos", "out"], write = "out/made/", publish = "made", keyvalue = "counters" }
    config = { size = "7", "a key" = "a value" }
    [[function]]
    name = "batch"
    component = "guest.wasm"
    on = { message = "orders", batch-size = 3 }
    limits = { memory = "8MiB", fuel = 2_000_000, timeout = "2s", concurrency = 1, staging = "64KiB", log = "8KiB" }
    grants = { read = ["photos", "out"], write = "out/made/", publish = "made", keyvalue = "counters" }
    config = { size = "7", "a key" = "a value" }
    [[function]]
    name = "http"
    component = "guest.wasm"
    on = { http = "/..." }
    limits = { memory = "8MiB", fuel = 2_000_000, timeout = "2s", concurrency = 1, log = "8KiB" }
    grants = { read = ["photos"] }
"#;

/// By `choice`.
pub const KINDS: [&str; 4] = ["object", "message", "batch", "http"];
const NOW: u64 = 1_795_000_000_000;
/// How many lines of a log are kept with an attempt.
const TAIL_LINES: usize = 20;

/// What guests run in.
pub struct App {
    manifest: Manifest,
    engine: Arc<Engine>,
    buckets: Buckets,
    keyvalue: Arc<dyn KeyValue>,
    dir: tempfile::TempDir,
}

/// Nobody reads it.
struct NoJournal;

impl Journal for NoJournal {
    fn write(&self, record: Record) {
        assert!(serde_json::to_vec(&record).is_ok());
    }
}

/// A few values, the same always.
struct Values;

#[async_trait]
impl KeyValue for Values {
    async fn get(&self, bucket: &str, keys: &[String]) -> Result<Vec<Option<Value>>, QueueError> {
        assert_eq!(bucket, "counters");
        let value = |bytes| Value { revision: 1, bytes };
        let found = keys.iter().map(|key| known(key).map(value));
        Ok(found.collect())
    }

    async fn keys(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, QueueError> {
        assert_eq!(bucket, "counters");
        let keys = KEYS.iter().map(|(key, _)| *key);
        let past = keys.filter(|key| after.is_none_or(|after| *key > after));
        Ok(past.take(limit).map(str::to_owned).collect())
    }
}

/// In the order of their bytes.
const KEYS: [(&str, &[u8]); 3] = [
    ("large", &[b'x'; 100_000]),
    ("n", b"41"),
    ("text", b"no number"),
];

fn known(key: &str) -> Option<Vec<u8>> {
    let known = KEYS.iter().find(|(name, _)| *name == key)?;
    Some(known.1.to_vec())
}

impl App {
    pub fn new() -> Self {
        let dir = scratch();
        let manifest = Manifest::parse(MANIFEST, dir.path(), "kinglet.toml").unwrap();
        let clock = Clock::manual(NOW);
        let mut buckets: HashMap<String, Arc<dyn Bucket>> = HashMap::new();
        for name in manifest.buckets.keys() {
            let path = manifest.bucket_path(name);
            std::fs::create_dir_all(path.join("made")).unwrap();
            std::fs::write(path.join("a.txt"), "what is in it").unwrap();
            std::fs::write(path.join("made/large"), vec![b'x'; 100_000]).unwrap();
            let bucket = FolderBucket::open(name, &path, "fuzzed", clock.clone()).unwrap();
            buckets.insert(name.clone(), Arc::new(bucket));
        }
        // A folder in whose place a file is: what is compiled here is never used again.
        let cache = dir.path().join("no-cache");
        std::fs::write(&cache, "").unwrap();
        let engine = new_engine(
            &manifest,
            Cache::new(cache, dir.path().join("key"), Compiler::Here),
            Arc::new(NoJournal),
            clock,
            Rooms::of(&manifest),
            None,
        );
        Self {
            engine: Arc::new(engine.unwrap()),
            buckets: Arc::new(buckets),
            keyvalue: Arc::new(Values),
            manifest,
            dir,
        }
    }

    fn component(&self) -> PathBuf {
        self.dir.path().join("guest.wasm")
    }

    /// Puts a component in the place of the function's, and loads it.
    pub fn load(&mut self, kind: &str, wasm: &[u8]) -> Result<(), AppError> {
        std::fs::write(self.component(), wasm).unwrap();
        let function = self.manifest.function(kind).unwrap();
        load_function(
            Arc::get_mut(&mut self.engine).unwrap(),
            &self.manifest,
            function,
            &self.buckets,
            &self.keyvalue,
            None,
        )?;
        Ok(())
    }

    /// Calls the function with an event, or three for a batch, of which the first has this body; checks what came of
    /// it.
    pub fn call(&self, kind: &str, body: &[u8]) -> Vec<Outcome> {
        let function = self.manifest.function(kind).unwrap();
        let bodies: &[&[u8]] = match kind {
            "batch" => &[body, b"two", b"three"],
            _ => &[body],
        };
        let events = bodies.iter().zip(1..);
        let batch = events.map(|(body, seq)| delivery(seq, kind, body));
        let batch = Arc::new(batch.collect());
        let handled = block_on(self.engine.handle(kind, &batch));
        check(function, &batch, &handled);
        handled.outcomes.into_iter().map(|end| end.0).collect()
    }

    /// Has an instance made before its event.
    pub fn prepare(&self, kind: &str) {
        block_on(self.engine.prepare(kind));
    }
}

fn delivery(seq: u64, kind: &str, body: &[u8]) -> Delivery {
    let payload = match kind {
        "object" => Payload::ObjectCreated {
            bucket: "photos".to_owned(),
            object: ObjectInfo {
                key: "a.txt".to_owned(),
                size: 13,
                etag: "e".to_owned(),
                content_type: Some("text/plain".to_owned()),
                modified: NOW,
                metadata: vec![("a".to_owned(), "b".to_owned())],
            },
        },
        _ => Payload::Message(Message {
            topic: "orders".to_owned(),
            body: body.to_owned(),
            content_type: None,
            ordering_key: Some("k".to_owned()),
            attributes: vec![("a".to_owned(), "b".to_owned())],
        }),
    };
    Delivery {
        seq,
        function: kind.to_owned(),
        event: Event {
            id: format!("id-{seq}"),
            source: "topic/orders".to_owned(),
            accepted: NOW,
            hops: 0,
            payload,
        },
        due: NOW,
        lane: None,
        redriven: None,
        attempted: 0,
        failed: 0,
        cut_off: 0,
        attempts: Vec::new(),
    }
}

/// No guest gets over the wall: limits held, effects were granted, and the end is the guest's own doing, since no
/// store here ever fails.
fn check(function: &Function, batch: &[Delivery], handled: &Handled) {
    let limits = &function.limits;
    assert_eq!(handled.outcomes.len(), batch.len());
    assert!(handled.cost.fuel <= limits.fuel);
    assert!(handled.cost.peak_memory <= limits.memory.0);
    assert!(handled.log_tail.len() <= TAIL_LINES);
    let reserved = handled
        .reserved
        .as_ref()
        .map_or(0, |reserved| reserved.bytes());
    assert!(reserved <= limits.staging.0);
    let mut staged = 0;
    for (outcome, transaction) in &handled.outcomes {
        assert!(!matches!(outcome, Outcome::Fault(_)), "{outcome}");
        assert_plain(&outcome.to_string());
        staged += check_effects(function, transaction);
    }
    assert!(staged <= limits.staging.0, "{staged} bytes are staged");
}

/// Returns the bytes.
fn check_effects(function: &Function, transaction: &Transaction) -> u64 {
    let grants = &function.grants;
    let mut bytes = 0;
    for ((bucket, key), change) in &transaction.objects {
        assert_eq!(validate_key(key), Ok(()));
        let granted = grants.write.iter().any(|grant| grant.covers(bucket, key));
        assert!(granted, "{bucket}/{key} isn't granted");
        if let Change::Write(object) = change {
            assert_eq!(object.info.key, *key);
            bytes += object.info.size;
        }
    }
    for message in &transaction.messages {
        assert!(grants.publish.contains(&message.topic));
        bytes += message.body.len() as u64;
    }
    for ((bucket, key), staged) in &transaction.keys {
        assert!(grants.keyvalue.contains(bucket));
        assert!((1..=1_024).contains(&key.len()));
        bytes += staged.value.as_ref().map_or(0, |value| value.len() as u64);
    }
    bytes
}

/// Text from a guest doesn't steer the terminal that it is read in.
pub fn assert_plain(text: &str) {
    let steers = text
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(steers, None, "{text:?}");
}
