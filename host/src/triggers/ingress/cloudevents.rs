//! CloudEvents 1.0 over HTTP, after the HTTP protocol binding and the JSON event format of that version.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};
use percent_encoding::percent_decode;

use super::{DecodeError, json, shown, time};
use crate::ports::{check_attributes, check_name};

/// What the headers of binary mode begin with.
const PREFIX: &str = "ce-";
/// Media types of CloudEvents begin so.
const FAMILY: &str = "application/cloudevents";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// Attributes that are names: shorter than others.
const NAMES: [&str; 4] = ["id", "source", "type", "partitionkey"];

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// Unique within `source`.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// What kind of event it is: the attribute `type`.
    pub kind: String,
    /// Of the data: the attribute `datacontenttype`.
    pub content_type: Option<String>,
    /// Every attribute, with those above but for `datacontenttype`, by name.
    pub attributes: BTreeMap<String, String>,
    /// As it was sent: JSON in a JSON event is kept as its text.
    pub data: Vec<u8>,
}

/// The events of a request, in their order.
///
/// # Errors
/// Where one of them isn't an event.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Vec<CloudEvent>, DecodeError> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| value.to_str().unwrap_or_default());
    let media_type = content_type.map(media_type).unwrap_or_default();
    match media_type.as_str() {
        STRUCTURED => Ok(vec![structured(json::text(body)?, None)?]),
        BATCH => batch(json::text(body)?),
        other if other.starts_with(FAMILY) => Err(DecodeError::MediaType {
            problem: format!(
                "events come as {STRUCTURED} or {BATCH} or in binary mode, not as {}",
                shown(other)
            ),
        }),
        _ => Ok(vec![binary(headers, content_type, body)?]),
    }
}

/// The events of a body alone, which has JSON: one, or a list of them.
///
/// # Errors
/// Where one of them isn't an event.
pub fn decode_json(body: &[u8]) -> Result<Vec<CloudEvent>, DecodeError> {
    let text = json::text(body)?;
    match json::kind(text) {
        "a list" => batch(text),
        _ => Ok(vec![structured(text, None)?]),
    }
}

/// A media type without its parameters, in lower case.
fn media_type(content_type: &str) -> String {
    let name = content_type.split(';').next().unwrap_or_default();
    name.trim().to_ascii_lowercase()
}

fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type.ends_with("/json") || media_type.ends_with("+json")
}

fn batch(text: &str) -> Result<Vec<CloudEvent>, DecodeError> {
    let elements = json::elements(text).map_err(|problem| DecodeError::Body { problem })?;
    DecodeError::check_count(elements.len())?;
    let elements = elements.into_iter().enumerate();
    elements
        .map(|(at, element)| structured(element, Some(at)))
        .collect()
}

fn binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<CloudEvent, DecodeError> {
    let mut attributes = BTreeMap::new();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        let wrong = |problem: &str| DecodeError::event(None, name.as_str(), problem);
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(wrong("is there more than once"));
        };
        let value = value
            .to_str()
            .map_err(|_| wrong("has bytes that aren't ASCII; encode them as `%E2%82%AC`"))?;
        let value = unescape(value).map_err(wrong)?;
        attributes.insert(attribute.to_owned(), value);
    }
    if attributes.is_empty() {
        return Err(DecodeError::MediaType {
            problem: format!(
                "this isn't a CloudEvent: send it as {STRUCTURED} or {BATCH}, or in binary mode, with the headers \
                 `ce-specversion`, `ce-id`, `ce-source` and `ce-type`"
            ),
        });
    }
    let named = attributes.remove("datacontenttype");
    let content_type = content_type.map(str::to_owned).or(named);
    event(None, attributes, content_type, body.to_vec())
}

/// A header's value as its attribute has it: without the quotes of a quoted string, and with what is percent-encoded
/// decoded once (HTTP protocol binding, 3.1.3.2). A `%` that encodes nothing stands for itself.
fn unescape(value: &str) -> Result<String, &'static str> {
    let unquoted = match value.strip_prefix('"') {
        Some(quoted) => {
            let quoted = quoted
                .strip_suffix('"')
                .ok_or("begins with a quote and doesn't end with one")?;
            let mut text = String::with_capacity(quoted.len());
            let mut characters = quoted.chars();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => text.push(characters.next().ok_or("ends within its quotes")?),
                    '"' => return Err("goes on after its quotes"),
                    other => text.push(other),
                }
            }
            text
        }
        None => value.to_owned(),
    };
    let decoded = percent_decode(unquoted.as_bytes()).decode_utf8();
    let decoded = decoded.map_err(|_| "is encoded text that isn't UTF-8")?;
    Ok(decoded.into_owned())
}

