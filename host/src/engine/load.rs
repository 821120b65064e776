//! From a component's bytes to a function that can be invoked: what it exports must serve what wakes
//! it, and what it imports must be known.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use thiserror::Error;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::Engine;
use super::cache::{Cache, CacheUse, FileVersion, Known, digest};
use super::settings::Runtime;
use super::state::State;
use crate::bindings::batch_function::BatchFunctionPre;
use crate::bindings::message_function::MessageFunctionPre;
use crate::bindings::object_function::ObjectFunctionPre;
use crate::capabilities::Reach;
use crate::config::{ByteSize, Function, Limits, Source};
use crate::ports::visible;

const OBJECT_CREATED: &str = "kinglet:events/object-created@0.1.0";
const MESSAGE: &str = "kinglet:events/message@0.1.0";
/// Of any version 0.2: they are compatible.
const HTTP: &str = "wasi:http/incoming-handler@0.2.";
/// The same of 0.3.
const SERVICE: &str = "wasi:http/handler@0.3.";
const MESSAGE_BATCH: &str = "kinglet:events/message-batch@0.1.0";
/// Of WebAssembly, without its proposal for pages of other sizes.
const PAGE_BYTES: u64 = 64 << 10;
/// Called by `kinglet build` alone.
pub(super) const INIT: &str = "kinglet:events/init@0.1.0";

/// How a function fails to load.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The pool can't be made.
    #[error("can't set up room for {instances} instances: {reason}; lower `limits.concurrency`")]
    Engine {
        /// How many were wanted.
        instances: u32,
        /// Why not.
        reason: String,
    },
    /// The host's own interfaces clash.
    #[error("can't link the host's interfaces: {reason}")]
    Link {
        /// Why not.
        reason: String,
    },
    /// A component's file.
    #[error("function {function:?}: can't read {path}: {reason}; {next}")]
    Read {
        /// The function's name.
        function: String,
        /// The file.
        path: String,
        /// Why not.
        reason: String,
        /// What to do.
        next: &'static str,
    },
    /// What is there isn't what was there when the host started.
    #[error(
        "function {function:?}: {path} changed since the host started, and what was compiled from it is gone; start \
         the host again"
    )]
    Changed {
        /// The function's name.
        function: String,
        /// The file.
        path: String,
    },
    /// The bytes aren't a component that this engine runs.
    #[error("function {function:?}: {hint}: {reason}")]
    Component {
        /// The function's name.
        function: String,
        /// What is likely wrong, and what to do.
        hint: &'static str,
        /// What the engine says.
        reason: String,
    },
    /// The component lacks the handler for its trigger.
    #[error(
        "function {function:?} is woken by `{trigger}`, but its component exports {exported}; use {handler}, or \
         change `on`"
    )]
    NoHandler {
        /// The function's name.
        function: String,
        /// What the manifest says.
        trigger: &'static str,
        /// What there is.
        exported: String,
        /// What it should have.
        handler: &'static str,
    },
    /// No instance could ever be made.
    #[error(
        "function {function:?}: each instance of its component begins with {initial} bytes of memory, and \
         `limits.memory` is \"{limit}\"; raise it, or have the init of the function leave less"
    )]
    Memory {
        /// The function's name.
        function: String,
        /// What its largest memory begins with.
        initial: u64,
        /// What the manifest gives.
        limit: ByteSize,
    },
    /// The component asks for something that this host hasn't.
    #[error(
        "function {function:?}: {reason}; this host has `kinglet:events@0.1.0`, WASI 0.2 (and for HTTP 0.3), \
         `wasi:config@0.2.0-rc.1`, `wasi:logging@0.1.0-draft`, and `wasi:keyvalue` of 0.2.0-draft and \
         0.2.0-draft2"
    )]
    UnknownImport {
        /// The function's name.
        function: String,
        /// Which import, in the engine's words.
        reason: String,
    },
}

/// A function that can be invoked.
pub struct LoadedFunction {
    /// Its name.
    pub name: String,
    /// How far each of its events may go.
    pub limits: Limits,
    /// What it may reach.
    pub reach: Arc<Reach>,
    /// How many requests one of its instances answers.
    pub reuse: u32,
    /// Whether it had to be compiled.
    pub cache: CacheUse,
    /// What it exports and imports, for people.
    pub handlers: Handlers,
    kind: Kind,
    /// Whether it runs in the engine for concurrent tasks.
    concurrent: bool,
    path: PathBuf,
    /// Of the component.
    digest: String,
    /// Loaded when first needed, where the cache says all that a start must know.
    entry: OnceCell<Entry>,
    /// Requests at once.
    pub(super) permits: Semaphore,
    /// Held by whoever makes an instance ready.
    pub(super) readying: Mutex<()>,
    /// Whether its start asks the host for something, so that none is made before its event.
    asks_at_start: AtomicBool,
}

