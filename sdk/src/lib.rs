//! Write functions that events wake.
//!
//! A Kinglet function is a WebAssembly component. An event wakes it: an object was created, a message
//! arrived. It gets a fresh instance of its own, hard limits, the capabilities it was granted and
//! nothing else, and is gone when it returns.
//!
//! A handler is one plain function with one attribute:
//!
//! ```
//! use kinglet_sdk::{Bucket, Config, Failure, ObjectCreated};
//!
//! #[kinglet_sdk::object_created]
//! fn shorten(event: ObjectCreated) -> Result<(), Failure> {
//!     let lines: usize = Config::get_or("lines", 10)?;
//!     let text = String::from_utf8(event.object().read()?).map_err(Failure::reject)?;
//!     let head: Vec<&str> = text.lines().take(lines).collect();
//!     Bucket::open("heads")?.put(event.key(), head.join("\n"), "text/plain")?;
//!     Ok(())
//! }
//!
//! // The same function in a native unit test:
//! let host = kinglet_sdk::testing::Host::new();
//! host.config("lines", "1");
//! host.bucket("texts").put("a.txt", "one\ntwo");
//! host.bucket("heads");
//! assert_eq!(host.run(shorten, host.object_created("texts", "a.txt")), Ok(()));
//! assert_eq!(host.bucket("heads").get("a.txt").unwrap(), b"one");
//! ```
//!
//! # Handlers
//!
//! | attribute | handler |
//! |---|---|
//! | [`object_created`] | `fn(ObjectCreated) -> Result<(), Failure>` |
//! | [`message`] | `fn(Message) -> Result<(), Failure>` |
//! | [`message_batch`] | `fn(Message) -> Result<(), Failure>`, called for each message, or `fn(Batch) -> Result<Vec<Result<(), Failure>>, Failure>` |
//!
//! A handler may return a `Result` of any error that converts into a [`Failure`], `anyhow::Result<()>`
//! for one, or nothing. A crate has at most one handler of each kind.
//!
//! A handler runs at least once for an event. What it writes and publishes is staged while it runs, and
//! takes effect together with the event's acknowledgement, or not at all:
//!
//! - `Ok(())` commits it.
//! - An ordinary error through `?` discards it and asks for another attempt, as
//!   [`Failure::retry`] and [`Failure::retry_after`] do.
//! - [`Failure::reject`] discards it and sends the event to the dead letters.
//! - A panic or a breached limit discards it; the host decides about another attempt.
//!
//! # Capabilities
//!
//! | for | use | granted by |
//! |---|---|---|
//! | objects | [`Bucket`], [`Object`], [`Writer`] | `grants.read`, `grants.write` |
//! | messages | [`Topic`], [`Draft`] | `grants.publish` |
//! | counters and small state, by key | [`KeyValue`] | `grants.keyvalue` |
//! | the function's settings | [`Config`] | |
//! | logs | [`info!`] and its siblings | |
//!
//! Their errors are [`Error`]. The standard library's clock and randomness work as ever; there are no files
//! and no network.
//!
//! # Building
//!
//! The crate's library is a `cdylib` whose only dependency needs to be this one:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! kinglet-sdk = "0.1"
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` builds a component, and so does
//! `cargo component build --release`. Built natively, the attributes export nothing, and the function
//! stays an ordinary one.
//!
//! # Testing
//!
//! The `testing` module (on native targets) is an in-memory host with the same rules: staged
//! effects, grants, conditions, key rules. Natively and without it, capabilities fail with
//! [`Error::Other`].

mod backend;
#[cfg(target_family = "wasm")]
mod bindings;
mod bucket;
mod config;
mod error;
mod event;
mod failure;
pub mod handler;
mod keyvalue;
mod log;
mod object;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod topic;
mod writer;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use bucket::{Bucket, List, Write};
pub use config::Config;
pub use error::Error;
pub use event::{Attributes, Batch, Delivery, Message, ObjectCreated};
pub use failure::Failure;
pub use keyvalue::{KeyValue, Keys};
/// The attribute of a handler of messages, one at a time.
///
/// ```
/// use kinglet_sdk::{Failure, Message};
///
/// #[kinglet_sdk::message]
/// fn enrich(event: Message) -> Result<(), Failure> {
///     kinglet_sdk::info!("{} bytes on {}", event.body().len(), event.topic());
///     Ok(())
/// }
/// ```
pub use kinglet_sdk_macros::message;
/// The attribute of a handler of messages that come several at once.
///
/// ```
/// use kinglet_sdk::{Failure, Message, Topic};
///
/// #[kinglet_sdk::message_batch]
/// fn enrich(event: Message) -> Result<(), Failure> {
///     Topic::open("enriched")?.publish(event.body())?;
///     Ok(())
/// }
/// ```
///
/// [`Batch`] has an example of the other shape.
pub use kinglet_sdk_macros::message_batch;
/// The attribute of a handler of created objects.
///
/// ```
/// use kinglet_sdk::{Bucket, ObjectCreated};
///
/// #[kinglet_sdk::object_created]
/// fn backup(event: ObjectCreated) -> Result<(), kinglet_sdk::Error> {
///     let body = event.object().read()?;
///     Bucket::open("backup")?.put(event.key(), body, "application/octet-stream")
/// }
/// ```
pub use kinglet_sdk_macros::object_created;
pub use log::{Level, log};
pub use object::{Object, ObjectInfo, Reader};
pub use topic::{Draft, Topic};
pub use writer::Writer;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
