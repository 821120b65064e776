//! Answers HTTP requests through `wasi:http` 0.2: a fresh instance for each.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::Engine;
use super::explain::{Cut, explain};
use super::instance::Exports;
use super::invoke::{arm, within};
use super::load::LoadedFunction;
use crate::capabilities::{GuestLog, LogScope};
use crate::ports::{
    Afterwards, BrokenOff, Cost, HostFault, HttpHandler, Limit, Outcome, Record, RecordKind,
    ResponseBody, plain,
};

/// The source that records of requests have.
const SOURCE: &str = "http";

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
        let (sender, head) = oneshot::channel();
        let guest = Box::pin(self.answer(loaded, request, sender, afterwards));
        first_answer(guest, head).await
    }
}

/// Waits for the head of the answer, while the guest goes on.
async fn first_answer(
    mut guest: Guest,
    mut head: oneshot::Receiver<Head>,
) -> Response<ResponseBody> {
    let mut ended = None;
    let head = poll_fn(|context| {
        if ended.is_none()
            && let Poll::Ready(end) = guest.as_mut().poll(context)
        {
            ended = Some(end);
        }
        match Pin::new(&mut head).poll(context) {
            Poll::Ready(head) => Poll::Ready(head.ok()),
            // The sender goes with the guest.
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    match (head, ended) {
        (Some(Ok(response)), None) => response.map(|body| {
            let guest = Some(guest);
            Either::Right(GuestBody { guest, body }.boxed_unsync())
        }),
        (Some(Ok(response)), Some(Ok(()))) => {
            let (parts, body) = response.into_parts();
            Response::from_parts(parts, whole(body).await)
        }
        (_, Some(Err(outcome))) => failed(&outcome),
        (Some(Err(code)), _) => {
            let text = format!("the function answered with the error {code:?}");
            plain(StatusCode::BAD_GATEWAY, text)
        }
        (None, _) => {
            let text = "the function returned without an answer";
            plain(StatusCode::BAD_GATEWAY, text.to_owned())
        }
    }
}

/// What a client is told of a function that failed. The reason is in the log, for who runs it.
fn failed(outcome: &Outcome) -> Response<ResponseBody> {
    let (status, text) = match outcome {
        Outcome::Limit(Limit::Deadline { .. }) => {
            (StatusCode::GATEWAY_TIMEOUT, "the function took too long")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the function failed"),
    };
    plain(status, text.to_owned())
}

/// The body of a guest that has returned: where it is one piece, with its length.
async fn whole(mut body: HyperOutgoingBody) -> ResponseBody {
    let mut pieces = Vec::new();
    // Nothing is waited for: all that will come is in the channel.
    while let Some(Ok(frame)) = body.frame().await {
        pieces.push(frame);
    }
    match pieces.as_mut_slice() {
        [] => Either::Left(Full::default()),
        [one] if one.is_data() => {
            let data = std::mem::replace(one, Frame::data(Bytes::new())).into_data();
            Either::Left(Full::new(data.unwrap_or_default()))
        }
        _ => Either::Right(Pieces(pieces.into_iter()).boxed_unsync()),
    }
}

/// Several pieces that are all there.
struct Pieces(std::vec::IntoIter<Frame<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// The body of a guest that hasn't returned. It ends when the guest has, and as broken where that failed: wasmtime
/// takes what is there by then for all.
struct GuestBody {
    guest: Option<Guest>,
    body: HyperOutgoingBody,
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(guest) = &mut self.guest {
            match guest.as_mut().poll(context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.guest = None,
                Poll::Ready(Err(outcome)) => {
                    self.guest = None;
                    let reason = outcome.to_string();
                    return Poll::Ready(Some(Err(BrokenOff { reason })));
                }
            }
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) if self.guest.is_some() => Poll::Pending,
            polled => polled.map_err(|error| BrokenOff {
                reason: error.to_string(),
            }),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Engine {
    /// Runs the guest to its end. Its answer goes to `head` while it runs.
    async fn answer(
        self: Arc<Self>,
        function: Arc<LoadedFunction>,
        request: Request<Incoming>,
        head: oneshot::Sender<Head>,
        afterwards: Arc<Afterwards>,
    ) -> Result<(), Outcome> {
        // The semaphore is never closed; without a permit nothing else would differ.
        let permit = function.permits.acquire().await;
        let entry = match function.entry(&self.loader).await {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.to_string();
                let outcome = Outcome::Fault(HostFault { reason });
                self.tell(&function, request_line(&request), &outcome, Cost::default());
                return Err(outcome);
            }
        };
        let watch = self.clock.stopwatch();
        let log = GuestLog::new(
            scope(&function, &request),
            self.journal.clone(),
            self.clock.clone(),
            function.limits.log.0,
        );
        let context = self.context(&function, 0, log.clone());
        let (mut store, exports, room) = self.begin(&function, context).await;
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
            self.tell(&function, log.subject(), outcome, cost);
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

fn scope(function: &LoadedFunction, request: &Request<Incoming>) -> LogScope {
    LogScope {
        function: function.name.clone(),
        source: Some(SOURCE.to_owned()),
        event: None,
        subject: request_line(request),
        attempt: None,
    }
}

/// A request as the logs name it.
fn request_line(request: &Request<Incoming>) -> Option<String> {
    Some(format!("{} {}", request.method(), request.uri().path()))
}
