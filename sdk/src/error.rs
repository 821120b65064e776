use std::io;

/// How a capability fails: an object, a topic, a value by key, a setting.
///
/// Through `?` it becomes a [`Failure`](crate::Failure) that asks for another attempt, or, where no
/// attempt can help ([`is_permanent`](Self::is_permanent)), one that asks for none. Match it where
/// you know better:
///
/// ```
/// use kinglet_sdk::{Error, Failure, ObjectCreated};
///
/// fn index(event: ObjectCreated) -> Result<(), Failure> {
///     let bytes = match event.object().read() {
///         Ok(bytes) => bytes,
///         // Replaced or removed since: the newer version has an event of its own.
///         Err(Error::Changed(_) | Error::NotFound(_)) => return Ok(()),
///         Err(error) => return Err(error.into()),
///     };
///     kinglet_sdk::info!("{} bytes", bytes.len());
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.bucket("notes").put("a.txt", "hello");
/// let event = host.object_created("notes", "a.txt");
/// host.bucket("notes").remove("a.txt");
/// assert_eq!(host.run(index, event), Ok(()));
/// ```
///
/// Each variant carries a text that names the value it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Not granted, or no such bucket or topic: a function can't tell which. Also an object that the host
    /// itself may not read.
    Denied(String),
    /// There is no such object.
    NotFound(String),
    /// The object is no longer the version that was asked for, or a write's condition failed; a value
    /// kept changing under its update.
    Changed(String),
    /// An argument or a setting can't be used.
    Invalid(String),
    /// A limit of the function or the host; the text has the figure.
    Limit(String),
    /// The store failed, or has no room just now: another attempt may succeed, and a failure after this
    /// uses up none.
    Unavailable(String),
    /// Anything else; natively also that no [`testing`](crate#testing) host is there.
    Other(String),
}

impl Error {
    /// Returns whether another attempt at the same event would meet the same error:
    /// [`Denied`](Self::Denied), [`Invalid`](Self::Invalid) and [`Limit`](Self::Limit). Such an
    /// event is dead-lettered at once, and can be redriven when the manifest or the function is put
    /// right. What isn't there yet, changed or is unavailable, and any other error, may be gone at
    /// the next attempt.
    ///
    /// `anyhow::Error` tells only what it has a context for: without one, `?` from a function that
    /// returns `anyhow::Result` asks for another attempt.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Denied(_) | Self::Invalid(_) | Self::Limit(_) => true,
            Self::NotFound(_) | Self::Changed(_) | Self::Unavailable(_) | Self::Other(_) => false,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Denied(text)
            | Self::NotFound(text)
            | Self::Changed(text)
            | Self::Invalid(text)
            | Self::Limit(text)
            | Self::Unavailable(text)
            | Self::Other(text) => text,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Denied(_) => "denied: ",
            Self::NotFound(_) => "not found: ",
            Self::Changed(_) => "changed: ",
            Self::Invalid(_) => "invalid: ",
            Self::Limit(_) => "limit reached: ",
            Self::Unavailable(_) => "unavailable: ",
            Self::Other(_) => "",
        };
        write!(f, "{kind}{}", self.text())
    }
}

impl std::error::Error for Error {}

/// For readers and writers, whose errors are [`io::Error`]: the kind is the nearest there is.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Denied(_) => io::ErrorKind::PermissionDenied,
            Error::NotFound(_) => io::ErrorKind::NotFound,
            Error::Invalid(_) => io::ErrorKind::InvalidInput,
            Error::Limit(_) => io::ErrorKind::QuotaExceeded,
            Error::Changed(_) | Error::Unavailable(_) | Error::Other(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
