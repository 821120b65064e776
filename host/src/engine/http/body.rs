//! What a guest writes of its answer: sent as it comes, and never taken for whole where it isn't.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::Bytes;
use futures_util::stream;
use http::response::Parts;
use http::{StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Empty, Full, StreamBody};
use tokio::task::unconstrained;

use crate::capabilities::{HostCalls, HostCallsExceeded};
use crate::engine::apart::Placed;
use crate::guard::{self, Guard};
use crate::ports::{BrokenOff, Counted, Limit, Outcome, ResponseBody};

/// What comes of a guest's body.
pub(super) type Written = UnsyncBoxBody<Bytes, BrokenOff>;

/// A guest that answers: ends with nothing to say, or with what was wrong.
pub(super) type Guest = Placed<Result<(), Outcome>>;

/// So much of a body is gathered before its head is sent: most have all of it by then, and go out in one piece.
const GATHERED: usize = 64 << 10;

/// What a piece of a body takes beside its bytes.
const PIECE: usize = 64;

/// Why a body has no good end.
pub(super) enum NoEnd {
    /// Its guest failed.
    Failed(Outcome),
    /// Its guest didn't, and left it unfinished.
    Broken(BrokenOff),
}

/// A guest beside what it writes.
pub(super) struct Answer {
    /// None once it has returned. It may go on when its body has ended.
    guest: Option<Guest>,
    body: Written,
    /// What it wrote, and isn't sent.
    pub written: VecDeque<Frame<Bytes>>,
    /// How its body ended, once it has.
    pub end: Option<Result<(), NoEnd>>,
    wakers: Arc<Wakers>,
}

/// Who lets a guest go on: whoever sends its body, and whoever does so beside that, which are two tasks over HTTP/2. What
/// wakes the guest wakes both, since either may have let it go on last.
#[derive(Default)]
struct Wakers(Mutex<[Option<Waker>; 2]>);

/// Their places there.
#[derive(Clone, Copy)]
enum By {
    Body,
    Beside,
}

