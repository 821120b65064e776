//! Between the contract's types and the ports'.

use crate::bindings::types as wit;
use crate::guard::{self, Guard};
use crate::ports::{Delivery, Failure, Message, ObjectInfo, visible};

/// A longer reason is cut: it is kept with each attempt.
const MAX_REASON_BYTES: usize = 8 << 10;

/// A delivery as the contract tells it.
fn delivery(delivery: &Delivery) -> wit::Delivery {
    wit::Delivery {
        id: delivery.event.id.clone(),
        source: delivery.event.source.clone(),
        accepted: delivery.event.accepted,
        attempt: delivery.attempt(),
    }
}

/// The event for an `object-created` handler.
pub fn object_event(from: &Delivery, bucket: &str, object: &ObjectInfo) -> wit::ObjectCreatedEvent {
    wit::ObjectCreatedEvent {
        delivery: delivery(from),
        bucket: bucket.to_owned(),
        object: object_info(object.clone()),
    }
}

/// The event for a `message` handler.
pub fn message_event(from: &Delivery, message: &Message) -> wit::MessageEvent {
    wit::MessageEvent {
        delivery: delivery(from),
        topic: message.topic.clone(),
        body: message.body.clone(),
        content_type: message.content_type.clone(),
        ordering_key: message.ordering_key.clone(),
        attributes: message.attributes.clone(),
    }
}

/// What a handler returned in place of success.
pub fn failure_from(failure: wit::Failure) -> Failure {
    match failure {
        wit::Failure::Retry(request) => Failure::Retry {
            reason: said(&request.reason),
            after_ms: request.after_ms,
        },
        wit::Failure::Reject(reason) => Failure::Reject {
            reason: said(&reason),
        },
        wit::Failure::Other(reason) => Failure::Other {
            reason: said(&reason),
        },
    }
}

/// What a guest says of its failure, so much of it as a person reads.
fn said(reason: &str) -> String {
    if reason.len() <= MAX_REASON_BYTES || !guard::holds(Guard::Reasons) {
        return visible(reason);
    }
    let kept = reason.floor_char_boundary(MAX_REASON_BYTES);
    format!("{}...", visible(reason.get(..kept).unwrap_or_default()))
}

pub(super) fn object_info(info: ObjectInfo) -> wit::ObjectInfo {
    wit::ObjectInfo {
        key: info.key,
        size: info.size,
        etag: info.etag,
        content_type: info.content_type,
        modified: info.modified,
        metadata: info.metadata,
    }
}
