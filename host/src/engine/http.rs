//! Answers HTTP requests through `wasi:http` 0.2: a fresh instance for each.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use futures_util::stream;
use http::response::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Empty, Full, StreamBody};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::timeout;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::Engine;
use super::explain::{Cut, explain};
use super::instance::Exports;
use super::invoke::{Begun, arm, within};
use super::load::LoadedFunction;
use crate::capabilities::LogScope;
use crate::ports::{
    Afterwards, BrokenOff, Cost, Failure, HostFault, HttpHandler, Limit, Outcome, Record,
    RecordKind, ResponseBody, plain,
};

/// The source that records of requests have.
const SOURCE: &str = "http";

/// So much of a path goes into the logs.
const LINE: usize = 200;

/// What a guest has said of its answer.
type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// A guest that answers: ends with nothing to say, or with what was wrong.
type Guest = Pin<Box<dyn Future<Output = Result<(), Outcome>> + Send>>;

impl HttpHandler for Engine {
    async fn respond(
        self: Arc<Self>,
        function: Arc<str>,
        request: Request<Incoming>,
        afterwards: Arc<Afterwards>,
    ) -> Response<ResponseBody> {
        let Some(loaded) = self.functions.get(&*function).map(Arc::clone) else {
            let text = format!("function {function:?} isn't loaded");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, text);
        };
        let line = request_line(&request);
        let bodyless = request.method() == Method::HEAD;
        let (sender, head) = oneshot::channel();
        let engine = Arc::clone(&self);
        let answering = engine.answer(
            Arc::clone(&loaded),
            request,
            line.clone(),
            sender,
            Arc::clone(&afterwards),
        );
        match first_answer(Box::pin(answering), head, bodyless, &afterwards).await {
            Ok(response) => response,
            Err(reason) => {
                let text = format!("the function {reason}");
                let outcome = Outcome::Failed(Failure::Other { reason });
                self.tell(&loaded, line, &outcome, Cost::default());
                plain(StatusCode::BAD_GATEWAY, text)
            }
        }
    }
}

/// Waits for the head of the answer, while the guest goes on. The error is what the function did in place of
/// answering, though it didn't fail.
async fn first_answer(
    mut guest: Guest,
    mut head: oneshot::Receiver<Head>,
    bodyless: bool,
    afterwards: &Afterwards,
) -> Result<Response<ResponseBody>, String> {
    let mut ended = None;
    let head = poll_fn(|context| {
        if let Poll::Ready(end) = guest.as_mut().poll(context) {
            ended = Some(end);
            // It said by now what it had to say.
            return Poll::Ready(head.try_recv().ok());
        }
        Pin::new(&mut head).poll(context).map(Result::ok)
    })
    .await;
    match (head, ended) {
        (_, Some(Err(outcome))) => Ok(failed(&outcome)),
        (Some(Ok(response)), None) => {
            let (parts, body) = response.into_parts();
            let body = GuestBody::new(guest, body);
            let beside = Arc::clone(&body.0);
            // A client that doesn't read keeps hyper from asking for the body, and no guest from its deadline.
            afterwards.push(poll_fn(move |context| lock(&beside).advance(context)));
            Ok(Response::from_parts(
                parts,
                Either::Right(body.boxed_unsync()),
            ))
        }
        (Some(Ok(response)), Some(Ok(()))) => {
            let (parts, mut body) = response.into_parts();
            let rest = poll_fn(|context| Poll::Ready(rest(&mut body, context))).await;
            let body = match rest {
                Ok(frames) => whole(&parts, frames, bodyless)?,
                // It wrote none, as is right.
                Err(_) if bodyless => Either::Left(Full::default()),
                Err(BrokenOff { reason }) => {
                    return Err(format!("ended its answer badly: {reason}"));
                }
            };
            Ok(Response::from_parts(parts, body))
        }
        (Some(Err(code)), _) => Err(format!("answered with the error {code:?}")),
        (None, Some(Ok(()))) => Err("returned without an answer".to_owned()),
        (None, None) => Err("gave up its answer".to_owned()),
    }
}

/// What a client is told of a function that failed. The reason is in the log, for who runs it.
fn failed(outcome: &Outcome) -> Response<ResponseBody> {
    let (status, text) = match outcome {
        Outcome::Limit(Limit::Deadline { .. }) => {
            (StatusCode::GATEWAY_TIMEOUT, "the function took too long")
        }
        Outcome::Undeliverable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the function is busy; try again later",
        ),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the function failed"),
    };
    plain(status, text.to_owned())
}

/// What a guest that has returned left of its body: all of it is there by then. A body that it didn't finish is
/// broken; wasmtime would end it as if it were whole once the guest's handles are gone.
fn rest(
    body: &mut HyperOutgoingBody,
    context: &mut TaskContext<'_>,
) -> Result<VecDeque<Frame<Bytes>>, BrokenOff> {
    let mut frames = VecDeque::new();
    loop {
        // Without tokio's turns, whose end looks as if something were still to come.
        let frame = pin!(unconstrained(body.frame())).poll(context);
        let reason = match frame {
            Poll::Ready(None) => return Ok(frames),
            Poll::Ready(Some(Ok(frame))) => {
                frames.push_back(frame);
                continue;
            }
            Poll::Ready(Some(Err(error))) => error.to_string(),
            Poll::Pending => "it returned and didn't finish the body".to_owned(),
        };
        tracing::warn!(reason, "an answer breaks off");
        return Err(BrokenOff { reason });
    }
}

