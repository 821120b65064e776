//! Whatever turns bytes into events, records and requests.

use std::fmt::Debug;
use std::path::Path;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use kinglet::cli::EventFile;
use kinglet::config::Manifest;
use kinglet::control::{Request, Response, receive, send};
use kinglet::ports::{DeadLetter, Delivery, Intent, Record, validate_key};
use kinglet::stores::journal::JournalReader;
use kinglet::stores::queue::record::{decode, encode};
use kinglet::triggers::ingress::{self, Posted};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{block_on, choice, in_time, scratch};

/// The format that records have by now.
const FORMAT: u8 = 1;

/// What decodes, encodes and decodes to the same again; what doesn't is refused in words.
///
/// The first byte chooses the decoder: a record of the store (whose format and checksum are added, since no fuzzer
/// finds those), a request or an answer of the control socket, a line of the journal, an event's file, the raw
/// bytes of a record, of a conversation or of a journal, or what somebody posts.
pub fn events(data: &[u8]) {
    let Some((kind, data)) = choice(data, 11) else {
        return;
    };
    in_time(|| match kind {
        0 => record::<Delivery>(data),
        1 => record::<DeadLetter>(data),
        2 => record::<Intent>(data),
        3 => frame::<Request>(data),
        4 => frame::<Response>(data),
        5 => line(data),
        6 => event_file(data),
        7 => raw_record(data),
        8 => conversation(data),
        9 => journal(data),
        _ => posted(data),
    });
}

/// A path for each way to post.
const INGRESSES: &str = r#"
    [app]
    name = "a"
    [buckets.photos]
    [topics.orders]
    [[ingress]]
    path = "/events"
    format = "cloudevents"
    topic = "orders"
    auth = "none"
    [[ingress]]
    path = "/events/by-type"
    format = "cloudevents"
    topics = { t = "orders" }
    auth = "none"
    [[ingress]]
    path = "/objects"
    format = "s3"
    auth = "none"
    [[ingress]]
    path = "/objects/raw"
    format = "s3"
    keys = "raw"
    buckets = { b = "photos" }
    auth = "none"
    [[ingress]]
    path = "/sns/events"
    format = "cloudevents"
    topic = "orders"
    auth = "none"
    sns = { topics = "arn:aws:sns:r:1:t" }
    [[ingress]]
    path = "/sns/objects"
    format = "s3"
    auth = "none"
    sns = { topics = "arn:aws:sns:r:1:t", confirm = "http://localhost:1" }
"#;

/// A byte chooses the path, then headers stand on a line each up to an empty one, then the body.
fn posted(data: &[u8]) {
    static MANIFEST: LazyLock<Manifest> =
        LazyLock::new(|| Manifest::parse(INGRESSES, Path::new("/app"), "kinglet.toml").unwrap());
    let Some((path, mut body)) = choice(data, 6) else {
        return;
    };
    let mut headers = HeaderMap::new();
    while let Some(end) = body.iter().position(|byte| *byte == b'\n') {
        let line = &body[..end];
        body = &body[end + 1..];
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (
            name,
            HeaderValue::from_bytes(line[colon + 1..].trim_ascii()),
        ) {
            headers.append(name, value);
        }
    }
    let ingress = &MANIFEST.ingresses[usize::from(path)];
    let batch = match ingress::decode(&MANIFEST, ingress, &headers, body) {
        Ok(Posted::Events(batch)) => batch,
        Ok(Posted::Confirm { address, .. }) => {
            let host = address.host().unwrap();
            assert!(
                host.to_ascii_lowercase().starts_with("sns.") || host == "localhost",
                "{address}"
            );
            return;
        }
        Ok(Posted::Unsubscribed { .. }) => return,
        Err(error) => {
            assert!(error.status().is_client_error());
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for message in batch.messages {
        assert!(MANIFEST.has_topic(&message.draft.topic));
        let named = [message.id, message.source].map(Option::unwrap);
        assert!(
            named
                .iter()
                .all(|name| !name.is_empty() && !name.chars().any(char::is_control))
        );
    }
    for told in batch.objects {
        assert!(MANIFEST.buckets.contains_key(&told.bucket));
        assert_eq!(validate_key(&told.object.key), Ok(()));
        assert!(told.id.starts_with(&told.object.key) && !told.object.etag.is_empty());
    }
}

fn record<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(data);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    let value: T = match decode("it", &bytes) {
        Ok(value) => value,
        Err(error) => return assert!(error.to_string().contains("it "), "{error}"),
    };
    let again: T = decode("it", &encode(&value).unwrap()).unwrap();
    assert_eq!(value, again);
}

/// Without the right checksum nothing is a record, whatever it would say.
fn raw_record(data: &[u8]) {
    let whole = data.split_last_chunk::<4>().is_some_and(|(content, sum)| {
        content.first() == Some(&FORMAT) && crc32fast::hash(content).to_le_bytes() == *sum
    });
    let decoded = decode::<Delivery>("it", data);
    assert!(whole || decoded.is_err(), "{decoded:?}");
}

fn frame<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(length) = u32::try_from(data.len()) else {
        return;
    };
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(data);
    let Ok(value) = read_frame::<T>(&bytes) else {
        return;
    };
    let sent = write_frame(&value);
    let again = write_frame(&read_frame::<T>(&sent).unwrap());
    assert_eq!(sent, again);
}

fn read_frame<T: DeserializeOwned>(mut bytes: &[u8]) -> std::io::Result<T> {
    block_on(receive(&mut bytes))
}

fn write_frame<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    block_on(send(&mut bytes, value)).unwrap();
    bytes
}

/// Requests until one can't be read, as a host reads them.
fn conversation(mut data: &[u8]) {
    while block_on(receive::<Request>(&mut data)).is_ok() {}
}

fn line(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let text = serde_json::to_vec(&record).unwrap();
    assert_eq!(record, serde_json::from_slice(&text).unwrap());
}

fn event_file(data: &[u8]) {
    if let Err(error) = serde_json::from_slice::<EventFile>(data) {
        assert!(!error.to_string().is_empty());
    }
}

/// A journal tells each of its lines that is a record, and passes over the others.
fn journal(data: &[u8]) {
    let dir = scratch();
    std::fs::write(dir.path().join("journal.jsonl"), data).unwrap();
    let mut reader = JournalReader::from_start(dir.path());
    let mut told = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        told.push(record);
    }
    let ended = data.split_inclusive(|byte| *byte == b'\n');
    let records = ended
        .filter(|line| line.ends_with(b"\n"))
        .filter_map(|line| serde_json::from_slice::<Record>(line).ok());
    assert_eq!(told, records.collect::<Vec<_>>());
}
