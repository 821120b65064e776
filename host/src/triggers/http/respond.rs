//! From a request to its answer: who answers, under which id, and what the access log says of it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};

use super::head;
use super::ingress::{Entry, Ingresses};
use super::routes::{Found, NotFound, Routes, SPIN};
use super::tls::Tls;
use crate::clock::{Clock, Stopwatch};
use crate::ports::{
    Afterwards, BrokenOff, HttpHandler, IncomingBody, Journal, REQUEST_ID, Record, RecordKind,
    ResponseBody, Secure, plain,
};

/// How long an id of a request may be that comes with it, in bytes.
const ID_BYTES: usize = 128;
/// How much of a path or of a header is told, in characters.
const SHOWN: usize = 200;

/// What all connections of a server share.
pub(super) struct Site<H> {
    pub routes: Routes,
    pub ingresses: Ingresses,
    pub handler: Arc<H>,
    pub tls: Option<Tls>,
    pub access: Option<Access>,
    pub ids: Ids,
}

/// Who answers a request.
enum Answers<'a> {
    /// The function of this name.
    Function(Arc<str>),
    /// The host itself, which takes events from it.
    Ingress(&'a Arc<Entry>),
}

/// Where requests are told.
pub(super) struct Access {
    pub journal: Arc<dyn Journal>,
    pub clock: Clock,
}

/// The two ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Client {
    pub address: SocketAddr,
    /// The address of the host that the client connected to.
    pub server: SocketAddr,
}

/// Ids for requests that come without one: the host's own, and a count.
pub(super) struct Ids {
    host: String,
    count: AtomicU64,
}

impl Ids {
    pub fn new(clock: &Clock) -> Self {
        Self {
            host: clock.new_id(),
            count: AtomicU64::new(0),
        }
    }

    fn next(&self) -> Option<HeaderValue> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        HeaderValue::try_from(format!("{}-{count}", self.host)).ok()
    }
}

impl<H: HttpHandler> Site<H> {
    /// Never fails: what goes wrong is an answer.
    pub async fn respond(
        &self,
        client: Client,
        mut request: Request<IncomingBody>,
        afterwards: Arc<Afterwards>,
    ) -> Response<ResponseBody> {
        let host = head::settle(&mut request, client);
        self.prepare(&mut request);
        let telling = self
            .access
            .as_ref()
            .map(|access| Telling::new(access, client, &request));
        // A body that nobody reads ends its connection, but for a stream's of HTTP/2.
        let closes = request.version() <= Version::HTTP_11 && !request.body().is_end_stream();
        let found = match host {
            Ok(host) => self.find(client, &mut request, &host),
            Err(error) => Err(Box::new(plain(error.status(), error.to_string()))),
        };
        let is_refused = found.is_err();
        let (function, mut response) = match found {
            Ok(Answers::Ingress(entry)) => (None, self.ingresses.take(entry, request).await),
            Ok(Answers::Function(function)) => {
                let handler = Arc::clone(&self.handler);
                let response = handler.respond(Arc::clone(&function), request, afterwards);
                (Some(function), response.await)
            }
            Err(response) => (None, *response),
        };
        if closes && (is_refused || response.status() == StatusCode::PAYLOAD_TOO_LARGE) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        match telling {
            Some(telling) => telling.of(function, response),
            None => response,
        }
    }

    /// A function sees the id under which its request is told, and nothing that only the host may say.
    fn prepare(&self, request: &mut Request<IncomingBody>) {
        let headers = request.headers_mut();
        let is_id =
            |id: &HeaderValue| !id.is_empty() && id.len() <= ID_BYTES && id.to_str().is_ok();
        let mut ids = headers.get_all(REQUEST_ID).iter();
        if !matches!((ids.next(), ids.next()), (Some(id), None) if is_id(id))
            && let Some(id) = self.ids.next()
        {
            headers.insert(REQUEST_ID, id);
        }
        let of_host = |name: &&HeaderName| name.as_str().starts_with(SPIN);
        let forged: Vec<_> = headers.keys().filter(of_host).cloned().collect();
        for name in forged {
            headers.remove(name);
        }
        if self.tls.is_some() {
            request.extensions_mut().insert(Secure);
        }
    }