fn structured(text: &str, at: Option<usize>) -> Result<CloudEvent, DecodeError> {
    let members = json::members(text).map_err(|problem| DecodeError::Event { at, problem })?;
    let mut attributes = BTreeMap::new();
    let (mut data, mut encoded) = (None, None);
    for (name, value) in members {
        match name.as_str() {
            "data" => data = Some(value),
            "data_base64" if json::kind(value) == "null" => {}
            "data_base64" => {
                let wrong = |problem: &str| DecodeError::event(at, "data_base64", problem);
                let text: String = serde_json::from_str(value).map_err(|_| {
                    wrong(&format!("is {} where text is wanted", json::kind(value)))
                })?;
                let bytes = BASE64_STANDARD.decode(text);
                encoded = Some(bytes.map_err(|error| wrong(&format!("isn't base64: {error}")))?);
            }
            _ => {
                if let Some(value) =
                    scalar(value).map_err(|problem| DecodeError::event(at, &name, &problem))?
                {
                    attributes.insert(name, value);
                }
            }
        }
    }
    // Null leaves an attribute out, and these four are text.
    let content_type = attributes.remove("datacontenttype");
    let (content_type, data) = match (data, encoded) {
        (Some(_), Some(_)) => {
            let problem = "is there beside `data`, and an event has one of them";
            return Err(DecodeError::event(at, "data_base64", problem));
        }
        (None, encoded) => (content_type, encoded.unwrap_or_default()),
        (Some(value), None) => match &content_type {
            Some(media_type) if !is_json(media_type) && json::kind(value) == "text" => {
                let text: String = serde_json::from_str(value).map_err(|error| {
                    DecodeError::event(at, "data", &format!("isn't text: {error}"))
                })?;
                (content_type, text.into_bytes())
            }
            // Without a type JSON's own is implied (JSON event format, 3.1.1).
            None => (
                Some("application/json".to_owned()),
                value.as_bytes().to_vec(),
            ),
            Some(_) => (content_type, value.as_bytes().to_vec()),
        },
    };
    event(at, attributes, content_type, data)
}

/// An attribute's value as text; none where it is null.
fn scalar(json: &str) -> Result<Option<String>, String> {
    match json::kind(json) {
        "text" => {
            let text = serde_json::from_str(json);
            text.map(Some)
                .map_err(|error| format!("isn't text: {error}"))
        }
        "a boolean" => Ok(Some(json.to_owned())),
        "null" => Ok(None),
        "a number" => match json.parse::<i32>() {
            Ok(number) => Ok(Some(number.to_string())),
            Err(_) => Err(format!(
                "is {}; a number is whole, and has 32 bits",
                shown(json)
            )),
        },
        other => Err(format!(
            "is {other}; an attribute is text, a boolean or a whole number"
        )),
    }
}

/// Puts an event together, and looks at what every mode must have.
fn event(
    at: Option<usize>,
    attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    data: Vec<u8>,
) -> Result<CloudEvent, DecodeError> {
    for (name, value) in &attributes {
        let wrong = |problem: &str| DecodeError::event(at, name, problem);
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || !name.chars().all(named) {
            return Err(wrong(
                "isn't an attribute's name, which has lower-case letters and digits",
            ));
        }
        if value.chars().any(char::is_control) {
            return Err(wrong("has a control character"));
        }
        // By these the store finds and orders events.
        if NAMES.contains(&name.as_str()) {
            check_name(name, value).map_err(|long| DecodeError::too_long(at, &long))?;
        }
    }
    check_attributes(&attributes).map_err(|long| DecodeError::too_long(at, &long))?;
    if let Some(content_type) = &content_type {
        let checked = check_name("datacontenttype", content_type);
        checked.map_err(|long| DecodeError::too_long(at, &long))?;
    }
    let required = |name: &str| match attributes.get(name) {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        Some(_) => Err(DecodeError::event(at, name, "is empty")),
        None => Err(DecodeError::event(at, name, "is missing")),
    };
    let version = required("specversion")?;
    if version != "1.0" {
        return Err(DecodeError::event(
            at,
            "specversion",
            &format!("is {:?}; send \"1.0\"", shown(&version)),
        ));
    }
    if let Some(value) = attributes.get("time")
        && time::of_cloud_event(value).is_none()
    {
        let problem = format!(
            "is {:?}, which isn't a time as \"2026-01-31T12:00:00Z\"",
            shown(value)
        );
        return Err(DecodeError::event(at, "time", &problem));
    }
    Ok(CloudEvent {
        id: required("id")?,
        source: required("source")?,
        kind: required("type")?,
        content_type,
        attributes,
        data,
    })
}
