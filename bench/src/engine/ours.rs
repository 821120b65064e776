//! Our engine as the host sets it up, with an event that came through its queue.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kinglet::app::App;
use kinglet::clock::Clock;
use kinglet::config::Manifest;
use kinglet::engine::{Cache, Engine};
use kinglet::events::NewMessage;
use kinglet::ports::{Delivery, Draft};

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
    pub engine: Engine,
    /// An event as its queue gave it.
    pub delivery: Delivery,
    /// Held: the engine's functions reach into its stores.
    _app: App,
}

impl Ours {
    /// Makes the application in `dir`, with a component for its function.
    pub async fn new(dir: &Path, wasm: &[u8]) -> Result<Self> {
        Self::with(dir, wasm, 8, "10s").await
    }

    /// The same with limits of one's own.
    pub async fn with(dir: &Path, wasm: &[u8], concurrency: usize, timeout: &str) -> Result<Self> {
        std::fs::create_dir_all(dir.join("pictures"))?;
        std::fs::write(dir.join("noop.wasm"), wasm)?;
        let path = dir.join("kinglet.toml");
        let text = MANIFEST.replace("TIMEOUT", timeout);
        std::fs::write(&path, text.replace("CONCURRENCY", &concurrency.to_string()))?;
        let clock = Clock::system();
        let app = App::open(Arc::new(Manifest::load(&path)?), clock.clone()).await?;
        let draft = Draft {
            topic: "work".to_owned(),
            body: vec![b'x'; 300],
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
        Ok(Self {
            engine: app.load(Cache::new(dir.join("cache")))?,
            delivery: delivery.context("the message isn't there")?,
            _app: app,
        })
    }
}
