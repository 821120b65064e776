//! Hostile: attacks in the one way that the message's body names. What Rust can't say is beside this, in `raw`:
//! core modules as text, which the tests put into components.
//!
//! Each attack ends by itself after some seconds or some hundred megabytes, so that a host whose guard is switched
//! off survives it: the test that does so wants to see that the guard was what ended it.

mod calls;
mod compute;
mod effects;
mod handles;
mod memory;
mod names;

use kinglet_sdk::{Failure, Message};

/// How an attack ends that nothing stopped.
type Ended = Result<(), Failure>;

#[kinglet_sdk::message]
fn hostile(event: Message) -> Ended {
    match event.text()? {
        "spin" => compute::spin(),
        "copy" => compute::copy(),
        "recurse" => compute::recurse(),
        "sleep" => compute::sleep(),
        "doze" => compute::doze(),
        "block" => compute::block(),
        "poll-many" => compute::poll_many(),
        "grow-by-pages" => memory::grow_by_pages(),
        "grow-at-once" => memory::grow_at_once(),
        "hoard" => memory::hoard(),
        "open-topics" => handles::open_topics(),
        "open-pollables" => handles::open_pollables(),
        "open-writers" => handles::open_writers(),
        "leak" => handles::leak(),
        "ask-the-time" => calls::ask_the_time(),
        "huge-line" => calls::huge_line(),
        "log-flood" => calls::log_flood(),
        "print-flood" => calls::print_flood(),
        "panic-at-length" => calls::panic_at_length(),
        "random-at-once" => calls::random_at_once(),
        "random-by-pieces" => calls::random_by_pieces(),
        "open-ungranted" => calls::open_ungranted(),
        "exit" => calls::exit(),
        "objects" => effects::objects(),
        "object-without-end" => effects::object_without_end(),
        "read-back" => effects::read_back(),
        "removals" => effects::removals(),
        "messages" => effects::messages(),
        "huge-message" => effects::huge_message(),
        "attributes" => effects::attributes(),
        "many-messages" => effects::many_messages(),
        "many-values" => effects::many_values(),
        "many-removals" => effects::many_removals(),
        "huge-names" => effects::huge_names(),
        "far-future" => effects::far_future(),
        "values" => effects::values(),
        "huge-value" => effects::huge_value(),
        "huge-key" => effects::huge_key(),
        "huge-reason" => effects::huge_reason(),
        "retry-in-ages" => effects::retry_in_ages(),
        "object-names" => names::object_names(),
        "odd-names" => names::odd_names(),
        other => Err(Failure::reject(format!("no attack {other:?}"))),
    }
}

/// Fails, where something was to be had that wasn't granted.
fn must_fail<T, E>(what: &str, result: Result<T, E>) -> Ended {
    match result {
        Ok(_) => Err(Failure::reject(format!("got through: {what}"))),
        Err(_) => Ok(()),
    }
}
