//! Requests as a component has them: those that it answers, and those that it sends.

use std::io;
use std::rc::Rc;

use crate::bindings::requests::wasi::http::outgoing_handler;
use crate::bindings::requests::wasi::http::types::{self, ErrorCode, Fields, Scheme};
use crate::bindings::requests::wasi::io::error::Error as IoError;
use crate::bindings::requests::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::http::{BodyWriter, Content, Headers, Method, Ready, Sent, Url, ready};
use crate::{Error, Failure, Request, Response};

/// So much is asked for at a time.
const CHUNK: u64 = 64 * 1024;

/// Answers a request with what the handler returns for it: what the component's export does.
pub fn respond(
    request: types::IncomingRequest,
    out: types::ResponseOutparam,
    handler: impl FnOnce(Request) -> Result<Response, Failure>,
) {
    let method = method(request.method());
    let head = method == Method::Head;
    let target = request.path_with_query().unwrap_or_default();
    let source = Incoming::new(Message::Request(request));
    let outcome = handler(Request::new(method, target, source));
    answer(ready(outcome, head), out);
}

/// Tells whoever runs the function: in print, which every host has. `wasi:logging` is Kinglet's alone, and a component
/// that imports it starts nowhere else.
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

fn answer(ready: Ready, out: types::ResponseOutparam) {
    let Ready {
        status,
        headers,
        content,
    } = ready;
    let fields = match Fields::from_list(&headers.into_entries()) {
        Ok(fields) => fields,
        // A host may forbid more than this crate knows of.
        Err(error) => {
            let text = format!("the response can't be sent: the host refuses a header: {error}");
            tell(&text);
            return types::ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
        }
    };
    let response = types::OutgoingResponse::new(fields);
    if response.set_status_code(status).is_err() {
        let text = format!("the response can't be sent: the host refuses the status {status}");
        tell(&text);
        return types::ResponseOutparam::set(out, Err(ErrorCode::InternalError(None)));
    }
    let send = |response| types::ResponseOutparam::set(out, Ok(response));
    let written = match content {
        Content::None => return send(response),
        Content::Whole(bytes) => {
            let mut body = OutgoingBody::of(response.body());
            send(response);
            body.write(&bytes).and_then(|()| body.finish())
        }
        Content::Stream(write) => {
            let mut writer = BodyWriter::new(OutgoingBody::of(response.body()));
            send(response);
            match write(&mut writer) {
                Ok(()) => writer.finish().and_then(OutgoingBody::finish),
                Err(failure) => {
                    // Dropped unfinished, it is broken off.
                    drop(writer.into_broken());
                    let text = format!("the response breaks off: {}", failure.reason());
                    return tell(&text);
                }
            }
        }
    };
    if let Err(error) = written {
        tell(&format!("the response breaks off: {error}"));
    }
}

#[derive(Debug)]
enum Message {
    Request(types::IncomingRequest),
    Response(types::IncomingResponse),
}

/// What comes: a request, or the answer to one. It must outlive its body.
#[derive(Debug)]
pub(crate) struct Incoming(Rc<Message>);

impl Incoming {
    fn new(message: Message) -> Self {
        Self(Rc::new(message))
    }

    pub fn headers(&self) -> Headers {
        let fields = match &*self.0 {
            Message::Request(request) => request.headers(),
            Message::Response(response) => response.headers(),
        };
        Headers::new(fields.entries())
    }

    pub fn scheme(&self) -> String {
        let scheme = match &*self.0 {
            Message::Request(request) => request.scheme(),
            Message::Response(_) => None,
        };
        match scheme {
            Some(Scheme::Https) => "https".to_owned(),
            Some(Scheme::Other(scheme)) => scheme,
            Some(Scheme::Http) | None => "http".to_owned(),
        }
    }

    pub fn authority(&self) -> Option<String> {
        match &*self.0 {
            Message::Request(request) => request.authority(),
            Message::Response(_) => None,
        }
    }

    pub fn body(&self) -> IncomingBody {
        let body = match &*self.0 {
            Message::Request(request) => request.consume(),
            Message::Response(response) => response.consume(),
        };
        let body = body.ok();
        IncomingBody {
            stream: body.as_ref().and_then(|body| body.stream().ok()),
            body,
            ended: false,
            message: Rc::clone(&self.0),
        }
    }
}

/// Its body. The fields are in the order in which they must be dropped: children before their parents.
#[derive(Debug)]
#[expect(dead_code, reason = "what the stream is of has to stay")]
pub(crate) struct IncomingBody {
    stream: Option<InputStream>,
    body: Option<types::IncomingBody>,
    message: Rc<Message>,
    ended: bool,
}

impl IncomingBody {
    /// The next piece; an empty one at its end.
    pub fn read(&mut self) -> Result<Vec<u8>, Error> {
        if self.ended {
            return Ok(Vec::new());
        }
        let Some(stream) = &self.stream else {
            return Err(Error::Other("the host gives no body".to_owned()));
        };
        loop {
            match stream.blocking_read(CHUNK) {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(piece),
                Err(StreamError::Closed) => {
                    self.ended = true;
                    return Ok(Vec::new());
                }
                Err(StreamError::LastOperationFailed(error)) => {
                    let text = reason(&error);
                    return Err(Error::Unavailable(format!("the body breaks off: {text}")));
                }
            }
        }
    }
}

