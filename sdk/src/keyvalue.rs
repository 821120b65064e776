use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use crate::{Error, Failure, backend};

/// A keyvalue bucket that this function was granted: bytes by key, for counters and small state.
///
/// Changes are staged: this handler reads them at once, everybody else once the handler has succeeded.
/// Keys are UTF-8, of 1 to 1,024 bytes. A bucket of objects by the same name is another one.
///
/// ```
/// use kinglet_sdk::{Failure, KeyValue, Message};
///
/// fn tally(event: Message) -> Result<(), Failure> {
///     let tallies = KeyValue::open("tallies")?;
///     let seen = tallies.increment(event.topic(), 1)?;
///     tallies.set("newest", event.body())?;
///     tallies.update("longest", |longest| {
///         longest.filter(|text| text.len() > event.body().len()).unwrap_or(event.body().to_vec())
///     })?;
///     kinglet_sdk::info!("{seen} so far, in {} keys", tallies.keys().count());
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.keyvalue("tallies").set("longest", "hi");
/// assert_eq!(host.run(tally, host.message("lines", "hello")), Ok(()));
/// assert_eq!(host.keyvalue("tallies").get("lines").unwrap(), b"1");
/// assert_eq!(host.keyvalue("tallies").get("longest").unwrap(), b"hello");
/// ```
///
/// Of changes that two events make of one key with [`set`](Self::set) or [`remove`](Self::remove), the
/// later commit wins, even where a handler decided on it by what it read. [`increment`](Self::increment)
/// and [`update`](Self::update) rely on what they read: where another event changed that before the
/// commit, this event is tried again, and no change is lost.
///
/// Beside what each method says, every call may fail with [`Error::Invalid`] for a key that breaks these
/// rules, [`Error::Denied`], and [`Error::Other`] for the rest, since the contract has no kinds for it: a
/// limit, a store that failed.
#[derive(Debug)]
pub struct KeyValue {
    name: String,
    handle: backend::KeyValue,
}

/// How often [`KeyValue::update`] swaps before it gives up. A value that changes each time is changed by
/// the closure itself.
const MAX_SWAPS: usize = 100;

/// So much of a value that doesn't parse is shown, in characters.
const SHOWN: usize = 64;

impl KeyValue {
    /// Opens a keyvalue bucket by the name that the manifest's `grants.keyvalue` has.
    ///
    /// # Errors
    /// [`Error::Denied`] where it isn't granted.
    pub fn open(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let handle = backend::KeyValue::open(&name)?;
        Ok(Self { name, handle })
    }

