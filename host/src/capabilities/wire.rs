//! Between the contract's types and the ports'.

use crate::bindings::types as wit;
use crate::guard::{self, Guard};
use crate::ports::{Delivery, Failure, Message, ObjectInfo, REASON_BYTES, visible, visible_short};

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

/// Returns what a guest says of its failure, as far as it is kept with each attempt.
fn said(reason: &str) -> String {
    if guard::holds(Guard::Reasons) {
        visible_short(reason, REASON_BYTES)
    } else {
        visible(reason)
    }
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