/// What the host says of a stream that failed.
fn reason(error: &IoError) -> String {
    match types::http_error_code(error) {
        Some(code) => name(&code),
        None => error.to_debug_string(),
    }
}

/// A body that goes out. Dropped without [`finish`](Self::finish), it is broken off.
#[derive(Debug)]
pub(crate) struct OutgoingBody {
    stream: Option<OutputStream>,
    body: Option<types::OutgoingBody>,
}

impl OutgoingBody {
    /// Of a message whose body nobody took before.
    fn of(body: Result<types::OutgoingBody, ()>) -> Self {
        let body = body.ok();
        let stream = body.as_ref().and_then(|body| body.write().ok());
        Self { stream, body }
    }

    fn stream(&self) -> io::Result<&OutputStream> {
        self.stream.as_ref().ok_or_else(gone)
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream()?;
        while !bytes.is_empty() {
            let room = stream.check_write().map_err(failed)?;
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            if room == 0 {
                stream.subscribe().block();
                continue;
            }
            let (now, later) = bytes.split_at(room);
            stream.write(now).map_err(failed)?;
            bytes = later;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.stream()?.blocking_flush().map_err(failed)
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.stream = None;
        let body = self.body.take().ok_or_else(gone)?;
        types::OutgoingBody::finish(body, None).map_err(|code| io::Error::other(name(&code)))
    }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn failed(error: StreamError) -> io::Error {
    match error {
        StreamError::Closed => gone(),
        StreamError::LastOperationFailed(error) => io::Error::other(reason(&error)),
    }
}

/// Sends a request, and gives the head of the answer.
pub(crate) fn send(sent: Sent) -> Result<(u16, Incoming), Error> {
    let Sent {
        method,
        url,
        headers,
        body,
        timeout,
    } = sent;
    let invalid = |what: &str| Error::Invalid(format!("request to {url}: {what} isn't valid"));
    let fields = Fields::from_list(&headers.into_entries())
        .map_err(|error| Error::Invalid(format!("request to {url}: a header: {error}")))?;
    let request = types::OutgoingRequest::new(fields);
    let scheme = if url.secure {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let refused = |what: &'static str| move |()| invalid(what);
    request
        .set_method(&method_of(method))
        .map_err(refused("the method"))?;
    request
        .set_scheme(Some(&scheme))
        .map_err(refused("the scheme"))?;
    request
        .set_authority(Some(&url.authority))
        .map_err(refused("the host"))?;
    request
        .set_path_with_query(Some(&url.target))
        .map_err(refused("the path"))?;
    let mut outgoing = OutgoingBody::of(request.body());
    let options = match timeout {
        Some(timeout) => {
            let options = types::RequestOptions::new();
            let nanos = Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
            // A host that knows no such timeouts has its own.
            let _ = options.set_connect_timeout(nanos);
            let _ = options.set_first_byte_timeout(nanos);
            let _ = options.set_between_bytes_timeout(nanos);
            Some(options)
        }
        None => None,
    };
    let waiting =
        outgoing_handler::handle(request, options).map_err(|code| refusal(&code, &url))?;
    // A server may answer before it has all of the request, and take no more: what it says counts.
    let _ = outgoing.write(&body).and_then(|()| outgoing.finish());
    waiting.subscribe().block();
    match waiting.get() {
        Some(Ok(Ok(response))) => {
            let status = response.status();
            Ok((status, Incoming::new(Message::Response(response))))
        }
        Some(Ok(Err(code))) => Err(refusal(&code, &url)),
        Some(Err(())) | None => Err(Error::Other(format!("request to {url}: no answer"))),
    }
}

fn refusal(code: &ErrorCode, url: &Url) -> Error {
    let text = format!("request to {url}: {}", name(code));
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Error::Denied(format!("{text}; see `grants.http`"))
        }
        ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestMethodInvalid => Error::Invalid(text),
        ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseBodySize(_) => Error::Limit(text),
        ErrorCode::ConfigurationError | ErrorCode::LoopDetected | ErrorCode::InternalError(_) => {
            Error::Other(text)
        }
        _ => Error::Unavailable(text),
    }
}

/// As the contract has it, `ConnectionRefused`.
fn name(code: &ErrorCode) -> String {
    let name = format!("{code:?}");
    match name.strip_prefix("ErrorCode::") {
        Some(short) => short.to_owned(),
        None => name,
    }
}

fn method(method: types::Method) -> Method {
    match method {
        types::Method::Get => Method::Get,
        types::Method::Head => Method::Head,
        types::Method::Post => Method::Post,
        types::Method::Put => Method::Put,
        types::Method::Delete => Method::Delete,
        types::Method::Connect => Method::Connect,
        types::Method::Options => Method::Options,
        types::Method::Trace => Method::Trace,
        types::Method::Patch => Method::Patch,
        types::Method::Other(name) => Method::Other(name),
    }
}

fn method_of(method: Method) -> types::Method {
    match method {
        Method::Get => types::Method::Get,
        Method::Head => types::Method::Head,
        Method::Post => types::Method::Post,
        Method::Put => types::Method::Put,
        Method::Delete => types::Method::Delete,
        Method::Connect => types::Method::Connect,
        Method::Options => types::Method::Options,
        Method::Trace => types::Method::Trace,
        Method::Patch => types::Method::Patch,
        Method::Other(name) => types::Method::Other(name),
    }
}
