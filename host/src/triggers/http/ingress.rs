//! Requests that post events: read whole, decoded, and on disk before they are answered.

mod secret;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Body;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::secret::Secret;
pub use self::secret::SecretError;
use crate::clock::Timestamp;
use crate::config::{Format, Ingress, Manifest};
use crate::events::{Events, PublishError};
use crate::ports::{
    Accepted, Fetch, IncomingBody, Level, QueueError, ResponseBody, plain, shorten_in_place,
    visible,
};
use crate::triggers::ingress::auth::Unauthorized;
use crate::triggers::ingress::{Batch, DecodeError, Posted, decode};

/// How long a body may pause, and how long all of it may take.
const PAUSE: Duration = Duration::from_secs(10);
pub(super) const BODY: Duration = Duration::from_secs(60);
/// How long events may wait to be accepted, as for a bucket whose disk hangs.
const ACCEPT: Duration = Duration::from_secs(10);
/// How many KiB the bodies have together that are held in memory.
const BODIES_KIB: usize = 128 << 10;
/// A body that is longer is decoded beside the threads that serve.
const LONG: usize = 64 << 10;
/// When a sender may come again that found no room, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
/// The logs tell of one path no more often.
const SAY_EVERY_MS: u64 = 1_000;
/// How many characters of a method are shown.
const SHOWN: usize = 200;
/// The longest text of an answer, in bytes: it may show some of what was sent.
const MAX_TEXT: usize = 1_024;
/// How many reasons an answer has.
const MOST_REASONS: usize = 20;

/// A sender of webhooks asks by it whether it may send (HTTP webhooks of CloudEvents, 4).
const ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Every path that events are posted to.
pub(super) struct Ingresses {
    entries: HashMap<String, Arc<Entry>>,
    events: Arc<Events>,
    fetch: Arc<dyn Fetch>,
    bodies: Semaphore,
}

/// One path.
pub(super) struct Entry {
    ingress: Ingress,
    secret: Arc<Secret>,
    refused: Mutex<Said>,
    ignored: Mutex<Said>,
}

/// What keeps one sender from filling the logs.
#[derive(Default)]
struct Said {
    /// Nothing is said before.
    next: Timestamp,
    left_out: u64,
}

/// The answer to a request whose events are on disk.
#[derive(Serialize)]
struct Answer {
    accepted: usize,
    /// Which were accepted before.
    known: usize,
    /// Which wake nobody.
    ignored: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<String>,
}

