//! What the attributes' expansions call. No part of the API.

use crate::handler::{BatchHandler, Outcome};
use crate::{Batch, Failure};

#[cfg(target_family = "wasm")]
pub use crate::backend::{batch, failure, message, object_created};
#[cfg(target_family = "wasm")]
pub use crate::bindings::{
    batch_function, capabilities::kinglet::events::types, message_function, object_function,
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

/// Hands on what was printed without an end of line, which is lost with the instance otherwise.
#[cfg(target_family = "wasm")]
pub fn done<T>(outcome: T) -> T {
    use std::io::Write;

    // Where standard output fails, the handler's outcome stands all the same.
    let _ = std::io::stdout().flush();
    outcome
}
