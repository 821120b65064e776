//! From an outside happening to an accepted event: on disk, for every function that it wakes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BucketGuard, Events};
use crate::config::OrderBy;
use crate::ports::{
    Accept, Accepted, Commitment, Draft, Event, Identity, Intent, Message, ObjectInfo, Payload,
    QueueError, Sighting, TOLD, TooLong, check_attributes, check_name,
};

/// A message from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewMessage {
    /// Its id, where its source gives one: a second message of the same source and id isn't delivered.
    pub id: Option<String>,
    /// Where it comes from, as a CloudEvents `source` is; without one it is the topic's.
    pub source: Option<String>,
    /// What is published.
    pub draft: Draft,
}

impl NewMessage {
    /// Checks the lengths of what its sender named.
    fn check(&self) -> Result<(), TooLong> {
        let Draft {
            content_type,
            ordering_key,
            attributes,
            ..
        } = &self.draft;
        for (name, value) in [
            ("id", &self.id),
            ("source", &self.source),
            ("content-type", content_type),
            ("ordering-key", ordering_key),
        ] {
            check_name(name, value.as_deref().unwrap_or_default())?;
        }
        check_attributes(attributes.iter().map(|(name, value)| (name, value)))
    }
}

/// An object of another store, which told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldObject {
    /// The manifest's bucket that stands for the other's.
    pub bucket: String,
    /// As the other store told.
    pub object: ObjectInfo,
    /// The same whenever it tells of this version again.
    pub id: String,
}

