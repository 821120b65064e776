//! Delivery: events are accepted, handed to functions, and settled. Knows no WebAssembly, no files and
//! no database: only ports.

mod accept;
mod backoff;
mod commit;
mod dispatch;
mod health;
mod idle;
mod operate;
mod quota;
mod requests;
mod schedule;
mod settle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::{Notify, RwLock, watch};

pub use accept::{NewMessage, PublishError, ToldObject};
pub use commit::BucketGuard;
pub use dispatch::{Stop, stopped};

use crate::clock::Clock;
use crate::config::Manifest;
use crate::ports::{Bucket, Budget, Intent, Journal, MemoryUse, Queue, StagingRoom};
use commit::BucketLocks;

/// Delivers the events of one application.
pub struct Events {
    manifest: Arc<Manifest>,
    queue: Arc<dyn Queue>,
    buckets: Arc<HashMap<String, Arc<dyn Bucket>>>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    staging: Arc<StagingRoom>,
    budget: Arc<Budget>,
    locks: BucketLocks,
    /// Decided by an ended host, and not yet carried out.
    unfinished: Mutex<Vec<Intent>>,
    /// Whether the host is to end.
    closing: watch::Sender<bool>,
    /// Held by each commit of a request, which goes on where nobody waits for it.
    requests: Arc<RwLock<()>>,
    /// Where these run: it ends after all of them.
    home: Handle,
    /// Wakes a function's dispatcher when something was accepted for it.
    wake: HashMap<String, Arc<Notify>>,
}

/// What delivery works with.
pub struct EventsConfig {
    /// Who is woken by what.
    pub manifest: Arc<Manifest>,
    /// Where events wait.
    pub queue: Arc<dyn Queue>,
    /// Every bucket of the manifest.
    pub buckets: Arc<HashMap<String, Arc<dyn Bucket>>>,
    /// Where outcomes are written.
    pub journal: Arc<dyn Journal>,
    /// Tells the time.
    pub clock: Clock,
    /// What events under way have staged.
    pub staging: Arc<StagingRoom>,
    /// What instances have of the host's memory.
    pub budget: Arc<Budget>,
}

impl Events {
    /// Delivery for the functions of a manifest; nothing is delivered before `deliver`. Call it on the runtime that
    /// lives as long as the host.
    pub fn new(config: EventsConfig) -> Self {
        let wake = config
            .manifest
            .functions
            .iter()
            .map(|function| (function.name.clone(), Arc::new(Notify::new())))
            .collect();
        let locks = BucketLocks::new(config.buckets.keys());
        let EventsConfig {
            manifest,
            queue,
            buckets,
            journal,
            clock,
            staging,
            budget,
        } = config;
        Self {
            manifest,
            queue,
            buckets,
            journal,
            clock,
            staging,
            budget,
            locks,
            unfinished: Mutex::default(),
            closing: watch::channel(false).0,
            requests: Arc::default(),
            home: Handle::current(),
            wake,
        }
    }

    /// The queue, for those who ask what waits in it.
    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }

    /// How much memory the host gives and has given.
    pub fn memory(&self) -> MemoryUse {
        self.budget.memory()
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A bucket of the manifest.
    pub fn bucket(&self, name: &str) -> Option<&Arc<dyn Bucket>> {
        self.buckets.get(name)
    }

    /// The journal, for the host's own words.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// The clock that all of delivery goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn wake(&self, functions: impl IntoIterator<Item = impl AsRef<str>>) {
        for function in functions {
            if let Some(notify) = self.wake.get(function.as_ref()) {
                notify.notify_one();
            }
        }
    }
}
