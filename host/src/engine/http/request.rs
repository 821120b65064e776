//! A request's body, which another attempt can read from its beginning.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use crate::ports::{IncomingBody, Share};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, header};
use http_body::{Body, Frame, SizeHint};

/// What a piece of a body takes beside its bytes.
const PIECE: usize = 64;

/// As one attempt reads it.
pub(super) enum RequestBody {
    /// The only one.
    Once(Arriving),
    /// One of several.
    Again {
        kept: Arc<Mutex<Kept>>,
        /// How many of the pieces it has read.
        read: usize,
    },
}

/// A body as its client sends it.
pub(super) struct Arriving {
    incoming: IncomingBody,
    /// What came of it when it was asked for.
    first: Option<Result<Frame<Bytes>, hyper::Error>>,
}

impl Arriving {
    /// Takes a request's body.
    pub fn of(request: Request<IncomingBody>) -> Request<Self> {
        request.map(|incoming| Self {
            incoming,
            first: None,
        })
    }

    /// Takes a request's body, and asks for it where its client waits for that (`Expect: 100-continue`): hyper sends the
    /// response 100 once the body is polled.
    pub async fn ask(request: Request<IncomingBody>) -> Request<Self> {
        let waits = request.headers().contains_key(header::EXPECT);
        let mut request = Self::of(request);
        if waits {
            let body = request.body_mut();
            poll_fn(|context| {
                // A client that waits has sent nothing. What has come all the same is for the next poll.
                if let Poll::Ready(first) = Pin::new(&mut body.incoming).poll_frame(context) {
                    body.first = first;
                }
                Poll::Ready(())
            })
            .await;
        }
        request
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.incoming).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A request that can be sent to a function more than once.
pub(super) struct Repeatable {
    parts: Parts,
    kept: Arc<Mutex<Kept>>,
}

/// What has come of a body, as long as that isn't too much to be kept.
pub(super) struct Kept {
    incoming: Arriving,
    hint: SizeHint,
    pieces: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Whether some of it isn't here any more.
    lost: bool,
    /// Whether that is since it is larger than may be.
    too_large: bool,
    /// What is kept takes so many bytes of memory, and at most so many.
    bytes: u64,
    most: u64,
    memory: Share,
}

/// Why a body can't be kept.
pub(super) enum NotKept {
    /// It is larger than may be.
    TooLarge,
    /// There is no memory for it now.
    NoRoom,
    /// Its client went away, or sent what isn't HTTP.
    Broken(hyper::Error),
}

impl Repeatable {
    /// Of the body at most so many bytes are kept; past that there is one attempt.
    pub fn new(request: Request<Arriving>, most: u64, memory: Share) -> Self {
        let (parts, incoming) = request.into_parts();
        let kept = Kept {
            hint: incoming.size_hint(),
            incoming,
            pieces: Vec::new(),
            trailers: None,
            ended: false,
            lost: false,
            too_large: false,
            bytes: 0,
            most,
            memory,
        };
        Self {
            parts,
            kept: Arc::new(Mutex::new(kept)),
        }
    }

    /// The request, from its beginning.
    pub fn request(&self) -> Request<RequestBody> {
        let kept = Arc::clone(&self.kept);
        Request::from_parts(self.parts.clone(), RequestBody::Again { kept, read: 0 })
    }

    /// Whether nothing of it is lost.
    pub fn is_whole(&self) -> bool {
        !lock(&self.kept).lost
    }

    /// Reads all of it, and hashes it.
    pub async fn read(&self) -> Result<blake3::Hash, NotKept> {
        let mut hash = blake3::Hasher::new();
        let Parts { method, uri, .. } = &self.parts;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        for part in [method.as_str(), target] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut read = 0;
        loop {
            match poll_fn(|context| lock(&self.kept).poll(&mut read, context)).await {
                None => return Ok(hash.finalize()),
                Some(Err(error)) => return Err(NotKept::Broken(error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        hash.update(data);
                    }
                }
            }
            let kept = lock(&self.kept);
            if kept.lost {
                return Err(match kept.too_large {
                    true => NotKept::TooLarge,
                    false => NotKept::NoRoom,
                });
            }
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn poll(
        &mut self,
        read: &mut usize,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(piece) = self.pieces.get(*read) {
            *read += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece.clone()))));
        }
        if self.ended {
            let trailers = self.trailers.clone();
            let trailers = trailers.filter(|_| *read == self.pieces.len());
            *read += 1;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        match ready!(Pin::new(&mut self.incoming).poll_frame(context)) {
            None => {
                self.ended = true;
                *read += 1;
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.lose();
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                self.keep(&frame, read);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// Keeps what has come, if it still can.
    fn keep(&mut self, frame: &Frame<Bytes>, read: &mut usize) {
        if self.lost {
            return;
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.ended = true;
            *read += 1;
        }
        let Some(data) = frame.data_ref() else {
            return;
        };
        let bytes = self.bytes.saturating_add((data.len() + PIECE) as u64);
        self.too_large = bytes > self.most;
        if self.too_large || !self.memory.cover(bytes) {
            self.lose();
            return;
        }
        self.bytes = bytes;
        self.pieces.push(data.clone());
        *read += 1;
    }

    fn lose(&mut self) {
        self.lost = true;
        self.pieces = Vec::new();
        self.memory = Share::endless();
    }
}

impl RequestBody {
    fn kept(&self) -> Option<(MutexGuard<'_, Kept>, usize)> {
        match self {
            Self::Once(_) => None,
            Self::Again { kept, read } => Some((lock(kept), *read)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Once(body) => Pin::new(body).poll_frame(context),
            Self::Again { kept, read } => lock(kept).poll(read, context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match (self, self.kept()) {
            (Self::Once(body), _) => body.is_end_stream(),
            (_, Some((kept, read))) if kept.ended => {
                read > kept.pieces.len() || (read == kept.pieces.len() && kept.trailers.is_none())
            }
            (_, Some((kept, read))) => read >= kept.pieces.len() && kept.incoming.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (self, self.kept()) {
            (Self::Once(body), _) => body.size_hint(),
            (_, Some((kept, 0))) => kept.hint,
            _ => SizeHint::default(),
        }
    }
}
