//! The calls of `wasi:http`, of 0.2 and of 0.3.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{Notify, oneshot};
use wasmtime::component::{Linker, Resource};
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, IoError, Scheme};
use wasmtime_wasi_http::p3;
use wasmtime_wasi_http::p3::bindings::Service;
use wasmtime_wasi_http::{Error as HttpError, WasiHttpView};

use super::body::{Written, bounded};
use super::codes;
use super::effects::{EFFECTS, Said, at_head};
use super::request::RequestBody;
use crate::capabilities::{HostCalls, HostCallsExceeded};
use crate::engine::state::State;
use crate::guard::{self, Guard};
use crate::ports::{BrokenOff, Limit, REASON_BYTES, Secure, format_short};

/// What a guest has said of its answer: its head, or an error code.
pub(super) type Head = Result<Response<Written>, String>;

/// Where an answer goes.
pub(super) struct Reply {
    pub head: oneshot::Sender<Head>,
    /// How many bytes the request's body may have.
    pub request: u64,
    pub breach: Arc<Breach>,
    /// How many bytes its body may have.
    pub limit: u64,
}

impl Reply {
    fn carried(&self, body: RequestBody, calls: Arc<HostCalls>) -> Carried {
        Carried {
            body,
            left: self.request,
            limit: self.request,
            calls,
            breach: Arc::clone(&self.breach),
        }
    }
}

/// Ends a call whose request breaks off, or for which more comes than may. The guest isn't told: it could take what it has
/// for the whole body.
#[derive(Default)]
pub(super) struct Breach {
    seen: OnceLock<RequestBroken>,
    told: Notify,
}

/// A request that can't be read to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestBroken {
    /// Its body, or what moved in all, is larger than it may be.
    #[error("{0}")]
    Limit(Limit),
    /// Its client went away, or sent what isn't HTTP.
    #[error("the request's body broke off: {0}")]
    Off(String),
}

impl Breach {
    /// Ready once there is one.
    pub async fn wait(&self) -> wasmtime::Error {
        loop {
            let told = self.told.notified();
            if let Some(broken) = self.seen.get() {
                return broken.clone().into();
            }
            told.await;
        }
    }

    fn tell(&self, broken: RequestBroken) {
        let _ = self.seen.set(broken);
        self.told.notify_one();
    }
}

/// A request's body as its guest reads it. It never ends but well: the call ends otherwise.
struct Carried {
    body: RequestBody,
    /// What may still come, in bytes.
    left: u64,
    limit: u64,
    calls: Arc<HostCalls>,
    breach: Arc<Breach>,
}

