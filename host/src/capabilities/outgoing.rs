//! Requests that guests send: to where their function may, as many as it may, over connections that the function keeps.

mod addresses;
mod connect;
mod fetch;

use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, Sleep, sleep, timeout};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use self::connect::{ConnectError, Connector, Origin};
pub use self::fetch::Fetcher;
use super::{DenialLog, HostCalls};
use crate::config::Destination;
use crate::guard::{self, Guard};
use crate::ports::Counted;

/// How long a connection is kept that isn't used.
const IDLE: Duration = Duration::from_secs(30);
/// How many of them, to one origin.
const IDLE_CONNECTIONS: usize = 8;
/// How much the head of a response may take, in bytes.
const HEAD_BYTES: u32 = 64 << 10;

/// Where a function may send requests, and its connections there. No other function uses them: what it is granted, with
/// which addresses, isn't granted to others.
pub struct Outgoing {
    granted: Arc<Vec<Destination>>,
    client: Client<Connector, WasiBody>,
    /// In one attempt.
    requests: u32,
}

/// The requests of one attempt.
pub struct Requests {
    outgoing: Arc<Outgoing>,
    calls: Arc<HostCalls>,
    denials: DenialLog,
    sent: u32,
    /// Whether there were to be more than may be.
    exceeded: bool,
}

/// An attempt was to send more requests than it may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{limit} requests may be sent in one attempt")]
pub struct RequestsExceeded {
    /// The function's limit.
    pub limit: u32,
}

/// What comes of a request that is sent.
pub type Sent = wasmtime_wasi_http::Result<(
    Response<WasiBody>,
    Box<dyn Future<Output = wasmtime_wasi_http::Result<()>> + Send>,
)>;

impl Outgoing {
    /// To these, with at most so many requests in one attempt.
    pub fn new(granted: &[Destination], requests: u32) -> Self {
        let granted = Arc::new(granted.to_vec());
        let connector = Connector {
            granted: Arc::clone(&granted),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_BYTES as usize)
            .http2_max_header_list_size(HEAD_BYTES)
            .build(connector);
        Self {
            granted,
            client,
            requests,
        }
    }

    /// For one attempt.
    pub fn begin(self: &Arc<Self>, context: &super::Context) -> Requests {
        Requests {
            outgoing: Arc::clone(self),
            calls: Arc::clone(&context.calls),
            denials: context.denials(),
            sent: 0,
            exceeded: false,
        }
    }
}

impl Requests {
    /// That there were to be no more than may be: a guest can get over the error of one.
    ///
    /// # Errors
    /// Where there were.
    pub fn check(&self) -> Result<(), RequestsExceeded> {
        let limit = self.outgoing.requests;
        match self.exceeded {
            true => Err(RequestsExceeded { limit }),
            false => Ok(()),
        }
    }

    /// Sends a request, and waits for the head of its response. `held` is dropped with the body of
    /// the response.
    pub fn send<H: Send + Unpin + 'static>(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        held: H,
    ) -> impl Future<Output = Sent> + Send + use<H> {
        let origin = Origin::of(request.uri());
        let refused = match origin.map(|origin| origin.granted(&self.outgoing.granted).is_some()) {
            None => Some(HttpError::HttpRequestUriInvalid),
            Some(false) => {
                self.denials.note_request(request.uri());
                Some(HttpError::HttpRequestDenied)
            }
            Some(true) if self.sent >= self.outgoing.requests && guard::holds(Guard::Requests) => {
                self.exceeded = true;
                Some(HttpError::ConnectionLimitReached)
            }
            Some(true) => None,
        };
        let (outgoing, calls) = (Arc::clone(&self.outgoing), Arc::clone(&self.calls));
        let denials = self.denials.clone();
        if refused.is_none() {
            self.sent = self.sent.saturating_add(1);
        }
        async move {
            if let Some(refused) = refused {
                return Err(refused);
            }
            let options = options.unwrap_or(RequestOptions {
                connect_timeout: None,
                first_byte_timeout: None,
                between_bytes_timeout: None,
            });
            let mut request = request;
            // The client names the host of the URL, whose grant was asked for. A function may have copied another.
            request.headers_mut().remove(header::HOST);
            let count = counting(Arc::clone(&calls), HttpError::HttpRequestBodySize);
            let count = within(told_length(request.headers()), count);
            let mut request = request.map(|body| Counted { body, count }.boxed_unsync());
            let mut connection = capture_connection(&mut request);
            let connected = async move { drop(connection.wait_for_connection_metadata().await) };
            let uri = request.uri().clone();
            let responding = outgoing.client.request(request);
            let response = answered(responding, connected, &options).await;
            if let Err(HttpError::DestinationIpProhibited) = response {
                denials.note_own_network(&uri);
            }
            let response = response?;
            // hyper lets more pass that comes in one piece.
            if head_bytes(response.headers()) > HEAD_BYTES as usize {
                return Err(HttpError::HttpResponseHeaderSectionSize(Some(HEAD_BYTES)));
            }
            let response = response.map(|body| {
                let body = Paced {
                    body,
                    between: options.between_bytes_timeout,
                    late: None,
                    _held: held,
                };
                let count = counting(calls, HttpError::HttpResponseBodySize);
                Counted { body, count }.boxed_unsync()
            });
            let io: Box<dyn Future<Output = _> + Send> = Box::new(std::future::ready(Ok(())));
            Ok((response, io))
        }
    }
}

