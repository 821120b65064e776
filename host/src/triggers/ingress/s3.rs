//! Notifications of object stores: records as Amazon S3, MinIO, Ceph and others send them, and events of EventBridge.
//!
//! Stores differ in how they write keys. Amazon and MinIO encode them as forms do (a blank is `+`; MinIO encodes slashes
//! too), Ceph sends them as they are, and so does EventBridge.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer};

use super::{DecodeError, json, shown, time};
use crate::config::Keys;
use crate::ports::{ObjectInfo, TooLong, check_attributes, check_name};

/// Who sends keys as they are, and a sequencer that is another each time it tells of a version.
const CEPH: &str = "ceph:s3";
/// The major version of the records that are known. The minor one goes up when members are added.
const MAJOR: &str = "2.";
/// What MinIO calls the creation of an object though none is created.
const OF_METADATA: [&str; 4] = [
    "PutRetention",
    "PutLegalHold",
    "PutTagging",
    "DeleteTagging",
];
/// How names of metadata begin that users gave.
const USERS: &str = "x-amz-meta-";

/// What a notification tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// Objects that were created or replaced.
    pub objects: Vec<StoredObject>,
    /// What else it tells, in words.
    pub ignored: Vec<String>,
}

/// A version of an object in another store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its record's place in the notification, from 0.
    pub at: usize,
    /// The bucket, as the sender calls it.
    pub bucket: String,
    /// As the sender tells.
    pub object: ObjectInfo,
    /// The same whenever this version is told of, and another for every other upload of the key.
    pub version: String,
}

/// What a body tells. `keys` overrules how its sender is known to write them.
///
/// # Errors
/// Where it isn't a notification, or one of its records can't be understood.
pub fn decode(body: &[u8], keys: Option<Keys>) -> Result<Notification, DecodeError> {
    let text = json::text(body)?;
    let wrong = |error: serde_json::Error| DecodeError::Body {
        problem: format!("isn't a notification: {error}"),
    };
    let envelope: Envelope = serde_json::from_str(text).map_err(wrong)?;
    match envelope {
        Envelope { records: Some(records), .. } => {
            DecodeError::check_count(records.len())?;
            let mut notification = Notification::default();
            for (at, record) in records.into_iter().enumerate() {
                record.tell(at, keys, &mut notification)?;
            }
            Ok(notification)
        }
        Envelope { event: Some(event), .. } if event == "s3:TestEvent" => Ok(Notification {
            ignored: vec!["s3:TestEvent, by which the store tries whether it can send".to_owned()],
            ..Notification::default()
        }),
        Envelope { detail_type: Some(kind), source, time, detail, .. } if source.as_deref() == Some("aws.s3") => {
            bridged(&kind, time, detail, keys)
        }
        _ => Err(DecodeError::Body {
            problem: "isn't a notification of an object store: it has no `Records`, and is no test event and no event \
                      of `aws.s3` by EventBridge"
                .to_owned(),
        }),
    }
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "Event")]
    event: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    source: Option<String>,
    time: Option<serde_json::Value>,
    detail: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_version: Option<String>,
    event_source: Option<String>,
    event_name: Option<String>,
    event_time: Option<String>,
    s3: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    key: String,
    /// MinIO leaves out a size of 0.
    #[serde(default, deserialize_with = "size")]
    size: u64,
    /// EventBridge writes it `etag`, and the version `version-id`.
    #[serde(alias = "etag")]
    e_tag: Option<String>,
    #[serde(alias = "version-id")]
    version_id: Option<String>,
    sequencer: Option<String>,
    content_type: Option<String>,
    /// MinIO's.
    user_metadata: Option<serde_json::Value>,
    /// Ceph's.
    metadata: Option<serde_json::Value>,
}

/// A number, also as text.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a size in bytes")]
    enum Size {
        Number(u64),
        Text(String),
        Absent(()),
    }
    match Size::deserialize(deserializer)? {
        Size::Number(size) => Ok(size),
        Size::Text(text) => text.parse().map_err(|_| {
            serde::de::Error::custom(format!("{:?} isn't a size in bytes", shown(&text)))
        }),
        Size::Absent(()) => Ok(0),
    }
}

impl Record {
    fn tell(
        self,
        at: usize,
        keys: Option<Keys>,
        notification: &mut Notification,
    ) -> Result<(), DecodeError> {
        let wrong = |name: &str, problem: &str| Err(DecodeError::event(Some(at), name, problem));
        let source = self.event_source.unwrap_or_default();
        if !source.ends_with(":s3") {
            let problem = format!(
                "is {:?}, which isn't an object store's, as \"aws:s3\"",
                shown(&source)
            );
            return wrong("eventSource", &problem);
        }
        let version = self.event_version.unwrap_or_default();
        if !version.starts_with(MAJOR) {
            let problem = format!(
                "is {:?}, and records of versions 2.x are known",
                shown(&version)
            );
            return wrong("eventVersion", &problem);
        }
        let Some(name) = self.event_name.filter(|name| !name.is_empty()) else {
            return wrong("eventName", "is missing");
        };
        let what = name.strip_prefix("s3:").unwrap_or(&name);
        let created = what.strip_prefix("ObjectCreated:");
        let Some(how) = created.filter(|how| !OF_METADATA.contains(how)) else {
            notification
                .ignored
                .push(format!("{:?}, which creates no object", shown(&name)));
            return Ok(());
        };
        let Some(Subject { bucket, mut object }) = self.s3 else {
            return wrong("s3", "is missing");
        };
        // Ceph tells of a multipart upload twice: as it begins, when there is no object yet, and once it is complete.
        if source == CEPH && how == "Post" && object.e_tag.as_deref().unwrap_or_default().is_empty()
        {
            notification.ignored.push(format!(
                "{:?}, the begin of a multipart upload",
                shown(&name)
            ));
            return Ok(());
        }
        if source == CEPH {
            object.sequencer = None;
        }
        let keys = keys.unwrap_or(if source == CEPH {
            Keys::Raw
        } else {
            Keys::Encoded
        });
        let time = self.event_time.unwrap_or_default();
        notification
            .objects
            .push(object.stored(at, bucket.name, &time, keys)?);
        Ok(())
    }
}

