//! Requests of a test: those that a handler answers, and servers for those that it sends.

use std::fmt;
use std::rc::Rc;

use super::{Host, Run};
use crate::Failure;
use crate::backend::{self, Incoming, OutgoingBody};
use crate::http::{Answer, BodyWriter, Content, EFFECTS, Headers, Method, Ready, ready};

/// A request in the making: see [`Host::request`].
#[derive(Clone, Debug)]
#[must_use = "a handler answers it by `host.respond`"]
pub struct RequestBuilder {
    method: Method,
    target: String,
    source: Incoming,
}

impl RequestBuilder {
    /// The same with this header, in place of any of its name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.source.headers.set(name, value.as_ref());
        self
    }

    /// The same with one more value of a header.
    pub fn append(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.source.headers.append(name, value.as_ref());
        self
    }

    /// The same with a parameter of a route that only the manifest states, as the path has it:
    /// `a%20b`. Routes in the attribute are matched with the request's path.
    pub fn parameter(self, name: &str, value: &str) -> Self {
        self.header(&format!("spin-path-match-{name}"), value)
    }

    /// The same with this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.source.body.bytes = body.into();
        self
    }

    /// The same with a body that breaks off behind what it has.
    pub fn broken(mut self) -> Self {
        self.source.body.broken = Some("the body breaks off".to_owned());
        self
    }

    fn build(mut self) -> crate::Request {
        let headers = &mut self.source.headers;
        let body = &self.source.body;
        if !body.bytes.is_empty() && body.broken.is_none() {
            let length = body.bytes.len().to_string();
            headers.set("content-length", length.as_bytes());
        }
        crate::Request::new(self.method, self.target, self.source)
    }
}

/// A request as a handler takes it, for one that is called without [`Host::respond`].
impl From<RequestBuilder> for crate::Request {
    fn from(request: RequestBuilder) -> Self {
        request.build()
    }
}

/// What a client gets: see [`Host::respond`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Headers,
    /// Its body, of a stream all that was written.
    pub body: Vec<u8>,
    /// Why the body isn't whole, where it isn't: its [stream](crate::Response::stream) failed.
    pub broken: Option<String>,
}

impl Response {
    /// The value of a header, the first where there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text, with U+FFFD in place of what isn't UTF-8.
    ///
    /// # Panics
    /// Where the body isn't whole.
    pub fn text(&self) -> String {
        assert_eq!(self.broken, None, "the body breaks off");
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What comes of a response when it is sent.
    fn of(ready: Ready) -> Self {
        let Ready {
            status,
            mut headers,
            content,
        } = ready;
        // The host's own.
        headers.remove(EFFECTS);
        let mut broken = None;
        let body = match content {
            Content::Stream(write) => {
                let mut writer = BodyWriter::new(OutgoingBody::default());
                match write(&mut writer) {
                    Ok(()) => match writer.finish() {
                        Ok(body) => body.0,
                        Err(error) => {
                            broken = Some(error.to_string());
                            Vec::new()
                        }
                    },
                    Err(failure) => {
                        let reason = failure.reason();
                        let text = format!("the response breaks off: {reason}");
                        backend::tell(&text);
                        broken = Some(reason.to_owned());
                        writer.into_broken().0
                    }
                }
            }
            Content::Whole(bytes) => bytes,
            Content::None => Vec::new(),
        };
        Self {
            status,
            headers,
            body,
            broken,
        }
    }
}

/// A server of a test: what functions send requests to.
#[derive(Clone)]
pub(crate) struct Server(Rc<dyn Fn(crate::Request) -> Result<crate::Response, Failure>>);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    pub fn answer(
        &self,
        method: Method,
        target: String,
        request: Incoming,
        head: bool,
    ) -> Response {
        let outcome = (self.0)(crate::Request::new(method, target, request));
        Response::of(ready(outcome, head))
    }
}

impl Host {
    /// A request to a path, which may have a query: `/birds?page=2`. It comes as one over plain HTTP to `localhost`.
    pub fn request(&self, method: &str, target: &str) -> RequestBuilder {
        let mut headers = Headers::default();
        let id = self.state.borrow_mut().request_id();
        headers.set("host", b"localhost");
        headers.set("x-request-id", id.as_bytes());
        RequestBuilder {
            method: method.into(),
            target: target.to_owned(),
            source: Incoming {
                headers,
                authority: Some("localhost".to_owned()),
                ..Incoming::default()
            },
        }
    }

    /// Has a handler of requests answer one, and gives what its client gets: also where the handler fails, which the
    /// logs tell.
    ///
    /// What it staged is committed where it gives a response, before a stream is written, and discarded where that has a
    /// status of 500 or above or the header `kinglet-effects`, and where the handler fails or panics. Where it can't be committed, the client gets a 503.
    ///
    /// # Panics
    /// As the handler does, and where a handler is running on this host already.
    pub fn respond<A: Answer>(
        &self,
        handler: impl FnOnce(crate::Request) -> A,
        request: impl Into<crate::Request>,
    ) -> Response {
        let request = request.into();
        let head = *request.method() == Method::Head;
        let run = Run::begin(self, None);
        let outcome = match handler(request).into_response() {
            Ok(response) => {
                let none = response.has_no_effects();
                let mut result = [match none {
                    true => Err(Failure::Other("it has no effects".to_owned())),
                    false => Ok(()),
                }];
                run.settle(&mut result);
                match result {
                    [Err(failure)] if !none => Err(failure),
                    _ => Ok(response),
                }
            }
            Err(failure) => {
                run.settle(&mut [Err(failure.clone())]);
                Err(failure)
            }
        };
        Response::of(ready(outcome, head))
    }

    /// A server to which requests may be sent, `https://api.example.com` or `http://localhost:8080`, granted, and what
    /// it answers.
    ///
    /// # Panics
    /// Where that is no scheme, host and port.
    pub fn server<A: Answer>(
        &self,
        origin: &str,
        answer: impl Fn(crate::Request) -> A + 'static,
    ) -> &Self {
        let server = Server(Rc::new(move |request| answer(request).into_response()));
        self.state.borrow_mut().add_server(origin, server);
        self
    }
}
