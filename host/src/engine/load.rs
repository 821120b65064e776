//! From a component's bytes to a function that can be invoked: what it exports must serve what wakes
//! it, and what it imports must be known.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{self, Arc, OnceLock, PoisonError};

use thiserror::Error;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::Engine;
use super::cache::{Cache, CacheUse, digest};
use super::compile::{CompileError, CompileLimits};
use super::explain::told;
use super::likely::Likely;
use super::notes::{FileVersion, Known, Notes};
use super::pace::Pace;
use super::settings::{Runtime, places};
use super::state::State;
use crate::bindings::batch_function::BatchFunctionPre;
use crate::bindings::message_function::MessageFunctionPre;
use crate::bindings::object_function::ObjectFunctionPre;
use crate::bindings::types;
use crate::capabilities::Reach;
use crate::config::{ByteSize, Function, Limits, Period, Source};
use crate::files::{self, FileError};
use crate::guard::{self, Guard};
use crate::ports::{Budget, NAME_BYTES, REASON_BYTES, shorten};

const OBJECT_CREATED: &str = "kinglet:events/object-created@0.1.0";
const MESSAGE: &str = "kinglet:events/message@0.1.0";
/// Of any version 0.2: they are compatible.
const HTTP: &str = "wasi:http/incoming-handler@0.2.";
/// The same of 0.3.
const SERVICE: &str = "wasi:http/handler@0.3.";
const MESSAGE_BATCH: &str = "kinglet:events/message-batch@0.1.0";
/// So much a call of `wasi:http` or `wasi:sockets` may be given: all fields of a response, twice.
const ARGUMENTS_OF_WASI: u64 = 256 << 10;
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
        next: String,
    },
    /// A file of another kind.
    #[error("function {function:?}: {path} isn't WebAssembly: {found}")]
    NotWasm {
        /// The function's name.
        function: String,
        /// The file.
        path: String,
        /// Its kind, and what to do.
        found: String,
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
    /// It takes too long.
    #[error(
        "function {function:?}: compiling its component takes longer than {timeout} of processor time; raise \
         `compile.timeout`, or make the component smaller"
    )]
    CompileTime {
        /// The function's name.
        function: String,
        /// What the manifest gives.
        timeout: Period,
    },
    /// The machine is too busy to compile it.
    #[error(
        "function {function:?}: compiling its component got too little processor time to end within {waited}; stop \
         what keeps the processors busy, and try again"
    )]
    CompileStalled {
        /// The function's name.
        function: String,
        /// The time that the host waited.
        waited: Period,
    },
    /// It takes too much.
    #[error(
        "function {function:?}: compiling its component takes more than {memory} of memory; raise `compile.memory`, \
         or make the component smaller"
    )]
    CompileMemory {
        /// The function's name.
        function: String,
        /// What the manifest gives.
        memory: ByteSize,
    },
    /// No instance of it has room in the pool.
    #[error(
        "function {function:?}: its component exceeds an instance's bounds: {excess}; compose it of fewer components, \
         or make several functions of it"
    )]
    TooLarge {
        /// The function's name.
        function: String,
        /// The bound, and the component's figure.
        excess: String,
    },
    /// The component hands its requests on to another that isn't there.
    #[error(
        "function {function:?}: its component imports `{import}`, as a middleware does, to hand requests on to another \
         component; compose it with one that answers them: `wac plug MIDDLEWARE.wasm --plug HANDLER.wasm -o \
         COMPOSED.wasm`"
    )]
    Middleware {
        /// The function's name.
        function: String,
        /// The import that another component must serve.
        import: String,
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
         `wasi:config` of 0.2.0-rc.1, 0.2.0-draft and 0.2.0-draft-2024-09-27, `wasi:logging@0.1.0-draft`, \
         `wasi:keyvalue` of 0.2.0-draft and 0.2.0-draft2, and of Spin `spin:key-value@3.0.0`, \
         `spin:variables@3.0.0` and `key-value` and `variables` of `fermyon:spin@2.0.0`"
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
    /// What each instance begins with, in bytes.
    initial_memory: u64,
    /// The places of the pool that each instance takes.
    pub(super) places: u32,
    pub(super) likely: Likely,
    pub(super) pace: Pace,
    /// What the arguments of one host call may take, in bytes.
    pub(super) arguments: usize,
    /// Whether it runs in the engine for concurrent tasks.
    concurrent: bool,
    path: PathBuf,
    /// Of the component.
    digest: String,
    /// Loaded when first needed, where the cache says all that a start must know.
    entry: OnceCell<Entry>,
    /// How many attempts or requests run at once.
    pub(super) concurrency: usize,
    /// Of requests.
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

    /// Whether it is granted anything that it could change.
    pub(super) fn may_have_effects(&self) -> bool {
        let grants = &self.reach.grants;
        !(grants.write.is_empty() && grants.publish.is_empty() && grants.keyvalue.is_empty())
    }

    /// What each instance begins with, in bytes.
    pub(super) fn initial_memory(&self) -> u64 {
        self.initial_memory
    }

    /// The memory that an instance is likely to take.
    pub(super) fn likely_memory(&self) -> u64 {
        let likely = self.likely.memory();
        likely.max(self.initial_memory).min(self.limits.memory.0)
    }

    pub(super) fn asks_at_start(&self) -> bool {
        self.asks_at_start.load(Ordering::Relaxed)
    }

    pub(super) fn note_asks_at_start(&self) {
        self.asks_at_start.store(true, Ordering::Relaxed);
    }
}

