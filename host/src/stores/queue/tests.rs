//! The queue on a real file: what is accepted stays, what is settled goes, over restarts.

use tempfile::TempDir;

use super::*;
use crate::ports::{
    AttemptRecord, Cost, Disposition, Event, Failure, Identity, IntendedChange, Message, Outcome,
    Payload,
};

fn open(dir: &TempDir) -> EmbeddedQueue {
    EmbeddedQueue::open(dir.path(), Clock::manual(1_000)).unwrap()
}

fn accept(id: &str, functions: &[&str], due: Timestamp, identity: Identity) -> Accept {
    Accept {
        event: Event {
            id: id.to_owned(),
            source: "topic/t".to_owned(),
            accepted: 1_000,
            hops: 0,
            payload: Payload::Message(Message {
                topic: "t".to_owned(),
                body: b"\0body".to_vec(),
                content_type: None,
                ordering_key: None,
                attributes: vec![("a".to_owned(), "b".to_owned())],
            }),
        },
        functions: functions.iter().map(|&f| f.to_owned()).collect(),
        due,
        identity,
    }
}

fn settlement(delivery: crate::ports::Delivery, disposition: Disposition) -> Settlement {
    Settlement {
        delivery,
        disposition,
        intent: None,
        accepts: Vec::new(),
        sightings: Vec::new(),
    }
}

fn attempt() -> AttemptRecord {
    AttemptRecord {
        time: 1_500,
        outcome: Outcome::Failed(Failure::Other {
            reason: "no".to_owned(),
        }),
        cost: Cost {
            fuel: 7,
            ..Cost::default()
        },
        log_tail: vec!["a line".to_owned()],
    }
}

fn ids(taken: &Taken) -> Vec<&str> {
    taken
        .deliveries
        .iter()
        .map(|delivery| delivery.event.id.as_str())
        .collect()
}

