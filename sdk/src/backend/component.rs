//! Capabilities as a component has them: imports of the contract, converted to and from the SDK's types.

mod http;
mod keyvalue;

pub use http::respond;
pub(crate) use http::{Incoming, IncomingBody, OutgoingBody, send, tell};
pub(crate) use keyvalue::{Cas, KeyValue};

use crate::bindings::batch_function::kinglet::events::batch_scope;
use crate::bindings::capabilities::kinglet::events::{objects, topics, types};
#[cfg(not(feature = "spin"))]
use crate::bindings::capabilities::wasi::config::store;
#[cfg(feature = "spin")]
use crate::bindings::of_spin::wasi::config0_2_0_draft_2024_09_27::store;
use crate::bucket::{Condition, WriteOptions};
use crate::event::time_from_millis;
use crate::{
    Attributes, Batch, Delivery, Draft, Error, Failure, Level, Message, ObjectCreated, ObjectInfo,
};

#[derive(Debug)]
pub(crate) struct Bucket {
    name: String,
    resource: objects::Bucket,
}

/// What one call of the host is given at most of an object: a component that imports `wasi:http` may give it 256 KiB.
const PIECE: usize = 128 << 10;

impl Bucket {
    pub fn open(name: &str) -> Result<Self, Error> {
        let resource =
            objects::Bucket::open(name).map_err(|e| error(e, || format!("bucket `{name}`")))?;
        Ok(Self {
            name: name.to_owned(),
            resource,
        })
    }

    pub fn head(&self, key: &str) -> Result<ObjectInfo, Error> {
        self.resource
            .head(key)
            .map(object_info)
            .map_err(|e| self.error(e, key))
    }

    pub fn read(&self, key: &str, etag: Option<&str>) -> Result<Vec<u8>, Error> {
        self.resource
            .read(key, etag)
            .map_err(|e| self.error(e, key))
    }

    pub fn read_range(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, Error> {
        self.resource
            .read_range(key, etag, offset, length)
            .map_err(|e| self.error(e, key))
    }

    pub fn write(&self, key: &str, body: &[u8], options: WriteOptions) -> Result<(), Error> {
        if body.len() > PIECE {
            let mut writer = self.create(key, options)?;
            writer.append(body)?;
            return writer.finish();
        }
        self.resource
            .write(key, body, &write_options(options))
            .map_err(|e| self.error(e, key))
    }

    pub fn create(&self, key: &str, options: WriteOptions) -> Result<Writer, Error> {
        let resource = self
            .resource
            .create(key, &write_options(options))
            .map_err(|e| self.error(e, key))?;
        Ok(Writer {
            about: self.about(key),
            resource,
        })
    }

    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.resource.remove(key).map_err(|e| self.error(e, key))
    }

    pub fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, Error> {
        let page = self
            .resource
            .list_page(prefix, after)
            .map_err(|e| self.error(e, prefix))?;
        Ok(page.into_iter().map(object_info).collect())
    }

    fn error(&self, failed: types::Error, key: &str) -> Error {
        error(failed, || self.about(key))
    }

    fn about(&self, key: &str) -> String {
        format!("`{key}` in bucket `{}`", self.name)
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    about: String,
    resource: objects::Writer,
}

impl Writer {
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), Error> {
        for piece in chunk.chunks(PIECE) {
            let appended = self.resource.append(piece);
            appended.map_err(|e| error(e, || self.about.clone()))?;
        }
        Ok(())
    }

    pub fn finish(self) -> Result<(), Error> {
        objects::Writer::finish(self.resource).map_err(|e| error(e, || self.about))
    }
}

#[derive(Debug)]
pub(crate) struct Topic {
    name: String,
    resource: topics::Topic,
}

impl Topic {
    pub fn open(name: &str) -> Result<Self, Error> {
        let resource =
            topics::Topic::open(name).map_err(|e| error(e, || format!("topic `{name}`")))?;
        Ok(Self {
            name: name.to_owned(),
            resource,
        })
    }

