//! What one instance has: its table, its limits, its capabilities, and WASI once it asks.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task;

use bytes::Bytes;
use http::{HeaderName, header};
use tokio::io::AsyncWrite;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::http::{Committing, contents_of};
use super::limiter::{HostBuffers, Limiter, MemoryFull};
use crate::capabilities::{
    CapabilitiesView, Context, DenialLog, GuestLog, HostCalls, HostCallsExceeded, Requests,
    RequestsExceeded, Sent, View,
};
use crate::guard::{self, Guard};
use crate::ports::Stream;

/// The most handles that an instance may hold at once.
const MAX_HANDLES: usize = 4_096;
/// How many random bytes a guest may have in one call.
pub(super) const RANDOM_BYTES: usize = 64 << 10;
/// How much the headers of one request or response may take.
pub(super) const FIELD_BYTES: usize = 64 << 10;
/// How much of a body a guest may write in one call; two such pieces may wait to be sent.
pub(super) const BODY_CHUNK: usize = 64 << 10;
/// Memory that the host may need for a request that is sent, until the guest drops its response:
/// heads, and pieces of bodies.
const SENT_BYTES: u64 = 256 << 10;
/// Bytes that each call which fills a handle counts beside its own.
const GIVEN_BYTES: usize = 128;
/// Handles are counted for the first time once they were given so many bytes, which are part of
/// what each instance takes.
const COUNT_EVERY: u64 = 64 << 10;
/// Later handles are counted when they were given this part of what they hold, since counting takes
/// longer the more they hold.
const COUNT_PART: u64 = 8;
/// How much a guest may print in one call.
const PRINT_BYTES: usize = 64 << 10;

pub(super) struct State {
    /// Made when the guest first asks: most events need no more of WASI than what is linked.
    wasi: Option<Box<WasiCtx>>,
    /// Where it prints to, once it has WASI.
    printed: Option<Shared>,
    table: ResourceTable,
    pub context: Context,
    http: WasiHttpCtx,
    hooks: Hooks,
    /// Whether the guest asked the host for anything.
    pub asked: bool,
    pub limiter: Limiter,
    /// What becomes of what it stages, where it answers a request.
    pub committing: Option<Committing>,
    /// Bytes that the guest gave its handles to hold since they were counted.
    given: u64,
    /// Bytes that they may be given before they are counted.
    uncounted: u64,
    /// Bytes of trailers, which bodies keep that no handle shows.
    trailers: u64,
    /// Set once the guest writes a body.
    pub writes: bool,
}

impl State {
    pub fn new(context: Context, limiter: Limiter) -> Self {
        let hooks = Hooks::new(&context, limiter.buffers());
        let mut table = ResourceTable::new();
        table.set_max_capacity(max_handles());
        Self {
            wasi: None,
            printed: None,
            table,
            context,
            http: http_context(),
            hooks,
            asked: false,
            limiter,
            committing: None,
            given: 0,
            uncounted: COUNT_EVERY,
            trailers: 0,
            writes: false,
        }
    }

    /// Takes up what comes.
    pub fn begin(&mut self, context: Context) {
        if let Some(printed) = &self.printed {
            printed.set(&context);
        }
        self.hooks = Hooks::new(&context, self.limiter.buffers());
        self.context = context;
        self.committing = None;
        // No handle is left of the last request.
        self.given = 0;
        self.uncounted = COUNT_EVERY;
        self.trailers = 0;
        self.writes = false;
        let _ = self.limiter.set_contents(0);
    }

    /// Counts bytes that a handle is given to hold. What all of them hold is looked up where they
    /// were given much since that was done last, so that nobody has to be told what is dropped.
    pub fn give(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.given = self.given.saturating_add((bytes + GIVEN_BYTES) as u64);
        if self.given <= self.uncounted || !guard::holds(Guard::HandleContents) {
            return Ok(());
        }
        let given = (bytes + GIVEN_BYTES) as u64;
        self.count_contents(given).map_err(MemoryFull::trap)
    }

    /// Counts trailers that a body keeps from now on. They count until the attempt ends.
    pub fn give_trailers(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.trailers = self.trailers.saturating_add(bytes);
        self.give(usize::try_from(bytes).unwrap_or(usize::MAX / 2))
    }

    /// Counts what all handles hold, and what is given to one just now.
    fn count_contents(&mut self, given: u64) -> Result<(), MemoryFull> {
        let held = contents_of(&mut self.table).saturating_add(self.trailers);
        self.uncounted = COUNT_EVERY.max(held / COUNT_PART);
        self.given = given;
        let all = held.saturating_add(given).saturating_add(self.uncounted);
        self.limiter.set_contents(all)
    }

    /// That the guest sent no more requests than it may.
    pub fn check_requests(&self) -> Result<(), RequestsExceeded> {
        self.hooks.requests.as_ref().map_or(Ok(()), Requests::check)
    }

    /// Checks that there was memory for the requests that the guest sent: a guest can ignore the
    /// error of one.
    pub fn check_memory(&self) -> Result<(), MemoryFull> {
        self.hooks.full.map_or(Ok(()), Err)
    }

    /// Whether the guest, or the host for it, holds any handle, or a body that was handed on.
    pub fn holds_handles(&self) -> bool {
        !self.table.is_empty() || self.limiter.buffers().has_bodies()
    }
}

