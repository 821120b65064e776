//! Answers HTTP requests through `wasi:http`, 0.2 and 0.3: a fresh instance for each.

mod body;
mod call;
mod codes;
mod consume;
mod contents;
mod effects;
mod keyed;
mod report;
mod request;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Either, Full};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use wasmtime::component::Linker;

use self::body::{Answer, Guest, GuestBody, NoEnd, whole};
pub(super) use self::call::RequestBroken;
use self::call::{Breach, Head, Reply};
pub(super) use self::contents::contents_of;
pub(super) use self::effects::{Committing, NotCommitted};
use self::effects::{Decided, Done, When};
pub(super) use self::keyed::Keys;
use self::report::AttemptReport;
use self::request::{Arriving, NotKept, Repeatable, RequestBody};
use super::Engine;
use super::apart::Placed;
use super::explain::{ended, explain};
use super::instance::{Exports, Instance};
use super::invoke::{Begun, arm, micros, within};
use super::load::LoadedFunction;
use super::state::State;
use super::sweep::Used;
use crate::capabilities::{GuestLog, LogScope};
use crate::guard::{self, Guard};
use crate::ports::{
    Afterwards, AnswerKey, BrokenOff, Committed, Cost, Effects, Failure, HostFault, HttpHandler,
    IncomingBody, Limit, Outcome, REQUEST_ID, Record, RecordKind, RequestEffects, ResponseBody,
    Share, plain,
};

/// The source that records of requests have.
const SOURCE: &str = "http";

/// How many characters of a path go into the logs.
const LINE: usize = 200;
/// The part of a method that goes into the logs, in bytes. Each line that a guest logs has it.
const METHOD: usize = 32;

