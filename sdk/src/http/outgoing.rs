use std::time::Duration;

use super::body::{Message, text};
use super::{Body, Headers, Method};
use crate::{Error, backend};

/// A request for what is at a URL.
pub fn get(url: impl Into<String>) -> OutgoingRequest {
    request(Method::Get, url)
}

/// A request that sends something to a URL.
pub fn post(url: impl Into<String>) -> OutgoingRequest {
    request(Method::Post, url)
}

/// A request that puts something at a URL.
pub fn put(url: impl Into<String>) -> OutgoingRequest {
    request(Method::Put, url)
}

/// A request that changes what is at a URL.
pub fn patch(url: impl Into<String>) -> OutgoingRequest {
    request(Method::Patch, url)
}

/// A request that removes what is at a URL.
pub fn delete(url: impl Into<String>) -> OutgoingRequest {
    request(Method::Delete, url)
}

/// A request with any method, `Method::Head` or `"PURGE"`.
pub fn request(method: impl Into<Method>, url: impl Into<String>) -> OutgoingRequest {
    OutgoingRequest {
        method: method.into(),
        url: url.into(),
        headers: Headers::default(),
        body: Vec::new(),
        timeout: None,
    }
}

/// A request that a function sends, to where `grants.http` allows it. Nothing goes out before [`send`](Self::send).
///
/// ```
/// use std::time::Duration;
///
/// use kinglet_sdk::{Failure, Message, http};
///
/// fn notify(event: Message) -> Result<(), Failure> {
///     let answer = http::post("https://hooks.example.com/new?from=kinglet")
///         .header("content-type", "text/plain")
///         .body(event.body())
///         .timeout(Duration::from_secs(5))
///         .send()?;
///     match answer.status_code() {
///         200..300 => Ok(()),
///         status => Err(Failure::retry(format!("the hook said {status}"))),
///     }
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.server("https://hooks.example.com", |request| {
///     assert_eq!(request.text().unwrap(), "a wren");
///     http::Response::new(202)
/// });
/// assert_eq!(host.run(notify, host.message("birds", "a wren")), Ok(()));
/// ```
///
/// A request isn't undone where the attempt that sent it fails: it may go out again. Redirects aren't followed.
#[derive(Clone, Debug)]
#[must_use = "nothing goes out before `send`"]
pub struct OutgoingRequest {
    method: Method,
    url: String,
    headers: Headers,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

impl OutgoingRequest {
    /// The same with this header, in place of any of its name. The length of the body is set by itself.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.set(name, value.as_ref());
        self
    }

    /// The same with one more value of a header.
    pub fn append(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(name, value.as_ref());
        self
    }

    /// The same with this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with a body of JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the value can't be written as JSON: a map whose keys aren't texts.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<Self, Error> {
        let text = super::body_of_json(value)?;
        Ok(self.header("content-type", "application/json").body(text))
    }

    /// How long connecting may take, then the head of the answer, then each further piece of it. `limits.timeout` ends
    /// the attempt whatever is set here.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it, and waits for the head of the answer. A status of 400 and more is an answer as any other.
    ///
    /// # Errors
    /// [`Error::Denied`] where it isn't granted; [`Error::Invalid`] where the URL or a header isn't one;
    /// [`Error::Unavailable`] where the server can't be reached, or says nothing in time.
    pub fn send(self) -> Result<IncomingResponse, Error> {
        let url = Url::parse(&self.url)?;
        let mut headers = self.headers;
        if let Some(fault) = headers.fault() {
            return Err(Error::Invalid(format!("request to {url}: {fault}")));
        }
        let expects_body = matches!(self.method, Method::Post | Method::Put | Method::Patch);
        headers.remove("content-length");
        if expects_body || !self.body.is_empty() {
            headers.set("content-length", self.body.len().to_string().as_bytes());
        }
        let (status, source) = backend::send(Sent {
            method: self.method,
            url,
            headers,
            body: self.body,
            timeout: self.timeout,
        })?;
        Ok(IncomingResponse {
            status,
            message: Message::new(source),
        })
    }
}

/// A request as a backend sends it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub method: Method,
    pub url: Url,
    pub headers: Headers,
    pub body: Vec<u8>,
    #[cfg_attr(
        not(target_family = "wasm"),
        expect(dead_code, reason = "a test's server takes no time")
    )]
    pub timeout: Option<Duration>,
}

