use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::time::Duration;

use crate::Error;

/// How a handler fails. Whatever it staged is discarded, and the event is tried again or dead-lettered.
///
/// An ordinary error turns into [`Failure::Other`] through `?`: an error type of the standard
/// library or of a crate, `anyhow::Error`, a `String` or a `&str`. It asks for another attempt, and
/// its text has the whole chain of sources. An [`Error`] of a capability that no attempt can help
/// turns into [`Failure::Permanent`], also as the source of another error: [`Error::is_permanent`]
/// says which do.
///
/// ```
/// use kinglet_sdk::{Failure, Message};
/// use std::time::Duration;
///
/// fn charge(event: Message) -> Result<(), Failure> {
///     let cents: u64 = event.text()?.parse().map_err(Failure::reject)?;
///     if cents > 1_000_000 {
///         return Err(Failure::retry_after("the vault is busy", Duration::from_secs(10)));
///     }
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// let outcome = host.run(charge, host.message("orders", "ten"));
/// assert_eq!(outcome, Err(Failure::Reject("invalid digit found in string".into())));
/// ```
///
/// `Failure` isn't a [`std::error::Error`] itself, or else `?` couldn't turn every error into one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Another attempt may succeed.
    Retry {
        /// Shown in logs and in the dead letter.
        reason: String,
        /// The wait before the next attempt, in place of the backoff, and at most the longest delay of
        /// `retry.backoff`, 30s by default.
        after: Option<Duration>,
    },
    /// No attempt can succeed: the event goes to the dead letters now, with this reason.
    Reject(String),
    /// A capability's error that no attempt can help: the event goes to the dead letters now, with
    /// this reason. A request is answered with 500, and its client isn't given the reason.
    Permanent(String),
    /// An error that nobody classified: handled as a retry.
    Other(String),
}

impl Failure {
    /// Ends the event: no attempt can succeed. Made for `map_err(Failure::reject)`.
    pub fn reject(reason: impl Display) -> Self {
        Self::Reject(text_of(reason))
    }

    /// Asks for another attempt, after the function's backoff.
    pub fn retry(reason: impl Display) -> Self {
        Self::Retry {
            reason: text_of(reason),
            after: None,
        }
    }

    /// Asks for another attempt after this wait, in whole milliseconds: in place of the backoff, and at
    /// most the longest delay of `retry.backoff`, 30s by default; it uses up an attempt. For longer, a
    /// message can be published with a [delay](crate::Draft::delay).
    pub fn retry_after(reason: impl Display, after: Duration) -> Self {
        Self::Retry {
            reason: text_of(reason),
            after: Some(after),
        }
    }

    /// The text that logs and the dead letter show.
    pub fn reason(&self) -> &str {
        match self {
            Self::Retry { reason, .. }
            | Self::Reject(reason)
            | Self::Permanent(reason)
            | Self::Other(reason) => reason,
        }
    }
}

/// The alternate form, in which `anyhow::Error` shows its whole chain.
fn text_of(reason: impl Display) -> String {
    format!("{reason:#}")
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retry {
                reason,
                after: None,
            } => write!(f, "retry: {reason}"),
            Self::Retry {
                reason,
                after: Some(after),
            } => write!(f, "retry after {after:?}: {reason}"),
            Self::Reject(reason) => write!(f, "rejected: {reason}"),
            Self::Permanent(reason) | Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: Box<dyn StdError + Send + Sync> = error.into();
        let mut text = error.to_string();
        let mut permanent = is_permanent(&*error);
        let mut source = error.source();
        while let Some(cause) = source {
            permanent |= is_permanent(cause);
            // Some errors show their source in their own text already.
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        if permanent {
            Self::Permanent(text)
        } else {
            Self::Other(text)
        }
    }
}

/// Returns whether it is a capability's error that no attempt can help, or the `io::Error` of a
/// reader or a writer for one, whose source is that error's own.
fn is_permanent(error: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.is_permanent();
    }
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_permanent(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn fail<E: Into<Failure>>(error: E) -> Failure {
        error.into()
    }

    #[test]
    fn every_ordinary_error_converts() {
        let parse = "ten".parse::<u8>().unwrap_err();
        assert_eq!(
            fail(parse),
            Failure::Other("invalid digit found in string".into())
        );
        assert_eq!(fail("no"), Failure::Other("no".into()));
        assert_eq!(fail(String::from("no")), Failure::Other("no".into()));
        let boxed: Box<dyn StdError + Send + Sync> = "boxed".into();
        assert_eq!(fail(boxed), Failure::Other("boxed".into()));
        assert_eq!(
            fail(Error::Limit("1 MiB".into())).reason(),
            "limit reached: 1 MiB"
        );
        assert_eq!(
            fail(Failure::reject("a cat")),
            Failure::Reject("a cat".into())
        );
    }

    /// A photo whose thumbnails have names that are too long was tried five times.
    #[test]
    fn a_capabilitys_error_that_no_attempt_can_help_is_permanent() {
        for (error, permanent) in [
            (Error::Denied("x".into()), true),
            (Error::Invalid("x".into()), true),
            (Error::Limit("x".into()), true),
            (Error::NotFound("x".into()), false),
            (Error::Changed("x".into()), false),
            (Error::Unavailable("x".into()), false),
            (Error::Other("x".into()), false),
        ] {
            let text = error.to_string();
            let expected = |text: &str| match permanent {
                true => Failure::Permanent(text.to_owned()),
                false => Failure::Other(text.to_owned()),
            };
            assert_eq!(fail(error.clone()), expected(&text));
            assert_eq!(fail(io::Error::from(error.clone())), expected(&text));
            let context = Err::<(), Error>(error.clone()).context("the thumbnail");
            let chain = expected(&format!("the thumbnail: {text}"));
            assert_eq!(fail(context.unwrap_err()), chain);
            let written = Err::<(), io::Error>(error.into()).context("the thumbnail");
            assert_eq!(fail(written.unwrap_err()), chain);
        }
    }

    #[test]
    fn the_text_has_the_chain() {
        let chain = || -> anyhow::Result<()> {
            "ten"
                .parse::<u8>()
                .context("the width")
                .context("the config")?;
            Ok(())
        };
        let text = "the config: the width: invalid digit found in string";
        assert_eq!(fail(chain().unwrap_err()), Failure::Other(text.into()));
        assert_eq!(
            Failure::reject(chain().unwrap_err()),
            Failure::Reject(text.into())
        );
    }
}
