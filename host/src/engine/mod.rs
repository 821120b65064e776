//! Runs functions: components are compiled once and cached, and each event gets a fresh instance with
//! limits of its own, gone when it returns.

mod cache;
mod explain;
mod http;
mod instance;
mod invoke;
mod limiter;
mod load;
mod settings;
mod state;

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::Linker;

pub use cache::{Cache, CacheUse};
pub use load::{Handlers, LoadError, LoadedFunction};

use crate::clock::Clock;
use crate::ports::{Delivery, Handled, Handler, Journal, StagingRoom};
use instance::Ready;
use state::State;

/// Everything that the functions of an application need to run.
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    cache: Cache,
    functions: HashMap<String, Arc<LoadedFunction>>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    staging: Arc<StagingRoom>,
    ready: Ready,
}

/// What an engine is made of.
pub struct EngineConfig {
    /// How many instances may be alive at once, over all functions.
    pub instances: u32,
    /// Where compiled components are kept.
    pub cache: Cache,
    /// Where guests log to.
    pub journal: Arc<dyn Journal>,
    /// Times what runs.
    pub clock: Clock,
    /// What instances stage is taken of this.
    pub staging: Arc<StagingRoom>,
}

impl Engine {
    /// An engine without functions.
    ///
    /// # Errors
    /// Where the system can't give the address space for so many instances.
    pub fn new(config: EngineConfig) -> Result<Self, LoadError> {
        let engine = settings::engine(config.instances)?;
        let linker = settings::linker(&engine)?;
        Ok(Self {
            engine,
            linker,
            cache: config.cache,
            functions: HashMap::new(),
            journal: config.journal,
            clock: config.clock,
            staging: config.staging,
            ready: Ready::default(),
        })
    }

    /// How many instances of a function wait for its events.
    pub fn ready(&self, function: &str) -> usize {
        let loaded = self.functions.get(function);
        loaded.map_or(0, |loaded| self.ready.of(loaded))
    }

    /// How many instances are alive beside those that run, with so many functions: those that are ready, and
    /// one of each that is being made.
    pub fn ready_for(functions: u32) -> u32 {
        let ready = functions.saturating_mul(instance::READY_EACH as u32);
        ready
            .min(instance::READY_IN_ALL as u32)
            .saturating_add(functions)
    }

    /// The functions that are loaded, in no order.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<LoadedFunction>> {
        self.functions.values()
    }
}

impl Handler for Engine {
    async fn handle(&self, function: &str, batch: &[Delivery]) -> Handled {
        match self.functions.get(function) {
            Some(loaded) => self.invoke(loaded, batch).await,
            None => Handled::fault(batch, format!("no function {function:?} is loaded")),
        }
    }

    async fn prepare(&self, function: &str) {
        if let Some(loaded) = self.functions.get(function) {
            self.make_ready(loaded).await;
        }
    }
}
