use std::cell::{Cell, OnceCell};
use std::io::{self, BufRead, Read};

use super::Headers;
use crate::{Error, backend};

/// So much room a told length is given before anything of it has come.
const MOST_RESERVED: usize = 1 << 20;

/// What comes: a request, or the answer to one.
#[derive(Debug)]
pub(super) struct Message {
    source: backend::Incoming,
    headers: OnceCell<Headers>,
    taken: Cell<bool>,
}

impl Message {
    pub fn new(source: backend::Incoming) -> Self {
        Self {
            source,
            headers: OnceCell::new(),
            taken: Cell::new(false),
        }
    }

    pub fn source(&self) -> &backend::Incoming {
        &self.source
    }

    pub fn headers(&self) -> &Headers {
        self.headers.get_or_init(|| self.source.headers())
    }

    /// A second time there would be nothing, which is no body.
    pub fn reader(&self) -> Result<Body, Error> {
        if self.taken.replace(true) {
            let text = "the body was taken already; keep what the first call gave";
            return Err(Error::Invalid(text.to_owned()));
        }
        Ok(Body {
            source: self.source.body(),
            buffer: Vec::new(),
            consumed: 0,
        })
    }

    pub fn body(&self) -> Result<Vec<u8>, Error> {
        let Body { mut source, .. } = self.reader()?;
        let length = self.headers().get("content-length");
        let length = length.and_then(|length| length.parse::<usize>().ok());
        let mut all = Vec::with_capacity(length.unwrap_or(0).min(MOST_RESERVED));
        loop {
            let piece = source.read()?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&piece);
        }
    }
}

/// A body that comes, through [`Read`] and [`BufRead`]: of a request ([`Request::reader`](super::Request::reader)) or of
/// an answer to one ([`IncomingResponse::reader`](super::IncomingResponse::reader)).
///
/// What isn't read waits at its sender. Its errors are [`io::Error`]s with an [`Error`] inside: one that breaks off never
/// looks as if it had ended.
#[derive(Debug)]
pub struct Body {
    source: backend::IncomingBody,
    buffer: Vec<u8>,
    consumed: usize,
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed >= self.buffer.len() {
            self.buffer = self.source.read()?;
            self.consumed = 0;
        }
        Ok(self.buffer.get(self.consumed..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let left = self.buffer.len().saturating_sub(self.consumed);
        self.consumed += amount.min(left);
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// A body as text, or why it is none.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes)
        .map_err(|error| format!("the body isn't text in UTF-8: {}", error.utf8_error()))
}
