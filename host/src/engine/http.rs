//! Answers HTTP requests through `wasi:http`, 0.2 and 0.3: a fresh instance for each.

mod body;
mod call;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::Poll;

use http::response::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::body::{Answer, Guest, GuestBody, NoEnd, whole};
pub(super) use self::call::RequestBroken;
use self::call::{Breach, Head, Reply};
use super::Engine;
use super::apart::Placed;
use super::explain::{ended, explain};
use super::instance::{Exports, Instance};
use super::invoke::{Begun, arm, within};
use super::load::LoadedFunction;
use super::sweep::Used;
use crate::capabilities::{GuestLog, LogScope};
use crate::clock::Clock;
use crate::ports::{
    Afterwards, BrokenOff, Cost, Failure, HostFault, HttpHandler, Limit, Outcome, REQUEST_ID,
    Record, RecordKind, ResponseBody, plain,
};

/// The source that records of requests have.
const SOURCE: &str = "http";

/// So much of a path goes into the logs.
const LINE: usize = 200;

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
        if self.sweep.is_of_another(&afterwards) {
            // Others come at the same time: all their heads are read before the first guest runs.
            tokio::task::yield_now().await;
        }
        let limit = loaded.limits.request.0;
        if request.body().size_hint().lower() > limit {
            let text = format!("a request's body has at most {limit} bytes here");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        let told = Told::of(&request);
        let bodyless = request.method() == Method::HEAD;
        let (sender, head) = oneshot::channel();
        let engine = Arc::clone(&self);
        let answering = engine.answer(
            Arc::clone(&loaded),
            request,
            told.clone(),
            sender,
            // What is left to do for the connection may hold the guest, so it mustn't hold that in turn.
            Arc::downgrade(&afterwards),
        );
        let answering = Placed::new(&afterwards.place, &loaded, answering);
        let engine = Arc::clone(&self);
        let tell = move |outcome: &Outcome| {
            engine.tell(&loaded, told.clone(), outcome, Cost::default());
        };
        match first_answer(answering, head, bodyless, &afterwards).await {
            Ok(First::Whole(response)) => response,
            Ok(First::Begun(parts, answer)) => {
                let tell = move |broken: &BrokenOff| tell(&broke_off(broken));
                let body = GuestBody::new(answer, Box::new(tell));
                // A client that doesn't read keeps hyper from asking for the body, and no guest from its deadline.
                afterwards.push(poll_fn(body.beside()));
                Response::from_parts(parts, Either::Right(body.boxed_unsync()))
            }
            Err(outcome) => {
                tell(&outcome);
                let text = match outcome {
                    Outcome::Failed(Failure::Other { reason }) => format!("the function {reason}"),
                    Outcome::Limit(Limit::Response { .. }) => {
                        "the function's answer is too large".to_owned()
                    }
                    outcome => return failed(&outcome),
                };
                plain(StatusCode::BAD_GATEWAY, text)
            }
        }
    }

    fn place_apart(&self) -> Option<Handle> {
        self.apart.handle().cloned()
    }
}

/// What can be sent of an answer at first.
enum First {
    /// All of it.
    Whole(Response<ResponseBody>),
    /// Its head. The rest comes as the guest writes it.
    Begun(Parts, Answer),
}