/// Makes functions of components.
pub(super) struct Loader {
    plain: Runtime,
    /// Made when the first component of WASI 0.3 comes: it reserves as much address space as the other.
    concurrent: OnceLock<Runtime>,
    instances: u32,
    cache: Cache,
    compile: CompileLimits,
    budget: Arc<Budget>,
    /// The digests of the components whose code is in memory.
    mapped: sync::Mutex<HashSet<String>>,
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
    /// What is noted of the components of the application in that folder.
    pub fn notes(&self, application: &Path) -> Notes {
        let loader = &self.loader;
        Notes::read(&loader.cache, &loader.plain.engine, application)
    }

    /// Keeps the notes for the next start.
    pub fn keep(&self, notes: Notes) {
        notes.keep(&self.loader.cache);
    }

    /// Adds a function whose component is at `path`, compiling it or taking it from the cache, and checks it
    /// against what wakes the function. With notes that know the component its code is loaded when it is first
    /// needed; without them every problem that it has is found now. Long work: call it off the async threads.
    ///
    /// # Errors
    /// Where the component can't be read, or can't serve the function.
    pub fn load(
        &mut self,
        function: &Function,
        path: &Path,
        reach: Reach,
        mut notes: Option<&mut Notes>,
    ) -> Result<Arc<LoadedFunction>, LoadError> {
        let answers = matches!(function.on.source(), Source::Http(_));
        // Before it is read: what is written meanwhile is another version.
        let version = FileVersion::of(path).ok();
        let known = version.and_then(|version| notes.as_mut()?.known(version));
        // Who answers no requests never runs in the engine for concurrent tasks.
        let known = known.filter(|known| answers || !known.concurrent);
        // Another handler of the same component may have other types than the contract's.
        let known = match known {
            Some(known) => {
                let kind = choose(function, &known.handlers)?;
                known.kinds.contains(&kind).then_some((known, kind))
            }
            None => None,
        };
        let entry = OnceCell::new();
        let (digest, handlers, cache, kind, concurrent, initial_memory, places) = match known {
            Some((known, kind)) => {
                check_memory(function, known.initial_memory)?;
                (
                    known.digest.clone(),
                    known.handlers.clone(),
                    CacheUse::Hit,
                    kind,
                    known.concurrent,
                    known.initial_memory,
                    known.places,
                )
            }
            None => {
                let wasm = read(function, path, self.loader.compile.memory)?;
                let digest = digest(&wasm);
                let compiled = self.loader.compile(&function.name, &wasm, answers)?;
                let handlers = describe(&compiled.component);
                let kind = choose(function, &handlers)?;
                check_composed(function, &handlers)?;
                let initial_memory = initial_memory(&compiled.component);
                check_memory(function, initial_memory)?;
                let places = places(&compiled.component);
                let concurrent = compiled.concurrent;
                let _ = entry.set(
                    self.loader
                        .entry(&function.name, kind, &digest, &compiled)?,
                );
                if let (Some(version), Some(notes)) = (version, notes) {
                    let known = Known {
                        digest: digest.clone(),
                        handlers: handlers.clone(),
                        kinds: vec![kind],
                        initial_memory,
                        concurrent,
                        places,
                    };
                    notes.note(version, known);
                }
                (
                    digest,
                    handlers,
                    compiled.cache,
                    kind,
                    concurrent,
                    initial_memory,
                    places,
                )
            }
        };
        let name = function.name.clone();
        let loaded = Arc::new(LoadedFunction {
            name: name.clone(),
            limits: function.limits.clone(),
            reach: Arc::new(reach),
            reuse: function.on.reuse.unwrap_or(1),
            cache,
            initial_memory,
            places,
            likely: Likely::default(),
            pace: Pace::default(),
            arguments: arguments(&function.limits, &handlers),
            handlers,
            kind,
            concurrent,
            path: path.to_owned(),
            digest,
            entry,
            concurrency: function.concurrency(),
            permits: Semaphore::new(function.concurrency()),
            readying: Mutex::new(()),
            asks_at_start: AtomicBool::new(false),
        });
        self.functions.insert(name, Arc::clone(&loaded));
        Ok(loaded)
    }
}