/// A body that is all there: with its length where it is one piece. A length that the function told and didn't keep
/// would have the client take the next answer for the rest of this one.
fn whole(
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
struct GuestBody(Arc<Mutex<Answer>>);

struct Answer {
    /// None once it has returned.
    guest: Option<Guest>,
    body: HyperOutgoingBody,
    /// What is left to send of a guest that has returned.
    left: VecDeque<Frame<Bytes>>,
    broken: Option<BrokenOff>,
}

impl GuestBody {
    fn new(guest: Guest, body: HyperOutgoingBody) -> Self {
        Self(Arc::new(Mutex::new(Answer {
            guest: Some(guest),
            body,
            left: VecDeque::new(),
            broken: None,
        })))
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
        lock(&self.0).body = none.boxed_unsync();
    }
}

impl Answer {
    /// Lets the guest go on; ready once it has returned.
    fn advance(&mut self, context: &mut TaskContext<'_>) -> Poll<()> {
        let Some(guest) = &mut self.guest else {
            return Poll::Ready(());
        };
        let Poll::Ready(end) = guest.as_mut().poll(context) else {
            return Poll::Pending;
        };
        self.guest = None;
        let end = end.map_err(|outcome| BrokenOff {
            reason: outcome.to_string(),
        });
        match end.and_then(|()| rest(&mut self.body, context)) {
            Ok(left) => self.left = left,
            Err(broken) => self.broken = Some(broken),
        }
        // Whoever sends the body may have asked before.
        context.waker().wake_by_ref();
        Poll::Ready(())
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut answer = lock(&self.0);
        if answer.advance(context).is_ready() {
            let broken = answer.broken.take().map(Err);
            let next = broken.or_else(|| answer.left.pop_front().map(Ok));
            return Poll::Ready(next);
        }
        match Pin::new(&mut answer.body).poll_frame(context) {
            // The guest still runs.
            Poll::Ready(None) => Poll::Pending,
            polled => polled.map_err(|error| BrokenOff {
                reason: error.to_string(),
            }),
        }
    }
}

impl Engine {
    /// Runs the guest to its end. Its answer goes to `head` while it runs.
    async fn answer(
        self: Arc<Self>,
        function: Arc<LoadedFunction>,
        request: Request<Incoming>,
        line: Option<String>,
        head: oneshot::Sender<Head>,
        afterwards: Arc<Afterwards>,
    ) -> Result<(), Outcome> {
        let waiting = timeout(function.limits.timeout.0, function.permits.acquire());
        // The semaphore is never closed.
        let Ok(Ok(permit)) = waiting.await else {
            let reason = format!(
                "{} requests run already, as many as `limits.concurrency` allows, and none ended in time",
                function.limits.concurrency
            );
            let outcome = Outcome::Undeliverable { reason };
            self.tell(&function, line, &outcome, Cost::default());
            return Err(outcome);
        };
        let entry = match function.entry(&self.loader).await {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.to_string();
                let outcome = Outcome::Fault(HostFault { reason });
                self.tell(&function, line, &outcome, Cost::default());
                return Err(outcome);
            }
        };
        let scope = LogScope {
            function: function.name.clone(),
            source: Some(SOURCE.to_owned()),
            event: None,
            subject: line.clone(),
            attempt: None,
        };
        // The room first, so that it is given back last.
        let Begun {
            room,
            mut store,
            exports,
            log,
            watch,
        } = self.begin(&function, scope, 0).await;
        let mut began = false;
        let call = async {
            let exports = match exports {
                Some(exports) => exports,
                None => {
                    arm(&mut store, &function)?;
                    entry.instantiate(&mut store).await?
                }
            };
            let Exports::Http(exports) = &exports else {
                return Err(wasmtime::format_err!("the function answers no requests"));
            };
            began = true;
            let mut http = store.data_mut().http();
            let request = http.new_incoming_request(Scheme::Http, request)?;
            let head = http.new_response_outparam(head)?;
            let handler = exports.wasi_http_incoming_handler();
            handler.call_handle(&mut store, request, head).await
        };
        let answer = match within(function.limits.timeout.0, &watch, pin!(call)).await {
            Some(answer) => answer.map_err(Cut::Ended),
            None => Err(Cut::Deadline),
        };
        log.finish();
        let answer = answer.map_err(|cut| explain(cut, began, &function, &log));
        if let Err(outcome) = &answer {
            let cost = Cost {
                fuel: function
                    .limits
                    .fuel
                    .saturating_sub(store.get_fuel().unwrap_or(0)),
                peak_memory: store.data().limiter.peak(),
                start_us: 0,
                run_us: u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX),
            };
            self.tell(&function, line, outcome, cost);
        }
        drop(permit);
        let engine = Arc::clone(&self);
        afterwards.push(async move {
            drop((store, room));
            engine.make_ready(&function).await;
        });
        answer
    }

    /// A request that failed goes into the journal, as an event does.
    fn tell(
        &self,
        function: &LoadedFunction,
        request: Option<String>,
        outcome: &Outcome,
        cost: Cost,
    ) {
        self.journal.write(Record {
            time: self.clock.now(),
            function: Some(function.name.clone()),
            source: Some(SOURCE.to_owned()),
            event: None,
            subject: request,
            attempt: None,
            kind: RecordKind::Outcome {
                outcome: outcome.clone(),
                text: outcome.to_string(),
                settled: true,
                dead: false,
                retry_in_ms: None,
                cost,
                queue_ms: 0,
                outputs: Vec::new(),
                published: Vec::new(),
            },
        });
    }
}

/// A request as the logs name it.
fn request_line(request: &Request<Incoming>) -> Option<String> {
    let path: String = request.uri().path().chars().take(LINE).collect();
    Some(format!("{} {path}", request.method()))
}