/// What a component offers and asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Handlers {
    /// The names of its exports.
    pub exports: Vec<String>,
    /// The names of its imports.
    pub imports: Vec<String>,
}

/// The handler that serves the function's trigger.
pub(super) enum Entry {
    Object(ObjectFunctionPre<State>),
    Message(MessageFunctionPre<State>),
    Batch(BatchFunctionPre<State>),
    Http(ProxyPre<State>),
    Service(ServicePre<State>),
}

impl Entry {
    pub fn engine(&self) -> &wasmtime::Engine {
        match self {
            Self::Object(pre) => pre.engine(),
            Self::Message(pre) => pre.engine(),
            Self::Batch(pre) => pre.engine(),
            Self::Http(pre) => pre.engine(),
            Self::Service(pre) => pre.engine(),
        }
    }
}

impl LoadedFunction {
    /// Whether one invocation takes several messages.
    pub fn takes_batches(&self) -> bool {
        matches!(self.kind, Kind::Batch)
    }

    pub(super) fn asks_at_start(&self) -> bool {
        self.asks_at_start.load(Ordering::Relaxed)
    }

    pub(super) fn note_asks_at_start(&self) {
        self.asks_at_start.store(true, Ordering::Relaxed);
    }
}

/// Whether a function's code is loaded with it, or when it is first needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// With it: every problem that it has is found.
    Now,
    /// When it is first needed, where the cache knows the component.
    Needed,
}

/// Makes functions of components.
pub(super) struct Loader {
    plain: Runtime,
    /// Made when the first component of WASI 0.3 comes: it reserves as much address space as the other.
    concurrent: OnceLock<Runtime>,
    instances: u32,
    cache: Cache,
}

/// A component that was read and compiled.
struct Compiled {
    component: Component,
    cache: CacheUse,
    concurrent: bool,
}

impl LoadedFunction {
    /// What is instantiated, loaded if it isn't yet.
    pub(super) async fn entry(self: &Arc<Self>, loader: &Arc<Loader>) -> Result<&Entry, LoadError> {
        let load = async || {
            let (function, loader) = (Arc::clone(self), Arc::clone(loader));
            let loading = tokio::task::spawn_blocking(move || loader.load_needed(&function));
            loading.await.unwrap_or_else(|error| {
                Err(LoadError::Component {
                    function: self.name.clone(),
                    hint: "its component can't be loaded",
                    reason: error.to_string(),
                })
            })
        };
        match self.entry.get() {
            Some(entry) => Ok(entry),
            None => self.entry.get_or_try_init(load).await,
        }
    }

    /// What is instantiated, if it is loaded.
    pub(super) fn loaded(&self) -> Option<&Entry> {
        self.entry.get()
    }

    fn changed(&self) -> LoadError {
        LoadError::Changed {
            function: self.name.clone(),
            path: self.path.display().to_string(),
        }
    }
}

impl Engine {
    /// Adds a function whose component is at `path`, compiling it or taking it from the cache, and checks it
    /// against what wakes the function. Long work: call it off the async threads.
    ///
    /// # Errors
    /// Where the component can't be read, or can't serve the function.
    pub fn load(
        &mut self,
        function: &Function,
        path: &Path,
        reach: Reach,
        when: When,
    ) -> Result<Arc<LoadedFunction>, LoadError> {
        let answers = matches!(function.on.source(), Source::Http(_));
        let known = match when {
            // Who answers no requests never runs in the engine for concurrent tasks.
            When::Needed => self
                .loader
                .known(path)?
                .filter(|known| answers || !known.concurrent),
            When::Now => None,
        };
        let entry = OnceCell::new();
        let (digest, handlers, cache, kind, concurrent) = match known {
            Some(known) => {
                let kind = choose(function, &known.handlers)?;
                check_memory(function, known.initial_memory)?;
                let Known {
                    digest,
                    handlers,
                    concurrent,
                    ..
                } = known;
                (digest, handlers, CacheUse::Hit, kind, concurrent)
            }
            None => {
                let version = FileVersion::of(path);
                let wasm = read(function, path)?;
                let compiled = self.loader.compile(&function.name, &wasm, answers)?;
                let handlers = describe(&compiled.component);
                let kind = choose(function, &handlers)?;
                let initial_memory = initial_memory(&compiled.component);
                check_memory(function, initial_memory)?;
                let concurrent = compiled.concurrent;
                let _ = entry.set(self.loader.entry(&function.name, kind, &compiled)?);
                if let Ok(version) = version {
                    let known = Known {
                        version,
                        digest: digest(&wasm),
                        handlers: handlers.clone(),
                        initial_memory,
                        concurrent,
                    };
                    self.loader.note(path, &known);
                }
                (digest(&wasm), handlers, compiled.cache, kind, concurrent)
            }
        };
        let name = function.name.clone();
        let loaded = Arc::new(LoadedFunction {
            name: name.clone(),
            limits: function.limits.clone(),
            reach: Arc::new(reach),
            reuse: function.on.reuse.unwrap_or(1),
            cache,
            handlers,
            kind,
            concurrent,
            path: path.to_owned(),
            digest,
            entry,
            permits: Semaphore::new(function.limits.concurrency),
            readying: Mutex::new(()),
            asks_at_start: AtomicBool::new(false),
        });
        self.functions.insert(name, Arc::clone(&loaded));
        Ok(loaded)
    }
}

