//! Initialises a component when it is built: runs its init once, and makes a component of the memory that it
//! left.
//!
//! What is in a snapshot is the same in every instance to come, on whatever machine. So an init has none of
//! what the host gives a handler, but for what the manifest's `snapshot.allow` names; `link` has the rules.

mod link;
mod read;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use thiserror::Error;
use wasmtime::Store;
use wasmtime::component::{Component, Instance};
use wasmtime_wasi::I32Exit;
use wasmtime_wizer::Wizer;

use super::explain::told;
use super::limiter::{Limiter, MemoryExceeded};
use super::load::{INIT, describe};
use super::settings;
use super::state::State;
use crate::capabilities::{
    Context, GuestLog, HostCalls, LogScope, Reach, Staging, StagingLimits, Trouble,
};
use crate::clock::Clock;
use crate::config::{ByteSize, Function, Period};
use crate::ports::{Journal, Record, RecordKind, Reserved, Share, StagingRoom};
use link::Refused;
use read::Reader;

/// The least that is kept of what an init logs and prints, so that a panic has its message.
const LOG_BYTES: u64 = 64 << 10;

/// What an init runs with.
pub struct InitContext<'a> {
    /// Whose it is: its limits and its `snapshot`.
    pub function: &'a Function,
    /// What it reaches; without its being allowed, nothing.
    pub reach: Reach,
    /// Where it logs to.
    pub journal: Arc<dyn Journal>,
    /// Times it.
    pub clock: Clock,
}

/// A component that begins where its init ended.
#[derive(Debug)]
pub struct Snapshot {
    /// The component.
    pub wasm: Vec<u8>,
    /// How long it took to make.
    pub took: Duration,
}

/// How no snapshot can be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It can't be compiled, or its init isn't one.
    #[error("it can't be initialised here: {reason}; {next}")]
    Component {
        /// What the engine says.
        reason: String,
        /// What to do.
        next: &'static str,
    },
    /// The init asked for what isn't the same at each event.
    #[error("its init called `{import}`: {next}")]
    Refused {
        /// The interface and its function.
        import: String,
        /// Why it hasn't it, and what to do.
        next: &'static str,
    },
    /// The init printed.
    #[error(
        "its init printed `{first}`{}, and a component that did couldn't print at any event: handles don't \
         survive; log with `kinglet_sdk::info!`, which the build shows",
        if *more { " and more" } else { "" }
    )]
    Printed {
        /// The first line.
        first: String,
        /// Whether others follow.
        more: bool,
    },
    /// The init left handles open.
    #[error(
        "its init holds a stream or another resource of the host open, and handles don't survive; drop it"
    )]
    Handles,
    /// The init returned an error.
    #[error("its init failed: {reason}; mend it, or build with `--no-snapshot`")]
    Failed {
        /// Its text.
        reason: String,
    },
    /// The init trapped, or ended itself.
    #[error("its init didn't return: {reason}; mend it, or build with `--no-snapshot`")]
    Trap {
        /// A panic's message, or what the engine says.
        reason: String,
    },
    /// The init took too much memory.
    #[error(
        "its init wanted {wanted} bytes of memory, and `limits.memory` is \"{limit}\"; raise it, or prepare less"
    )]
    Memory {
        /// What the manifest gives.
        limit: ByteSize,
        /// What it wanted, with what it had.
        wanted: u64,
    },
    /// The init took too long.
    #[error("its init ran for longer than \"{limit}\"; raise `snapshot.timeout`, or prepare less")]
    Timeout {
        /// What the manifest gives.
        limit: Period,
    },
    /// The component has what can't be put into a snapshot.
    #[error(
        "its memory can't be put into its component: {reason}; build with `--no-snapshot`, or without what it names"
    )]
    Unsupported {
        /// What that is.
        reason: String,
    },
}