/// Returns how many bytes the fields of a head take, as HTTP/1 has them.
fn head_bytes(headers: &HeaderMap) -> usize {
    const BETWEEN: usize = ": \r\n".len();
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + BETWEEN)
        .sum()
}

/// Waits for a response's head: as long as the guest says for the connection, and as long as it says after that. The
/// attempt's own deadline is over all of it.
async fn answered(
    responding: impl Future<Output = Result<Response<Incoming>, legacy::Error>>,
    connected: impl Future<Output = ()>,
    options: &RequestOptions,
) -> Result<Response<Incoming>, HttpError> {
    let mut responding = pin!(responding);
    let connecting = timeout(options.connect_timeout.unwrap_or(Duration::MAX), connected);
    tokio::select! {
        biased;
        // It failed, where it didn't connect.
        response = &mut responding => return response.map_err(code),
        connected = connecting => connected.map_err(|_| HttpError::ConnectionTimeout)?,
    }
    let first = options.first_byte_timeout.unwrap_or(Duration::MAX);
    let response = timeout(first, responding).await;
    let response = response.map_err(|_| HttpError::ConnectionReadTimeout)?;
    response.map_err(code)
}

/// What the guest is told of a request that wasn't answered.
fn code(error: legacy::Error) -> HttpError {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(connecting) = found.downcast_ref::<ConnectError>() {
            tracing::debug!(%connecting, "a guest's request isn't sent");
            return connecting.code();
        }
        if let Some(broken) = found.downcast_ref::<hyper::Error>() {
            return match broken {
                broken if broken.is_parse_too_large() => {
                    HttpError::HttpResponseHeaderSectionSize(Some(HEAD_BYTES))
                }
                broken if broken.is_incomplete_message() => HttpError::ConnectionTerminated,
                broken if broken.is_timeout() => HttpError::ConnectionReadTimeout,
                _ => HttpError::HttpProtocolError,
            };
        }
        cause = found.source();
    }
    HttpError::HttpProtocolError
}

/// Counts bytes as part of what moves through host calls; the error is what the guest is told.
fn counting(
    calls: Arc<HostCalls>,
    error: fn(Option<u64>) -> HttpError,
) -> impl FnMut(usize) -> Result<(), HttpError> + Unpin + Send {
    move |bytes| {
        let counted = calls.count(bytes);
        counted
            .map(drop)
            .map_err(|exceeded| error(Some(exceeded.limit)))
    }
}

fn told_length(headers: &HeaderMap) -> Option<u64> {
    let told = headers.get(header::CONTENT_LENGTH)?;
    told.to_str().ok()?.parse().ok()
}

/// Breaks a request off that has more than it told: hyper would send as much as was told, and its server would take a
/// part for the whole. The guest is told too, when it writes that.
fn within(
    told: Option<u64>,
    mut count: impl FnMut(usize) -> Result<(), HttpError> + Unpin + Send,
) -> impl FnMut(usize) -> Result<(), HttpError> + Unpin + Send {
    let mut sent = 0_u64;
    move |bytes| {
        count(bytes)?;
        sent = sent.saturating_add(bytes as u64);
        match told {
            Some(told) if sent > told => Err(HttpError::HttpRequestBodySize(Some(sent))),
            _ => Ok(()),
        }
    }
}

/// A response's body, which mustn't pause for longer than the guest says.
struct Paced<H> {
    body: Incoming,
    between: Option<Duration>,
    late: Option<Pin<Box<Sleep>>>,
    _held: H,
}

impl<H: Unpin> Body for Paced<H> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let (Some(between), Some(late)) = (this.between, &mut this.late) {
                let now = Instant::now();
                late.as_mut().reset(now.checked_add(between).unwrap_or(now));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(HttpError::from)));
        }
        if let Some(between) = this.between {
            let late = this.late.get_or_insert_with(|| Box::pin(sleep(between)));
            ready!(late.as_mut().poll(context));
            return Poll::Ready(Some(Err(HttpError::HttpResponseTimeout)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
