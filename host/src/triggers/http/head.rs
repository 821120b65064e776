//! Checks of a request's head that hyper leaves to the server: its size, its host, and its framing.

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};
use thiserror::Error;

use super::respond::Client;
use super::routes::canonical;
use crate::ports::visible;

/// The most bytes of a request's head, and of its trailers.
pub(super) const HEAD_BYTES: u32 = 64 << 10;
/// The most fields of a request's head: what hyper takes where it isn't told a figure, for which it needs no allocation.
const FIELDS: usize = 100;
/// How many characters of a value an error shows.
const SHOWN: usize = 200;

/// The reason why a request's head is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum HeadError {
    #[error("the request's line has more than {HEAD_BYTES} bytes; send a shorter target")]
    TargetTooLong,
    #[error(
        "the request's head has more than {HEAD_BYTES} bytes; send fewer fields, or shorter ones"
    )]
    TooLong,
    #[error("the request's head has more than {FIELDS} fields; send fewer")]
    TooManyFields,
    #[error("`Content-Length` is larger than any body may be; send a smaller body")]
    BodyTooLong,
    #[error("the request's head is not valid HTTP/1.1: {0}")]
    Malformed(String),
    #[error("`Transfer-Encoding: {0}` isn't supported; send `chunked` alone")]
    Coding(String),
    #[error(
        "`Transfer-Encoding: {0}` has `chunked` more than once, or not at its end; send `chunked` alone"
    )]
    Chunked(String),
    #[error("the request has no header `Host`; HTTP/1.1 requires one, as `name` or `name:port`")]
    NoHost,
    #[error("the request has several headers `Host`; send one")]
    Hosts,
    #[error("`Host: {0}` isn't a host; send `name` or `name:port`")]
    Host(String),
    #[error("the request's target names the host {0}, which isn't `name` or `name:port`")]
    Target(String),
    #[error(
        "the request's `Host` is {host}, and its `:authority` is {authority}; send one of them"
    )]
    OtherHost { host: String, authority: String },
    #[error("requests of the scheme {0} aren't answered; use http or https")]
    Scheme(String),
}

impl HeadError {
    /// Returns the reason for which hyper refused a head. `unread` begins with that head, where hyper refused it before it
    /// had all of its fields.
    pub fn of(error: &hyper::Error, unread: &[u8]) -> Self {
        if !error.is_parse_too_large() {
            return Self::Malformed(error.to_string());
        }
        let unread = unread.trim_ascii_start();
        let mut lines = unread.split(|byte| *byte == b'\n');
        let line = lines.next().unwrap_or_default();
        let has_more = lines.clone().next().is_some();
        if has_more && !is_request_line(line) {
            // The body, of which hyper had the head by then.
            return Self::BodyTooLong;
        }
        match unread.len() >= HEAD_BYTES as usize {
            true if line.len() >= HEAD_BYTES as usize => Self::TargetTooLong,
            true => Self::TooLong,
            false if lines.count() > FIELDS => Self::TooManyFields,
            false => Self::BodyTooLong,
        }
    }

    /// Returns the status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLong | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Coding(_) => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the answer over HTTP/1, made of the bare one that hyper has for it.
    pub fn answer(&self, bare: &str) -> String {
        let status = self.status();
        let text = format!("{self}\n");
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n",
            text.len()
        );
        // Its date, and the close of its connection.
        let fields = bare.lines().skip(1);
        for field in
            fields.filter(|field| !field.is_empty() && !field.starts_with("content-length"))
        {
            answer.push_str(field);
            answer.push_str("\r\n");
        }
        answer.push_str("\r\n");
        answer.push_str(&text);
        answer
    }
}

fn is_request_line(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.len() >= HEAD_BYTES as usize
        || line.ends_with(b" HTTP/1.1")
        || line.ends_with(b" HTTP/1.0")
}

/// Checks a request's head, and gives it the header `Host` that its target implies. Returns its host without the port, in
/// lower case.
pub(super) fn settle<B>(request: &mut Request<B>, client: Client) -> Result<String, HeadError> {
    if request.version() == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    if request.headers().len() > FIELDS {
        return Err(HeadError::TooManyFields);
    }
    check_codings(request.headers())?;
    settle_host(request, client)
}

/// Allows no transfer coding but `chunked`, which hyper decodes wherever it is the last (RFC 9112, 6.1 and 6.3).
fn check_codings(headers: &HeaderMap) -> Result<(), HeadError> {
    let values = headers.get_all(header::TRANSFER_ENCODING);
    let values: Vec<_> = values
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    if values.is_empty() {
        return Ok(());
    }
    let list = values.join(", ");
    let codings: Vec<_> = list
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty())
        .collect();
    let chunked = |coding: &&str| coding.eq_ignore_ascii_case("chunked");
    match codings.as_slice() {
        [only] if chunked(only) => Ok(()),
        [before @ .., last] if chunked(last) && !before.iter().any(chunked) => {
            Err(HeadError::Coding(shown(&list)))
        }
        _ => Err(HeadError::Chunked(shown(&list))),
    }
}

/// Finds the host of a request: that of its target goes before that of its header (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
fn settle_host<B>(request: &mut Request<B>, client: Client) -> Result<String, HeadError> {
    let mut headers = request.headers().get_all(header::HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return Err(HeadError::Hosts);
    }
    let named = match header.filter(|host| !host.is_empty()) {
        Some(host) => Some(authority_of(host)?),
        None => None,
    };
    let uri = request.uri();
    if let Some(scheme) = uri.scheme()
        && *scheme != Scheme::HTTP
        && *scheme != Scheme::HTTPS
    {
        return Err(HeadError::Scheme(shown(scheme.as_str())));
    }
    let authority = match (uri.authority(), named) {
        (Some(target), named) => {
            if !is_host(target) {
                return Err(HeadError::Target(shown(target.as_str())));
            }
            match request.version() {
                Version::HTTP_2 => {
                    if let Some(host) = named.filter(|host| host != target) {
                        return Err(HeadError::OtherHost {
                            host: shown(host.as_str()),
                            authority: shown(target.as_str()),
                        });
                    }
                }
                Version::HTTP_11 if header.is_none() => return Err(HeadError::NoHost),
                _ => {}
            }
            target.clone()
        }
        (None, Some(host)) => host,
        // Before HTTP/1.1 a client needn't know the name.
        (None, None) if request.version() < Version::HTTP_11 => {
            let server = client.server.to_string();
            Authority::try_from(server.as_str()).map_err(|_| HeadError::NoHost)?
        }
        (None, None) if header.is_some() => return Err(HeadError::Host(String::new())),
        (None, None) => return Err(HeadError::NoHost),
    };
    if header.is_none_or(|header| header.as_bytes() != authority.as_str().as_bytes()) {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| HeadError::NoHost)?;
        request.headers_mut().insert(header::HOST, value);
    }
    Ok(canonical(authority.host()))
}

fn authority_of(host: &HeaderValue) -> Result<Authority, HeadError> {
    let authority = Authority::try_from(host.as_bytes()).ok();
    authority
        .filter(is_host)
        .ok_or_else(|| HeadError::Host(shown(&String::from_utf8_lossy(host.as_bytes()))))
}

/// Returns whether it is a host, with a port or without: what stands before an `@` is for no server.
fn is_host(authority: &Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let port = text.strip_prefix(host);
    !host.is_empty()
        && match port {
            Some("" | ":") => true,
            Some(_) => authority.port_u16().is_some(),
            None => false,
        }
}

/// Joins what HTTP/2 has in several fields (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

fn shown(text: &str) -> String {
    visible(&text.chars().take(SHOWN).collect::<String>())
}
