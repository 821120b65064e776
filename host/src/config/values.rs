//! Values with units, as people write them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Bytes: `"64MiB"`, `"10 MB"`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "u64")]
pub struct ByteSize(pub u64);

/// A duration: `"10s"`, `"250ms"`, `"1h 30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Period(pub Duration);

/// The shortest and the longest delay: `"200ms..30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second attempt.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

/// By what the events of a function are kept in order: those of one key come one at a time, in the order
/// of their acceptance; others in parallel. `"key"`, `"attribute:NAME"`, `"all"` or `"none"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum OrderBy {
    /// A message's ordering key, where it has one; an object's key.
    Key,
    /// A message's attribute of this name, where it has it.
    Attribute(String),
    /// All in one order.
    All,
    /// All in parallel.
    None,
}

impl TryFrom<String> for OrderBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.strip_prefix("attribute:")) {
            ("key", _) => Ok(Self::Key),
            ("all", _) => Ok(Self::All),
            ("none", _) => Ok(Self::None),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Attribute(name.to_owned())),
            _ => Err(format!(
                "{text:?} isn't an order; use \"key\", \"attribute:NAME\", \"all\" or \"none\""
            )),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(30),
        }
    }
}

impl Period {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

/// A TOML value before it has its unit.
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        with_unit(deserializer, "a size, as \"64MiB\"")
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        with_unit(deserializer, "a duration, as \"10s\"")
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        with_unit(
            deserializer,
            "a shortest and a longest delay, as \"200ms..30s\"",
        )
    }
}

/// Reads a number or a text; `form` says what it is, for errors about anything else.
fn with_unit<'de, D, T>(deserializer: D, form: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<NumberOrText, Error = String>,
{
    struct OfForm(&'static str);

    impl Visitor<'_> for OfForm {
        type Value = NumberOrText;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<NumberOrText, E> {
            Ok(NumberOrText::Number(number))
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<NumberOrText, E> {
            let unsigned = u64::try_from(number);
            let unsigned =
                unsigned.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
            Ok(NumberOrText::Number(unsigned))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<NumberOrText, E> {
            Ok(NumberOrText::Text(text.to_owned()))
        }
    }

    let value = deserializer.deserialize_any(OfForm(form))?;
    T::try_from(value).map_err(D::Error::custom)
}

impl TryFrom<NumberOrText> for ByteSize {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(bytes) => Ok(Self(bytes)),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} isn't a size; write it as \"64MiB\" or \"10MB\"");
        let trimmed = text.trim();
        let split = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(split);
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> Self {
        size.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl TryFrom<NumberOrText> for Period {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        match value {
            NumberOrText::Number(number) => {
                Err(format!("{number} has no unit; write \"{number}s\""))
            }
            NumberOrText::Text(text) => duration(&text).map(Self),
        }
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl TryFrom<NumberOrText> for Backoff {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        let wrong = |text: &str| {
            format!("{text:?} isn't a backoff; write the first and the longest as \"200ms..30s\"")
        };
        let text = match value {
            NumberOrText::Number(number) => return Err(wrong(&number.to_string())),
            NumberOrText::Text(text) => text,
        };
        let (first, longest) = text.split_once("..").ok_or_else(|| wrong(&text))?;
        let (first, longest) = (duration(first)?, duration(longest)?);
        if first > longest {
            return Err(format!(
                "{text:?}: the first delay is longer than the longest; swap them"
            ));
        }
        Ok(Self { first, longest })
    }
}

/// A duration, with an error that says how one is written.
///
/// # Errors
/// Where the text isn't one.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} isn't a duration; write it as \"10s\" or \"250ms\""))
}

/// A list, or the one value that it would have.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<String, Error: fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected text, or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let texts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let values = texts.into_iter().map(T::try_from);
    values.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// Names and texts, with an error that says how to write what isn't text.
pub(super) fn texts<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let values = BTreeMap::<String, toml::Value>::deserialize(deserializer)?;
    values
        .into_iter()
        .map(|(name, value)| match value {
            toml::Value::String(text) => Ok((name, text)),
            other => Err(D::Error::custom(format!(
                "`{name}` isn't text, as functions read it; write {name} = {:?}",
                other.to_string()
            ))),
        })
        .collect()
}

/// An address and a port to listen at.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} isn't an IP address and a port, as \"127.0.0.1:3000\" or \"[::1]:3000\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("10MB", 10_000_000),
            ("7", 7),
            ("2 GiB", 2 << 30),
            ("1kB", 1_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "64mib", "99999999999GiB"] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.contains("64MiB"), "{error}");
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1_000).to_string(), "1000B");
    }
}
