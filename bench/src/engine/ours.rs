//! Our engine as the host sets it up, with an event that came through its queue.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kinglet::app::App;
use kinglet::capabilities::{Buckets, Reach};
use kinglet::clock::Clock;
use kinglet::config::Manifest;
use kinglet::engine::{Cache, Compiler, Engine, InitContext, Snapshot, snapshot};
use kinglet::events::NewMessage;
use kinglet::ports::{Delivery, Draft};
use kinglet::stores::keyvalue::EmptyKeyValue;

/// The function that does nothing, with every kind of grant and limit.
const MANIFEST: &str = r#"
[app]
name = "bench"
[buckets.pictures]

[[function]]
name = "noop"
component = "noop.wasm"
on = { message = "work" }
limits = { memory = "64MiB", fuel = 1_000_000_000, timeout = "TIMEOUT", concurrency = CONCURRENCY }
grants = { read = ["pictures"], write = ["pictures/small/"], publish = ["work-done"] }
"#;

/// An application with one function.
pub struct Ours {
    pub engine: Arc<Engine>,
    /// An event as its queue gave it.
    pub delivery: Delivery,
    /// The engine's functions reach into its stores.
    app: App,
    cache: Cache,
}

/// What differs between the benches.
pub struct Settings {
    pub concurrency: usize,
    pub timeout: &'static str,
    /// Of the event.
    pub body: Vec<u8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 8,
            timeout: "10s",
            body: vec![b'x'; 300],
        }
    }
}

impl Ours {
    /// Makes the application in `dir`, with a component for its function.
    pub async fn new(dir: &Path, wasm: &[u8]) -> Result<Self> {
        Self::with(dir, wasm, Settings::default()).await
    }

    /// The same with settings of one's own.
    pub async fn with(dir: &Path, wasm: &[u8], settings: Settings) -> Result<Self> {
        let Settings {
            concurrency,
            timeout,
            body,
        } = settings;
        std::fs::create_dir_all(dir.join("pictures"))?;
        std::fs::write(dir.join("noop.wasm"), wasm)?;
        let path = dir.join("kinglet.toml");
        let text = MANIFEST.replace("TIMEOUT", timeout);
        std::fs::write(&path, text.replace("CONCURRENCY", &concurrency.to_string()))?;
        let clock = Clock::system();
        let app = App::open(Arc::new(Manifest::load(&path)?), clock.clone()).await?;
        let draft = Draft {
            topic: "work".to_owned(),
            body,
            content_type: None,
            ordering_key: None,
            attributes: Vec::new(),
            delay_ms: None,
        };
        let message = NewMessage {
            id: None,
            source: None,
            draft,
        };
        app.events().publish(vec![message]).await?;
        let taken = app.events().queue().take("noop", 1, clock.now()).await?;
        let delivery = taken.deliveries.into_iter().next();
        let cache = Cache::new(dir.join("cache"), dir.join("cache-key"), Compiler::Here);
        Ok(Self {
            engine: Arc::new(app.load(cache.clone())?),
            delivery: delivery.context("the message isn't there")?,
            app,
            cache,
        })
    }

    /// What `kinglet build` makes of a component with an init.
    pub async fn initialise(&self, wasm: &[u8]) -> Result<Snapshot> {
        let events = self.app.events();
        let function = events.manifest().functions.first();
        let context = InitContext {
            function: function.context("there is no function")?,
            reach: Reach {
                buckets: Buckets::default(),
                keyvalue: Arc::new(EmptyKeyValue),
                grants: Arc::default(),
                environment: Arc::default(),
                config: Arc::default(),
                outgoing: None,
            },
            journal: Arc::clone(events.journal()),
            clock: events.clock().clone(),
        };
        let made = snapshot(wasm, context).await?;
        made.context("the component has no init")
    }

    /// An engine as a host has it that was just started.
    pub fn start(&self) -> Result<Engine> {
        Ok(self.app.load(self.cache.clone())?)
    }
}
