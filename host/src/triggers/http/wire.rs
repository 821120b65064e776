//! The bytes below a connection of HTTP/1: answers to heads that hyper refuses, and the end of the connection.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::timeout;

use super::head::HeadError;
use crate::ports::ResponseBody;

/// How long a client that has its answer may continue to send before its connection is closed.
pub(super) const LINGER: Duration = Duration::from_secs(30);
/// How long such a client may pause.
pub(super) const LINGER_PAUSE: Duration = Duration::from_secs(5);
/// How many bytes of such a client are read.
pub(super) const LINGER_BYTES: usize = 64 << 20;
/// How many of them are read at once.
const PIECE: usize = 16 << 10;
/// The largest answer of hyper's own, in bytes.
const OWN_ANSWER: usize = 1 << 10;

/// A stream below hyper, which keeps back what hyper writes on its own: it answers a head that it
/// can't read with a bare status, and the client is to know the reason.
pub(super) struct Wire<S> {
    stream: S,
    phase: Arc<Phase>,
    /// The answer that hyper gave on its own.
    own: Vec<u8>,
}

/// Where a connection is between two responses.
#[derive(Default)]
pub(super) struct Phase(AtomicU64);

/// All responses are written. What hyper writes in this phase is its own.
const IDLE: u64 = 0;
/// hyper has all of a response, some of which may not be written yet.
const ANSWERED: u64 = 1;

impl Phase {
    /// Begins a request, whose number is the phase until its response is in hyper's hands.
    pub fn begin(self: &Arc<Self>, number: u64) -> Answering {
        let number = number.saturating_add(ANSWERED + 1);
        self.0.store(number, Ordering::Relaxed);
        Answering {
            phase: Arc::clone(self),
            number,
        }
    }

    fn is_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == IDLE
    }

    /// Changes the phase, unless it is another by then.
    fn change(&self, from: u64, to: u64) {
        let order = Ordering::Relaxed;
        let _ = self.0.compare_exchange(from, to, order, order);
    }
}

/// A request until its response's body is dropped.
pub(super) struct Answering {
    phase: Arc<Phase>,
    number: u64,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.phase.change(self.number, ANSWERED);
    }
}

/// A response's body, which hyper drops in the step in which it takes the last piece.
pub(super) struct AnsweringBody {
    pub body: ResponseBody,
    pub _answering: Answering,
}

impl Body for AnsweringBody {
    type Data = Bytes;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: Read + Write + Unpin> Wire<S> {
    pub fn new(stream: S, phase: &Arc<Phase>) -> Self {
        Self {
            stream,
            phase: Arc::clone(phase),
            own: Vec::new(),
        }
    }

    /// Returns whether hyper refused a head, and answered it. It says nothing to a client that is silent for too long.
    pub fn is_refused(&self) -> bool {
        !self.own.is_empty()
    }

    /// Answers a head that hyper refused for this error, and of which it left `unread`.
    pub async fn refuse(&mut self, error: &hyper::Error, unread: &[u8]) -> io::Result<()> {
        let own = std::mem::take(&mut self.own);
        let answer = HeadError::of(error, unread).answer(&String::from_utf8_lossy(&own));
        let mut left = answer.as_bytes();
        let writing = poll_fn(|context| {
            while !left.is_empty() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(context, left))?;
                match left.get(written..) {
                    Some(rest) if written > 0 => left = rest,
                    _ => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                }
            }
            Pin::new(&mut self.stream).poll_flush(context)
        });
        timeout(LINGER_PAUSE, writing).await?
    }

    /// Closes the connection: at once to the client, and for good once the client has no more to say. A connection
    /// that ends with unread bytes is reset, which can take the answer away from a client that still sends.
    pub async fn close(mut self) -> io::Result<()> {
        let closing = async {
            poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await?;
            let mut left = LINGER_BYTES;
            while left > 0 {
                let reading = poll_fn(|context| self.poll_discard(context));
                match timeout(LINGER_PAUSE, reading).await?? {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
            Ok(())
        };
        timeout(LINGER, closing).await?
    }

    /// Reads a piece and forgets it.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn keep_back(&mut self, bytes: &[u8]) {
        let room = OWN_ANSWER.saturating_sub(self.own.len());
        self.own.extend(bytes.iter().take(room));
    }
}

impl<S: Read + Unpin> Read for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Read + Write + Unpin> Write for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.phase.is_idle() {
            self.keep_back(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.phase.is_idle() {
            slices.iter().for_each(|slice| self.keep_back(slice));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Flushes. hyper does so only once it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.phase.change(ANSWERED, IDLE);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Does nothing, since the connection closes after hyper's end, with [`Wire::close`].
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