/// What one host call may be given: what the guest can have, since an object may be written in one piece. Where the
/// calls of WASI take lists too, that burn no fuel and give way to nobody, so much as any of them needs.
fn arguments(limits: &Limits, handlers: &Handlers) -> usize {
    let listed =
        |name: &String| name.starts_with("wasi:http/") || name.starts_with("wasi:sockets/");
    let most = if handlers.imports.iter().any(listed) {
        ARGUMENTS_OF_WASI.min(limits.memory.0)
    } else {
        limits.memory.0
    };
    usize::try_from(most.min(limits.host_calls.0)).unwrap_or(usize::MAX)
}

fn read(function: &Function, path: &Path, most: ByteSize) -> Result<Vec<u8>, LoadError> {
    let failed = |reason: String| LoadError::Read {
        function: function.name.clone(),
        path: path.display().to_string(),
        reason,
        next: match (&function.source, &function.spin_build) {
            (Some(_), _) => "run `kinglet build` first".to_owned(),
            (None, Some(build)) => format!("run `spin build`, or what it runs: `{build}`"),
            (None, None) => "build the component, or correct `component`".to_owned(),
        },
    };
    let wasm = files::read(path, most.0).map_err(|error| match error {
        FileError::TooLarge { .. } => LoadError::CompileMemory {
            function: function.name.clone(),
            memory: most,
        },
        FileError::Io { error, .. } => failed(error.to_string()),
        FileError::NotRegular { kind, .. } => failed(format!("it isn't a file but {kind}")),
        error => failed(error.to_string()),
    })?;
    match other_kind(&wasm) {
        None => Ok(wasm),
        Some(found) => Err(LoadError::NotWasm {
            function: function.name.clone(),
            path: path.display().to_string(),
            found,
        }),
    }
}

/// Says what a file is that isn't WebAssembly, and what to do; none where it is.
fn other_kind(file: &[u8]) -> Option<String> {
    const SHOWN: usize = 16;
    let starts = |magic: &[u8]| file.starts_with(magic);
    let text = file.trim_ascii_start();
    let found = if starts(b"\0asm") {
        return None;
    } else if file.is_empty() {
        "it is empty; build the component, or correct `component`"
    } else if text.starts_with(b"(component") || text.starts_with(b"(module") {
        "it is the text format; make a component of it with `wasm-tools parse`, and name that as \
         `component`"
    } else if text.starts_with(b"<") {
        "it is HTML or XML, as of a download that failed; get it again, or correct `component`"
    } else if starts(b"version https://git-lfs") {
        "it is a pointer of Git LFS; run `git lfs pull`, or correct `component`"
    } else if starts(b"\x7fELF") {
        "it is a program of a machine; build it with `cargo build --target wasm32-wasip2`, and \
         correct `component`"
    } else if starts(b"\x1f\x8b") || starts(b"PK\x03\x04") || starts(b"\x28\xb5\x2f\xfd") {
        "it is an archive; unpack it, and name what is in it as `component`"
    } else {
        let start = file.get(..SHOWN).unwrap_or(file);
        let start = String::from_utf8_lossy(start);
        return Some(format!(
            "it begins with {start:?}; build the component, or correct `component`"
        ));
    };
    Some(found.to_owned())
}