#[tokio::test]
async fn accepted_events_survive_a_restart_and_come_in_the_order_they_fall_due() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![
            accept("late", &["f"], 3_000, Identity::Unique),
            accept("first", &["f", "g"], 1_000, Identity::Unique),
            accept("second", &["f"], 1_000, Identity::Unique),
        ])
        .await
        .unwrap();
    drop(queue);
    let queue = open(&dir);
    let taken = queue.take("f", 10, 2_000).await.unwrap();
    assert_eq!(ids(&taken), ["first", "second"]);
    assert_eq!(taken.next_due, Some(3_000));
    assert_eq!(
        taken.deliveries[0].event.payload,
        accept("", &[], 0, Identity::Unique).event.payload
    );
    assert_eq!(ids(&queue.take("g", 10, 2_000).await.unwrap()), ["first"]);
    assert_eq!(ids(&queue.take("h", 10, 2_000).await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn a_lease_hides_a_delivery_until_it_is_released() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![accept("a", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    let taken = queue.take("f", 1, 1_000).await.unwrap();
    assert!(
        queue
            .take("f", 1, 1_000)
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
    queue.release(&[taken.deliveries[0].seq]);
    assert_eq!(ids(&queue.take("f", 1, 1_000).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_retry_remembers_its_attempts_and_a_dead_letter_tells_them() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![accept("a", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    let first = queue
        .take("f", 1, 1_000)
        .await
        .unwrap()
        .deliveries
        .remove(0);
    assert_eq!(first.attempt(), 1);
    let retry = Disposition::Retry {
        due: 5_000,
        attempt: attempt(),
    };
    queue.settle(vec![settlement(first, retry)]).await.unwrap();
    assert!(
        queue
            .take("f", 1, 4_999)
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
    let second = queue
        .take("f", 1, 5_000)
        .await
        .unwrap()
        .deliveries
        .remove(0);
    assert_eq!((second.attempt(), second.failed), (2, 1));
    let dead = Disposition::Dead {
        attempt: attempt(),
        reason: "enough".to_owned(),
    };
    queue.settle(vec![settlement(second, dead)]).await.unwrap();
    drop(queue);
    let queue = open(&dir);
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!(letters[0].delivery.attempts, [attempt(), attempt()]);
    assert_eq!(letters[0].reason, "enough");
    let counts = queue.counts().await.unwrap();
    assert_eq!(
        counts,
        [Count {
            function: "f".to_owned(),
            pending: 0,
            dead: 1
        }]
    );
}

#[tokio::test]
async fn duplicates_are_recognised() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let sighting = |etag: &str| {
        Identity::Object(Sighting {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            etag: etag.to_owned(),
        })
    };
    for (identity, expected) in [
        (Identity::Id, Accepted::New),
        (Identity::Id, Accepted::Duplicate),
        (Identity::Unique, Accepted::New),
        (sighting("1"), Accepted::New),
        (sighting("1"), Accepted::Duplicate),
        (sighting("2"), Accepted::New),
    ] {
        let answer = queue
            .accept(vec![accept("a", &["f"], 0, identity.clone())])
            .await
            .unwrap();
        assert_eq!(answer, [expected], "{identity:?}");
    }
    assert_eq!(
        queue.take("f", 10, 1_000).await.unwrap().deliveries.len(),
        4
    );
    queue.forget("b", vec!["k".to_owned()]).await.unwrap();
    assert!(queue.sightings("b", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn forgetting_a_folder_forgets_what_was_below_it_and_no_neighbour() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    for key in ["a", "a/b", "a/b/c", "a.txt", "ab", "a0"] {
        let sighting = Sighting {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            etag: "1".to_owned(),
        };
        queue
            .accept(vec![accept(key, &[], 0, Identity::Object(sighting))])
            .await
            .unwrap();
    }
    queue.forget("b", vec!["a/".to_owned()]).await.unwrap();
    let left: Vec<String> = queue
        .sightings("b", None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.key)
        .collect();
    assert_eq!(left, ["a", "a.txt", "a0", "ab"]);
}

#[tokio::test]
async fn an_intent_stays_until_it_is_applied_and_its_events_come_once() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![accept("a", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    let delivery = queue
        .take("f", 1, 1_000)
        .await
        .unwrap()
        .deliveries
        .remove(0);
    let intent = Intent {
        seq: delivery.seq,
        changes: vec![(
            "b".to_owned(),
            vec![IntendedChange::Remove {
                key: "k".to_owned(),
                etag: "1".to_owned(),
            }],
        )],
        accepts: vec![accept("follower", &["g"], 0, Identity::Unique)],
    };
    let mut done = settlement(delivery, Disposition::Done);
    done.intent = Some(intent.clone());
    queue.settle(vec![done]).await.unwrap();
    drop(queue);
    let queue = open(&dir);
    assert_eq!(
        queue.intents().await.unwrap(),
        std::slice::from_ref(&intent)
    );
    assert!(
        queue
            .take("g", 1, 9_000)
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
    for _ in 0..2 {
        queue
            .applied(intent.seq, intent.accepts.clone())
            .await
            .unwrap();
    }
    assert_eq!(queue.take("g", 9, 9_000).await.unwrap().deliveries.len(), 1);
    assert!(queue.intents().await.unwrap().is_empty());
}

/// A settlement that can't be made must leave nothing of itself, nor harm its neighbours in the group.
#[tokio::test]
async fn a_settlement_of_a_missing_delivery_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![accept("a", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    let delivery = queue
        .take("f", 1, 1_000)
        .await
        .unwrap()
        .deliveries
        .remove(0);
    queue
        .settle(vec![settlement(delivery.clone(), Disposition::Done)])
        .await
        .unwrap();
    let mut again = settlement(delivery, Disposition::Done);
    again.accepts = vec![accept("b", &["f"], 0, Identity::Unique)];
    let (failed, accepted) = tokio::join!(
        queue.settle(vec![again]),
        queue.accept(vec![accept("c", &["f"], 0, Identity::Unique)]),
    );
    assert!(
        matches!(failed, Err(QueueError::Damaged { .. })),
        "{failed:?}"
    );
    accepted.unwrap();
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), ["c"]);
}

#[tokio::test]
async fn a_second_host_is_told_that_the_store_is_in_use() {
    let dir = TempDir::new().unwrap();
    let _first = open(&dir);
    let error = EmbeddedQueue::open(dir.path(), Clock::system()).unwrap_err();
    assert!(
        error.to_string().contains("in use by another host"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = TempDir::new().unwrap();
    let content = b"not a database, but long enough to look at".repeat(100);
    std::fs::write(dir.path().join("events.sqlite"), content).unwrap();
    let error = EmbeddedQueue::open(dir.path(), Clock::system()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let connection = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = EmbeddedQueue::open(dir.path(), Clock::system()).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}
