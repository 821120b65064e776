//! Times that came become events, each once: the last one is noted with its acceptance.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Events;
use crate::clock::{Timestamp, rfc3339};
use crate::config::Schedule;
use crate::ports::{
    Accept, Event, Identity, Message, Payload, QueueError, SCHEDULE_TOPIC, Sighting,
};

/// Where the last times are noted: beside buckets, whose names have no slash.
const NOTED: &str = "schedule/";

impl Events {
    /// The last time of this schedule that was accepted; none where it is new, or another than before.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn last_time(
        &self,
        function: &str,
        schedule: &Schedule,
    ) -> Result<Option<Timestamp>, QueueError> {
        let noted = self.queue.sightings(NOTED, None, usize::MAX).await?;
        let noted = noted.into_iter().find(|noted| noted.key == function);
        Ok(noted.and_then(|noted| {
            let (time, of) = noted.etag.split_once(' ')?;
            time.parse().ok().filter(|_| of == schedule.as_str())
        }))
    }

    /// Notes that a schedule counts from `now`.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn start_schedule(
        self: &Arc<Self>,
        function: &str,
        schedule: &Schedule,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let mut start = self.time(function, schedule, now);
        start.functions.clear();
        self.accept(vec![start]).await.map(|_| ())
    }

    /// Accepts times of a schedule, oldest first.
    ///
    /// # Errors
    /// Where the store fails: then none of them was accepted.
    pub async fn time_came(
        self: &Arc<Self>,
        function: &str,
        schedule: &Schedule,
        times: Vec<Timestamp>,
    ) -> Result<(), QueueError> {
        let accepts = times
            .into_iter()
            .map(|time| self.time(function, schedule, time));
        self.accept(accepts.collect()).await.map(|_| ())
    }

    fn time(&self, function: &str, schedule: &Schedule, time: Timestamp) -> Accept {
        let now = self.clock.now();
        let text = rfc3339(time);
        let event = Event {
            id: format!("{function}@{text}"),
            source: format!("schedule/{function}"),
            accepted: now,
            hops: 0,
            payload: Payload::Message(Message {
                topic: SCHEDULE_TOPIC.to_owned(),
                body: text.clone().into_bytes(),
                content_type: Some("text/plain".to_owned()),
                ordering_key: None,
                attributes: vec![("scheduled".to_owned(), text)],
            }),
        };
        let functions = vec![function.to_owned()];
        let lanes: BTreeMap<String, String> = self.lanes(&event.payload, &functions);
        Accept {
            event,
            functions,
            lanes,
            due: now,
            identity: Identity::Object(Sighting {
                bucket: NOTED.to_owned(),
                key: function.to_owned(),
                etag: format!("{time} {}", schedule.as_str()),
            }),
        }
    }
}
