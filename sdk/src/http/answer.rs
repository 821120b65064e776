//! From what a handler returned to what is sent.

use std::fmt;
use std::time::Duration;

use super::{BodyWriter, Headers, Response};
use crate::{Failure, backend};

/// What a handler of requests may return: `Result<Response, Failure>`, `Result<Response, E>` of any error that converts
/// into a [`Failure`] (such as `anyhow::Result<Response>`), or a [`Response`].
#[diagnostic::on_unimplemented(
    message = "a handler of requests can't return `{Self}`",
    label = "expected `Result<Response, Failure>`",
    note = "`Result<Response, E>` works for any `E` that `?` turns into a `kinglet_sdk::Failure`: `anyhow::Error`, `std::io::Error`, `String`",
    note = "`Response::text`, `Response::bytes` and `Response::new` make a response"
)]
pub trait Answer {
    /// The handler's response or failure.
    ///
    /// # Errors
    /// The handler's failure.
    fn into_response(self) -> Result<Response, Failure>;

    /// Wraps a response of the SDK's own.
    #[doc(hidden)]
    fn from_response(response: Response) -> Self;
}

impl Answer for Response {
    fn into_response(self) -> Result<Response, Failure> {
        Ok(self)
    }

    fn from_response(response: Response) -> Self {
        response
    }
}

impl<E: Into<Failure>> Answer for Result<Response, E> {
    fn into_response(self) -> Result<Response, Failure> {
        self.map_err(Into::into)
    }

    fn from_response(response: Response) -> Self {
        Ok(response)
    }
}

type Write = Box<dyn FnOnce(&mut BodyWriter) -> Result<(), Failure>>;

/// The body of a response.
pub(crate) enum Content {
    /// All there.
    Whole(Vec<u8>),
    /// Written when the head is on its way.
    Stream(Write),
    /// None is sent, and none was made.
    None,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => f.write_str("a stream"),
            Self::None => f.write_str("none"),
        }
    }
}

/// A response that can be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    pub status: u16,
    pub headers: Headers,
    pub content: Content,
}

/// What is sent for what a handler returned; `head` tells that no body is asked for.
pub(crate) fn ready(outcome: Result<Response, Failure>, head: bool) -> Ready {
    let response = outcome.unwrap_or_else(|failure| of_failure(&failure));
    match checked(response, head) {
        Ok(ready) => ready,
        Err(fault) => {
            backend::tell(&format!("the response can't be sent: {fault}"));
            failed(head)
        }
    }
}

/// The answer where there is none that can be given.
fn failed(head: bool) -> Ready {
    let Response {
        status,
        mut headers,
        content,
    } = Response::text(FAILED).status(500);
    headers.set("content-length", FAILED.len().to_string().as_bytes());
    Ready {
        status,
        headers,
        content: if head { Content::None } else { content },
    }
}

/// In the host's own words for a function that fails.
const FAILED: &str = "the function failed\n";

/// By this header Kinglet's host discards what the handler staged, as with every failure. It doesn't send it on.
pub(crate) const EFFECTS: &str = "kinglet-effects";

fn of_failure(failure: &Failure) -> Response {
    match failure {
        // Of use to whoever sent the request, and to nobody else.
        Failure::Reject(reason) => Response::text(format!("{reason}\n"))
            .status(400)
            .header(EFFECTS, "none"),
        Failure::Retry { after, .. } => {
            backend::tell(&failure.to_string());
            let response = Response::text("try again later\n").status(503);
            match after {
                Some(after) => response.header("retry-after", seconds(*after).to_string()),
                None => response,
            }
        }
        Failure::Permanent(reason) | Failure::Other(reason) => {
            backend::tell(reason);
            Response::text(FAILED).status(500)
        }
    }
}

/// Whole ones, and none too few.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn checked(response: Response, head: bool) -> Result<Ready, String> {
    let Response {
        status,
        mut headers,
        mut content,
    } = response;
    if !(200..=599).contains(&status) {
        return Err(format!(
            "{status} isn't the status of a response; they go from 200 to 599"
        ));
    }
    if let Some(fault) = headers.fault() {
        return Err(fault);
    }
    // RFC 9110, 15.3.5 and 15.4.5: they have no body, and the first of them no length.
    if matches!(status, 204 | 304) {
        if !matches!(&content, Content::Whole(bytes) if bytes.is_empty()) {
            let text = format!("a response {status} has no body: what was given isn't sent");
            backend::tell(&text);
        }
        content = Content::None;
        if status == 204 {
            headers.remove("content-length");
        }
    }
    match &content {
        Content::Whole(bytes) => {
            headers.set("content-length", bytes.len().to_string().as_bytes());
        }
        Content::Stream(_) | Content::None => {}
    }
    // Its length is that of the body which `GET` would have.
    if head {
        content = Content::None;
    }
    Ok(Ready {
        status,
        headers,
        content,
    })
}