/// Waits for the head of the answer, while the guest goes on. The error is what the function did in place of
/// answering, though it didn't fail.
async fn first_answer(
    mut guest: Guest,
    mut head: oneshot::Receiver<Head>,
    bodyless: bool,
    afterwards: &Afterwards,
) -> Result<First, Outcome> {
    let mut ended = None;
    let head = poll_fn(|context| {
        if let Poll::Ready(end) = Pin::new(&mut guest).poll(context) {
            ended = Some(end);
            // It said by now what it had to say.
            return Poll::Ready(head.try_recv().ok());
        }
        Pin::new(&mut head).poll(context).map(Result::ok)
    })
    .await;
    let (parts, body) = match (head, &ended) {
        (_, Some(Err(outcome))) => return Ok(First::Whole(failed(outcome))),
        (Some(Ok(response)), _) if response.status().is_informational() => {
            let status = response.status();
            return Err(instead(format!(
                "answered with the status {status}, which is none of an answer"
            )));
        }
        (Some(Ok(response)), _) => response.into_parts(),
        (Some(Err(code)), _) => return Err(instead(format!("answered with the error {code}"))),
        (None, Some(Ok(()))) => return Err(instead("returned without an answer".to_owned())),
        (None, None) => return Err(instead("gave up its answer".to_owned())),
    };
    let mut answer = Answer::of(guest, body);
    poll_fn(|context| {
        match ended.take() {
            Some(end) => answer.returned(end, context),
            None => answer.gather(context),
        }
        Poll::Ready(())
    })
    .await;
    let Some(end) = answer.end.take() else {
        return Ok(First::Begun(parts, answer));
    };
    let written = std::mem::take(&mut answer.written);
    if answer.goes_on() {
        let beside = GuestBody::new(answer, Box::new(|_| {})).beside();
        afterwards.push(poll_fn(beside));
    }
    let body = match end {
        Ok(()) => whole(&parts, written, bodyless).map_err(instead)?,
        Err(NoEnd::Failed(outcome)) => return Ok(First::Whole(failed(&outcome))),
        // It wrote none, as is right.
        Err(NoEnd::Broken(_)) if bodyless => Either::Left(Full::default()),
        Err(NoEnd::Broken(broken)) => return Err(broke_off(&broken)),
    };
    Ok(First::Whole(Response::from_parts(parts, body)))
}

/// What a function did in place of answering, though it didn't fail.
fn instead(reason: String) -> Outcome {
    Outcome::Failed(Failure::Other { reason })
}

/// How a body ended whose guest didn't fail.
fn broke_off(broken: &BrokenOff) -> Outcome {
    match &broken.limit {
        Some(limit) => Outcome::Limit(limit.clone()),
        None => instead(format!("ended its answer badly: {}", broken.reason)),
    }
}

/// What a client is told of a function that failed. The reason is in the log, for who runs it.
fn failed(outcome: &Outcome) -> Response<ResponseBody> {
    let (status, text) = match outcome {
        Outcome::Limit(Limit::Deadline { .. }) => {
            (StatusCode::GATEWAY_TIMEOUT, "the function took too long")
        }
        Outcome::Limit(limit @ Limit::Request { .. }) => {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, limit.to_string());
        }
        Outcome::Failed(Failure::Reject { reason }) => {
            return plain(StatusCode::BAD_REQUEST, reason.clone());
        }
        Outcome::Undeliverable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the function is busy; try again later",
        ),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the function failed"),
    };
    plain(status, text.to_owned())
}