/// Of a request's body at most so many bytes are kept for another attempt.
const AGAIN: u64 = 1 << 20;
/// The same of a request that has an `Idempotency-Key`: all of it is read before the function begins.
const KEYED: u64 = 16 << 20;
/// All bodies that are kept have so many bytes of memory together: beside `host.memory`, so that who sends them slowly keeps
/// no function from running.
pub(super) const BODIES: u64 = 128 << 20;
/// An answer that is remembered takes at most so many bytes.
const REMEMBERED: usize = 1 << 20;
/// The start of a reason that ends with the error of a guest.
const ERROR: &str = "answered with the error ";
const BROKE_OFF: &str = "ended its answer badly: ";
/// Before a request in conflict is tried again: at most so long.
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// Puts functions of ours in the place of some of wasmtime's.
pub(super) fn link(linker: &mut Linker<State>, concurrent: bool) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    effects::link(linker)?;
    call::link(linker)?;
    contents::link(linker, concurrent)?;
    if concurrent {
        consume::link(linker)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

impl HttpHandler for Engine {
    async fn respond(
        self: Arc<Self>,
        function: Arc<str>,
        request: Request<IncomingBody>,
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
            let text = format!(
                "the request's body has more than {limit} bytes, see `limits.request`; send fewer"
            );
            return plain(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        let effects = self.effects.clone();
        let effects = effects.filter(|_| loaded.may_have_effects());
        let asked = Asked {
            told: Told::of(&request),
            bodyless: request.method() == Method::HEAD,
            engine: self,
            function: loaded,
            afterwards,
        };
        let Some(effects) = effects else {
            let request = Arriving::ask(request).await.map(RequestBody::Once);
            let attempt = asked.attempt(request, None).await;
            return asked.answer(attempt);
        };
        match keyed::key_of(&function, &request) {
            Err(error) => plain(StatusCode::BAD_REQUEST, error.to_string()),
            Ok(None) => {
                let request = Arriving::ask(request).await;
                asked.with_effects(&effects, request).await
            }
            Ok(Some(key)) => {
                let request = Arriving::of(request);
                asked.with_key(&effects, key, request).await
            }
        }
    }

    fn place_apart(&self) -> Option<Handle> {
        self.apart.handle().cloned()
    }
}

/// What a client is asked to wait for.
fn later(status: StatusCode, text: &str) -> Response<ResponseBody> {
    let mut response = plain(status, text.to_owned());
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A request, and whom it is for.
struct Asked {
    engine: Arc<Engine>,
    function: Arc<LoadedFunction>,
    told: Told,
    bodyless: bool,
    afterwards: Arc<Afterwards>,
}

/// How an attempt's effects are committed.
#[derive(Clone)]
struct Commits {
    effects: Arc<dyn Effects>,
    when: When,
    decided: Arc<Decided>,
    left: Arc<Mutex<Left>>,
}

/// What an attempt leaves.
#[derive(Default)]
struct Left {
    /// What waits for the end of the answer.
    waiting: Option<Waiting>,
    /// Whether the guest returned well from an answer that has no effects.
    none: bool,
    /// What became of effects that were due at its head.
    at_head: AtHead,
}

/// What became of effects that were due at an answer's head.
#[derive(Clone, Copy, Default)]
enum AtHead {
    /// None are there.
    #[default]
    Nothing,
    /// They may come about still: the guest failed, or its time was up, before they were committed.
    Unsure,
    Committed,
}

/// Effects that wait for the end of an answer, and what it cost.
struct Waiting {
    staged: RequestEffects,
    cost: Cost,
}

impl Commits {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn commits(&self, effects: &Arc<dyn Effects>, when: When) -> Commits {
        let (engine, function) = (Arc::clone(&self.engine), Arc::clone(&self.function));
        Commits {
            effects: Arc::clone(effects),
            when,
            decided: Arc::new(Decided::new(engine, function, self.told.clone())),
            left: Arc::default(),
        }
    }

    /// Has the guest answer once.
    async fn attempt(&self, request: Request<RequestBody>, commits: Option<Commits>) -> Attempt {
        let whole = commits
            .as_ref()
            .is_some_and(|commits| commits.when == When::End);
        let (sender, head) = oneshot::channel();
        let report = AttemptReport::new(&self.engine, &self.function, self.told.clone());
        let report = Arc::new(report);
        let answering = Arc::clone(&self.engine).answer(
            Arc::clone(&self.function),
            request,
            Arc::clone(&report),
            sender,
            commits,
            // What is left to do for the connection may hold the guest, so it mustn't hold that in turn.
            Arc::downgrade(&self.afterwards),
        );
        let answering = Placed::new(&self.afterwards.place, &self.function, answering);
        let wanted = (self.bodyless, whole);
        let first = first_answer(answering, head, wanted, &report, &self.afterwards).await;
        Attempt { first, report }
    }

    /// What is sent of an answer.
    fn answer(&self, Attempt { first, report }: Attempt) -> Response<ResponseBody> {
        match first {
            Ok(First::Whole(response) | First::Failed(response)) => response,
            Ok(First::Begun(parts, answer)) => {
                let tell = move |broken: &BrokenOff| report.wrong(broke_off(broken));
                let body = GuestBody::new(answer, Box::new(tell));
                // A client that doesn't read keeps hyper from asking for the body, and no guest from its deadline.
                self.afterwards.push(poll_fn(body.beside()));
                Response::from_parts(parts, Either::Right(body.boxed_unsync()))
            }
            Err(outcome) => {
                let text = match &outcome {
                    Outcome::Failed(Failure::Other { reason }) => {
                        format!("the function {}", for_client(reason))
                    }
                    Outcome::Limit(Limit::Response { .. }) => {
                        "the function's answer is too large".to_owned()
                    }
                    outcome => {
                        let response = failed(outcome);
                        report.wrong(outcome.clone());
                        return response;
                    }
                };
                report.wrong(outcome);
                plain(StatusCode::BAD_GATEWAY, text)
            }
        }
    }

    /// Effects commit before the head leaves. Where they are in conflict the request is tried again, as long as all of it
    /// is here: one of those in conflict always commits.
    async fn with_effects(
        &self,
        effects: &Arc<dyn Effects>,
        request: Request<Arriving>,
    ) -> Response<ResponseBody> {
        let watch = self.engine.clock.stopwatch();
        let request = Repeatable::new(request, AGAIN, Share::none(&self.engine.bodies));
        loop {
            let commits = self.commits(effects, When::Head);
            let attempt = self.attempt(request.request(), Some(commits.clone())).await;
            match &attempt.first {
                Err(Outcome::Conflict { .. })
                    if request.is_whole() && watch.elapsed() < self.function.limits.timeout.0 =>
                {
                    self.pause().await;
                }
                _ => {
                    let response = self.answer(attempt);
                    if !response.status().is_server_error() {
                        return response;
                    }
                    let text = match commits.left().at_head {
                        AtHead::Nothing => return response,
                        AtHead::Unsure => "the function failed; its effects may come about still",
                        AtHead::Committed => "the function failed once its effects were committed",
                    };
                    return plain(response.status(), text.to_owned());
                }
            }
        }
    }

    /// As the first request of that key was answered; else the answer is remembered together with its effects.
    async fn with_key(
        &self,
        effects: &Arc<dyn Effects>,
        key: AnswerKey,
        request: Request<Arriving>,
    ) -> Response<ResponseBody> {
        let Some(_under_way) = self.engine.keys.begin(key) else {
            let text = "a request with this Idempotency-Key is under way; try again later";
            return later(StatusCode::CONFLICT, text);
        };
        let (watch, limit) = (
            self.engine.clock.stopwatch(),
            self.function.limits.timeout.0,
        );
        let request = Repeatable::new(request, KEYED, Share::none(&self.engine.bodies));
        let hash = match timeout(limit, request.read()).await {
            Ok(Ok(hash)) => hash,
            Ok(Err(NotKept::Broken(error))) => {
                let text = format!("the request's body broke off: {error}");
                return plain(StatusCode::BAD_REQUEST, text);
            }
            Ok(Err(NotKept::TooLarge)) => {
                let text = format!(
                    "the body of a request with an Idempotency-Key has at most {KEYED} bytes; send it without one"
                );
                return plain(StatusCode::PAYLOAD_TOO_LARGE, text);
            }
            Ok(Err(NotKept::NoRoom)) => {
                let text =
                    "too many requests with an Idempotency-Key come at once; try again later";
                return later(StatusCode::SERVICE_UNAVAILABLE, text);
            }
            Err(_) => {
                let text = "the request's body took too long to come".to_owned();
                return plain(StatusCode::REQUEST_TIMEOUT, text);
            }
        };
        loop {
            // Also after a conflict: one that its client left behind may have committed in between.
            if let Some(response) = self.remembered(effects, &key, hash).await {
                return response;
            }
            let commits = self.commits(effects, When::End);
            let Attempt { first, report } =
                self.attempt(request.request(), Some(commits.clone())).await;
            let Left { waiting, none, .. } = std::mem::take(&mut *commits.left());
            let (response, Waiting { mut staged, cost }) = match (first, waiting) {
                (Ok(First::Whole(response)), Some(waiting)) => (response, waiting),
                // It failed once its answer was whole.
                (Ok(First::Whole(_)), None) if !none => {
                    let text = "the function failed".to_owned();
                    return plain(StatusCode::INTERNAL_SERVER_ERROR, text);
                }
                (first, _) => return self.answer(Attempt { first, report }),
            };
            let (kept, response) = keyed::keep(hash, response).await;
            let none = staged.transaction.is_empty();
            staged.answer = Some((key, kept));
            let commit = timeout(limit, Arc::clone(effects).commit(staged)).await;
            let Ok(committed) = commit else {
                let reason =
                    "its effects weren't committed within `limits.timeout`, as where a bucket that they change can't be \
                     written; they may come about still"
                        .to_owned();
                self.tell(&Outcome::Undeliverable { reason }, cost, None);
                let text =
                    "its effects wait for a store; send it again with the same Idempotency-Key";
                return later(StatusCode::SERVICE_UNAVAILABLE, text);
            };
            match committed {
                Ok(()) => {
                    let committed = commits.decided.take();
                    if !none {
                        self.tell(&Outcome::Done, cost, committed);
                    }
                    return response;
                }
                Err(Outcome::Conflict { .. }) if watch.elapsed() < limit => self.pause().await,
                Err(outcome) => {
                    self.tell(&outcome, cost, None);
                    return failed(&outcome);
                }
            }
        }
    }

    /// What a request of this key is answered without its function.
    async fn remembered(
        &self,
        effects: &Arc<dyn Effects>,
        key: &AnswerKey,
        hash: blake3::Hash,
    ) -> Option<Response<ResponseBody>> {
        match effects.answer(key).await {
            Ok(None) => None,
            Ok(Some(kept)) if kept.request != hash.as_bytes() => {
                let text = "this Idempotency-Key came with another request before; use a new one for a new request";
                Some(plain(StatusCode::UNPROCESSABLE_ENTITY, text.to_owned()))
            }
            Ok(Some(kept)) => keyed::response(kept),
            Err(error) => {
                let reason = error.to_string();
                let outcome = Outcome::Fault(HostFault { reason });
                self.tell(&outcome, Cost::default(), None);
                let text = "no answer can be remembered now; try again later";
                Some(later(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }

    fn tell(&self, outcome: &Outcome, cost: Cost, committed: Option<Committed>) {
        let told = self.told.clone();
        self.engine
            .tell(&self.function, told, outcome, cost, committed);
    }

    async fn pause(&self) {
        let pause = CONFLICT_PAUSE.mul_f64(self.engine.clock.fraction());
        tokio::time::sleep(pause).await;
    }
}

/// One attempt at a request.
struct Attempt {
    /// The error is what the guest did in place of answering, or a conflict of its effects.
    first: Result<First, Outcome>,
    report: Arc<AttemptReport>,
}

/// What can be sent of an answer at first.
enum First {
    /// All of it.
    Whole(Response<ResponseBody>),
    /// What the host says in its place, of a function that failed.
    Failed(Response<ResponseBody>),
    /// Its head. The rest comes as the guest writes it.
    Begun(Parts, Answer),
}

/// Waits for the head of the answer, or for `all` of it, while the guest goes on. The error is what the function did in place of
/// answering, though it didn't fail.
async fn first_answer(
    mut guest: Guest,
    mut head: oneshot::Receiver<Head>,
    (bodyless, all): (bool, bool),
    report: &AttemptReport,
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
        (_, Some(Err(conflict @ Outcome::Conflict { .. }))) => return Err(conflict.clone()),
        (_, Some(Err(outcome))) => return Ok(First::Failed(failed(outcome))),
        (Some(Ok(response)), _) if !response.status().is_informational() => response.into_parts(),
        (none, _) => {
            if ended.is_none() {
                // It isn't waited for, and what it does may still be logged with its cost.
                afterwards.push(async move { _ = guest.await });
            }
            return Err(instead(match none {
                Some(Ok(response)) => {
                    let status = response.status();
                    format!("answered with the status {status}, which is none of an answer")
                }
                Some(Err(code)) => format!("{ERROR}{code}"),
                None if ended.is_none() => "gave up its answer".to_owned(),
                None => "returned without an answer".to_owned(),
            }));
        }
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
    if all {
        let mut taken = 0;
        let taken = poll_fn(|context| answer.take_all(&mut taken, REMEMBERED, context)).await;
        if let Err(reason) = taken {
            run_on(answer, afterwards);
            return Err(instead(reason));
        }
    }
    let Some(end) = answer.end.take() else {
        return Ok(First::Begun(parts, answer));
    };
    let written = std::mem::take(&mut answer.written);
    run_on(answer, afterwards);
    let own_error = parts.status.is_server_error() && written.is_empty();
    let body = match end {
        Ok(()) => whole(&parts, written, bodyless).map_err(instead)?,
        Err(NoEnd::Failed(outcome)) => return Ok(First::Failed(failed(&outcome))),
        // It wrote none, as is right.
        Err(NoEnd::Broken(_)) if bodyless => Either::Left(Full::default()),
        // A runtime of JavaScript whose handler throws sets this status, and returns without a body.
        Err(NoEnd::Broken(broken)) if own_error => {
            report.wrong(broke_off(&broken));
            let text = "the function failed".to_owned();
            return Ok(First::Failed(plain(parts.status, text)));
        }
        Err(NoEnd::Broken(broken)) => return Err(broke_off(&broken)),
    };
    Ok(First::Whole(Response::from_parts(parts, body)))
}

/// Lets a guest run to its end where nothing of its response is wanted any more.
fn run_on(answer: Answer, afterwards: &Afterwards) {
    if answer.goes_on() {
        let beside = GuestBody::new(answer, Box::new(|_| {})).beside();
        afterwards.push(poll_fn(beside));
    }
}

/// What a function did in place of answering, though it didn't fail.
fn instead(reason: String) -> Outcome {
    Outcome::Failed(Failure::Other { reason })
}

/// Returns the part of a reason that a client gets: the text of a guest's error is for who runs the
/// function.
fn for_client(reason: &str) -> &str {
    let guests = [ERROR, BROKE_OFF]
        .iter()
        .any(|start| reason.starts_with(start));
    match reason.split_once('(') {
        Some((kind, _)) if guests && guard::holds(Guard::ErrorTexts) => kind,
        _ => reason,
    }
}

/// How a body ended whose guest didn't fail.
fn broke_off(broken: &BrokenOff) -> Outcome {
    match &broken.limit {
        Some(limit) => Outcome::Limit(limit.clone()),
        None => instead(format!("{BROKE_OFF}{}", broken.reason)),
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
        Outcome::Undeliverable { .. } => {
            let text = "the function is busy; try again later";
            return later(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        Outcome::Conflict { .. } => {
            let text = "others change the same at the same time; try again later";
            return later(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        Outcome::Fault(_) => {
            let text = "the host can't do its part now; try again later";
            return later(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the function failed"),
    };
    plain(status, text.to_owned())
}

impl Engine {
    /// Runs the guest to its end. Its answer goes to `head` while it runs.
    async fn answer(
        self: Arc<Self>,
        function: Arc<LoadedFunction>,
        request: Request<RequestBody>,
        report: Arc<AttemptReport>,
        head: oneshot::Sender<Head>,
        commits: Option<Commits>,
        afterwards: Weak<Afterwards>,
    ) -> Result<(), Outcome> {
        let waited = self.clock.stopwatch();
        let told = || report.told.clone();
        let busy = |reason: String| {
            let outcome = Outcome::Undeliverable { reason };
            self.tell(&function, told(), &outcome, Cost::default(), None);
            Err(outcome)
        };
        let waiting = timeout(function.limits.timeout.0, function.permits.acquire());
        // The semaphore is never closed.
        let Ok(Ok(permit)) = waiting.await else {
            return busy(format!(
                "{} requests run already, as many as `limits.concurrency` allows, and none ended in time",
                function.concurrency
            ));
        };
        let entry = match function.entry(&self.loader).await {
            Ok(entry) => entry,
            Err(error) => {
                let reason = error.to_string();
                let outcome = Outcome::Fault(HostFault { reason });
                self.tell(&function, told(), &outcome, Cost::default(), None);
                return Err(outcome);
            }
        };
        let scope = LogScope {
            function: function.name.clone(),
            source: Some(SOURCE.to_owned()),
            event: report.told.id.clone(),
            subject: Some(report.told.line.clone()),
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
        store.data_mut().committing = commits.as_ref().map(|commits| {
            let Commits {
                effects,
                decided,
                when,
                ..
            } = commits.clone();
            Committing::new(effects, decided, Arc::from(function.name.as_str()), when)
        });
        // Also where the client goes away in the middle.
        let logged = Logged {
            log,
            function: Arc::clone(&function),
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
        let committing = store.data_mut().committing.take();
        let Done {
            committed,
            due,
            waiting,
            none,
            wanted,
        } = committing.map(Committing::finish).unwrap_or_default();
        let trouble = std::mem::take(&mut store.data_mut().context.trouble).into_reason();
        function.likely.learn(store.data().limiter.wanted(), wanted);
        let answer = ended(called, store.data());
        let answer = answer.map_err(|cut| explain(cut, began, &function, store.data()));
        let cost = || Cost {
            fuel: function
                .limits
                .fuel
                .saturating_sub(store.get_fuel().unwrap_or(0)),
            peak_memory: store.data().limiter.peak(),
            start_us: 0,
            run_us: micros(watch.elapsed()),
        };
        if let Some(commits) = &commits {
            let mut left = commits.left();
            left.none = none && answer.is_ok();
            left.at_head = match (&committed, &answer) {
                (Some(_), _) => AtHead::Committed,
                // One of a commit that failed may be on disk all the same.
                (None, Err(Outcome::Conflict { .. } | Outcome::Undeliverable { .. })) => {
                    AtHead::Nothing
                }
                (None, Err(_)) if due => AtHead::Unsure,
                (None, _) => AtHead::Nothing,
            };
        }
        match (&answer, committed) {
            // It is tried again, or told as what comes of it.
            (Err(Outcome::Conflict { .. }), _) => {}
            (Ok(_), None) => {
                // The client has the function's own words for it.
                if let Some(reason) = trouble.filter(|_| none) {
                    let outcome = Outcome::Fault(HostFault { reason });
                    self.tell(&function, told(), &outcome, cost(), None);
                }
            }
            (Err(outcome), committed) => self.tell(&function, told(), outcome, cost(), committed),
            (Ok(_), committed) => self.tell(&function, told(), &Outcome::Done, cost(), committed),
        }
        let cost = cost();
        report.returned(cost, store.data().context.log.last_errors());
        if let (Ok(_), Some(commits), Some(staged)) = (&answer, &commits, waiting) {
            commits.left().waiting = Some(Waiting { staged, cost });
        }
        drop(permit);
        let answered = answered.saturating_add(1);
        // A handle that is left may be that of the request's body, which its connection would wait for.
        let reusable = answered < function.reuse
            && !store.data().holds_handles()
            && store.data().context.side_by_side.is_idle()
            && self.ready.wants(&function);
        match (answer, room) {
            (Ok(exports), Some(room)) if reusable => {
                // A guest that gave no answer leaves what it staged.
                drop(store.data_mut().context.staging.finish());
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

    /// A request that failed, or had effects, goes into the journal, as an event does.
    fn tell(
        &self,
        function: &LoadedFunction,
        told: Told,
        outcome: &Outcome,
        cost: Cost,
        committed: Option<Committed>,
    ) {
        let outcome = outcome.clone().bounded();
        let text = outcome.to_string();
        self.write(function, told, (&outcome, text), cost, committed);
    }

    /// The same, with a text for it.
    fn write(
        &self,
        function: &LoadedFunction,
        Told { id, line }: Told,
        (outcome, text): (&Outcome, String),
        cost: Cost,
        committed: Option<Committed>,
    ) {
        let Committed { outputs, published } = committed.unwrap_or_default();
        self.journal.write(Record {
            time: self.clock.now(),
            function: Some(function.name.clone()),
            source: Some(SOURCE.to_owned()),
            event: id,
            subject: Some(line),
            attempt: None,
            kind: RecordKind::Outcome {
                outcome: outcome.clone(),
                text,
                settled: true,
                dead: false,
                retry_in_ms: None,
                cost,
                queue_ms: 0,
                outputs,
                published,
                left_out: 0,
            },
        });
    }
}

/// What a guest logs for one request, counted at its end.
struct Logged {
    log: GuestLog,
    function: Arc<LoadedFunction>,
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.log.finish();
        self.function.pace.count(self.log.taken());
    }
}

/// A request as the logs name it.
#[derive(Clone)]
pub(in crate::engine) struct Told {
    id: Option<String>,
    /// Its method and path.
    line: String,
}

impl Told {
    fn of<B>(request: &Request<B>) -> Self {
        let id = request.headers().get(REQUEST_ID);
        let path: String = request.uri().path().chars().take(LINE).collect();
        let method = request.method().as_str();
        let method = method.get(..METHOD).unwrap_or(method);
        Self {
            id: id.and_then(|id| Some(id.to_str().ok()?.to_owned())),
            line: format!("{method} {path}"),
        }
    }
}
