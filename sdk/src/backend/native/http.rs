//! Requests natively: those that a test makes, and those that go to a test's servers.

use std::io;

use crate::http::{Headers, Method, Sent};
use crate::testing::State;
use crate::{Error, Level};

/// What comes: a request, or the answer to one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    pub headers: Headers,
    pub secure: bool,
    pub authority: Option<String>,
    pub body: IncomingBody,
}

impl Incoming {
    pub fn headers(&self) -> Headers {
        self.headers.clone()
    }

    pub fn scheme(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        scheme.to_owned()
    }

    pub fn authority(&self) -> Option<String> {
        self.authority.clone()
    }

    pub fn body(&self) -> IncomingBody {
        self.body.clone()
    }
}

/// Its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct IncomingBody {
    pub bytes: Vec<u8>,
    /// Why there is no more of it, where it has no good end.
    pub broken: Option<String>,
}

impl IncomingBody {
    /// The next piece; an empty one at its end.
    pub fn read(&mut self) -> Result<Vec<u8>, Error> {
        let piece = std::mem::take(&mut self.bytes);
        match &self.broken {
            Some(reason) if piece.is_empty() => Err(Error::Unavailable(reason.clone())),
            _ => Ok(piece),
        }
    }
}

/// A body that goes out.
#[derive(Debug, Default)]
pub(crate) struct OutgoingBody(pub Vec<u8>);

impl OutgoingBody {
    #[expect(clippy::unnecessary_wraps, reason = "in a component it can fail")]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "in a component it can fail")]
    #[expect(clippy::unused_self, reason = "in a component it does something")]
    pub fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells whoever runs the function: a test, by its host's logs.
pub(crate) fn tell(text: &str) {
    super::log(Level::Error, "kinglet_sdk::http", text);
}

/// Has a test's server answer a request.
pub(crate) fn send(sent: Sent) -> Result<(u16, Incoming), Error> {
    let server = State::with_current(|state| state.server(&sent.url))?;
    let Sent {
        method,
        url,
        headers,
        body,
        ..
    } = sent;
    let head = method == Method::Head;
    let request = Incoming {
        headers,
        secure: url.secure,
        authority: Some(url.authority),
        body: IncomingBody {
            bytes: body,
            broken: None,
        },
    };
    let answered = server.answer(method, url.target, request, head);
    let body = IncomingBody {
        bytes: answered.body,
        broken: answered.broken,
    };
    let answer = Incoming {
        headers: answered.headers,
        body,
        ..Incoming::default()
    };
    Ok((answered.status, answer))
}
