//! Panics: the host sees a trap, and the panic's message on standard error.

use kinglet_sdk::{Failure, ObjectCreated};

#[kinglet_sdk::object_created]
#[expect(clippy::panic, reason = "what this guest is for")]
fn panic(_event: ObjectCreated) -> Result<(), Failure> {
    panic!("the cat is not a photo");
}