/// What a URL says, as `wasi:http` wants it: hosts check the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub secure: bool,
    pub authority: String,
    pub target: String,
}

impl Url {
    pub fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |fault: &str| Err(Error::Invalid(format!("URL {url:?} {fault}")));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return invalid("doesn't begin with `https://` or `http://`"),
        };
        // What stands behind it is for whoever has the answer.
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.is_empty() {
            return invalid("has no host");
        }
        if let Some((_, host)) = authority.rsplit_once('@') {
            // Without the password in the logs.
            return Err(Error::Invalid(format!(
                "a URL of {host:?} has a user in it; send a header `authorization`"
            )));
        }
        let is_written = |byte: u8| byte.is_ascii_graphic();
        if !authority.bytes().chain(target.bytes()).all(is_written) {
            return invalid("has a space or other character in it that is written with `%`");
        }
        let target = match target.as_bytes().first() {
            Some(b'/') => target.to_owned(),
            _ => format!("/{target}"),
        };
        Ok(Self {
            secure,
            authority: authority.to_owned(),
            target,
        })
    }

    /// Where it goes: scheme, host and port.
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority.to_ascii_lowercase())
    }
}

/// For errors, and so for logs: without the query, in which many APIs have their keys.
impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{}{path}", self.origin())
    }
}

/// The answer to a request that a function sent.
#[derive(Debug)]
pub struct IncomingResponse {
    status: u16,
    message: Message,
}

impl IncomingResponse {
    /// Its status.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// The value of a header, the first where there are several. None also where it isn't UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)
    }

    /// All headers, in order.
    pub fn headers(&self) -> &Headers {
        self.message.headers()
    }

    /// Its body. It takes room in the function's memory.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it was taken before; [`Error::Unavailable`] where it breaks off.
    pub fn body(&self) -> Result<Vec<u8>, Error> {
        self.message.body()
    }

    /// Its body as text.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it isn't UTF-8; else as [`body`](Self::body).
    pub fn text(&self) -> Result<String, Error> {
        text(self.body()?).map_err(|fault| Error::Invalid(format!("of an answer: {fault}")))
    }

    /// Its body as JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it isn't JSON for a `T`; else as [`body`](Self::body).
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body()?)
            .map_err(|error| Error::Invalid(format!("the answer's body: {error}")))
    }

    /// Its body piece by piece, as it comes.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it was taken before.
    pub fn reader(&self) -> Result<Body, Error> {
        self.message.reader()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, origin, target) in [
            ("https://example.com", "https://example.com", "/"),
            (
                "HTTP://Example.com:80/A?b#c",
                "http://example.com:80",
                "/A?b",
            ),
            ("https://example.com?b=/", "https://example.com", "/?b=/"),
            ("http://[::1]:8080/x", "http://[::1]:8080", "/x"),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(parsed.origin(), origin, "{url}");
            assert_eq!(parsed.target, target, "{url}");
        }
        for (url, fault) in [
            ("example.com/x", "doesn't begin"),
            ("ftp://example.com/x", "doesn't begin"),
            ("https:///x", "no host"),
            ("https://me:secret@example.com/", "authorization"),
            ("https://example.com/a b", "written with `%`"),
            ("https://example.com/\r\nx: y", "written with `%`"),
            ("https://example.com/é", "written with `%`"),
        ] {
            let Err(Error::Invalid(text)) = Url::parse(url) else {
                panic!("{url} is taken");
            };
            assert!(text.contains(fault), "{url}: {text}");
        }
    }
}
