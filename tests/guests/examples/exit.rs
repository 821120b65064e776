//! Leaves by `exit(3)` in the midst of handling: neither a result nor a trap of its own code.

use kinglet_sdk::{Failure, Message};

#[kinglet_sdk::message]
fn exit(_event: Message) -> Result<(), Failure> {
    std::process::exit(3);
}
