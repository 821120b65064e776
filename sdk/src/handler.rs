//! What a handler and an init may be: the bounds of the attributes and of [`testing::Host`](crate::testing::Host).
//!
//! Nobody implements these traits; they are public for what they say in documentation and in compile
//! errors.

use std::fmt::Display;

use crate::{Batch, Failure, Message};

/// What a handler of one event may return: `Result<(), Failure>`, `Result<(), E>` of any error that
/// converts into a [`Failure`] (such as `anyhow::Result<()>`), or nothing at all.
#[diagnostic::on_unimplemented(
    message = "a handler can't return `{Self}`",
    label = "expected `Result<(), Failure>`",
    note = "`Result<(), E>` works for any `E` that `?` turns into a `kinglet_sdk::Failure`: `anyhow::Error`, `std::io::Error`, `String`"
)]
pub trait Outcome {
    /// The handler's success or failure.
    ///
    /// # Errors
    /// The handler's failure.
    fn into_result(self) -> Result<(), Failure>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}

/// What an [`init`](macro@crate::init) may return: nothing, or `Result<(), E>` of any error that displays.
#[diagnostic::on_unimplemented(
    message = "an init can't return `{Self}`",
    label = "expected `()` or `Result<(), E>`",
    note = "what it prepares belongs into a `static` such as a `LazyLock`, which the handler uses",
    note = "`E` may be any type that implements `Display`"
)]
pub trait InitOutcome {
    /// The text of the init's error, with its whole chain where the alternate form shows it.
    ///
    /// # Errors
    /// Where the init failed.
    fn into_text(self) -> Result<(), String>;
}

impl InitOutcome for () {
    fn into_text(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> InitOutcome for Result<(), E> {
    fn into_text(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// What a handler of a whole batch may return: `Vec<Result<(), Failure>>`, one result per message in
/// the batch's order, or a `Result` of that, whose error fails every message.
#[diagnostic::on_unimplemented(
    message = "a handler of a whole batch can't return `{Self}`",
    label = "expected `Vec<Result<(), Failure>>` or `Result<Vec<Result<(), Failure>>, Failure>`",
    note = "`batch.each(|index, message| ..)` gives the first of them"
)]
pub trait BatchOutcome {
    /// One result per message, or the failure of all.
    ///
    /// # Errors
    /// The failure of all.
    fn into_results(self) -> Result<Vec<Result<(), Failure>>, Failure>;
}

impl<E: Into<Failure>> BatchOutcome for Vec<Result<(), E>> {
    fn into_results(self) -> Result<Vec<Result<(), Failure>>, Failure> {
        Ok(self
            .into_iter()
            .map(|result| result.map_err(Into::into))
            .collect())
    }
}

impl<E: Into<Failure>, F: Into<Failure>> BatchOutcome for Result<Vec<Result<(), E>>, F> {
    fn into_results(self) -> Result<Vec<Result<(), Failure>>, Failure> {
        self.map_err(Into::into)?.into_results()
    }
}

/// A `message_batch` handler: either `fn(Message)`, called for one message after the other, each in its
/// own scope, or `fn(Batch)`, called once. `Shape` tells the two apart and is inferred.
#[diagnostic::on_unimplemented(
    message = "this can't handle a batch of messages",
    label = "expected `fn(Message) -> Result<(), Failure>` or `fn(Batch) -> Vec<Result<(), Failure>>`",
    note = "a handler of a whole batch may also return `Result<Vec<Result<(), Failure>>, Failure>`"
)]
pub trait BatchHandler<Shape> {
    /// Handles a batch.
    ///
    /// # Errors
    /// The failure of all messages at once.
    fn handle(self, batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure>;
}

impl<F, R> BatchHandler<(Message, R)> for F
where
    F: FnMut(Message) -> R,
    R: Outcome,
{
    fn handle(mut self, batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure> {
        let results = (0_u32..).zip(batch.messages).map(|(index, message)| {
            crate::backend::enter_scope(index)?;
            self(message).into_result()
        });
        Ok(results.collect())
    }
}

impl<F, R> BatchHandler<(Batch, R)> for F
where
    F: FnOnce(Batch) -> R,
    R: BatchOutcome,
{
    fn handle(self, batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure> {
        self(batch).into_results()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_init_returns_nothing_or_an_error_that_displays() {
        assert_eq!(().into_text(), Ok(()));
        assert_eq!(Ok::<(), std::fmt::Error>(()).into_text(), Ok(()));
        assert_eq!(Err("no table").into_text(), Err("no table".to_owned()));
        let parsed = "ten".parse::<u8>().map(drop).context("the table's size");
        let text = "the table's size: invalid digit found in string";
        assert_eq!(parsed.into_text(), Err(text.to_owned()));
    }
}