/// How publishing fails.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No function and no grant names this topic.
    #[error("there is no topic {topic:?}; {known}")]
    NoTopic {
        /// What was asked for.
        topic: String,
        /// Which there are.
        known: String,
    },
    /// An id, a source or an attribute is longer than it may be.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The event couldn't be accepted.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Events {
    /// Publishes messages from outside; on return they are on disk.
    ///
    /// # Errors
    /// Where a topic isn't known, a name is too long, or the store fails: then none of them was
    /// accepted.
    pub async fn publish(
        self: &Arc<Self>,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<(String, Accepted)>, PublishError> {
        let mut accepts = Vec::with_capacity(messages.len());
        for message in messages {
            message.check()?;
            let NewMessage { id, source, draft } = message;
            if !self.manifest.has_topic(&draft.topic) {
                let names: Vec<&str> = self.manifest.topic_names().collect();
                return Err(PublishError::NoTopic {
                    topic: draft.topic,
                    known: match names.as_slice() {
                        [] => "the manifest names none; let a function be woken by it".to_owned(),
                        names => format!("the manifest names {}", names.join(", ")),
                    },
                });
            }
            let identity = if id.is_some() {
                Identity::Id
            } else {
                Identity::Unique
            };
            let id = id.unwrap_or_else(|| self.clock.new_id());
            let mut accept = self.message(id, 0, draft, identity);
            accept.event.source = source.unwrap_or(accept.event.source);
            accepts.push(accept);
        }
        let ids: Vec<String> = accepts
            .iter()
            .map(|accept| accept.event.id.clone())
            .collect();
        let answers = self.accept(accepts).await?;
        Ok(ids.into_iter().zip(answers).collect())
    }

    /// Accepts versions of objects that were seen in a bucket; those accepted before are recognised.
    /// Returns how many were new.
    ///
    /// # Errors
    /// Where the store fails: then none of them was accepted.
    pub async fn objects_seen(
        self: &Arc<Self>,
        bucket: &str,
        objects: Vec<ObjectInfo>,
    ) -> Result<usize, QueueError> {
        let accepts = objects
            .into_iter()
            .map(|object| {
                let functions = self.manifest.woken_by_object(bucket, &object.key);
                self.object(bucket, object, functions, 0)
            })
            .collect();
        let answers = self.accept(accepts).await?;
        Ok(answers
            .iter()
            .filter(|answer| **answer == Accepted::New)
            .count())
    }

    /// Accepts objects that another store told of; those that it told of before are recognised. Where the bucket's folder
    /// has the object, which is where it mirrors the other store, it is the folder's version that is accepted, so that
    /// what is told and what is seen there are one event.
    ///
    /// # Errors
    /// Where the store fails: then none of them was accepted.
    pub async fn objects_told(
        self: &Arc<Self>,
        told: Vec<ToldObject>,
    ) -> Result<Vec<Accepted>, QueueError> {
        // No commit changes the buckets between the look and the acceptance. Commits lock in the same order.
        let names: BTreeSet<String> = told.iter().map(|told| told.bucket.clone()).collect();
        let mut held = Vec::with_capacity(names.len());
        for name in &names {
            held.push(self.hold(name).await?);
        }
        let mut accepts = Vec::with_capacity(told.len());
        for ToldObject { bucket, object, id } in told {
            let here = match self.buckets.get(&bucket) {
                Some(bucket) => bucket.head(&object.key).await.ok(),
                None => None,
            };
            let functions = self.manifest.woken_by_object(&bucket, &object.key);
            accepts.push(match here {
                Some(here) if here.size == object.size => self.object(&bucket, here, functions, 0),
                // The folder's is an older one, or isn't whole, or there is none.
                _ => {
                    let mut accept = self.object(&bucket, object, functions, 0);
                    accept.event.id = id;
                    accept.event.source = format!("{TOLD}{bucket}");
                    accept.identity = Identity::Id;
                    accept
                }
            });
        }
        self.accept_holding(accepts, held).await
    }

    /// Accepts objects for one function, whether or not they were seen before. Their source is `run`,
    /// by which their outcomes can be told from others.
    ///
    /// # Errors
    /// Where the store fails: then none of them was accepted.
    pub async fn run_on(
        self: &Arc<Self>,
        function: &str,
        run: &str,
        bucket: &str,
        objects: Vec<ObjectInfo>,
    ) -> Result<(), QueueError> {
        let accepts = objects
            .into_iter()
            .map(|object| {
                let mut accept = self.object(bucket, object, vec![function.to_owned()], 0);
                accept.event.source = run.to_owned();
                accept.identity = Identity::Unique;
                accept
            })
            .collect();
        self.accept(accepts).await.map(|_| ())
    }

    pub(super) async fn accept(
        self: &Arc<Self>,
        accepts: Vec<Accept>,
    ) -> Result<Vec<Accepted>, QueueError> {
        self.accept_holding(accepts, Vec::new()).await
    }

    /// Accepts events, all of them or none, while buckets are held. Those that are many are decided
    /// in one step and accepted in others, which go on where nobody waits for them any more.
    async fn accept_holding(
        self: &Arc<Self>,
        accepts: Vec<Accept>,
        held: Vec<BucketGuard>,
    ) -> Result<Vec<Accepted>, QueueError> {
        if accepts.is_empty() {
            return Ok(Vec::new());
        }
        if !Accept::are_many(&accepts) {
            return self.queue.accept(accepts).await;
        }
        let under_way = Arc::clone(&self.requests).read_owned().await;
        let events = Arc::clone(self);
        let accepting = self.home.spawn(async move {
            let accepted = events.accept_many(accepts).await;
            drop(held);
            drop(under_way);
            accepted
        });
        accepting.await.unwrap_or_else(|error| {
            let reason = format!("the acceptance of events ended: {error}");
            Err(QueueError::Failed { reason })
        })
    }

    async fn accept_many(&self, accepts: Vec<Accept>) -> Result<Vec<Accepted>, QueueError> {
        let intent = Intent {
            // The store gives it.
            seq: 0,
            changes: Vec::new(),
            accepts,
        };
        let mut decided = intent.without_accepts();
        let commitment = Commitment {
            intent: Some(intent),
            accepts: Vec::new(),
            keys: Vec::new(),
            sightings: Vec::new(),
            answer: None,
        };
        let (_, seq) = self.queue.commit(commitment).await?;
        decided.seq = seq;
        self.apply(decided).await
    }

    pub(super) fn message(
        &self,
        id: String,
        hops: u32,
        draft: Draft,
        identity: Identity,
    ) -> Accept {
        let now = self.clock.now();
        let event = Event {
            id,
            source: format!("topic/{}", draft.topic),
            accepted: now,
            hops,
            payload: Payload::Message(Message {
                topic: draft.topic,
                body: draft.body,
                content_type: draft.content_type,
                ordering_key: draft.ordering_key,
                attributes: draft.attributes,
            }),
        };
        let functions = match &event.payload {
            Payload::Message(message) => self.manifest.woken_by_message(&message.topic),
            Payload::ObjectCreated { .. } => Vec::new(),
        };
        let due = now.saturating_add(draft.delay_ms.unwrap_or(0));
        Accept {
            lanes: self.lanes(&event.payload, &functions),
            event,
            functions,
            due,
            identity,
        }
    }

    pub(super) fn object(
        &self,
        bucket: &str,
        object: ObjectInfo,
        functions: Vec<String>,
        hops: u32,
    ) -> Accept {
        let now = self.clock.now();
        let sighting = Sighting {
            bucket: bucket.to_owned(),
            key: object.key.clone(),
            etag: object.etag.clone(),
        };
        let event = Event {
            // The version makes the id: the same upload seen twice is the same event.
            id: format!("{}@{}", object.key, object.etag),
            source: format!("bucket/{bucket}"),
            accepted: now,
            hops,
            payload: Payload::ObjectCreated {
                bucket: bucket.to_owned(),
                object,
            },
        };
        Accept {
            lanes: self.lanes(&event.payload, &functions),
            event,
            functions,
            due: now,
            identity: Identity::Object(sighting),
        }
    }

    /// The event's ordering key for each function that goes by one.
    pub(super) fn lanes(
        &self,
        payload: &Payload,
        functions: &[String],
    ) -> BTreeMap<String, String> {
        let functions = functions
            .iter()
            .filter_map(|name| self.manifest.function(name));
        functions
            .filter_map(|function| {
                Some((
                    function.name.clone(),
                    lane(function.on.order_by.as_ref(), payload)?,
                ))
            })
            .collect()
    }
}

/// The ordering key of an event, where its order counts.
fn lane(order: Option<&OrderBy>, payload: &Payload) -> Option<String> {
    match (order, payload) {
        (Some(OrderBy::None), _) => None,
        (Some(OrderBy::All), _) => Some(String::new()),
        (None | Some(OrderBy::Key), Payload::Message(message)) => message.ordering_key.clone(),
        (Some(OrderBy::Key), Payload::ObjectCreated { object, .. }) => Some(object.key.clone()),
        (Some(OrderBy::Attribute(name)), Payload::Message(message)) => {
            let mut attributes = message.attributes.iter();
            let found = attributes.find(|(attribute, _)| attribute == name);
            found.map(|(_, value)| value.clone())
        }
        (None | Some(OrderBy::Attribute(_)), Payload::ObjectCreated { .. }) => None,
    }
}
