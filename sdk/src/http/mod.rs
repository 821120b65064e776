//! Requests: those that a function answers, and those that it sends.
//!
//! A handler takes a [`Request`] and returns a [`Response`]:
//!
//! ```
//! use kinglet_sdk::http::Method;
//! use kinglet_sdk::{Bucket, Error, Failure, Request, Response};
//!
//! #[kinglet_sdk::http("/results/{id}")]
//! fn api(request: Request) -> Result<Response, Failure> {
//!     let id = request.parameter("id").ok_or("the route has an {id}")?;
//!     if *request.method() != Method::Get {
//!         return Ok(Response::new(405).header("allow", "GET"));
//!     }
//!     match Bucket::open("results")?.read(&format!("{id}.json")) {
//!         Ok(result) => Ok(Response::bytes(result, "application/json")),
//!         Err(Error::NotFound(_)) => Ok(Response::text(format!("no result {id}\n")).status(404)),
//!         Err(error) => Err(error.into()),
//!     }
//! }
//!
//! let host = kinglet_sdk::testing::Host::new();
//! host.bucket("results").put("7.json", "{}");
//! let response = host.respond(api, host.request("GET", "/results/7"));
//! assert_eq!((response.status, response.text()), (200, "{}".to_owned()));
//! let response = host.respond(api, host.request("GET", "/results/8"));
//! assert_eq!(response.status, 404);
//! ```
//!
//! # How it is answered
//!
//! | the handler gives | the client gets |
//! |---|---|
//! | a [`Response`] | that, with its length; of a `HEAD` request, a 204 or a 304 the head alone |
//! | [`Failure::reject`](crate::Failure::reject) | 400 with the reason: what is wrong with the request |
//! | [`Failure::retry`](crate::Failure::retry), [`retry_after`](crate::Failure::retry_after) | 503, with `retry-after` where a wait is given; the logs have the reason |
//! | any other error, by `?` | 500; the logs have the reason, and the client doesn't |
//! | a response that can't be sent: a header with a line break in it, a status that isn't one | 500; the logs say why |
//! | a panic, a breached limit | what the host answers for it: 500, or 504 past the deadline |
//!
//! What it stages, objects, messages and values, is committed before the response's head is sent, all of it or none: none
//! where the handler fails, where the response has a status of 500 or above, or the header `kinglet-effects: none`, which
//! Kinglet's host doesn't send on. A stream that is still written by then stages nothing more.
//!
//! A body that is made piece by piece is [streamed](Response::stream), and one that comes so is
//! [read](Request::reader) so.
//!
//! # Sending requests
//!
//! [`get`], [`post`] and their siblings send requests from functions of every kind, to where `grants.http` allows
//! them:
//!
//! ```
//! use kinglet_sdk::{Failure, Message, http};
//!
//! #[kinglet_sdk::message]
//! fn look_up(event: Message) -> Result<(), Failure> {
//!     let answer = http::get(format!("https://api.example.com/users/{}", event.text()?)).send()?;
//!     kinglet_sdk::info!("{} {}", answer.status_code(), answer.text()?);
//!     Ok(())
//! }
//!
//! let host = kinglet_sdk::testing::Host::new();
//! host.server("https://api.example.com", |request| http::Response::text(request.path()));
//! assert_eq!(host.run(look_up, host.message("ids", "7")), Ok(()));
//! assert_eq!(host.logs()[0].message, "200 /users/7");
//! ```
//!
//! # Elsewhere
//!
//! Such a function is a plain component of `wasi:http` 0.2, which runs on other hosts as well:
//! `kinglet check --target` says what one of them has of what it imports. No other host has buckets
//! and topics. Of settings, values and logs they have different versions, for which the crate has
//! [features](crate#other-hosts). This module itself prints what it has to say, to standard error.
//!
//! Methods and headers are types of this crate rather than of the crate `http`: a request starts the component anew, so
//! that what it doesn't need costs each of them, and a match on a method is as short. Trailers aren't passed on.

mod answer;
mod body;
mod headers;
mod method;
mod outgoing;
mod request;
mod response;
mod text;

pub use answer::Answer;
#[cfg(not(target_family = "wasm"))]
pub(crate) use answer::EFFECTS;
pub(crate) use answer::{Content, Ready, ready};
pub use body::Body;
pub use headers::Headers;
pub use method::Method;
pub use outgoing::{IncomingResponse, OutgoingRequest, delete, get, patch, post, put, request};
pub(crate) use outgoing::{Sent, Url};
pub use request::Request;
pub use response::{BodyWriter, Response};

/// A value as JSON.
#[cfg(feature = "json")]
fn body_of_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, crate::Error> {
    serde_json::to_vec(value)
        .map_err(|error| crate::Error::Invalid(format!("it can't be written as JSON: {error}")))
}