/// A request that isn't taken.
struct Refusal {
    status: StatusCode,
    /// For the sender.
    text: String,
    /// For the logs, where they have more to tell.
    detail: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

type Taken<T> = Result<T, Box<Refusal>>;

/// Reads the secrets of every ingress.
///
/// # Errors
/// Where one can't be used.
pub(super) fn check_secrets(manifest: &Manifest) -> Result<(), SecretError> {
    let mut ingresses = manifest.ingresses.iter();
    ingresses.try_for_each(|ingress| Secret::new(&manifest.root, ingress).map(drop))
}

impl Ingresses {
    /// Those of the manifest.
    pub fn new(events: Arc<Events>, fetch: Arc<dyn Fetch>) -> Result<Self, SecretError> {
        let mut entries = HashMap::new();
        for ingress in &events.manifest().ingresses {
            let entry = Entry {
                ingress: ingress.clone(),
                secret: Arc::new(Secret::new(&events.manifest().root, ingress)?),
                refused: Mutex::default(),
                ignored: Mutex::default(),
            };
            entries.insert(ingress.path.as_str().to_owned(), Arc::new(entry));
        }
        Ok(Self {
            entries,
            events,
            fetch,
            bodies: Semaphore::new(BODIES_KIB),
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The one of a path.
    pub fn find(&self, path: &str) -> Option<&Arc<Entry>> {
        self.entries.get(path)
    }

    /// Reads secrets again whenever their files change, for ever.
    pub fn keep_current(&self) -> impl Future<Output = ()> + Send + use<> {
        let secrets = self.entries.values().map(|entry| Arc::clone(&entry.secret));
        secret::keep_current(secrets.collect())
    }

    /// Answers a request. Never fails: what goes wrong is an answer.
    pub async fn take(
        &self,
        entry: &Arc<Entry>,
        request: Request<IncomingBody>,
    ) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let answer = match self.admit(entry, &head) {
            Ok(None) => self.answer(entry, head.headers, body).await,
            Ok(Some(response)) => Ok(response),
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(|refusal| {
            let Refusal {
                status,
                text,
                detail,
                header,
            } = *refusal;
            let told = detail.as_ref().unwrap_or(&text);
            let told = format!("a request is refused with {}: {told}", status.as_u16());
            self.say(entry, &entry.refused, Level::Warn, &told);
            let mut response = plain(status, visible(&text));
            response.headers_mut().extend(header);
            response
        })
    }

    /// What is to be told of a request before its body is read. The answer, where it has no events.
    fn admit(&self, entry: &Entry, head: &Parts) -> Taken<Option<Response<ResponseBody>>> {
        let allowed = match entry.ingress.format {
            Format::CloudEvents => HeaderValue::from_static("OPTIONS, POST"),
            Format::S3 => HeaderValue::from_static("POST"),
        };
        if head.method == Method::OPTIONS && entry.ingress.format == Format::CloudEvents {
            return Ok(Some(handshake(&head.headers, allowed)));
        }
        if head.method != Method::POST {
            let method: String = head.method.as_str().chars().take(SHOWN).collect();
            let text = format!("{method} isn't allowed where events are posted; use POST");
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text);
            return Err(refusal.with(header::ALLOW, allowed));
        }
        entry.secret.current().check_head(&head.headers)?;
        if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING)
            && encoding != "identity"
        {
            let text = "a body is taken as it is, without `Content-Encoding`".to_owned();
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        Ok(None)
    }

    async fn answer(
        &self,
        entry: &Arc<Entry>,
        headers: HeaderMap,
        body: IncomingBody,
    ) -> Taken<Response<ResponseBody>> {
        let read = timeout(BODY, self.read(entry, body));
        let (body, _room) = read.await.map_err(|_| late())??;
        entry.secret.current().check_body(&headers, &body)?;
        let posted = self.decode(entry, headers, body).await?;
        match posted {
            Posted::Events(batch) => self.accept(entry, batch).await,
            Posted::Confirm { topic_arn, address } => {
                let got = self.fetch.get(address).await;
                let problem = match got {
                    Ok(status) if status.is_success() => None,
                    Ok(status) => Some(format!("the answer is {status}")),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(problem) = problem {
                    let text =
                        format!("the subscription to {topic_arn} isn't confirmed: {problem}");
                    return Err(Refusal::new(StatusCode::BAD_GATEWAY, text));
                }
                let text = format!("the subscription to {topic_arn} is confirmed");
                self.tell(entry, Level::Info, &text);
                Ok(plain(StatusCode::OK, text))
            }
            Posted::Unsubscribed { topic_arn } => {
                let text = format!("the subscription to {topic_arn} has ended: it sends no more");
                self.tell(entry, Level::Warn, &text);
                Ok(plain(StatusCode::OK, text))
            }
        }
    }

    /// The whole body, and the room that it takes.
    async fn read(
        &self,
        entry: &Entry,
        mut body: IncomingBody,
    ) -> Taken<(Vec<u8>, Option<SemaphorePermit<'_>>)> {
        let most = usize::try_from(entry.ingress.max_body.0).unwrap_or(usize::MAX);
        let too_long = || {
            let text = format!(
                "the body is longer than \"{}\", see `max-body`",
                entry.ingress.max_body
            );
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        if body.size_hint().lower() > entry.ingress.max_body.0 {
            return Err(too_long());
        }
        let mut whole = Vec::new();
        let mut held: Option<SemaphorePermit<'_>> = None;
        loop {
            let frame = match timeout(PAUSE, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok((whole, held)),
                Ok(Some(Err(error))) => {
                    let text = format!("the body broke off: {error}");
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
                }
                Err(_) => return Err(late()),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = whole.len().saturating_add(data.len());
            if length > most {
                return Err(too_long());
            }
            let has = held.as_ref().map_or(0, SemaphorePermit::num_permits);
            let wants = length.div_ceil(1 << 10).saturating_sub(has);
            let wants = u32::try_from(wants).unwrap_or(u32::MAX);
            let more = self
                .bodies
                .try_acquire_many(wants)
                .map_err(|_| busy("too many events come at once; send them again", None))?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            whole.extend_from_slice(&data);
        }
    }

    async fn decode(&self, entry: &Arc<Entry>, headers: HeaderMap, body: Vec<u8>) -> Taken<Posted> {
        if body.len() <= LONG {
            return Ok(decode(
                self.events.manifest(),
                &entry.ingress,
                &headers,
                &body,
            )?);
        }
        let (events, entry) = (Arc::clone(&self.events), Arc::clone(entry));
        let decoding =
            spawn_blocking(move || decode(events.manifest(), &entry.ingress, &headers, &body));
        match decoding.await {
            Ok(decoded) => Ok(decoded?),
            Err(error) => Err(busy(
                "it isn't taken now; send it again",
                Some(error.to_string()),
            )),
        }
    }

    async fn accept(&self, entry: &Entry, batch: Batch) -> Taken<Response<ResponseBody>> {
        let Batch {
            messages,
            objects,
            ignored,
        } = batch;
        for reason in ignored.iter().take(MOST_REASONS) {
            self.say(
                entry,
                &entry.ignored,
                Level::Info,
                &format!("ignored: {reason}"),
            );
        }
        let accepting = async {
            let mut answers: Vec<Accepted> = Vec::new();
            // One of both is empty: a request has one format.
            let published = self.events.publish(messages).await?;
            answers.extend(published.into_iter().map(|(_, accepted)| accepted));
            answers.extend(self.events.objects_told(objects).await?);
            Ok::<_, PublishError>(answers)
        };
        let answers = match timeout(ACCEPT, accepting).await {
            Ok(accepted) => accepted?,
            Err(_) => {
                let detail = "they aren't accepted in time: a bucket or the store hangs".to_owned();
                return Err(busy(
                    "the events aren't accepted in time; send them again",
                    Some(detail),
                ));
            }
        };
        let known = answers
            .iter()
            .filter(|answer| **answer == Accepted::Duplicate)
            .count();
        let answer = Answer {
            accepted: answers.len() - known,
            known,
            ignored: ignored.len(),
            why: ignored.into_iter().take(MOST_REASONS).collect(),
        };
        let mut body = serde_json::to_vec(&answer).unwrap_or_default();
        body.push(b'\n');
        let mut response = Response::new(Either::Left(Full::new(Bytes::from(body))));
        *response.status_mut() = StatusCode::ACCEPTED;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }

    /// Tells the logs, but not of everything that one sender does.
    fn say(&self, entry: &Entry, said: &Mutex<Said>, level: Level, text: &str) {
        let now = self.events.clock().now();
        let left_out = {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if now < said.next {
                said.left_out = said.left_out.saturating_add(1);
                return;
            }
            said.next = now.saturating_add(SAY_EVERY_MS);
            std::mem::take(&mut said.left_out)
        };
        match left_out {
            0 => self.tell(entry, level, text),
            _ => self.tell(
                entry,
                level,
                &format!("{text} (and {left_out} more before it)"),
            ),
        }
    }

    fn tell(&self, entry: &Entry, level: Level, text: &str) {
        let text = format!("ingress {}: {text}", entry.ingress.path);
        self.events.say(level, visible(&text));
    }
}

/// A sender may send, whoever it is: what it sends is asked for its credentials.
fn handshake(headers: &HeaderMap, allowed: HeaderValue) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::default()));
    if let Some(origin) = headers.get(&ORIGIN) {
        response
            .headers_mut()
            .insert(ALLOWED_ORIGIN, origin.clone());
        response
            .headers_mut()
            .insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

fn late() -> Box<Refusal> {
    let text = "the body took too long to come".to_owned();
    Refusal::new(StatusCode::REQUEST_TIMEOUT, text)
}

fn busy(text: &str, detail: Option<String>) -> Box<Refusal> {
    let mut refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    refusal.detail = detail;
    refusal.with(header::RETRY_AFTER, RETRY_AFTER)
}

impl Refusal {
    fn new(status: StatusCode, mut text: String) -> Box<Self> {
        shorten_in_place(&mut text, MAX_TEXT);
        Box::new(Self {
            status,
            text,
            detail: None,
            header: None,
        })
    }

    fn with(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Box<Self> {
        self.header = Some((name, value));
        self
    }
}

impl From<Unauthorized> for Box<Refusal> {
    fn from(Unauthorized { problem, challenge }: Unauthorized) -> Self {
        Refusal::new(StatusCode::UNAUTHORIZED, problem).with(header::WWW_AUTHENTICATE, challenge)
    }
}

impl From<DecodeError> for Box<Refusal> {
    fn from(error: DecodeError) -> Self {
        Refusal::new(error.status(), error.to_string())
    }
}

impl From<PublishError> for Box<Refusal> {
    fn from(error: PublishError) -> Self {
        if let PublishError::TooLong(long) = &error {
            return Refusal::new(StatusCode::BAD_REQUEST, long.to_string());
        }
        let text = match &error {
            PublishError::Queue(QueueError::Full { .. }) => {
                "the store of events is full; send them again later"
            }
            PublishError::Queue(QueueError::Lost { .. }) => {
                "the store of events was removed under the host; send them again once it is back"
            }
            _ => "the events can't be accepted now; send them again later",
        };
        busy(text, Some(error.to_string()))
    }
}
