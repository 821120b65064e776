use std::time::Duration;

use crate::{Attributes, Error, backend};

/// A topic that this function may publish to. Messages are staged, and accepted together with the
/// event's acknowledgement.
///
/// ```
/// use kinglet_sdk::{Draft, Failure, Message, Topic};
/// use std::time::Duration;
///
/// fn relay(event: Message) -> Result<(), Failure> {
///     let orders = Topic::open("orders")?;
///     orders.publish("plain text, a `String`, `&[u8]` or `Vec<u8>`")?;
///     orders.publish(
///         Draft::new(event.body())
///             .content_type("application/json")
///             .ordering_key("customer-7")
///             .attribute("priority", "high")
///             .delay(Duration::from_secs(60)),
///     )?;
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.topic("orders");
/// assert_eq!(host.run(relay, host.message("raw", "{}")), Ok(()));
/// let orders = host.topic("orders").messages();
/// assert_eq!(orders[1].delay, Some(Duration::from_secs(60)));
/// ```
#[derive(Debug)]
pub struct Topic {
    name: String,
    handle: backend::Topic,
}

impl Topic {
    /// Opens a topic by its name.
    ///
    /// # Errors
    /// [`Error::Denied`] where publishing to it isn't granted.
    pub fn open(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let handle = backend::Topic::open(&name)?;
        Ok(Self { name, handle })
    }

    /// The name by which it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stages a message: bytes, text or a [`Draft`]. Another attempt at the same event publishes
    /// messages of the same ids.
    ///
    /// # Errors
    /// [`Error::Limit`] where staging is full, or the attempt has as many effects as it may;
    /// [`Error::Invalid`] where a media type, an ordering key or an attribute's name has more than
    /// 1,024 bytes, an attribute's value more than 8 KiB, or all attributes more than 64 KiB;
    /// [`Error::Unavailable`] where the host has no room for it just now.
    pub fn publish(&self, message: impl Into<Draft>) -> Result<(), Error> {
        self.handle.publish(vec![message.into()])
    }

    /// Stages several messages, in this order and with one call: all of them or none.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_all<D: Into<Draft>>(
        &self,
        messages: impl IntoIterator<Item = D>,
    ) -> Result<(), Error> {
        self.handle
            .publish(messages.into_iter().map(Into::into).collect())
    }
}

/// A message about to be published: see [`Topic::publish`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a draft is published by `Topic::publish`"]
pub struct Draft {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) ordering_key: Option<String>,
    pub(crate) attributes: Attributes,
    pub(crate) delay: Option<Duration>,
}

impl Draft {
    /// A message with this body and nothing else.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// The body's media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Messages of one key are delivered in the order of their acceptance.
    pub fn ordering_key(mut self, key: impl Into<String>) -> Self {
        self.ordering_key = Some(key.into());
        self
    }

    /// Adds an attribute; a name given twice keeps the last value.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.set(name.into(), value.into());
        self
    }

    /// Holds the message back for so long after the commit, in whole milliseconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }
}

macro_rules! draft_from {
    ($($body:ty),*) => {$(
        impl From<$body> for Draft {
            fn from(body: $body) -> Self {
                Self::new(body)
            }
        }
    )*};
}

draft_from!(&str, String, &[u8], Vec<u8>);

impl<const N: usize> From<&[u8; N]> for Draft {
    fn from(body: &[u8; N]) -> Self {
        Self::new(body)
    }
}