/// Runs a component's init, and gives the component that begins where that ended; none where it exports no
/// init. Of the same component, it is the same with each build, unless the clock or another config is in it.
///
/// # Errors
/// Where the init fails, asks for what it isn't allowed, or leaves what can't be kept.
pub async fn snapshot(
    wasm: &[u8],
    given: InitContext<'_>,
) -> Result<Option<Snapshot>, SnapshotError> {
    // Most components have none, and needn't be compiled to see it.
    if !wasm.windows(INIT.len()).any(|name| name == INIT.as_bytes()) {
        return Ok(None);
    }
    // What takes the component apart asserts what it expects of one.
    let taken = AssertUnwindSafe(take(wasm, given)).catch_unwind().await;
    taken.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(unsupported(text.unwrap_or("it isn't as expected")))
    })
}

async fn take(wasm: &[u8], given: InitContext<'_>) -> Result<Option<Snapshot>, SnapshotError> {
    let watch = given.clock.stopwatch();
    let engine = settings::build_engine(false).map_err(cannot_run)?;
    let compiled = Component::new(&engine, wasm).map_err(cannot_run)?;
    if compiled.get_export_index(None, INIT).is_none() {
        return Ok(None);
    }
    let wizer = Wizer::new();
    let (parts, instrumented) = wizer.instrument_component(wasm).map_err(unsupported_by)?;
    let instrumented = Component::new(&engine, instrumented).map_err(cannot_run)?;
    let mut run = Run::new(&engine, wasm, &instrumented, given)?;
    let instance = run.init(&instrumented).await?;
    // Each memory is read through a page that is added to it.
    run.store.data_mut().limiter.lift();
    let mut reader = Reader::new(&mut run.store, instance);
    let taken = wizer.snapshot_component(&parts, &mut reader).await;
    if let Some(error) = reader.failed {
        return Err(unsupported(&format!("it can't be read, {error:#}")));
    }
    let taken = taken.map_err(unsupported_by)?;
    let made = Component::new(&engine, &taken).map_err(unsupported_by)?;
    if describe(&made) != describe(&compiled) {
        return Err(unsupported("what it exports and imports would change"));
    }
    Ok(Some(Snapshot {
        wasm: taken,
        took: watch.elapsed(),
    }))
}

/// The one instance that an init runs in.
struct Run<'a> {
    store: Store<State>,
    linker: wasmtime::component::Linker<State>,
    function: &'a Function,
    log: GuestLog,
    heard: Arc<Heard>,
    /// What it asked for and was answered with nothing.
    asked: Arc<OnceLock<Refused>>,
}

impl<'a> Run<'a> {
    fn new(
        engine: &wasmtime::Engine,
        wasm: &[u8],
        component: &Component,
        given: InitContext<'a>,
    ) -> Result<Self, SnapshotError> {
        let function = given.function;
        let limits = &function.limits;
        let heard = Arc::new(Heard {
            next: given.journal,
            printed: Mutex::default(),
        });
        let journal: Arc<dyn Journal> = heard.clone();
        let scope = LogScope::of(&function.name, &[]);
        let log = GuestLog::new(scope, journal, given.clock, limits.log.0.max(LOG_BYTES));
        let context = Context {
            reach: Arc::new(given.reach),
            staging: Staging::new(
                0,
                StagingLimits::default(),
                Reserved::none(Arc::new(StagingRoom::new(0)), Share::endless()),
            ),
            log: log.clone(),
            trouble: Trouble::default(),
            room: limits.memory.0,
            held: 0,
            side_by_side: Arc::default(),
            calls: Arc::new(HostCalls::new(limits.host_calls.0)),
        };
        let state = State::new(context, Limiter::new(limits.memory.0, Share::endless()));
        let mut store = Store::new(engine, state);
        store.limiter(|state| state);
        let asked = Arc::default();
        let linker = link::linker(engine, wasm, component, function, &asked);
        let linker = linker.map_err(cannot_run)?;
        // An init is bounded by its time: it is run once, and where it runs nobody else waits.
        store
            .set_fuel(u64::MAX)
            .and_then(|()| store.fuel_async_yield_interval(Some(super::invoke::YIELD_EVERY_FUEL)))
            .map_err(cannot_run)?;
        Ok(Self {
            store,
            linker,
            function,
            log,
            heard,
            asked,
        })
    }