    /// The name by which it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key; `None` where there is none, or this handler removed it.
    ///
    /// # Errors
    /// [`Error::Other`] where it doesn't fit the function's memory.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Vec<u8>>, Error> {
        self.handle.get(key.as_ref())
    }

    /// The value of a key, as text.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it isn't UTF-8; otherwise as [`get`](Self::get).
    pub fn get_text(&self, key: impl AsRef<str>) -> Result<Option<String>, Error> {
        let key = key.as_ref();
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        match String::from_utf8(value) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(Error::Invalid(format!(
                "{} isn't text: {error}",
                about(&self.name, key)
            ))),
        }
    }

    /// The value of a key, parsed from its text, as [`Config::get`](crate::Config::get) does it.
    ///
    /// ```
    /// use kinglet_sdk::{Error, KeyValue};
    ///
    /// let host = kinglet_sdk::testing::Host::new();
    /// host.keyvalue("sensors").set("celsius", "21.5").set("place", "roof");
    ///
    /// let sensors = KeyValue::open("sensors")?;
    /// assert_eq!(sensors.get_as::<f64>("celsius")?, Some(21.5));
    /// assert_eq!(sensors.get_as::<f64>("lux")?, None);
    /// assert_eq!(
    ///     sensors.get_as::<f64>("place").unwrap_err().to_string(),
    ///     "invalid: `place` in keyvalue bucket `sensors` is \"roof\": invalid float literal",
    /// );
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] where it doesn't parse, naming key and value; otherwise as
    /// [`get`](Self::get).
    pub fn get_as<T>(&self, key: impl AsRef<str>) -> Result<Option<T>, Error>
    where
        T: FromStr<Err: Display>,
    {
        let key = key.as_ref();
        let Some(text) = self.get_text(key)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => {
                let shown: String = text.chars().take(SHOWN).collect();
                let cut = if shown.len() < text.len() { "..." } else { "" };
                Err(Error::Invalid(format!(
                    "{} is {shown:?}{cut}: {error}",
                    about(&self.name, key)
                )))
            }
        }
    }

    /// Stages a value, whatever the key had. The last change of a key wins, removals included.
    ///
    /// # Errors
    /// [`Error::Other`] where staging is full.
    pub fn set(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.handle.set(key.as_ref(), value.as_ref())
    }

    /// Stages a removal. A key without a value is a success.
    ///
    /// # Errors
    /// The common ones.
    pub fn remove(&self, key: impl AsRef<str>) -> Result<(), Error> {
        self.handle.remove(key.as_ref())
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    /// The common ones.
    pub fn contains(&self, key: impl AsRef<str>) -> Result<bool, Error> {
        self.handle.contains(key.as_ref())
    }

    /// All keys, with what this handler staged. They are asked for page by page, in the host's order.
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            bucket: self,
            page: VecDeque::new(),
            next: Next::First,
        }
    }

    /// Adds to a number and gives the sum; a key without a value counts as 0. Numbers are decimal text:
    /// [`set`](Self::set) writes one with `7.to_string()`, [`get_as`](Self::get_as) reads it.
    ///
    /// The sum is true once the handler has succeeded: where another event changed the key meanwhile, this
    /// one is tried again.
    ///
    /// # Errors
    /// [`Error::Other`] where the value isn't an `i64` in decimal, or the sum isn't one. Nothing changes
    /// then.
    pub fn increment(&self, key: impl AsRef<str>, delta: i64) -> Result<i64, Error> {
        self.handle.increment(key.as_ref(), delta)
    }

    /// Stages a value made of the current one, by compare-and-swap: where another event changed the key
    /// meanwhile, the closure is called again with the newer value, or after the handler the event is tried
    /// again. The closure gets `None` where the key has no value.
    ///
    /// # Errors
    /// As [`try_update`](Self::try_update).
    pub fn update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<str>,
        mut update: impl FnMut(Option<Vec<u8>>) -> V,
    ) -> Result<(), Error> {
        let updated = self.swap(key.as_ref(), |current| Ok::<V, Infallible>(update(current)));
        updated.map_err(|UpdateError::Store(error)| error)
    }

    /// [`update`](Self::update) with a closure that may fail: nothing is staged then.
    ///
    /// ```
    /// use kinglet_sdk::{Failure, KeyValue, Message};
    ///
    /// fn reserve(event: Message) -> Result<(), Failure> {
    ///     KeyValue::open("seats")?.try_update(event.text()?, |taken_by| match taken_by {
    ///         None => Ok(event.delivery().id().to_owned()),
    ///         Some(_) => Err(Failure::reject("the seat is taken")),
    ///     })
    /// }
    ///
    /// let host = kinglet_sdk::testing::Host::new();
    /// host.keyvalue("seats");
    /// assert_eq!(host.run(reserve, host.message("bookings", "12A")), Ok(()));
    /// assert!(host.run(reserve, host.message("bookings", "12A")).is_err());
    /// ```
    ///
    /// # Errors
    /// The closure's, or [`Error::Changed`] where each of 100 calls of it met a newer value, as where the
    /// closure itself changes the key; otherwise as [`get`](Self::get) and [`set`](Self::set).
    pub fn try_update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<str>,
        update: impl FnMut(Option<Vec<u8>>) -> Result<V, Failure>,
    ) -> Result<(), Failure> {
        self.swap(key.as_ref(), update)
            .map_err(|error| match error {
                UpdateError::Store(error) => error.into(),
                UpdateError::Closure(failure) => failure,
            })
    }

    fn swap<V: AsRef<[u8]>, E>(
        &self,
        key: &str,
        mut update: impl FnMut(Option<Vec<u8>>) -> Result<V, E>,
    ) -> Result<(), UpdateError<E>> {
        let mut cas = self.handle.cas(key).map_err(UpdateError::Store)?;
        for _ in 0..MAX_SWAPS {
            let current = cas.current().map_err(UpdateError::Store)?;
            let value = update(current).map_err(UpdateError::Closure)?;
            match cas.swap(value.as_ref()) {
                Ok(()) => return Ok(()),
                Err(SwapError::Changed(newer)) => cas = newer,
                Err(SwapError::Store(error)) => return Err(UpdateError::Store(error)),
            }
        }
        Err(UpdateError::Store(Error::Changed(format!(
            "{}, {MAX_SWAPS} times while it was updated; change it only by the closure's result",
            about(&self.name, key)
        ))))
    }

    /// The values of several keys, in the order of the keys and with one call.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.handle.get_many(owned(keys))
    }

    /// Stages several values with one call. Where it fails, some may be staged and some not: hand the
    /// error on, and nothing commits.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_many<K: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        let values = values
            .into_iter()
            .map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned()));
        self.handle.set_many(values.collect())
    }

    /// Stages several removals with one call; keys without values are skipped. Where it fails, some may
    /// be staged and some not.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn remove_many<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<(), Error> {
        self.handle.remove_many(owned(keys))
    }
}

/// The keys of a keyvalue bucket: see [`KeyValue::keys`]. After an error it ends.
#[derive(Debug)]
pub struct Keys<'a> {
    bucket: &'a KeyValue,
    page: VecDeque<String>,
    next: Next,
}

/// The page after the one at hand.
#[derive(Debug)]
enum Next {
    First,
    Past(String),
    None,
}

impl Iterator for Keys<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // A page may be empty where this handler removed all of its keys.
        while self.page.is_empty() {
            let cursor = match std::mem::replace(&mut self.next, Next::None) {
                Next::First => None,
                Next::Past(cursor) => Some(cursor),
                Next::None => return None,
            };
            match self.bucket.handle.key_page(cursor.as_deref()) {
                Ok((page, cursor)) => {
                    self.page = page.into();
                    self.next = cursor.map_or(Next::None, Next::Past);
                }
                Err(error) => return Some(Err(error)),
            }
        }
        self.page.pop_front().map(Ok)
    }
}

/// How a swap fails.
#[derive(Debug)]
pub(crate) enum SwapError {
    /// The value is another by now.
    Changed(backend::Cas),
    Store(Error),
}

enum UpdateError<E> {
    Store(Error),
    Closure(E),
}

fn owned<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Vec<String> {
    keys.into_iter()
        .map(|key| key.as_ref().to_owned())
        .collect()
}

/// How errors name a key.
pub(crate) fn about(bucket: &str, key: &str) -> String {
    format!("`{key}` in keyvalue bucket `{bucket}`")
}

/// The contract's rule. Its errors have no kind for what breaks it.
pub(crate) fn is_valid_key(key: &str) -> bool {
    (1..=1024).contains(&key.len())
}
