//! What the HTTP trigger asks of the engine.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use thiserror::Error;

use super::Limit;

/// A response's body: whole where the function had it written by the time of its head, else as it writes it.
pub type ResponseBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BrokenOff>>;

/// Answers requests.
pub trait HttpHandler: Send + Sync + 'static {
    /// Has `function` answer a request, in a fresh instance. Never fails: what goes wrong is an answer with a
    /// status of 500 or above, or a body that breaks off. Dropped, it ends the instance.
    fn respond(
        self: Arc<Self>,
        function: Arc<str>,
        request: Request<Incoming>,
        afterwards: Arc<Afterwards>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// What is left to do for a connection once its answers are sent: to drop what they took, and to make ready what the
/// next one needs.
#[derive(Default)]
pub struct Afterwards(Mutex<Vec<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Afterwards {
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
pub fn plain(status: http::StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text + "\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