    pub fn publish(&self, drafts: Vec<Draft>) -> Result<(), Error> {
        let drafts: Vec<_> = drafts.into_iter().map(draft).collect();
        self.resource
            .publish(&drafts)
            .map_err(|e| error(e, || format!("topic `{}`", self.name)))
    }
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, Error> {
    store::get(key).map_err(config_error)
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, Error> {
    store::get_all().map_err(config_error)
}

/// Prints a line, since neither Spin nor Wasmtime has an interface for logs.
#[cfg(any(feature = "spin", feature = "wasmtime"))]
pub(crate) fn log(level: Level, context: &str, message: &str) {
    let level = format!("{level:?}").to_lowercase();
    eprintln!("{level} {context}: {message}");
}

#[cfg(not(any(feature = "spin", feature = "wasmtime")))]
pub(crate) fn log(level: Level, context: &str, message: &str) {
    use crate::bindings::capabilities::wasi::logging::logging;

    let level = match level {
        Level::Trace => logging::Level::Trace,
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
        Level::Critical => logging::Level::Critical,
    };
    logging::log(level, context, message);
}

#[expect(clippy::unnecessary_wraps, reason = "natively it can fail")]
pub(crate) fn enter_scope(index: u32) -> Result<(), Error> {
    batch_scope::enter(index);
    Ok(())
}

/// What the handler is called with.
pub fn object_created(event: types::ObjectCreatedEvent) -> ObjectCreated {
    ObjectCreated {
        delivery: delivery(event.delivery),
        bucket: event.bucket,
        info: object_info(event.object),
    }
}

/// What the handler is called with.
pub fn message(event: types::MessageEvent) -> Message {
    Message {
        delivery: delivery(event.delivery),
        topic: event.topic,
        body: event.body,
        content_type: event.content_type,
        ordering_key: event.ordering_key,
        attributes: Attributes(event.attributes),
    }
}

/// What the handler is called with.
pub fn batch(events: Vec<types::MessageEvent>) -> Batch {
    Batch {
        messages: events.into_iter().map(message).collect(),
    }
}

/// What the component returns.
pub fn failure(failure: Failure) -> types::Failure {
    match failure {
        Failure::Retry { reason, after } => types::Failure::Retry(types::RetryRequest {
            reason,
            after_ms: after.map(millis),
        }),
        Failure::Reject(reason) | Failure::Permanent(reason) => types::Failure::Reject(reason),
        Failure::Other(reason) => types::Failure::Other(reason),
    }
}

fn delivery(delivery: types::Delivery) -> Delivery {
    Delivery {
        id: delivery.id,
        source: delivery.source,
        accepted: time_from_millis(delivery.accepted),
        attempt: delivery.attempt,
    }
}

fn object_info(info: types::ObjectInfo) -> ObjectInfo {
    ObjectInfo {
        key: info.key,
        size: info.size,
        etag: info.etag,
        content_type: info.content_type,
        modified: time_from_millis(info.modified),
        metadata: Attributes(info.metadata),
    }
}

fn write_options(options: WriteOptions) -> objects::WriteOptions {
    objects::WriteOptions {
        content_type: options.content_type,
        metadata: options.metadata.0,
        condition: match options.condition {
            Condition::None => objects::Condition::None,
            Condition::Absent => objects::Condition::Absent,
            Condition::Matches(etag) => objects::Condition::Matches(etag),
        },
    }
}

fn draft(draft: Draft) -> topics::Draft {
    topics::Draft {
        body: draft.body,
        content_type: draft.content_type,
        ordering_key: draft.ordering_key,
        attributes: draft.attributes.0,
        delay_ms: draft.delay.map(millis),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The host's text names the value already; where the contract has none, `about` does.
fn error(error: types::Error, about: impl FnOnce() -> String) -> Error {
    match error {
        types::Error::Denied(text) => Error::Denied(text),
        types::Error::NotFound => Error::NotFound(about()),
        types::Error::Changed => Error::Changed(about()),
        types::Error::Invalid(text) => Error::Invalid(text),
        types::Error::Limit(text) => Error::Limit(text),
        types::Error::Unavailable(text) => Error::Unavailable(text),
        types::Error::Other(text) => Error::Other(text),
    }
}

fn config_error(error: store::Error) -> Error {
    match error {
        store::Error::Upstream(text) | store::Error::Io(text) => {
            Error::Unavailable(format!("config: {text}"))
        }
    }
}