impl Body for Carried {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.breach.seen.get().is_some() {
            return Poll::Pending;
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                self.breach.tell(RequestBroken::Off(error.to_string()));
                return Poll::Pending;
            }
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let left = self.left.checked_sub(bytes as u64);
        if let Err(HostCallsExceeded { limit }) = self.calls.count(bytes) {
            self.breach
                .tell(RequestBroken::Limit(Limit::HostCalls { limit }));
            return Poll::Pending;
        }
        let Some(left) = left else {
            let limit = self.limit;
            self.breach
                .tell(RequestBroken::Limit(Limit::Request { limit }));
            return Poll::Pending;
        };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Calls a guest of `wasi:http` 0.2, which says the head of its answer while it runs, and returns when it has written
/// all of it.
pub(super) async fn incoming_handler(
    store: &mut Store<State>,
    proxy: &Proxy,
    request: Request<RequestBody>,
    reply: Reply,
) -> wasmtime::Result<()> {
    let calls = Arc::clone(&store.data().context.calls);
    let scheme = if is_secure(&request) {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let request = request.map(|body| reply.carried(body, Arc::clone(&calls)));
    let Reply { head, limit, .. } = reply;
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let out = http.new_response_outparam_from_callback(move |answer| {
        let answer = answer.map(|mut response| {
            remove_of_host(response.headers_mut());
            response.map(|body| {
                let body = body.map_err(|code| broken(&code)).boxed_unsync();
                bounded(body, limit, calls)
            })
        });
        // Dropped where nobody waits for it any more.
        let _ = head.send(answer.map_err(|code| text_of(&code)));
    })?;
    let handler = proxy.wasi_http_incoming_handler();
    handler.call_handle(store, request, out).await
}

/// Calls a guest of `wasi:http` 0.3, which returns the head of its answer, and has tasks that go on: they write its
/// body, and do what it does beside that.
pub(super) async fn handler(
    store: &mut Store<State>,
    service: &Service,
    mut request: Request<RequestBody>,
    reply: Reply,
) -> wasmtime::Result<()> {
    complete(&mut request)?;
    let calls = Arc::clone(&store.data().context.calls);
    let request = request.map(|body| reply.carried(body, Arc::clone(&calls)));
    let Reply { head, limit, .. } = reply;
    let (request, _) = p3::Request::from_http(store.data_mut().http().hooks, request);
    let (sender, sent) = oneshot::channel();
    // The guest is told how its answer's body got on.
    let sent = async { sent.await.map_err(|_| HttpError::ConnectionTerminated) };
    let run = store.run_concurrent(async |accessor| {
        let mut response = match service.handle(accessor, request).await? {
            Ok(response) => {
                let said = Said::of(response.status, &response.headers);
                let due = accessor.with(|mut store| at_head(store.data_mut(), said));
                if let Some(due) = due {
                    due.commit().await?;
                }
                accessor.with(|store| response.into_http(store, sent))?
            }
            Err(code) => {
                let _ = accessor.with(|mut store| at_head(store.data_mut(), Said::Nothing));
                let _ = head.send(Err(text_of(&code)));
                // An instance with tasks left must not have another request.
                poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
                return Ok(());
            }
        };
        let (reader, read) = oneshot::channel();
        remove_of_host(response.headers_mut());
        let response = response.map(|body| {
            let body = body.map_err(|error| broken(&error)).boxed_unsync();
            let reader = Some((reader, sender));
            let body = Read { body, reader }.boxed_unsync();
            bounded(body, limit, calls)
        });
        let _ = head.send(Ok(response));
        poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
        // The body's last pieces may be on their way still, and trailers: both come through this store.
        let _ = read.await;
        Ok(())
    });
    run.await?
}

/// Puts ours in the place of wasmtime's `http-error-code`, which knows its own errors no more where they are those of bodies.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:http/types@0.2.12")?
        .func_wrap("http-error-code", error_code)
}

fn error_code(
    mut store: StoreContextMut<'_, State>,
    (error,): (Resource<IoError>,),
) -> wasmtime::Result<(Option<ErrorCode>,)> {
    let http = store.data_mut().http();
    let error = http.table.get(&error)?;
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return Ok((Some(code.clone()),));
    }
    Ok((error.downcast_ref().map(codes::two),))
}

/// Removes from a response's head what is for the host alone, and what a function may have copied from its request.
fn remove_of_host(headers: &mut HeaderMap) {
    headers.remove(EFFECTS);
    headers.remove(header::HOST);
}

fn is_secure(request: &Request<RequestBody>) -> bool {
    request.extensions().get::<Secure>().is_some()
}

/// A request over HTTP/1 has its authority in a header, and its scheme nowhere.
fn complete(request: &mut Request<RequestBody>) -> wasmtime::Result<()> {
    let scheme = if is_secure(request) {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if parts.authority.is_none()
        && let Some(host) = request.headers().get(header::HOST)
    {
        parts.authority = Some(Authority::try_from(host.as_bytes())?);
    }
    parts.scheme = Some(scheme);
    parts
        .path_and_query
        .get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = http::Uri::from_parts(parts)?;
    Ok(())
}

/// Returns an error's name and what a guest gave with it.
fn text_of(error: &dyn std::fmt::Debug) -> String {
    if guard::holds(Guard::Reasons) {
        // Within a reason that says more.
        format_short(format_args!("{error:?}"), REASON_BYTES / 2)
    } else {
        format!("{error:?}")
    }
}

fn broken(error: &dyn std::fmt::Debug) -> BrokenOff {
    BrokenOff {
        reason: text_of(error),
        limit: None,
    }
}

/// A body that says when it isn't read any more, and that its end was a good one. One that is dropped before that was read as
/// far as its client needs, as behind trailers or all of a told length: a client that goes away ends the guest as well.
struct Read {
    body: Written,
    reader: Option<(oneshot::Sender<()>, oneshot::Sender<()>)>,
}

impl Read {
    fn end(&mut self) {
        if let Some((_, whole)) = self.reader.take() {
            // The guest may not want to know.
            let _ = whole.send(());
        }
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.end();
    }
}

impl Body for Read {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.reader.is_none() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(Err(_))) => self.reader = None,
            _ => {}
        }
        polled
    }
}
