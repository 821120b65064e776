//! What the HTTP trigger asks of the engine.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use thiserror::Error;

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
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

/// The function ended before its answer did. The connection ends with it, so that no client takes what it has
/// for all of it.
#[derive(Debug, Error)]
#[error("the function ended before its answer did: {reason}")]
pub struct BrokenOff {
    /// How it ended.
    pub reason: String,
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