/// Of EventBridge.
fn bridged(
    kind: &str,
    time: Option<serde_json::Value>,
    detail: Option<serde_json::Value>,
    keys: Option<Keys>,
) -> Result<Notification, DecodeError> {
    let mut notification = Notification::default();
    if kind != "Object Created" {
        notification
            .ignored
            .push(format!("{:?}, which creates no object", shown(kind)));
        return Ok(notification);
    }
    let wrong = |problem: String| DecodeError::event(None, "detail", &problem);
    let detail = detail.ok_or_else(|| wrong("is missing".to_owned()))?;
    let Subject { bucket, object } = serde_json::from_value(detail)
        .map_err(|error| wrong(format!("isn't an object's: {error}")))?;
    let time = time.as_ref().and_then(serde_json::Value::as_str);
    let keys = keys.unwrap_or(Keys::Raw);
    let object = object.stored(0, bucket.name, time.unwrap_or_default(), keys)?;
    notification.objects.push(object);
    Ok(notification)
}

impl Object {
    fn stored(
        self,
        at: usize,
        bucket: String,
        time: &str,
        keys: Keys,
    ) -> Result<StoredObject, DecodeError> {
        let wrong = |name: &str, problem: &str| DecodeError::event(Some(at), name, problem);
        let key = match keys {
            Keys::Raw => self.key,
            Keys::Encoded => decode_key(&self.key).map_err(|problem| {
                let problem = format!(
                    "{problem}: {:?}; where the sender doesn't encode keys, have `keys = \"raw\"`",
                    shown(&self.key)
                );
                wrong("s3.object.key", &problem)
            })?,
        };
        let modified = time::of_store(time).ok_or_else(|| {
            let problem = format!(
                "is {:?}, which isn't a time as \"2026-01-31T12:00:00.000Z\"",
                shown(time)
            );
            wrong("eventTime", &problem)
        })?;
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let etag = some(self.e_tag).map(|etag| etag.trim_matches('"').to_owned());
        // `null` is the version of buckets whose versions aren't kept any more.
        let version_id = some(self.version_id).filter(|version| version != "null");
        let sequencer = some(self.sequencer);
        let metadata = metadata(self.user_metadata.as_ref().or(self.metadata.as_ref()));
        let content_type = some(self.content_type);
        let too_long = |long: TooLong| DecodeError::too_long(Some(at), &long);
        for (name, value) in [
            ("s3.object.eTag", &etag),
            ("s3.object.versionId", &version_id),
            ("s3.object.sequencer", &sequencer),
            ("s3.object.contentType", &content_type),
        ] {
            check_name(name, value.as_deref().unwrap_or_default()).map_err(too_long)?;
        }
        let pairs = metadata.iter().map(|(name, value)| (name, value));
        check_attributes(pairs).map_err(too_long)?;
        let (version, etag) = match (version_id, etag) {
            // Each upload has a version of its own.
            (Some(version), etag) => {
                let etag = etag.unwrap_or_else(|| version.clone());
                (version, etag)
            }
            // Of the same bytes uploaded twice the ETag is the same, and the rest isn't.
            (None, Some(etag)) => {
                let upload = sequencer.unwrap_or_else(|| time.to_owned());
                (format!("{etag}.{upload}"), etag)
            }
            (None, None) => {
                let problem =
                    "is missing, and so is `versionId`: nothing tells one version from another";
                return Err(wrong("s3.object.eTag", problem));
            }
        };
        Ok(StoredObject {
            at,
            bucket,
            object: ObjectInfo {
                key,
                size: self.size,
                etag,
                content_type,
                modified,
                metadata,
            },
            version,
        })
    }
}

/// What users stored with the object: MinIO sends an object's members, Ceph a list of `key` and `val`.
fn metadata(value: Option<&serde_json::Value>) -> Vec<(String, String)> {
    let pair = |name: &str, value: &serde_json::Value| {
        let name = name.to_ascii_lowercase();
        Some((
            name.strip_prefix(USERS)?.to_owned(),
            value.as_str()?.to_owned(),
        ))
    };
    match value {
        Some(serde_json::Value::Object(members)) => members
            .iter()
            .filter_map(|(name, value)| pair(name, value))
            .collect(),
        Some(serde_json::Value::Array(pairs)) => pairs
            .iter()
            .filter_map(|found| pair(found.get("key")?.as_str()?, found.get("val")?))
            .collect(),
        _ => Vec::new(),
    }
}

/// A key as forms encode it.
fn decode_key(key: &str) -> Result<String, &'static str> {
    let stray = key.split('%').skip(1).any(|behind| {
        let digits = behind.as_bytes().get(..2);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if stray {
        return Err("has a `%` that encodes nothing");
    }
    let blanks = key.replace('+', " ");
    let decoded = percent_decode_str(&blanks).decode_utf8();
    let decoded = decoded.map_err(|_| "is encoded text that isn't UTF-8")?;
    Ok(decoded.into_owned())
}
