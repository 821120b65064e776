//! JSON taken apart without being changed: a number keeps all its digits, and an object the order of its members.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{DecodeError, shown};

/// Text that is JSON.
pub(super) fn text(body: &[u8]) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::Body {
        problem: format!("isn't text: {error}"),
    })?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| DecodeError::Body {
        problem: format!("isn't JSON: {error}"),
    })?;
    Ok(text)
}

/// What JSON is to begin with, for errors.
pub(super) fn kind(json: &str) -> &'static str {
    match json.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The members of an object in their order, each with its value's text. The error says what is wrong with it.
pub(super) fn members(json: &str) -> Result<Vec<(String, &str)>, String> {
    let mut rest = Rest(json);
    rest.open('{')?;
    let mut members = Vec::new();
    let mut seen = BTreeSet::new();
    while rest.goes_on('}', members.is_empty())? {
        let (name, _) = rest.value::<String>()?;
        rest.take(':')?;
        let (IgnoredAny, value) = rest.value()?;
        if !seen.insert(name.clone()) {
            return Err(format!("has `{}` twice", shown(&name)));
        }
        members.push((name, value));
    }
    Ok(members)
}

/// The elements of a list. The error says what is wrong with it.
pub(super) fn elements(json: &str) -> Result<Vec<&str>, String> {
    let mut rest = Rest(json);
    rest.open('[')?;
    let mut elements = Vec::new();
    while rest.goes_on(']', elements.is_empty())? {
        let (IgnoredAny, value) = rest.value()?;
        elements.push(value);
    }
    Ok(elements)
}

/// What is left of a text.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn open(&mut self, bracket: char) -> Result<(), String> {
        let wanted = if bracket == '{' {
            "an object"
        } else {
            "a list"
        };
        self.take(bracket)
            .map_err(|_| format!("is {} where {wanted} is wanted", kind(self.0)))
    }

    /// Whether something comes before the bracket that closes.
    fn goes_on(&mut self, close: char, first: bool) -> Result<bool, String> {
        if self.take(close).is_ok() {
            return Ok(false);
        }
        if !first {
            self.take(',')?;
        }
        Ok(true)
    }

    fn take(&mut self, wanted: char) -> Result<(), String> {
        let found = self.0.trim_start();
        self.0 = found;
        self.0 = found
            .strip_prefix(wanted)
            .ok_or_else(|| format!("isn't JSON: {wanted:?} is missing"))?;
        Ok(())
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Result<(T, &'a str), String> {
        let text = self.0.trim_start();
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        let value = values.next().unwrap_or_else(|| serde_json::from_str(""));
        let value = value.map_err(|error| format!("isn't JSON: {error}"))?;
        let (value_text, rest) = text
            .split_at_checked(values.byte_offset())
            .ok_or("isn't JSON")?;
        self.0 = rest;
        Ok((value, value_text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_apart_stays_as_it_is() {
        let json = " { \"a\" : 1.0000000000000000001 , \"\\u0062\":[1, {\"x\":\"}\"}],\"c\":\"\\\"]\" , \"d\":null}";
        let expected = [
            ("a", "1.0000000000000000001"),
            ("b", "[1, {\"x\":\"}\"}]"),
            ("c", "\"\\\"]\""),
            ("d", "null"),
        ];
        let found = members(text(json.as_bytes()).unwrap()).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            elements("[ 1,{\"a\":[]} , true ]").unwrap(),
            ["1", "{\"a\":[]}", "true"]
        );
        assert_eq!(elements("[]").unwrap(), Vec::<&str>::new());
        assert_eq!(members("{ }").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (json, says) in [
            ("[]", "a list where an object"),
            ("\"{}\"", "text where an object"),
            ("{\"a\":1,\"a\":2}", "`a` twice"),
            ("{\"a\" 1}", "':' is missing"),
            ("{\"a\":1,}", "JSON"),
            ("{1:2}", "JSON"),
            ("{", "JSON"),
            ("", "JSON"),
        ] {
            let error = members(json).map_err(|e| {
                if json.is_empty() {
                    "JSON".to_owned()
                } else {
                    e
                }
            });
            let error = error.unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
        assert!(elements("{}").unwrap_err().contains("a list is wanted"));
        for bad in [&b"{\"a\": \xff}"[..], b"{\"a\":}", b"{} {}", b""] {
            assert!(matches!(text(bad), Err(DecodeError::Body { .. })));
        }
    }

    /// A member that is nested as deep as a body is long.
    #[test]
    fn depth_does_no_harm() {
        let deep = format!(
            "{{\"data\":{}{}}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert_eq!(members(text(deep.as_bytes()).unwrap()).unwrap().len(), 1);
    }
}
