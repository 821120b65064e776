//! What the attributes' expansions call. No part of the API.

use crate::handler::{BatchHandler, InitOutcome, Outcome};
use crate::http::Answer;
use crate::{Batch, Failure, Request, Response};

#[cfg(target_family = "wasm")]
pub use crate::backend::{batch, failure, message, object_created, respond};
#[cfg(target_family = "wasm")]
pub use crate::bindings::{
    batch_function, capabilities::kinglet::events::types, http_function, init_function,
    message_function, object_function, requests::wasi::http::types as http_types,
};

pub fn one(outcome: impl Outcome) -> Result<(), Failure> {
    outcome.into_result()
}

pub fn many<Shape>(
    handler: impl BatchHandler<Shape>,
    batch: Batch,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    handler.handle(batch)
}

pub fn answered(answer: impl Answer) -> Result<Response, Failure> {
    answer.into_response()
}

/// Returns a request with the parameters of its route, or what answers one that no route matches.
pub fn routed(request: Request, routes: &'static [&'static str]) -> Result<Request, Response> {
    request.routed(routes)
}

/// Returns from a handler of whatever type with the answer of a path that no route matches.
pub fn unrouted<A: Answer>(response: Response) -> A {
    A::from_response(response)
}

/// Puts routes into a section of the component, a line each.
#[doc(hidden)]
#[macro_export]
macro_rules! __note_routes {
    ($lines:literal) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "kinglet:routes")]
            static ROUTES: [u8; $lines.len()] = *$lines;
        };
    };
}

pub fn initialised(outcome: impl InitOutcome) -> Result<(), String> {
    outcome.into_text()
}

/// Hands on what was printed without an end of line, which is lost with the instance otherwise.
#[cfg(target_family = "wasm")]
pub fn done<T>(outcome: T) -> T {
    use std::io::Write;

    // Where standard output fails, the handler's outcome stands all the same.
    let _ = std::io::stdout().flush();
    outcome
}
