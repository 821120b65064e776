//! From what others post to events: pure code, bytes and headers in, events out. The HTTP trigger reads requests and
//! accepts what comes out.

pub mod auth;
pub mod cloudevents;
mod json;
pub mod s3;
pub mod sns;
mod time;

use http::{HeaderMap, StatusCode, Uri};
use thiserror::Error;

use crate::config::{Format, Ingress, Manifest};
use crate::events::{NewMessage, ToldObject};
use crate::ports::{Draft, TooLong, shorten, validate_key};

/// How many events one request may have: they are accepted in one step, for which others wait.
const MOST_EVENTS: usize = 10_000;
/// How much of what was sent is told in an error, in characters.
const SHOWN: usize = 200;

/// What a request comes to.
#[derive(Debug)]
pub enum Posted {
    /// Events, all of which are accepted, or none.
    Events(Batch),
    /// A topic of SNS asks whether it may send.
    Confirm {
        /// The topic.
        topic_arn: String,
        /// What is to be got as the answer.
        address: Uri,
    },
    /// A topic of SNS sends no more.
    Unsubscribed {
        /// The topic.
        topic_arn: String,
    },
}

/// The events of a request.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is published.
    pub messages: Vec<NewMessage>,
    /// What is told of objects.
    pub objects: Vec<ToldObject>,
    /// What wakes nobody, and why: a test event, a removal.
    pub ignored: Vec<String>,
}

/// Why a request has no events. It says so to whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body as a whole.
    #[error("the body {problem}")]
    Body {
        /// What is wrong.
        problem: String,
    },
    /// One event.
    #[error("{}{problem}", place(.at))]
    Event {
        /// Its place in the request, from 0, where there are several.
        at: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// It is none of what is taken here.
    #[error("{problem}")]
    MediaType {
        /// What is taken.
        problem: String,
    },
    /// More than are taken at once.
    #[error(
        "there are {count} events, and {MOST_EVENTS} are taken in one request; send them in several"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A topic of SNS that the manifest doesn't name.
    #[error("the topic {topic_arn:?} may not send here; `sns.topics` names those that may")]
    Topic {
        /// Its ARN.
        topic_arn: String,
    },
    /// An address at which no subscription is confirmed.
    #[error("a subscription isn't confirmed at {address:?}; `sns.confirm` names where it may be")]
    Address {
        /// As it was sent.
        address: String,
    },
}

fn place(at: &Option<usize>) -> String {
    at.map_or_else(|| "the event ".to_owned(), |at| format!("event {at} "))
}

impl DecodeError {
    /// About a member of an event; `problem` begins with a verb.
    fn event(at: Option<usize>, name: &str, problem: &str) -> Self {
        Self::Event {
            at,
            problem: format!("isn't taken: `{}` {problem}", shown(name)),
        }
    }

    /// About a name or a value of an event that is too long.
    fn too_long(at: Option<usize>, long: &TooLong) -> Self {
        Self::Event {
            at,
            problem: format!("isn't taken: {long}"),
        }
    }

    fn check_count(count: usize) -> Result<(), Self> {
        match count {
            0..=MOST_EVENTS => Ok(()),
            _ => Err(Self::TooMany { count }),
        }
    }

    /// Of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body { .. } | Self::Event { .. } => StatusCode::BAD_REQUEST,
            Self::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Topic { .. } | Self::Address { .. } => StatusCode::FORBIDDEN,
        }
    }
}

/// What was sent, no longer than an error should be.
fn shown(text: &str) -> String {
    shorten(text, SHOWN)
}

/// What a request to an ingress comes to.
///
/// # Errors
/// Where any of it can't be taken: then nothing of it is.
pub fn decode(
    manifest: &Manifest,
    ingress: &Ingress,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Posted, DecodeError> {
    let Some(sns) = &ingress.sns else {
        return match ingress.format {
            Format::CloudEvents => messages(ingress, cloudevents::decode(headers, body)?),
            Format::S3 => objects(manifest, ingress, s3::decode(body, ingress.keys)?),
        };
    };
    Ok(match sns::decode(sns, headers, body)? {
        sns::Envelope::Message(message) => match ingress.format {
            Format::CloudEvents => messages(ingress, cloudevents::decode_json(&message)?)?,
            Format::S3 => objects(manifest, ingress, s3::decode(&message, ingress.keys)?)?,
        },
        sns::Envelope::Confirm { topic_arn, address } => Posted::Confirm { topic_arn, address },
        sns::Envelope::Unsubscribed { topic_arn } => Posted::Unsubscribed { topic_arn },
    })
}

fn messages(
    ingress: &Ingress,
    events: Vec<cloudevents::CloudEvent>,
) -> Result<Posted, DecodeError> {
    let several = events.len() > 1;
    let messages = events.into_iter().enumerate().map(|(at, event)| {
        let topic = ingress.topic_of(&event.kind).ok_or_else(|| {
            let problem = format!("is {:?}, which no topic takes here", shown(&event.kind));
            DecodeError::event(several.then_some(at), "type", &problem)
        })?;
        let attributes = event.attributes.iter();
        let attributes = attributes.map(|(name, value)| (format!("ce-{name}"), value.clone()));
        Ok(NewMessage {
            id: Some(event.id),
            source: Some(event.source),
            draft: Draft {
                topic: topic.to_owned(),
                body: event.data,
                content_type: event.content_type,
                ordering_key: event.attributes.get("partitionkey").cloned(),
                attributes: attributes.collect(),
                delay_ms: None,
            },
        })
    });
    Ok(Posted::Events(Batch {
        messages: messages.collect::<Result<_, _>>()?,
        ..Batch::default()
    }))
}

fn objects(
    manifest: &Manifest,
    ingress: &Ingress,
    notification: s3::Notification,
) -> Result<Posted, DecodeError> {
    let s3::Notification {
        objects,
        mut ignored,
    } = notification;
    let mut told = Vec::with_capacity(objects.len());
    for s3::StoredObject {
        at,
        bucket,
        object,
        version,
    } in objects
    {
        let here = ingress.bucket_of(manifest, &bucket).ok_or_else(|| {
            let problem = format!(
                "is {:?}, which is no bucket of the manifest; name one for it in `buckets`",
                shown(&bucket)
            );
            DecodeError::event(Some(at), "s3.bucket.name", &problem)
        })?;
        // As in a folder: what can't be a key wakes nobody, such as `photos/`, which stands for a folder.
        if let Err(problem) = validate_key(&object.key) {
            ignored.push(problem);
            continue;
        }
        if manifest.is_unfinished(here, &object.key) {
            ignored.push(format!(
                "key {:?} is of an unfinished file",
                shown(&object.key)
            ));
            continue;
        }
        told.push(ToldObject {
            bucket: here.to_owned(),
            id: format!("{}@{version}", object.key),
            object,
        });
    }
    Ok(Posted::Events(Batch {
        objects: told,
        ignored,
        ..Batch::default()
    }))
}

#[cfg(test)]
mod tests;
