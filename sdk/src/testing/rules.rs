//! The contract's rules that need no state: keys, conditions, content types.

use crate::bucket::Condition;
use crate::{Draft, Error};

/// The contract's bounds.
const MAX_KEY_BYTES: usize = 1024;
const MAX_PART_BYTES: usize = 255;
const MAX_NAME_BYTES: usize = 1024;
const MAX_VALUE_BYTES: usize = 8 << 10;
const MAX_ATTRIBUTES_BYTES: usize = 64 << 10;

pub fn check_condition(
    condition: &Condition,
    bucket: &str,
    key: &str,
    etag: Option<&str>,
) -> Result<(), Error> {
    let holds = match condition {
        Condition::None => true,
        Condition::Absent => etag.is_none(),
        Condition::Matches(wanted) => etag == Some(wanted),
    };
    if holds {
        Ok(())
    } else {
        Err(Error::Changed(format!("`{key}` in bucket `{bucket}`")))
    }
}

pub fn valid_key(key: &str) -> Result<(), Error> {
    let fault = if key.is_empty() {
        "is empty"
    } else if key.len() > MAX_KEY_BYTES {
        "is longer than 1024 bytes"
    } else if key.chars().any(char::is_control) {
        "has a control character"
    } else if key.split('/').any(str::is_empty) {
        "has an empty part"
    } else if key.split('/').any(|part| part.starts_with('.')) {
        "has a part that begins with a dot"
    } else if key.split('/').any(|part| part.len() > MAX_PART_BYTES) {
        "has a part longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Error::Invalid(format!("key {key:?} {fault}")))
}

/// Checks the lengths of what a message names.
pub fn valid_draft(draft: &Draft) -> Result<(), Error> {
    let check = |name: &str, length: usize, most: usize| {
        if length <= most {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{name} has {length} bytes, and at most {most} are taken; use a shorter one"
        )))
    };
    let named = [
        ("`content-type`", &draft.content_type),
        ("`ordering-key`", &draft.ordering_key),
    ];
    for (name, value) in named {
        check(name, value.as_ref().map_or(0, String::len), MAX_NAME_BYTES)?;
    }
    let mut total = 0;
    for (name, value) in draft.attributes.iter() {
        check("the name of an attribute", name.len(), MAX_NAME_BYTES)?;
        check(&format!("`{name}`"), value.len(), MAX_VALUE_BYTES)?;
        total += name.len() + value.len();
    }
    check("the list of attributes", total, MAX_ATTRIBUTES_BYTES)
}

pub fn guess_content_type(key: &str) -> Option<String> {
    let (_, extension) = key.rsplit('/').next()?.rsplit_once('.')?;
    let guess = match extension.to_ascii_lowercase().as_str() {
        "txt" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "js" => "text/javascript",
        "json" => "application/json",
        "xml" => "text/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "wasm" => "application/wasm",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => return None,
    };
    Some(guess.to_owned())
}
