//! What the HTTP trigger asks of the engine.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::runtime::Handle;

use super::Limit;

/// A response's body: whole where the function had it written by the time of its head, else as it writes it.
pub type ResponseBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BrokenOff>>;

/// The header with a request's id, under which the logs tell it: the client's, or the host's own where it has none.
pub const REQUEST_ID: &str = "x-request-id";

/// Of a request's extensions: it came over TLS.
#[derive(Clone, Copy, Debug)]
pub struct Secure;

/// A request's body as its client sends it.
pub struct IncomingBody {
    /// None once it is dropped.
    incoming: Option<Incoming>,
    /// What takes a body that nobody reads to its end.
    leftover: Option<Box<dyn FnOnce(Incoming) + Send + Sync>>,
}

impl From<Incoming> for IncomingBody {
    fn from(incoming: Incoming) -> Self {
        let incoming = Some(incoming);
        Self {
            incoming,
            leftover: None,
        }
    }
}

impl IncomingBody {
    /// A body of which `leftover` takes what nobody reads.
    pub fn with_leftover(
        incoming: Incoming,
        leftover: impl FnOnce(Incoming) + Send + Sync + 'static,
    ) -> Self {
        let has_any = !incoming.is_end_stream();
        Self {
            incoming: Some(incoming),
            leftover: has_any.then(|| Box::new(leftover) as _),
        }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        if let (Some(incoming), Some(leftover)) = (self.incoming.take(), self.leftover.take())
            && !incoming.is_end_stream()
        {
            leftover(incoming);
        }
    }
}

/// Answers requests.
pub trait HttpHandler: Send + Sync + 'static {
    /// Has `function` answer a request, in a fresh instance. Never fails: what goes wrong is an answer with a
    /// status of 500 or above, or a body that breaks off. Dropped, it ends the instance.
    fn respond(
        self: Arc<Self>,
        function: Arc<str>,
        request: Request<IncomingBody>,
        afterwards: Arc<Afterwards>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;

    /// Where connections are served that are kept apart.
    fn place_apart(&self) -> Option<Handle>;
}

/// Sends what a source of events asks for, as to have a subscription confirmed.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Gets what is at an address, and no redirect: the status alone, of a server that answers in time.
    async fn get(&self, address: Uri) -> Result<StatusCode, FetchError>;
}

/// Why nothing was got.
#[derive(Clone, Debug, Error)]
#[error("{reason}")]
pub struct FetchError {
    /// In words.
    pub reason: String,
}

/// What is left to do for a connection once its answers are sent: to drop what they took, and to make ready what the
/// next one needs.
#[derive(Default)]
pub struct Afterwards {
    works: Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    /// Where the connection is served.
    pub place: Arc<Place>,
}

/// Whether a connection is to be served apart from the others, since a guest of its own holds its thread for long.
#[derive(Default)]
pub struct Place(AtomicUsize);

/// A guest that has its connection served apart, as long as this is held.
pub struct KeepsApart(Arc<Place>);

impl Place {
    /// Has the connection be served apart.
    pub fn keep_apart(self: &Arc<Self>) -> KeepsApart {
        self.0.fetch_add(1, Ordering::Relaxed);
        KeepsApart(Arc::clone(self))
    }

    /// Whether it is to be.
    pub fn is_apart(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for KeepsApart {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Afterwards {
    /// For one request of a connection that is served at `place`.
    pub fn at(place: &Arc<Place>) -> Self {
        Self {
            works: Mutex::default(),
            place: Arc::clone(place),
        }
    }

    /// Leaves something to do. It mustn't wait for long.
    pub fn push(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.lock().push(Box::pin(work));
    }

    /// Does as much of it as can be done now; ready where nothing is left.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut left = std::mem::take(&mut *self.lock());
        left.retain_mut(|work| work.as_mut().poll(context).is_pending());
        let mut works = self.lock();
        works.append(&mut left);
        match works.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pin<Box<dyn Future<Output = ()> + Send>>>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The function ended before its answer did. The connection ends with it, so that no client takes what it has
/// for all of it.
#[derive(Debug, Error)]
#[error("the function ended before its answer did: {reason}")]
pub struct BrokenOff {
    /// How it ended.
    pub reason: String,
    /// The limit that it reached, where it did.
    pub limit: Option<Limit>,
}

/// A short answer of the host's own.
pub fn plain(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text + "\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
