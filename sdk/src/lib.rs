//! Write functions that events wake.
//!
//! A Kinglet function is a WebAssembly component. An event wakes it: an object was created, a message
//! arrived, a request came. It gets a fresh instance of its own, hard limits, the capabilities it was granted and
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
//! | [`http`](macro@http) | `fn(Request) -> Result<Response, Failure>` |
//!
//! A handler may return a `Result` of any error that converts into a [`Failure`], `anyhow::Result<()>`
//! for one, or nothing. A crate has at most one handler of each kind.
//!
//! A handler of requests runs once for each, and [its module](mod@http) says what a failure is answered with. Another
//! handler runs at least once for an event. What it writes and publishes is staged while it runs, and
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
//! | requests to servers | [`http::get`] and its siblings | `grants.http` |
//! | the function's settings | [`Config`] | |
//! | logs | [`info!`] and its siblings | |
//!
//! Their errors are [`Error`]. The standard library's clock and randomness work as ever; there are no files
//! and no sockets.
//!
//! # Work that every instance would do
//!
//! Every event has a fresh instance, so what a handler computes once for all events (a table, a parsed
//! model) it would compute for each. Keep it in a `static`, and have an [`init`](macro@init) force it:
//! `kinglet build` runs that, and instances begin with the memory that it left.
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
//! # Other hosts
//!
//! A function that answers requests runs on every host of `wasi:http` 0.2 as it is built, where it
//! uses neither [`Config`], [`KeyValue`] nor [`info!`]: hosts have these in different versions, or
//! not at all. The features `spin`, `wasmtime` and `wasmcloud`, of which a build has at most one,
//! have it import what that host has; Kinglet runs such a component as well. `kinglet build` sets
//! them for the `targets` of the manifest. Where a host has no interface for logs, they are printed
//! to standard error.
//!
//! # Testing
//!
//! The `testing` module (on native targets) is an in-memory host with the same rules: staged
//! effects, grants, conditions, key rules. Natively and without it, capabilities fail with
//! [`Error::Other`].

#[cfg(all(
    target_family = "wasm",
    any(
        all(feature = "spin", feature = "wasmtime"),
        all(feature = "spin", feature = "wasmcloud"),
        all(feature = "wasmtime", feature = "wasmcloud"),
    )
))]
compile_error!(
    "a component is built for one other host: enable one of the features `spin`, `wasmtime` and \
     `wasmcloud`"
);

mod backend;
#[cfg(target_family = "wasm")]
mod bindings;
mod bucket;
mod config;
mod error;
mod event;
mod failure;
pub mod handler;
pub mod http;
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
pub use http::{Request, Response};
pub use keyvalue::{KeyValue, Keys};
/// The attribute of a handler of requests.
///
/// ```
/// use kinglet_sdk::{Failure, Request, Response};
///
/// #[kinglet_sdk::http]
/// fn greet(request: Request) -> Result<Response, Failure> {
///     let name = request.query().get("name").ok_or_else(|| Failure::reject("no `name`"))?;
///     Ok(Response::text(format!("hello {name}\n")))
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// assert_eq!(host.respond(greet, host.request("GET", "/?name=wren")).text(), "hello wren\n");
/// assert_eq!(host.respond(greet, host.request("GET", "/")).status, 400);
/// ```
///
/// Routes may be stated, as a manifest's `on.http` has them: a path, whose segments `{name}` are
/// parameters, with `/...` at its end for all below it. The function then finds its parameters on
/// hosts that don't route as well, and a path that none of its routes matches is answered with 404:
///
/// ```
/// use kinglet_sdk::{Failure, Request, Response};
///
/// #[kinglet_sdk::http("/birds/{name}", "/birds/{name}/songs/...")]
/// fn bird(request: Request) -> Result<Response, Failure> {
///     let name = request.parameter("name").ok_or("no name")?;
///     Ok(Response::text(format!("{name}\n")))
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// assert_eq!(host.respond(bird, host.request("GET", "/birds/wren")).text(), "wren\n");
/// assert_eq!(host.respond(bird, host.request("GET", "/trees/oak")).status, 404);
/// ```
///
/// They are whole paths, as the client has them, also under a `base` of a `spin.toml`. `kinglet
/// check` compares them with the manifest's.
///
/// The [module](mod@http) of its name has the rest.
pub use kinglet_sdk_macros::http;
/// The attribute of what `kinglet build` runs once, so that no instance has to.
///
/// The handler uses a `static`, and the init forces it. The component is then made anew with the memory that
/// the init left, and every fresh instance begins with it, copy on write: the work moves from the first use in
/// each instance to the build, and nothing else changes. Built by cargo alone, or with `kinglet build
/// --no-snapshot`, the function does the same, and each instance does the work when it comes to it.
///
/// ```
/// use std::sync::LazyLock;
///
/// use kinglet_sdk::{Failure, Message, Topic};
///
/// static SQUARES: LazyLock<Vec<u64>> = LazyLock::new(|| (0..1_000_000).map(|n| n * n).collect());
///
/// #[kinglet_sdk::init]
/// fn prepare() {
///     LazyLock::force(&SQUARES);
/// }
///
/// #[kinglet_sdk::message]
/// fn square(event: Message) -> Result<(), Failure> {
///     let at: usize = event.text()?.parse().map_err(Failure::reject)?;
///     let square = SQUARES.get(at).ok_or_else(|| Failure::reject("too large"))?;
///     Topic::open("squares")?.publish(square.to_string())?;
///     Ok(())
/// }
///
/// // Natively it is an ordinary function.
/// prepare();
/// let host = kinglet_sdk::testing::Host::new();
/// host.topic("squares");
/// assert_eq!(host.run(square, host.message("numbers", "12")), Ok(()));
/// ```
///
/// An init returns nothing, or a `Result<(), E>` of any error that displays, which ends the build. A crate has
/// at most one.
///
/// It works for all events to come, and on another machine than they: so it has no clock, random numbers,
/// configuration, buckets, topics or values, and the build names what it asked for. Its environment is
/// empty, and can't be read where the manifest gives the function an `environment`. The
/// manifest's `snapshot.allow` permits three of them:
///
/// - `"random"`, which every `HashMap` of the standard library needs. The numbers derive from the component
///   itself, so that builds stay reproducible. The keys of hash maps are then the same in all instances, and
///   known to who has the component: a sender who chooses colliding keys can slow down a map that takes them.
///   A map that the init fills with keys of its own isn't concerned, nor is a `BTreeMap`.
/// - `"clock"`: the time is that of the build, and the component another with each.
/// - `"config"`: [`Config`] gives what the manifest says at the build, and what comes of it is frozen until the
///   next.
///
/// Handles don't survive, and printing opens some: use [`info!`] and its siblings, which `kinglet build` shows.
pub use kinglet_sdk_macros::init;
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