fn read(function: &Function, path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| LoadError::Read {
        function: function.name.clone(),
        path: path.display().to_string(),
        reason: error.to_string(),
        next: match &function.source {
            Some(_) => "run `kinglet build` first",
            None => "build the component, or correct `component`",
        },
    })
}

impl Loader {
    /// For so many instances at once.
    pub fn new(instances: u32, cache: Cache) -> Result<Self, LoadError> {
        Ok(Self {
            plain: Runtime::new(instances, false)?,
            concurrent: OnceLock::new(),
            instances,
            cache,
        })
    }

    fn runtime(&self, concurrent: bool) -> Result<&Runtime, LoadError> {
        if !concurrent {
            return Ok(&self.plain);
        }
        if let Some(runtime) = self.concurrent.get() {
            return Ok(runtime);
        }
        let runtime = Runtime::new(self.instances, true)?;
        Ok(self.concurrent.get_or_init(|| runtime))
    }

    /// What the file at `path` was found to be, where it and what was compiled from it are there still.
    fn known(&self, path: &Path) -> Result<Option<Known>, LoadError> {
        let Some(known) = self.cache.known(&self.plain.engine, path) else {
            return Ok(None);
        };
        let engine = &self.runtime(known.concurrent)?.engine;
        let there = self.cache.has(engine, &known.digest);
        Ok(there.then_some(known))
    }

    fn note(&self, path: &Path, known: &Known) {
        self.cache.note(&self.plain.engine, path, known);
    }

    /// Loads what a start left for later: what was compiled then.
    fn load_needed(&self, function: &LoadedFunction) -> Result<Entry, LoadError> {
        let concurrent = function.concurrent;
        let engine = &self.runtime(concurrent)?.engine;
        let compiled = match self.cache.compiled(engine, &function.digest) {
            Some(component) => Compiled {
                component,
                cache: CacheUse::Hit,
                concurrent,
            },
            // Somebody emptied the cache.
            None => match std::fs::read(&function.path) {
                Ok(wasm) if digest(&wasm) == function.digest => {
                    self.compile(&function.name, &wasm, concurrent)?
                }
                _ => return Err(function.changed()),
            },
        };
        self.entry(&function.name, function.kind, &compiled)
    }

    /// Compiles a component, or takes it from the cache. One of WASI 0.3 is refused by the plain engine, and may go
    /// to the other where that serves its trigger.
    fn compile(
        &self,
        function: &str,
        wasm: &[u8],
        concurrent: bool,
    ) -> Result<Compiled, LoadError> {
        let mut found = self.compile_for(wasm, false);
        if concurrent && found.is_err() {
            self.runtime(true)?;
            found = self.compile_for(wasm, true);
        }
        found.map_err(|error| LoadError::Component {
            function: function.to_owned(),
            hint: hint(wasm),
            reason: told(&error),
        })
    }

    fn compile_for(&self, wasm: &[u8], concurrent: bool) -> wasmtime::Result<Compiled> {
        let engine = &self.runtime(concurrent)?.engine;
        let (component, cache) = self.cache.component(engine, wasm)?;
        Ok(Compiled {
            component,
            cache,
            concurrent,
        })
    }

