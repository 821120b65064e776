//! Requests with an `Idempotency-Key`: whoever sends one again has the answer of the first, and its effects once.
//!
//! As draft-ietf-httpapi-idempotency-key-header-07 has it: 409 while the first one runs, 422 where the request of that
//! key was another, 400 where the key can't be one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use thiserror::Error;

use crate::ports::{AnswerKey, Field, KeptAnswer, ResponseBody};

/// The header.
const NAME: HeaderName = HeaderName::from_static("idempotency-key");
/// How long a key may be, in bytes.
const KEY_BYTES: usize = 255;

/// A key that can't be one.
#[derive(Debug, Error)]
#[error(
    "Idempotency-Key: {shown:?} is no key; send one header with 1 to {KEY_BYTES} visible ASCII characters, such as a \
     UUID, with or without quotes"
)]
pub(super) struct NoKey {
    shown: String,
}

/// The key that a request of `function` has, where it has one and may have effects. Two clients that authenticate
/// themselves each have keys of their own.
pub(super) fn key_of<B>(function: &str, request: &Request<B>) -> Result<Option<AnswerKey>, NoKey> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
    let mut values = request.headers().get_all(NAME).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if safe.contains(request.method()) {
        return Ok(None);
    }
    let key = match values.next() {
        None => unquoted(value.as_bytes()),
        Some(_) => None,
    };
    let Some(key) = key else {
        let shown = String::from_utf8_lossy(value.as_bytes());
        let shown = shown.chars().take(KEY_BYTES).collect();
        return Err(NoKey { shown });
    };
    let mut hash = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(function.as_bytes());
    part(&key);
    for who in request.headers().get_all(header::AUTHORIZATION) {
        part(who.as_bytes());
    }
    Ok(Some(*hash.finalize().as_bytes()))
}

/// The characters of a key. The draft has it a string of RFC 8941, in quotes; most clients send it bare.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let key = match value.strip_prefix(b"\"") {
        None => value.to_vec(),
        Some(rest) => {
            let mut key = Vec::with_capacity(rest.len());
            let mut bytes = rest.strip_suffix(b"\"")?.iter();
            while let Some(byte) = bytes.next() {
                key.push(match byte {
                    b'\\' => *bytes.next().filter(|byte| matches!(byte, b'"' | b'\\'))?,
                    b'"' => return None,
                    byte => *byte,
                });
            }
            key
        }
    };
    let good = (1..=KEY_BYTES).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    good.then_some(key)
}

/// The keys whose requests are under way.
#[derive(Default)]
pub(in crate::engine) struct Keys(Mutex<HashSet<AnswerKey>>);

/// One of them.
pub(super) struct UnderWay {
    keys: Arc<Keys>,
    key: AnswerKey,
}

impl Keys {
    /// None where one is under way already.
    pub(super) fn begin(self: &Arc<Self>, key: AnswerKey) -> Option<UnderWay> {
        let begun = self.lock().insert(key);
        begun.then(|| UnderWay {
            keys: Arc::clone(self),
            key,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<AnswerKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.keys.lock().remove(&self.key);
    }
}

/// An answer, all of which is there, as it is to be remembered.
pub(super) async fn keep(
    request: blake3::Hash,
    response: Response<ResponseBody>,
) -> (KeptAnswer, Response<ResponseBody>) {
    let (parts, body) = response.into_parts();
    let (body, trailers) = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            (collected.to_bytes(), trailers)
        }
        // It is all there.
        Err(_) => (Bytes::new(), None),
    };
    let kept = KeptAnswer {
        request: request.as_bytes().to_vec(),
        status: parts.status.as_u16(),
        headers: Field::of(&parts.headers),
        body: body.to_vec(),
        trailers: trailers.as_ref().map(Field::of).unwrap_or_default(),
    };
    let body = body_of(body, &kept.trailers);
    (kept, Response::from_parts(parts, body))
}

/// An answer that was remembered.
pub(super) fn response(kept: KeptAnswer) -> Option<Response<ResponseBody>> {
    let body = body_of(Bytes::from(kept.body), &kept.trailers);
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(kept.status).ok()?;
    for (name, value) in fields(&kept.headers) {
        response.headers_mut().append(name, value);
    }
    Some(response)
}

fn fields(fields: &[Field]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    fields.iter().filter_map(|field| {
        let name = HeaderName::try_from(&field.name).ok()?;
        Some((name, HeaderValue::from_bytes(&field.value).ok()?))
    })
}

fn body_of(body: Bytes, trailers: &[Field]) -> ResponseBody {
    if trailers.is_empty() {
        return Either::Left(Full::new(body));
    }
    // Without a length: HTTP/1.1 has trailers behind chunks alone.
    let trailers = Frame::trailers(fields(trailers).collect());
    let frames = (!body.is_empty()).then(|| Frame::data(body));
    let frames = frames.into_iter().chain([trailers]).map(Ok);
    Either::Right(StreamBody::new(stream::iter(frames)).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(function: &str, headers: &[(&str, &str)]) -> Result<Option<AnswerKey>, NoKey> {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        key_of(function, &request.body(()).unwrap())
    }

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        let bare = key("f", &[("idempotency-key", "a-1")]).unwrap().unwrap();
        let quoted = key("f", &[("idempotency-key", "\"a-1\"")]).unwrap();
        assert_eq!(quoted, Some(bare));
        let escaped = key("f", &[("idempotency-key", r#""a\"\\b""#)]).unwrap();
        assert_eq!(
            escaped,
            key("f", &[("idempotency-key", r#"a"\b"#)]).unwrap()
        );
        assert_eq!(key("f", &[]).unwrap(), None);
    }

    #[test]
    fn each_function_and_each_client_has_keys_of_its_own() {
        let sent = ("idempotency-key", "k");
        let mut keys = HashSet::new();
        for (function, headers) in [
            ("f", vec![sent]),
            ("g", vec![sent]),
            ("f", vec![sent, ("authorization", "Bearer a")]),
            ("f", vec![sent, ("authorization", "Bearer b")]),
            ("f", vec![("idempotency-key", "l")]),
        ] {
            assert!(keys.insert(key(function, &headers).unwrap()), "{headers:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_said() {
        let long = "k".repeat(KEY_BYTES + 1);
        for value in [
            "", "\"", "\"a", "\"a\"b\"", "\"a\\n\"", "a b", "\"\"", &long,
        ] {
            let error = key("f", &[("idempotency-key", value)]).unwrap_err();
            assert!(error.to_string().contains("is no key"), "{error}");
        }
        let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
        assert!(key("f", &twice).is_err());
    }
}