    /// Finds who answers a request to this host, and gives the request the parameters of its route. The error is the response
    /// where nobody does.
    fn find(
        &self,
        client: Client,
        request: &mut Request<IncomingBody>,
        host: &str,
    ) -> Result<Answers<'_>, Box<Response<ResponseBody>>> {
        let answer = |status, text: String| Box::new(plain(status, text));
        let path = request.uri().path();
        let shown = || path.chars().take(SHOWN).collect::<String>();
        match *request.method() {
            Method::CONNECT => {
                let text = "CONNECT is not supported; send the request to a function's route";
                return Err(answer(StatusCode::NOT_IMPLEMENTED, text.to_owned()));
            }
            // It is about the server as a whole, as a health check (RFC 9110, 9.3.7).
            Method::OPTIONS if path == "*" => {
                let mut response = answer(StatusCode::NO_CONTENT, String::new());
                *response.body_mut() = Either::Left(Full::default());
                response.headers_mut().clear();
                return Err(response);
            }
            _ if !path.starts_with('/') => {
                let text = format!(
                    "the request's target {:?} isn't a path; begin it with `/`",
                    shown()
                );
                return Err(answer(StatusCode::BAD_REQUEST, text));
            }
            _ => {}
        }
        if let Some(entry) = self.ingresses.find(path) {
            return Ok(Answers::Ingress(entry));
        }
        match self.routes.find(request.method(), host, path) {
            Ok(Found {
                function,
                parameters,
                spin,
            }) => {
                if let Some(spin) = spin {
                    spin.add(request, client);
                }
                request.headers_mut().extend(parameters);
                Ok(Answers::Function(function))
            }
            Err(NotFound::Path) => Err(answer(
                StatusCode::NOT_FOUND,
                format!("no function answers {}", shown()),
            )),
            Err(NotFound::Method(methods)) => {
                let allowed = allow(methods);
                let text = format!(
                    "{} isn't allowed for {}; allowed: {allowed}",
                    method_of(request),
                    shown()
                );
                let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, text);
                if let Ok(allowed) = HeaderValue::try_from(allowed) {
                    response.headers_mut().insert(header::ALLOW, allowed);
                }
                Err(response)
            }
        }
    }
}

/// Returns a request's method as texts name it.
fn method_of<B>(request: &Request<B>) -> String {
    request.method().as_str().chars().take(SHOWN).collect()
}

/// Methods as the header `Allow` has them.
fn allow(methods: Vec<Method>) -> String {
    let mut names: Vec<String> = methods.iter().map(Method::to_string).collect();
    if methods.contains(&Method::GET) {
        names.push(Method::HEAD.to_string());
    }
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// One request for the access log, told once its answer has ended.
struct Telling {
    journal: Arc<dyn Journal>,
    record: Record,
    head: bool,
    watch: Stopwatch,
}

impl Telling {
    fn new(access: &Access, client: Client, request: &Request<IncomingBody>) -> Self {
        let text = |name: HeaderName| {
            let value = request.headers().get(name)?.to_str().ok()?;
            Some(value.chars().take(SHOWN).collect())
        };
        let path: String = request.uri().path().chars().take(SHOWN).collect();
        Self {
            journal: Arc::clone(&access.journal),
            watch: access.clock.stopwatch(),
            head: request.method() == Method::HEAD,
            record: Record {
                time: access.clock.now(),
                function: None,
                source: Some("http".to_owned()),
                event: text(HeaderName::from_static(REQUEST_ID)),
                subject: Some(format!("{} {path}", method_of(request))),
                attempt: None,
                kind: RecordKind::Request {
                    status: 0,
                    bytes: 0,
                    whole: false,
                    run_us: 0,
                    client: client.address.ip().to_string(),
                    host: text(header::HOST).or_else(|| {
                        let authority = request.uri().authority()?;
                        Some(authority.as_str().chars().take(SHOWN).collect())
                    }),
                    version: format!("{:?}", request.version()),
                    user_agent: text(header::USER_AGENT),
                },
            },
        }
    }

    fn of(
        mut self,
        function: Option<Arc<str>>,
        response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        self.record.function = function.as_deref().map(str::to_owned);
        // Of such an answer no body is read.
        let bodyless = self.head
            || matches!(
                response.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let told = response.headers().get(header::CONTENT_LENGTH);
        let told = told.and_then(|told| told.to_str().ok()?.parse().ok());
        if let RecordKind::Request { status, .. } = &mut self.record.kind {
            *status = response.status().as_u16();
        }
        response.map(|body| {
            let body = match body {
                Either::Left(full) => full.map_err(|never| match never {}).boxed_unsync(),
                Either::Right(body) => body,
            };
            let telling = self;
            let left = match bodyless {
                true => Some(0),
                false => body.size_hint().exact().or(told),
            };
            Either::Right(
                Told {
                    body,
                    left,
                    telling,
                }
                .boxed_unsync(),
            )
        })
    }
}

/// A body that is told once it has ended, or nobody wants any more of it.
struct Told {
    body: UnsyncBoxBody<Bytes, BrokenOff>,
    /// What of its length hasn't been read, where that is known.
    left: Option<u64>,
    telling: Telling,
}

impl Body for Told {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let this = &mut *self;
        if let RecordKind::Request { bytes, whole, .. } = &mut this.telling.record.kind {
            match &polled {
                Poll::Ready(None) => *whole = true,
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    *bytes += length;
                    *whole |= frame.is_trailers();
                    this.left = this.left.map(|left| left.saturating_sub(length));
                }
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let Telling {
            journal,
            record,
            watch,
            ..
        } = &mut self.telling;
        if let RecordKind::Request { whole, run_us, .. } = &mut record.kind {
            *whole |= self.left == Some(0);
            *run_us = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        }
        journal.write(record.clone());
    }
}
