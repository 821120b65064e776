//! Runs functions: components are compiled once and cached, and each event gets a fresh instance with
//! limits of its own, gone when it returns.

mod apart;
mod cache;
mod compile;
mod explain;
mod http;
mod instance;
mod interfaces;
mod invoke;
mod likely;
mod limiter;
mod load;
mod notes;
mod pace;
mod random;
mod seal;
mod settings;
mod snapshot;
mod state;
mod sweep;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use cache::{Cache, CacheUse};
pub use compile::{CompileLimits, Compiler, compile, confine};
pub use interfaces::{Interface, InterfaceFunction, Interfaces, NotAComponent, routes_of};
pub use load::{Handlers, LoadError, LoadedFunction};
pub use notes::Notes;
pub use snapshot::{InitContext, Snapshot, SnapshotError, snapshot};

use self::http::{BODIES, Keys};
use crate::clock::Clock;
use crate::ports::{Budget, Delivery, Effects, Handled, Handler, Journal, StagingRoom};
use apart::{Apart, Moving};
use instance::Ready;
use load::Loader;
use settings::MAX_PLACES;
use sweep::Sweep;

/// Everything that the functions of an application need to run.
pub struct Engine {
    loader: Arc<Loader>,
    functions: HashMap<String, Arc<LoadedFunction>>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    staging: Arc<StagingRoom>,
    budget: Arc<Budget>,
    ready: Arc<Ready>,
    sweep: Sweep,
    apart: Arc<Apart>,
    /// None where no requests are answered.
    effects: Option<Arc<dyn Effects>>,
    keys: Arc<Keys>,
    /// For the bodies of requests that are kept.
    bodies: Arc<Budget>,
    /// The places of instances in each pool.
    room: Arc<Semaphore>,
    places: usize,
}

/// What an engine is made of.
pub struct EngineConfig {
    /// The places of instances, over all functions; more wait. An instance takes one, but for those of
    /// components with several linear memories or many tables.
    pub instances: u32,
    /// Where compiled components are kept.
    pub cache: Cache,
    /// How far compiling one may go.
    pub compile: CompileLimits,
    /// Where guests log to.
    pub journal: Arc<dyn Journal>,
    /// Times what runs.
    pub clock: Clock,
    /// What instances stage is taken of this.
    pub staging: Arc<StagingRoom>,
    /// The memory that instances have together.
    pub budget: Arc<Budget>,
    /// What commits the effects of requests; without it they have none.
    pub effects: Option<Arc<dyn Effects>>,
}

impl Engine {
    /// An engine without functions.
    ///
    /// # Errors
    /// Where the system can't give the address space for so many instances.
    pub fn new(config: EngineConfig) -> Result<Self, LoadError> {
        let ready = Arc::new(Ready::new(Arc::clone(&config.budget)));
        let spare = Arc::downgrade(&ready);
        let give_up = move || spare.upgrade().is_some_and(|ready| ready.give_up());
        config.budget.give_up_with(give_up);
        let budget = Arc::clone(&config.budget);
        let places = config.instances.max(MAX_PLACES);
        Ok(Self {
            loader: Arc::new(Loader::new(places, config.cache, config.compile, budget)?),
            functions: HashMap::new(),
            journal: config.journal,
            clock: config.clock,
            staging: config.staging,
            budget: config.budget,
            ready,
            sweep: Sweep::default(),
            apart: Arc::default(),
            effects: config.effects,
            keys: Arc::default(),
            bodies: Arc::new(Budget::new(BODIES)),
            room: Arc::new(Semaphore::new(places as usize)),
            places: places as usize,
        })
    }

    /// How many instances of a function wait for its events.
    pub fn ready(&self, function: &str) -> usize {
        let loaded = self.functions.get(function);
        loaded.map_or(0, |loaded| self.ready.of(loaded))
    }

    /// Returns how many places are taken, those of ready instances among them.
    pub fn alive(&self) -> usize {
        self.places.saturating_sub(self.room.available_permits())
    }

    /// Returns how many places instances take beside those that run, with this many functions: those that are
    /// ready, and one of each that is being made. Where all that are ready wait, the largest has room.
    pub fn ready_for(functions: u32) -> u32 {
        let ready = functions.saturating_mul(instance::READY_EACH as u32);
        ready
            .min(instance::READY_IN_ALL as u32)
            .saturating_add(functions.max(MAX_PLACES))
    }

    /// Loads what isn't loaded yet, and makes an instance of each function ready while there is room: until told to
    /// stop.
    pub async fn warm_up(&self, stop: impl Fn() -> bool) {
        for function in self.functions.values() {
            if stop() {
                return;
            }
            // What is wrong is told when an event comes.
            if function.entry(&self.loader).await.is_ok() && self.ready.has_room(function) {
                self.make_ready(function).await;
            }
        }
    }

    /// The functions that are loaded, in no order.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<LoadedFunction>> {
        self.functions.values()
    }
}

impl Handler for Engine {
    async fn handle(self: &Arc<Self>, function: &str, batch: &Arc<Vec<Delivery>>) -> Handled {
        let Some(loaded) = self.functions.get(function) else {
            return Handled::fault(batch, format!("no function {function:?} is loaded"));
        };
        let (engine, function) = (Arc::clone(self), Arc::clone(loaded));
        let batch = Arc::clone(batch);
        let work = async move { engine.invoke(&function, &batch).await };
        Moving::new(&self.apart, loaded, work).await
    }

    fn apart(&self, function: &str) -> Option<&Handle> {
        let loaded = self.functions.get(function)?;
        let handle = loaded
            .likely
            .computes_for_long()
            .then(|| self.apart.handle());
        handle.flatten()
    }

    async fn prepare(&self, function: &str) {
        if let Some(loaded) = self.functions.get(function) {
            self.make_ready(loaded).await;
        }
    }
}