    fn entry(&self, function: &str, kind: Kind, compiled: &Compiled) -> Result<Entry, LoadError> {
        let linker = &self.runtime(compiled.concurrent)?.linker;
        let pre = linker.instantiate_pre(&compiled.component);
        let pre = pre.map_err(|error| LoadError::UnknownImport {
            function: function.to_owned(),
            reason: told(&error),
        })?;
        kind.entry(pre).map_err(|error| LoadError::Component {
            function: function.to_owned(),
            hint: "its handler doesn't have the contract's types; build it with this version's SDK",
            reason: told(&error),
        })
    }
}

/// What a component offers and asks for. Its init isn't for events.
pub(super) fn describe(component: &Component) -> Handlers {
    let (ty, engine) = (component.component_type(), component.engine());
    let mut handlers = Handlers::default();
    for (name, item) in ty.exports(engine) {
        if matches!(item.ty, ComponentItem::ComponentInstance(_)) && name != INIT {
            handlers.exports.push(name.to_owned());
        }
    }
    handlers.imports = ty
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    handlers
}

/// What the largest memory of a component begins with, in bytes.
fn initial_memory(component: &Component) -> u64 {
    let required = component.resources_required();
    let pages = required.and_then(|required| required.max_initial_memory_size);
    pages.unwrap_or(0).saturating_mul(PAGE_BYTES)
}

fn check_memory(function: &Function, initial: u64) -> Result<(), LoadError> {
    let limit = function.limits.memory;
    if initial > limit.0 {
        return Err(LoadError::Memory {
            function: function.name.clone(),
            initial,
            limit,
        });
    }
    Ok(())
}

/// Which handler is called.
#[derive(Clone, Copy)]
enum Kind {
    Object,
    Message,
    Batch,
    Http,
    Service,
}

impl Kind {
    fn entry(self, pre: InstancePre<State>) -> wasmtime::Result<Entry> {
        Ok(match self {
            Self::Object => Entry::Object(ObjectFunctionPre::new(pre)?),
            Self::Message => Entry::Message(MessageFunctionPre::new(pre)?),
            Self::Batch => Entry::Batch(BatchFunctionPre::new(pre)?),
            Self::Http => Entry::Http(ProxyPre::new(pre)?),
            Self::Service => Entry::Service(ServicePre::new(pre)?),
        })
    }
}

fn choose(function: &Function, handlers: &Handlers) -> Result<Kind, LoadError> {
    let exports = |name: &str| handlers.exports.iter().any(|export| export == name);
    let exports_some = |start: &str| handlers.exports.iter().any(|name| name.starts_with(start));
    let wants_batches = function.on.batch_size.is_some() || function.on.batch_window.is_some();
    let (trigger, handler) = match function.on.source() {
        Source::Bucket(_) if exports(OBJECT_CREATED) => return Ok(Kind::Object),
        Source::Bucket(_) => ("object-created", "`#[kinglet_sdk::object_created]`"),
        Source::Schedule(_) if exports(MESSAGE) => return Ok(Kind::Message),
        Source::Schedule(_) => ("schedule", "`#[kinglet_sdk::message]`"),
        Source::Http(_) if exports_some(HTTP) => return Ok(Kind::Http),
        Source::Http(_) if exports_some(SERVICE) => return Ok(Kind::Service),
        Source::Http(_) => (
            "http",
            "an export of `wasi:http/incoming-handler` 0.2 or `wasi:http/handler` 0.3",
        ),
        Source::Topic(_) if exports(MESSAGE_BATCH) && (wants_batches || !exports(MESSAGE)) => {
            return Ok(Kind::Batch);
        }
        Source::Topic(_) if wants_batches => {
            ("message with a batch", "`#[kinglet_sdk::message_batch]`")
        }
        Source::Topic(_) if exports(MESSAGE) => return Ok(Kind::Message),
        Source::Topic(_) => ("message", "`#[kinglet_sdk::message]`"),
    };
    let exported = match handlers.exports.as_slice() {
        [] => "no handler at all".to_owned(),
        names => names.join(", "),
    };
    Err(LoadError::NoHandler {
        function: function.name.clone(),
        trigger,
        exported,
        handler,
    })
}

/// What the engine says of a component, with names that are whatever its author wrote.
fn told(error: &wasmtime::Error) -> String {
    visible(&format!("{error:#}"))
}

/// What bytes that don't load probably are.
fn hint(wasm: &[u8]) -> &'static str {
    match wasm.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            "its file is a core module; build it with `cargo build --target wasm32-wasip2`"
        }
        Some([0, b'a', b's', b'm', ..]) => {
            "its component can't run here; functions of events keep to WASI 0.2 and plain functions"
        }
        _ => "its file isn't WebAssembly; see `component`",
    }
}
