use std::fmt;
use std::io::{self, Write};

use super::Headers;
use super::answer::Content;
use crate::{Failure, backend};

/// So much is gathered of a streamed body before it is handed on.
const CHUNK: usize = 64 * 1024;

/// What a handler answers.
///
/// ```
/// use kinglet_sdk::Response;
///
/// let page = Response::html("<h1>Wrens</h1>").header("cache-control", "max-age=60");
/// let missing = Response::text("no such bird\n").status(404);
/// let made = Response::new(201).header("location", "/birds/7");
/// assert_eq!(missing.status_code(), 404);
/// ```
///
/// What can't be sent, as a header with a line break in its value, is told when the handler returns it: the client gets
/// a 500, and the logs the reason.
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) content: Content,
}

impl Response {
    /// Whether the host discards what was staged.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn has_no_effects(&self) -> bool {
        self.status >= 500 || self.headers.get(super::EFFECTS).is_some()
    }

    /// One without a body, of a status from 200 to 599.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Headers::default(),
            content: Content::Whole(Vec::new()),
        }
    }

    /// A 200 of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(text.into(), "text/plain; charset=utf-8")
    }

    /// A 200 of HTML.
    pub fn html(text: impl Into<String>) -> Self {
        Self::bytes(text.into(), "text/html; charset=utf-8")
    }

    /// A 200 of bytes, of a media type such as `image/jpeg`.
    pub fn bytes(body: impl Into<Vec<u8>>, content_type: &str) -> Self {
        Self::new(200)
            .body(body)
            .header("content-type", content_type)
    }

    /// A 200 of JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) where the value can't be written as JSON: a map whose keys aren't texts.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, crate::Error> {
        let text = super::body_of_json(value)?;
        Ok(Self::bytes(text, "application/json"))
    }

    /// A 200 whose body is written piece by piece, when its head is on its way.
    ///
    /// What is written is handed on in pieces of 64 KiB, and whatever there is by a [`flush`](Write::flush): of
    /// server-sent events, flush each.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use kinglet_sdk::{Request, Response};
    ///
    /// #[kinglet_sdk::http]
    /// fn ticks(_: Request) -> Response {
    ///     let events = Response::stream(|writer| {
    ///         for tick in 0..3 {
    ///             write!(writer, "data: {tick}\n\n")?;
    ///             writer.flush()?;
    ///         }
    ///         Ok(())
    ///     });
    ///     events.header("content-type", "text/event-stream")
    /// }
    ///
    /// let host = kinglet_sdk::testing::Host::new();
    /// let response = host.respond(ticks, host.request("GET", "/"));
    /// assert_eq!(response.text(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    /// ```
    ///
    /// The head tells success already, so that a failure breaks the body off: the client sees that it isn't whole, and
    /// the logs have the reason. So does a panic. Where no body is sent, as to a `HEAD` request, `write` isn't called.
    /// Objects, messages and values are to be written before the handler returns.
    pub fn stream(write: impl FnOnce(&mut BodyWriter) -> Result<(), Failure> + 'static) -> Self {
        Self {
            content: Content::Stream(Box::new(write)),
            ..Self::new(200)
        }
    }

    /// The same with another status, from 200 to 599.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with this header, in place of any of its name. The length of a body that isn't streamed is set by
    /// itself.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.set(name, value.as_ref());
        self
    }

    /// The same with one more value of a header, such as `set-cookie`.
    pub fn append(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(name, value.as_ref());
        self
    }

    /// The same with this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.content = Content::Whole(body.into());
        self
    }

    /// Its status.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// Its headers, without those that are set by themselves.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("content", &self.content)
            .finish()
    }
}

/// Where the body of a [stream](Response::stream) goes, through [`Write`].
#[derive(Debug)]
pub struct BodyWriter {
    sink: backend::OutgoingBody,
    buffer: Vec<u8>,
}

impl BodyWriter {
    pub(crate) fn new(sink: backend::OutgoingBody) -> Self {
        Self {
            sink,
            buffer: Vec::new(),
        }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.sink.write(&self.buffer);
        self.buffer.clear();
        written
    }

    /// Ends the body as a whole one.
    pub(crate) fn finish(mut self) -> io::Result<backend::OutgoingBody> {
        self.hand_on()?;
        Ok(self.sink)
    }

    /// Where what was written can't be called whole any more.
    pub(crate) fn into_broken(self) -> backend::OutgoingBody {
        self.sink
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() >= CHUNK {
            self.hand_on()?;
        }
        // A large piece goes on as it is; a small one is gathered.
        if bytes.len() >= CHUNK {
            self.sink.write(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()?;
        self.sink.flush()
    }
}
