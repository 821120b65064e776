//! Runs functions: components are compiled once and cached, and each event gets a fresh instance with
//! limits of its own, gone when it returns.

mod cache;
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
        })
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
}