impl Wakers {
    fn set(&self, by: By, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [body, beside] = &mut *wakers;
        let own = match by {
            By::Body => body,
            By::Beside => beside,
        };
        match own {
            Some(own) => own.clone_from(waker),
            None => *own = Some(waker.clone()),
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Answer {
    pub fn of(guest: Guest, body: Written) -> Self {
        Self {
            guest: Some(guest),
            body,
            written: VecDeque::new(),
            end: None,
            wakers: Arc::default(),
        }
    }

    /// Takes what there is without waiting.
    pub fn gather(&mut self, context: &mut Context<'_>) {
        let mut size = 0;
        while size < GATHERED {
            match self.next(context) {
                Poll::Ready(Some(frame)) => {
                    size += frame.data_ref().map_or(0, Bytes::len);
                    self.written.push_back(frame);
                }
                Poll::Ready(None) => {
                    // It may have waited for just that.
                    let _ = self.advance(By::Body, context);
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    /// Takes all of it, up to so many bytes, of which `taken` counts those that it has; ready once the guest has returned
    /// as well. The error says what is wrong.
    pub fn take_all(
        &mut self,
        taken: &mut usize,
        most: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), String>> {
        while *taken <= most {
            let Some(frame) = ready!(self.next(context)) else {
                return self.advance(By::Body, context).map(Ok);
            };
            // Many small pieces take more than their bytes.
            *taken += frame.data_ref().map_or(0, Bytes::len) + PIECE;
            self.written.push_back(frame);
        }
        Poll::Ready(Err(format!(
            "answered a request that has an `Idempotency-Key` with more than {most} bytes, which can't be remembered"
        )))
    }

    /// The next of its body from a guest that goes on; none once `end` tells how it ended.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let _ = self.advance(By::Body, context);
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        let end = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => return Poll::Ready(Some(frame)),
            // The guest's own end of it: one that had failed would have returned.
            None => Ok(()),
            Some(Err(broken)) => {
                tracing::warn!(reason = broken.reason, "an answer breaks off");
                Err(NoEnd::Broken(broken))
            }
        };
        self.end = Some(end);
        Poll::Ready(None)
    }

    /// Whether its guest goes on.
    pub fn goes_on(&self) -> bool {
        self.guest.is_some()
    }

    /// Lets the guest go on; ready once it has returned.
    fn advance(&mut self, by: By, context: &mut Context<'_>) -> Poll<()> {
        let Some(guest) = &mut self.guest else {
            return Poll::Ready(());
        };
        self.wakers.set(by, context.waker());
        let both = Waker::from(Arc::clone(&self.wakers));
        let Poll::Ready(end) = Pin::new(guest).poll(&mut Context::from_waker(&both)) else {
            return Poll::Pending;
        };
        self.returned(end, context);
        // Either may have asked before.
        both.wake();
        Poll::Ready(())
    }

    /// The guest has returned.
    pub fn returned(&mut self, end: Result<(), Outcome>, context: &mut Context<'_>) {
        self.guest = None;
        if self.end.is_none() {
            self.end = Some(match end {
                Err(outcome) => Err(NoEnd::Failed(outcome)),
                Ok(()) => self.take_rest(context).map_err(NoEnd::Broken),
            });
        }
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
                    limit: None,
                },
            };
            tracing::warn!(reason = broken.reason, "an answer breaks off");
            return Err(broken);
        }
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

/// The body of a guest that hasn't returned. It ends as broken where the guest fails before its end: wasmtime takes
/// what is there by then for all.
pub(super) struct GuestBody {
    answer: Arc<Mutex<Answer>>,
    tell: Tell,
}

/// A guest's body, of which at most `limit` bytes come, and move through `calls`.
pub(super) fn bounded(body: Written, limit: u64, calls: Arc<HostCalls>) -> Written {
    let mut left = if guard::holds(Guard::Response) {
        limit
    } else {
        u64::MAX
    };
    let mut count = move |bytes: usize| {
        if let Err(HostCallsExceeded { limit }) = calls.count(bytes) {
            return Err(Limit::HostCalls { limit });
        }
        left = left
            .checked_sub(bytes as u64)
            .ok_or(Limit::Response { limit })?;
        Ok(())
    };
    let count = move |bytes| {
        count(bytes).map_err(|limit| BrokenOff {
            reason: limit.to_string(),
            limit: Some(limit),
        })
    };
    Counted { body, count }.boxed_unsync()
}

/// Told of a body that its guest left unfinished though it didn't fail.
pub(super) type Tell = Box<dyn Fn(&BrokenOff) + Send>;

impl GuestBody {
    pub fn new(answer: Answer, tell: Tell) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        Self { answer, tell }
    }

    /// Has the guest go on whether the body is read or not; ready once it has returned. A client that doesn't read
    /// keeps hyper from asking for the body, and no guest from its deadline.
    pub fn beside(&self) -> impl FnMut(&mut Context<'_>) -> Poll<()> + Send + use<> {
        let answer = Arc::clone(&self.answer);
        let wakers = Arc::clone(&lock(&answer).wakers);
        move |context| {
            wakers.set(By::Beside, context.waker());
            match answer.try_lock() {
                Ok(mut answer) => answer.advance(By::Beside, context),
                Err(TryLockError::Poisoned(poisoned)) => {
                    poisoned.into_inner().advance(By::Beside, context)
                }
                // Whoever sends the body lets the guest go on just now; what wakes it wakes both.
                Err(TryLockError::WouldBlock) => Poll::Pending,
            }
        }
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
        let mut answer = lock(&self.answer);
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
        let mut answer = lock(&self.answer);
        if answer.written.is_empty() {
            if let Some(frame) = ready!(answer.next(context)) {
                return Poll::Ready(Some(Ok(frame)));
            }
        } else {
            let _ = answer.advance(By::Body, context);
        }
        // What was gathered before, or what a guest left that has returned.
        if let Some(frame) = answer.written.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        // Asked again, it has ended.
        Poll::Ready(match answer.end.replace(Ok(())) {
            None | Some(Ok(())) => None,
            Some(Err(NoEnd::Failed(outcome))) => Some(Err(BrokenOff {
                reason: outcome.to_string(),
                limit: None,
            })),
            Some(Err(NoEnd::Broken(broken))) => {
                (self.tell)(&broken);
                Some(Err(broken))
            }
        })
    }
}