impl Loader {
    /// For so many instances at once.
    pub fn new(
        instances: u32,
        cache: Cache,
        compile: CompileLimits,
        budget: Arc<Budget>,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            plain: Runtime::new(instances, false)?,
            concurrent: OnceLock::new(),
            instances,
            cache,
            compile,
            budget,
            mapped: sync::Mutex::default(),
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

    /// Loads what a start left for later: what was compiled then.
    fn load_needed(&self, function: &LoadedFunction) -> Result<Entry, LoadError> {
        let concurrent = function.concurrent;
        let engine = &self.runtime(concurrent)?.engine;
        let component = match self.cache.compiled(engine, &function.digest) {
            Some(component) => {
                component.map_err(|error| self.refused(&function.name, &[], &error))?
            }
            // Somebody emptied the cache, or altered it.
            None => match files::read(&function.path, self.compile.memory.0) {
                Ok(wasm) if digest(&wasm) == function.digest => {
                    let compiled = self
                        .cache
                        .compile((engine, concurrent), &wasm, &self.compile);
                    compiled.map_err(|error| self.refused(&function.name, &wasm, &error))?
                }
                _ => return Err(function.changed()),
            },
        };
        let compiled = Compiled {
            component,
            cache: CacheUse::Hit,
            concurrent,
        };
        self.entry(&function.name, function.kind, &function.digest, &compiled)
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
        if concurrent && matches!(found, Err(CompileError::Refused(_))) {
            self.runtime(true)?;
            found = self.compile_for(wasm, true);
        }
        found.map_err(|error| self.refused(function, wasm, &error))
    }

    fn compile_for(&self, wasm: &[u8], concurrent: bool) -> Result<Compiled, CompileError> {
        let runtime = self.runtime(concurrent);
        let runtime = runtime.map_err(|error| CompileError::Refused(error.to_string()))?;
        let engine = &runtime.engine;
        let (component, cache) = match self.cache.compiled(engine, &digest(wasm)) {
            Some(component) => (component?, CacheUse::Hit),
            None => {
                let compiled = self
                    .cache
                    .compile((engine, concurrent), wasm, &self.compile);
                (compiled?, CacheUse::Compiled)
            }
        };
        Ok(Compiled {
            component,
            cache,
            concurrent,
        })
    }

    fn refused(&self, function: &str, wasm: &[u8], error: &CompileError) -> LoadError {
        let function = function.to_owned();
        match error {
            CompileError::Time => LoadError::CompileTime {
                function,
                timeout: self.compile.timeout,
            },
            CompileError::Memory => LoadError::CompileMemory {
                function,
                memory: self.compile.memory,
            },
            CompileError::Stalled(waited) => LoadError::CompileStalled {
                function,
                waited: Period(*waited),
            },
            CompileError::TooLarge(excess) => LoadError::TooLarge {
                function,
                excess: told(excess),
            },
            error => LoadError::Component {
                function,
                hint: hint(wasm, &error.to_string()),
                reason: told(error),
            },
        }
    }

    fn entry(
        &self,
        function: &str,
        kind: Kind,
        digest: &str,
        compiled: &Compiled,
    ) -> Result<Entry, LoadError> {
        // Functions of one component share its pages.
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if mapped.insert(digest.to_owned()) {
            let image = compiled.component.image_range();
            let bytes = image.end.addr().saturating_sub(image.start.addr());
            self.budget.keep(bytes as u64);
        }
        drop(mapped);
        let runtime = self.runtime(compiled.concurrent)?;
        let pre = runtime.link(&compiled.component);
        let pre = pre.map_err(|error| LoadError::UnknownImport {
            function: function.to_owned(),
            reason: told(format_args!("{error:#}")),
        })?;
        let checked = kind.check(&compiled.component);
        let entry = checked.and_then(|()| kind.entry(pre));
        entry.map_err(|error| LoadError::Component {
            function: function.to_owned(),
            hint: "its handler doesn't have the contract's types; build it with this version's SDK",
            reason: told(format_args!("{error:#}")),
        })
    }
}

/// Returns what a component offers and asks for, without its init, which isn't for events. Names
/// are cut: none that the host knows is that long.
pub(super) fn describe(component: &Component) -> Handlers {
    let (ty, engine) = (component.component_type(), component.engine());
    let mut handlers = Handlers::default();
    for (name, item) in ty.exports(engine) {
        if matches!(item.ty, ComponentItem::ComponentInstance(_)) && name != INIT {
            handlers.exports.push(short_name(name));
        }
    }
    handlers.imports = ty
        .imports(engine)
        .map(|(name, _)| short_name(name))
        .collect();
    handlers
}

fn short_name(name: &str) -> String {
    if guard::holds(Guard::Names) {
        shorten(name, NAME_BYTES)
    } else {
        name.to_owned()
    }
}

/// Checks that a component hands no requests on to another, which no host has.
fn check_composed(function: &Function, handlers: &Handlers) -> Result<(), LoadError> {
    let is_handler = |name: &&String| name.starts_with(HTTP) || name.starts_with(SERVICE);
    match handlers.imports.iter().find(is_handler) {
        None => Ok(()),
        Some(import) => Err(LoadError::Middleware {
            function: function.name.clone(),
            import: told(import),
        }),
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(super) enum Kind {
    Object,
    Message,
    Batch,
    Http,
    Service,
}

impl Kind {
    /// Whether a handler of events has the contract's types. wasmtime's own look comes with each instance, when the
    /// event that it would fail has long been accepted.
    fn check(self, component: &Component) -> wasmtime::Result<()> {
        type Returned<T> = (Result<T, types::Failure>,);
        let interface = match self {
            Self::Object => OBJECT_CREATED,
            Self::Message => MESSAGE,
            Self::Batch => MESSAGE_BATCH,
            Self::Http | Self::Service => return Ok(()),
        };
        let (ty, engine) = (component.component_type(), component.engine());
        let handler = ty.get_export(engine, interface).map(|export| export.ty);
        let Some(ComponentItem::ComponentInstance(handler)) = handler else {
            wasmtime::bail!("`{interface}` isn't exported");
        };
        let handle = handler.get_export(engine, "handle");
        let Some(ComponentItem::ComponentFunc(handle)) = handle.map(|export| export.ty) else {
            wasmtime::bail!("`{interface}` has no function `handle`");
        };
        let of = ty.instance_type();
        match self {
            Self::Object => handle.typecheck::<(&types::ObjectCreatedEvent,), Returned<()>>(&of),
            Self::Batch => handle
                .typecheck::<(&[types::MessageEvent],), Returned<Vec<Result<(), types::Failure>>>>(
                    &of,
                ),
            _ => handle.typecheck::<(&types::MessageEvent,), Returned<()>>(&of),
        }
    }

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
            "`#[kinglet_sdk::http]`, or another export of `wasi:http/incoming-handler` 0.2 or `wasi:http/handler` 0.3",
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
        names if guard::holds(Guard::Names) => shorten(&names.join(", "), REASON_BYTES),
        names => names.join(", "),
    };
    Err(LoadError::NoHandler {
        function: function.name.clone(),
        trigger,
        exported,
        handler,
    })
}

/// What bytes that don't load probably are.
fn hint(wasm: &[u8], reason: &str) -> &'static str {
    match wasm.get(..8) {
        _ if reason.contains("unexpected end") || reason.contains("out of bounds") => {
            "its file breaks off; build the component again, or copy it again"
        }
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            "its file is a core module; build it with `cargo build --target wasm32-wasip2`"
        }
        Some([0, b'a', b's', b'm', ..]) => {
            "its component can't run here; functions of events keep to WASI 0.2 and plain functions"
        }
        _ => "its file is too short for WebAssembly; build the component again",
    }
}