    async fn init(&mut self, component: &Component) -> Result<Instance, SnapshotError> {
        let limit = self.function.snapshot.timeout;
        let called = tokio::time::timeout(limit.0, self.call(component)).await;
        self.log.finish();
        let (instance, returned) = match called {
            Err(_) => return Err(SnapshotError::Timeout { limit }),
            Ok(Err(error)) => return Err(self.explain(&error)),
            Ok(Ok(ended)) => ended,
        };
        let printed = self.heard.printed();
        if let Err(reason) = returned {
            return Err(match self.asked.get() {
                Some(refused) if printed.is_empty() => refused.clone().into(),
                _ => SnapshotError::Failed { reason },
            });
        }
        if let [first, rest @ ..] = printed.as_slice() {
            return Err(SnapshotError::Printed {
                first: first.clone(),
                more: !rest.is_empty(),
            });
        }
        if let Some(refused) = self.asked.get() {
            return Err(refused.clone().into());
        }
        if self.store.data().holds_handles() {
            return Err(SnapshotError::Handles);
        }
        Ok(instance)
    }

    async fn call(
        &mut self,
        component: &Component,
    ) -> wasmtime::Result<(Instance, Result<(), String>)> {
        let Self { store, linker, .. } = self;
        let interface = component.get_export_index(None, INIT);
        let run = interface.and_then(|at| component.get_export_index(Some(&at), "run"));
        let run = run.ok_or(NoInit)?;
        let instance = linker.instantiate_async(&mut *store, component).await?;
        let run = instance.get_typed_func::<(), (Result<(), String>,)>(&mut *store, run);
        let (returned,) = run.map_err(|_| NoInit)?.call_async(store, ()).await?;
        Ok((instance, returned))
    }

    fn explain(&self, error: &wasmtime::Error) -> SnapshotError {
        if let Some(MemoryExceeded { wanted, .. }) = error.downcast_ref() {
            return SnapshotError::Memory {
                limit: self.function.limits.memory,
                wanted: *wanted,
            };
        }
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return refused.clone().into();
        }
        if error.is::<NoInit>() {
            return SnapshotError::Component {
                reason: NoInit.to_string(),
                next: "build it with this version's SDK",
            };
        }
        let reason = if let Some(exit) = error.downcast_ref::<I32Exit>() {
            format!("it ended itself with exit status {}", exit.0)
        } else if let Some(message) = self.log.panic_message() {
            message
        } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
            trap.to_string()
        } else {
            told(format_args!("{error:#}"))
        };
        SnapshotError::Trap { reason }
    }
}

/// What is exported under the init's name has another type.
#[derive(Debug, Error)]
#[error("its `kinglet:events/init` doesn't have the contract's type")]
struct NoInit;

impl From<Refused> for SnapshotError {
    fn from(refused: Refused) -> Self {
        Self::Refused {
            import: refused.import,
            next: refused.next,
        }
    }
}

/// Passes on what an init logs, and keeps what it prints.
struct Heard {
    next: Arc<dyn Journal>,
    printed: Mutex<Vec<String>>,
}

impl Heard {
    fn printed(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Heard {
    fn write(&self, record: Record) {
        match record.kind {
            RecordKind::Output { text, .. } => self.printed().push(text),
            _ => self.next.write(record),
        }
    }
}

fn cannot_run(error: wasmtime::Error) -> SnapshotError {
    SnapshotError::Component {
        reason: told(format_args!("{error:#}")),
        next: "a function with an init keeps to WASI 0.2",
    }
}

fn unsupported(reason: &str) -> SnapshotError {
    SnapshotError::Unsupported {
        reason: reason.to_owned(),
    }
}

fn unsupported_by(error: wasmtime::Error) -> SnapshotError {
    unsupported(&told(format_args!("{error:#}")))
}