impl State {
    /// Grows a memory, and counts the handles before it fails: they may hold less than when they
    /// were counted last.
    fn with_counted<T>(
        &mut self,
        grow: impl Fn(&mut Limiter) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let grown = grow(&mut self.limiter);
        if grown.is_ok() || !self.limiter.has_contents() {
            return grown;
        }
        self.count_contents(0).map_err(MemoryFull::trap)?;
        grow(&mut self.limiter)
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.with_counted(|limiter| limiter.memory_growing(current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.with_counted(|limiter| limiter.table_growing(current, desired, maximum))
    }
}

/// How many random bytes one call gives.
pub(super) fn random_bytes() -> u64 {
    guard::bound(Guard::Random, RANDOM_BYTES) as u64
}

/// The most handles that an instance may hold at once.
pub(super) fn max_handles() -> usize {
    guard::bound(Guard::Handles, MAX_HANDLES)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.asked = true;
        let (context, printed) = (&self.context, &mut self.printed);
        let ctx = self.wasi.get_or_insert_with(|| {
            let environment = context.reach.environment.iter();
            let environment: Vec<_> = environment.collect();
            let attempt = printed.insert(Shared::new(context));
            let mut wasi = WasiCtx::builder();
            // What one call may ask for, so that no call takes long.
            wasi.max_random_size(random_bytes())
                .envs(&environment)
                .stdout(Printed {
                    attempt: attempt.clone(),
                    stream: Stream::Stdout,
                })
                .stderr(Printed {
                    attempt: attempt.clone(),
                    stream: Stream::Stderr,
                });
            #[cfg(debug_assertions)]
            if !guard::holds(Guard::FilesAndSockets) {
                open_machine(&mut wasi);
            }
            Box::new(wasi.build())
        });
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

/// Lets a guest read all files and connect to all addresses.
#[cfg(debug_assertions)]
fn open_machine(wasi: &mut wasmtime_wasi::WasiCtxBuilder) {
    wasi.inherit_network().allow_ip_name_lookup(true);
    if let Err(error) = wasi.preopened_dir("/", "/", wasmtime_wasi::FsPerms::ReadOnly) {
        tracing::error!("the root folder can't be opened for guests: {error:#}");
    }
}

fn http_context() -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    context.set_field_size_limit(guard::bound(Guard::Headers, FIELD_BYTES));
    context
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.asked = true;
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// What `wasi:http` leaves to the host.
struct Hooks {
    /// None where no destination is granted.
    requests: Option<Requests>,
    buffers: Arc<HostBuffers>,
    /// Why a request had no memory.
    full: Option<MemoryFull>,
    denials: DenialLog,
}

impl Hooks {
    fn new(context: &Context, buffers: &Arc<HostBuffers>) -> Self {
        let outgoing = context.reach.outgoing.as_ref();
        Self {
            requests: outgoing.map(|outgoing| outgoing.begin(context)),
            buffers: Arc::clone(buffers),
            full: None,
            denials: context.denials(),
        }
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        #[cfg(debug_assertions)]
        if !guard::holds(Guard::Outgoing) {
            return Box::new(connect(request));
        }
        let Some(requests) = &mut self.requests else {
            self.denials.note_request(request.uri());
            return Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)));
        };
        match self.buffers.hold(SENT_BYTES) {
            Ok(buffered) => Box::new(requests.send(request, options, buffered)),
            Err(full) => {
                self.full = Some(full);
                Box::new(std::future::ready(Err(HttpError::ConnectionLimitReached)))
            }
        }
    }

    /// Allows `host`, which a request shows to its function, and which a function may copy with the other fields. What a
    /// function sends has the host of its own connection: [`Requests::send`] and the response's head drop this one.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        *name != header::HOST && DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    /// Our client does it. In the guest's fields it could be what is too much.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }
}

/// Connects to where a request would go to, and says no word.
#[cfg(debug_assertions)]
async fn connect(request: http::Request<WasiBody>) -> Sent {
    let authority = request.uri().authority();
    let authority = authority.map(ToString::to_string).unwrap_or_default();
    let connected = tokio::net::TcpStream::connect(&authority).await;
    tracing::error!("a guest connected to {authority}: {connected:?}");
    Err(HttpError::ConnectionTerminated)
}

impl CapabilitiesView for State {
    fn capabilities(&mut self) -> View<'_> {
        self.asked = true;
        View {
            context: &mut self.context,
            table: &mut self.table,
        }
    }
}

/// Where what an instance has at the time logs to, and counts: the guest keeps its streams from one request to the next.
#[derive(Clone)]
struct Shared(Arc<Mutex<Attempt>>);

type Attempt = (GuestLog, Arc<HostCalls>);

impl Shared {
    fn new(context: &Context) -> Self {
        Self(Arc::new(Mutex::new(attempt(context))))
    }

    fn set(&self, context: &Context) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = attempt(context);
    }

    fn print(&self, stream: Stream, bytes: &[u8]) -> Result<(), HostCallsExceeded> {
        let (log, calls) = {
            let attempt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            attempt.clone()
        };
        calls.count(bytes.len())?;
        log.print(stream, bytes);
        Ok(())
    }
}

fn attempt(context: &Context) -> Attempt {
    (context.log.clone(), Arc::clone(&context.calls))
}

/// What a guest prints goes to its log.
#[derive(Clone)]
struct Printed {
    attempt: Shared,
    stream: Stream,
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let printed = self.attempt.print(self.stream, &bytes);
        printed.map_err(|exceeded| StreamError::Trap(exceeded.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINT_BYTES)
    }
}

#[async_trait::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        let bytes = bytes.get(..PRINT_BYTES).unwrap_or(bytes);
        let printed = self.attempt.print(self.stream, bytes);
        // A guest may go on from the error, and its attempt fails all the same.
        task::Poll::Ready(printed.map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }
}
