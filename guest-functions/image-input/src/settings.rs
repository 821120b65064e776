//! Reading settings that the host hands over as strings.

use std::fmt;
use std::str::FromStr;

/// A key or a value that can't be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// No such key.
    #[error("no setting is called `{key}`; known are {}", .known.join(", "))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The keys there are.
        known: &'static [&'static str],
    },
    /// The value isn't one of this key's.
    #[error("`{key}` can't be \"{value}\"; {fix}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What to write instead.
        fix: String,
    },
}

/// A setting with a known key, its value trimmed.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// One of the known keys.
    pub key: &'static str,
    /// As written.
    pub value: &'a str,
}

impl<'a> Setting<'a> {
    /// Finds the key among those known.
    ///
    /// # Errors
    /// [`SettingError::UnknownKey`].
    pub fn new(
        (key, value): (&str, &'a str),
        known: &'static [&'static str],
    ) -> Result<Self, SettingError> {
        match known.iter().find(|name| **name == key) {
            Some(key) => Ok(Self {
                key,
                value: value.trim(),
            }),
            None => Err(SettingError::UnknownKey {
                key: key.into(),
                known,
            }),
        }
    }

    /// The error that names this setting, its value, and what to write instead.
    pub fn bad(&self, fix: impl Into<String>) -> SettingError {
        SettingError::BadValue {
            key: self.key,
            value: self.value.into(),
            fix: fix.into(),
        }
    }

    /// One of several words.
    ///
    /// # Errors
    /// [`SettingError::BadValue`], listing the words.
    pub fn choose<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, SettingError> {
        match words.iter().find(|(word, _)| *word == self.value) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Err(self.bad(format!("write one of {}", words.join(", "))))
            }
        }
    }

    /// A whole number within a range.
    ///
    /// # Errors
    /// [`SettingError::BadValue`], with the range.
    pub fn number<T>(&self, range: std::ops::RangeInclusive<T>) -> Result<T, SettingError>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        self.value
            .parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.bad(format!(
                    "write a whole number from {} to {}",
                    range.start(),
                    range.end()
                ))
            })
    }

    /// A number of bytes, above 0, that may have KiB, MiB or GiB after it.
    ///
    /// # Errors
    /// [`SettingError::BadValue`], with an example.
    pub fn bytes(&self) -> Result<u64, SettingError> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let (number, unit) = units
            .iter()
            .find_map(|(name, unit)| Some((self.value.strip_suffix(name)?, *unit)))
            .unwrap_or((self.value, 1u64));
        number
            .trim()
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| {
                self.bad("write a number of bytes, or one with KiB, MiB or GiB, as in 192MiB")
            })
    }

    /// A name of a bucket, which must not be empty.
    ///
    /// # Errors
    /// [`SettingError::BadValue`] when it is empty.
    pub fn name(&self) -> Result<String, SettingError> {
        if self.value.is_empty() {
            return Err(self.bad("name a bucket that the function may write"));
        }
        Ok(self.value.into())
    }
}
