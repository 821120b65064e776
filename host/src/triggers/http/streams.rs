//! HTTP/2: many requests over one connection, each a stream that its client can end by itself.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::place::serve_at;
use super::wire::{LINGER, LINGER_BYTES, LINGER_PAUSE};
use crate::ports::{Afterwards, BrokenOff, HttpHandler, IncomingBody, Place, ResponseBody};

/// What goes on for one connection, and ends with it.
pub(super) struct Streams<H> {
    tasks: Arc<Mutex<JoinSet<()>>>,
    handler: Arc<H>,
    pub place: Arc<Place>,
}

impl<H> Clone for Streams<H> {
    fn clone(&self) -> Self {
        Self {
            tasks: Arc::clone(&self.tasks),
            handler: Arc::clone(&self.handler),
            place: Arc::clone(&self.place),
        }
    }
}

impl<H: HttpHandler, F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F>
    for Streams<H>
{
    fn execute(&self, stream: F) {
        self.spawn(serve_at(
            Arc::clone(&self.place),
            Arc::clone(&self.handler),
            stream,
        ));
    }
}

impl<H: HttpHandler> Streams<H> {
    pub fn new(handler: &Arc<H>) -> Self {
        Self {
            tasks: Arc::default(),
            handler: Arc::clone(handler),
            place: Arc::default(),
        }
    }

    /// A request's body, of which a bounded rest is read where nobody wants it: a client whose stream is reset amid its body
    /// may not look at the response that came before.
    pub fn incoming(&self, body: Incoming) -> IncomingBody {
        let streams = self.clone();
        IncomingBody::with_leftover(body, move |body| drop(streams.spawn(discard(body))))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work)
    }

    /// Waits for all that goes on.
    pub async fn finish(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.lock());
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }

    /// How many go on.
    pub fn count(&self) -> usize {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.len()
    }

    /// Ends all that goes on.
    pub fn abort(&self) {
        self.lock().abort_all();
    }

    /// A response as a stream has it, and what is left to do beside it. A body that its client doesn't want ends that.
    pub fn response(
        &self,
        method: &Method,
        response: Response<ResponseBody>,
        afterwards: &Arc<Afterwards>,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        let bodyless = *method == Method::HEAD
            || matches!(
                parts.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let length = body.size_hint().exact().filter(|length| *length > 0);
        if let (&Method::HEAD, Some(length)) = (method, length) {
            let length = HeaderValue::from(length);
            parts
                .headers
                .entry(header::CONTENT_LENGTH)
                .or_insert(length);
        }
        let body = if bodyless { None } else { Some(body) };
        let work = Arc::clone(afterwards);
        let is_left = afterwards
            .poll(&mut Context::from_waker(std::task::Waker::noop()))
            .is_pending();
        let beside = is_left.then(|| {
            let work = std::future::poll_fn(move |context| work.poll(context));
            self.spawn(serve_at(
                Arc::clone(&self.place),
                Arc::clone(&self.handler),
                work,
            ))
        });
        let body = match (body, beside) {
            (None, _) => Either::Left(Full::default()),
            (Some(Either::Right(body)), Some(beside)) => {
                let ended = false;
                Either::Right(
                    Wanted {
                        body,
                        beside,
                        ended,
                    }
                    .boxed_unsync(),
                )
            }
            (Some(body), _) => body,
        };
        Response::from_parts(parts, body)
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn discard(mut body: Incoming) {
    let discarding = async {
        let mut left = LINGER_BYTES;
        while left > 0
            && let Ok(Some(Ok(frame))) = timeout(LINGER_PAUSE, body.frame()).await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    let _ = timeout(LINGER, discarding).await;
}

/// A body whose function ends where nobody reads it to its end.
struct Wanted {
    body: UnsyncBoxBody<Bytes, BrokenOff>,
    beside: AbortHandle,
    ended: bool,
}

impl Body for Wanted {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Behind trailers it isn't asked for more.
        self.ended |= match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            _ => false,
        };
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.beside.abort();
        }
    }
}
