//! What a guest writes of its answer: sent as it comes, and never taken for whole where it isn't.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http::response::Parts;
use http::{StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Empty, Full, StreamBody};
use tokio::task::unconstrained;

use crate::ports::{BrokenOff, Outcome, ResponseBody};

/// What comes of a guest's body.
pub(super) type Written = UnsyncBoxBody<Bytes, BrokenOff>;

/// A guest that answers: ends with nothing to say, or with what was wrong.
pub(super) type Guest = Pin<Box<dyn Future<Output = Result<(), Outcome>> + Send>>;

/// So much of a body is gathered before its head is sent: most have all of it by then, and go out in one piece.
const GATHERED: usize = 64 << 10;

/// Why a body has no good end.
pub(super) enum NoEnd {
    /// Its guest failed.
    Failed(Outcome),
    /// Its guest didn't, and left it unfinished.
    Broken(BrokenOff),
}

/// A guest beside what it writes.
pub(super) struct Answer {
    guest: Option<Guest>,
    body: Written,
    /// What it wrote, and isn't sent.
    pub written: VecDeque<Frame<Bytes>>,
    /// How it ended, once it has.
    pub end: Option<Result<(), NoEnd>>,
}

impl Answer {
    pub fn of(guest: Guest, body: Written) -> Self {
        Self {
            guest: Some(guest),
            body,
            written: VecDeque::new(),
            end: None,
        }
    }

    /// Takes what there is without waiting.
    pub fn gather(&mut self, context: &mut Context<'_>) {
        let mut size = 0;
        while size < GATHERED && self.advance(context).is_pending() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    size += frame.data_ref().map_or(0, Bytes::len);
                    self.written.push_back(frame);
                }
                // Its guest may have waited for just that.
                Poll::Ready(None) => {
                    let _ = self.advance(context);
                    return;
                }
                Poll::Ready(Some(Err(broken))) => {
                    self.give_up(broken);
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    /// Lets the guest go on; ready once it has returned.
    pub fn advance(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(guest) = &mut self.guest else {
            return Poll::Ready(());
        };
        let Poll::Ready(end) = guest.as_mut().poll(context) else {
            return Poll::Pending;
        };
        self.returned(end, context);
        // Whoever sends the body may have asked before.
        context.waker().wake_by_ref();
        Poll::Ready(())
    }

    /// The guest has returned.
    pub fn returned(&mut self, end: Result<(), Outcome>, context: &mut Context<'_>) {
        self.guest = None;
        self.end = Some(match end {
            Err(outcome) => Err(NoEnd::Failed(outcome)),
            Ok(()) => self.take_rest(context).map_err(NoEnd::Broken),
        });
    }

    /// What a guest that has returned left of its body: all of it is there by then. A body that it didn't finish is
    /// broken; wasmtime would end it as if it were whole once the guest's handles are gone.
    fn take_rest(&mut self, context: &mut Context<'_>) -> Result<(), BrokenOff> {
        loop {
            // Without tokio's turns, whose end looks as if something were still to come.
            let frame = pin!(unconstrained(self.body.frame())).poll(context);
            let broken = match frame {
                Poll::Ready(None) => return Ok(()),
                Poll::Ready(Some(Ok(frame))) => {
                    self.written.push_back(frame);
                    continue;
                }
                Poll::Ready(Some(Err(broken))) => broken,
                Poll::Pending => BrokenOff {
                    reason: "it returned and didn't finish the body".to_owned(),
                },
            };
            tracing::warn!(reason = broken.reason, "an answer breaks off");
            return Err(broken);
        }
    }

    /// The body has no good end, whatever its guest does.
    fn give_up(&mut self, broken: BrokenOff) {
        tracing::warn!(reason = broken.reason, "an answer breaks off");
        self.guest = None;
        self.end = Some(Err(NoEnd::Broken(broken)));
    }
}

/// A body that is all there: with its length where it is one piece. A length that the function told and didn't keep
/// would have the client take the next answer for the rest of this one.
pub(super) fn whole(
    parts: &Parts,
    mut frames: VecDeque<Frame<Bytes>>,
    bodyless: bool,
) -> Result<ResponseBody, String> {
    let written: usize = frames
        .iter()
        .filter_map(|frame| frame.data_ref().map(Bytes::len))
        .sum();
    let told = parts.headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|told| told.to_str().ok()?.parse::<usize>().ok());
    if let Some(told) = told.filter(|told| *told != written)
        && !bodyless
        && parts.status != StatusCode::NOT_MODIFIED
    {
        return Err(format!("told a length of {told} bytes and wrote {written}"));
    }
    if frames.len() < 2 && frames.front().is_none_or(Frame::is_data) {
        let data = frames.pop_front().and_then(|frame| frame.into_data().ok());
        return Ok(Either::Left(Full::new(data.unwrap_or_default())));
    }
    let frames = frames.into_iter().map(Ok);
    Ok(Either::Right(
        StreamBody::new(stream::iter(frames)).boxed_unsync(),
    ))
}

/// The body of a guest that hasn't returned. It ends when the guest has, and as broken where that failed: wasmtime
/// takes what is there by then for all.
pub(super) struct GuestBody(Arc<Mutex<Answer>>);

impl GuestBody {
    pub fn new(answer: Answer) -> Self {
        Self(Arc::new(Mutex::new(answer)))
    }

    /// Has the guest go on whether the body is read or not; ready once it has returned. A client that doesn't read
    /// keeps hyper from asking for the body, and no guest from its deadline.
    pub fn beside(&self) -> impl FnMut(&mut Context<'_>) -> Poll<()> + Send + use<> {
        let answer = Arc::clone(&self.0);
        move |context| lock(&answer).advance(context)
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where no body is sent, or all of it by the length that was told, the guest goes on beside the connection, and what
/// it writes is refused.
impl Drop for GuestBody {
    fn drop(&mut self) {
        let none = Empty::new().map_err(|never| match never {});
        let mut answer = lock(&self.0);
        answer.body = none.boxed_unsync();
        answer.written.clear();
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut answer = lock(&self.0);
        let running = answer.advance(context).is_pending();
        if let Some(frame) = answer.written.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if !running {
            let end = answer.end.replace(Ok(()));
            return Poll::Ready(end.and_then(Result::err).map(|end| Err(end.into())));
        }
        match Pin::new(&mut answer.body).poll_frame(context) {
            // The guest still runs.
            Poll::Ready(None) => Poll::Pending,
            Poll::Ready(Some(Err(broken))) => {
                answer.give_up(broken);
                let end = answer.end.replace(Ok(()));
                Poll::Ready(end.and_then(Result::err).map(|end| Err(end.into())))
            }
            polled => polled,
        }
    }
}

impl From<NoEnd> for BrokenOff {
    fn from(end: NoEnd) -> Self {
        match end {
            NoEnd::Failed(outcome) => Self {
                reason: outcome.to_string(),
            },
            NoEnd::Broken(broken) => broken,
        }
    }
}