impl Engine {
    /// Runs the guest to its end. Its answer goes to `head` while it runs.
    async fn answer(
        self: Arc<Self>,
        function: Arc<LoadedFunction>,
        request: Request<Incoming>,
        told: Told,
        head: oneshot::Sender<Head>,
        afterwards: Weak<Afterwards>,
    ) -> Result<(), Outcome> {
        let waited = self.clock.stopwatch();
        let busy = |reason: String| {
            let outcome = Outcome::Undeliverable { reason };
            self.tell(&function, told.clone(), &outcome, Cost::default());
            Err(outcome)
        };
        let waiting = timeout(function.limits.timeout.0, function.permits.acquire());
        // The semaphore is never closed.
        let Ok(Ok(permit)) = waiting.await else {
            return busy(format!(
                "{} requests run already, as many as `limits.concurrency` allows, and none ended in time",
                function.limits.concurrency
            ));
        };
        let entry = match function.entry(&self.loader).await {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.to_string();
                let outcome = Outcome::Fault(HostFault { reason });
                self.tell(&function, told, &outcome, Cost::default());
                return Err(outcome);
            }
        };
        let scope = LogScope {
            function: function.name.clone(),
            source: Some(SOURCE.to_owned()),
            event: told.id.clone(),
            subject: Some(told.line.clone()),
            attempt: None,
        };
        let begun = {
            let beginning = pin!(self.begin(&function, entry, scope, 0));
            within(function.limits.timeout.0, &waited, beginning).await
        };
        let Some(begun) = begun else {
            return busy(
                "no instance could begin in time: those under way have all of `host.memory`, so raise it, or lower \
                 `limits.concurrency`; or the function logs faster than it may"
                    .to_owned(),
            );
        };
        // The room first, so that it is given back last.
        let Begun {
            room,
            mut store,
            exports,
            answered,
            log,
            watch,
        } = begun;
        // Also where the client goes away in the middle.
        let logged = Logged {
            log,
            function: Arc::clone(&function),
            clock: self.clock.clone(),
        };
        let mut began = false;
        let call = async {
            let exports = match exports {
                Some(exports) => exports,
                None => {
                    arm(&mut store, &function)?;
                    entry.instantiate(&mut store).await?
                }
            };
            began = true;
            let breach = Arc::<Breach>::default();
            let reply = Reply {
                head,
                request: function.limits.request.0,
                breach: Arc::clone(&breach),
                limit: function.limits.response.0,
            };
            let calling = async {
                match &exports {
                    Exports::Http(proxy) => {
                        call::incoming_handler(&mut store, proxy, request, reply).await
                    }
                    Exports::Service(service) => {
                        call::handler(&mut store, service, request, reply).await
                    }
                    _ => Err(wasmtime::format_err!("the function answers no requests")),
                }
            };
            tokio::select! {
                biased;
                called = calling => called?,
                broken = breach.wait() => return Err(broken),
            }
            Ok(exports)
        };
        let called = within(function.limits.timeout.0, &watch, pin!(call)).await;
        drop(logged);
        function.likely.learn(store.data().limiter.wanted(), 0);
        let answer = ended(called, store.data());
        let answer = answer.map_err(|cut| explain(cut, began, &function, store.data()));
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
            self.tell(&function, told, outcome, cost);
        }
        drop(permit);
        let answered = answered.saturating_add(1);
        // A handle that is left may be that of the request's body, which its connection would wait for.
        let reusable = answered < function.reuse
            && !store.data().holds_handles()
            && self.ready.wants(&function);
        match (answer, room) {
            (Ok(exports), Some(room)) if reusable => {
                let instance = Instance {
                    store,
                    exports,
                    room,
                    answered,
                };
                self.reuse(&function, instance);
                Ok(())
            }
            (answer, room) => {
                let used = Used {
                    function,
                    store,
                    room,
                };
                self.sweep(used, &afterwards);
                answer.map(|_| ())
            }
        }
    }

    /// A request that failed goes into the journal, as an event does.
    fn tell(
        &self,
        function: &LoadedFunction,
        Told { id, line }: Told,
        outcome: &Outcome,
        cost: Cost,
    ) {
        self.journal.write(Record {
            time: self.clock.now(),
            function: Some(function.name.clone()),
            source: Some(SOURCE.to_owned()),
            event: id,
            subject: Some(line),
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

/// What a guest logs for one request, counted at its end.
struct Logged {
    log: GuestLog,
    function: Arc<LoadedFunction>,
    clock: Clock,
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.log.finish();
        self.function.pace.count(self.log.taken(), &self.clock);
    }
}

/// A request as the logs name it.
#[derive(Clone)]
struct Told {
    id: Option<String>,
    /// Its method and path.
    line: String,
}

impl Told {
    fn of(request: &Request<Incoming>) -> Self {
        let id = request.headers().get(REQUEST_ID);
        let path: String = request.uri().path().chars().take(LINE).collect();
        Self {
            id: id.and_then(|id| Some(id.to_str().ok()?.to_owned())),
            line: format!("{} {path}", request.method()),
        }
    }
}
