//! The queue on a real file: what is accepted stays, what is settled goes, over restarts.

mod ahead;
mod answers;
mod backups;
mod faults;
mod followers;
mod remembered;

use tempfile::TempDir;

use super::*;
use crate::ports::{
    AttemptRecord, Cost, Disposition, Event, Expected, Failure, Identity, IntendedChange, Intent,
    KeyChange, Message, Outcome, Payload,
};

/// Takes from a store what came with version 4.
const TO_VERSION_3: &str = "DROP TABLE follower; DROP TRIGGER seen_comes; DROP TRIGGER seen_goes;
    DELETE FROM meta WHERE name = 'seen'; PRAGMA user_version = 3;";

fn config() -> QueueConfig {
    QueueConfig {
        duplicate_window_ms: 60_000,
        max_events: 1_000,
        max_bytes: 1 << 20,
        max_dead_letters: 100,
        max_answers: 1 << 30,
        dead_letter_age_ms: None,
    }
}

fn open(dir: &TempDir) -> EmbeddedQueue {
    EmbeddedQueue::open(dir.path(), Clock::manual(1_000), config()).unwrap()
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
        lanes: BTreeMap::new(),
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
        keys: Vec::new(),
        sightings: Vec::new(),
    }
}

/// Takes one delivery of `f`, which must be there.
async fn take_one(queue: &EmbeddedQueue, now: Timestamp) -> crate::ports::Delivery {
    let taken = queue.take("f", 1, now).await.unwrap();
    taken.deliveries.into_iter().next().unwrap()
}

async fn nothing_due(queue: &EmbeddedQueue, now: Timestamp) -> bool {
    queue.take("f", 9, now).await.unwrap().deliveries.is_empty()
}

/// Where nothing of `f` is due, when something is.
async fn next_due(queue: &EmbeddedQueue, now: Timestamp) -> Option<Timestamp> {
    let taken = queue.take("f", 9, now).await.unwrap();
    assert_eq!(ids(&taken), [""; 0]);
    taken.next_due
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
    assert_eq!(next_due(&queue, 2_000).await, Some(3_000));
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
    assert!(nothing_due(&queue, 1_000).await);
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
    let first = take_one(&queue, 1_000).await;
    assert_eq!(first.attempt(), 1);
    let retry = Disposition::Retry {
        due: 5_000,
        attempt: attempt(),
    };
    settle(&queue, &first, retry).await;
    assert!(nothing_due(&queue, 4_999).await);
    let second = take_one(&queue, 5_000).await;
    assert_eq!((second.attempt(), second.failed), (2, 1));
    let dead = Disposition::Dead {
        attempt: attempt(),
        reason: "enough".to_owned(),
    };
    settle(&queue, &second, dead).await;
    drop(queue);
    let queue = open(&dir);
    let letters = queue
        .dead_letters(&DeadFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(letters[0].delivery.attempts, [attempt(), attempt()]);
    assert_eq!(letters[0].reason, "enough");
    let counts = queue.counts(6_000).await.unwrap();
    assert_eq!(
        counts,
        [Count {
            function: "f".to_owned(),
            dead: 1,
            ..Count::default()
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
    let delivery = take_one(&queue, 1_000).await;
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
    queue.settle(vec![done], false).await.unwrap();
    drop(queue);
    let queue = open(&dir);
    assert_eq!(
        queue.intents().await.unwrap().intents,
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
        queue.applied(intent.seq).await.unwrap();
    }
    assert_eq!(queue.take("g", 9, 9_000).await.unwrap().deliveries.len(), 1);
    assert!(queue.intents().await.unwrap().intents.is_empty());
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
    let delivery = take_one(&queue, 1_000).await;
    queue
        .settle(vec![settlement(delivery.clone(), Disposition::Done)], false)
        .await
        .unwrap();
    let mut again = settlement(delivery, Disposition::Done);
    again.accepts = vec![accept("b", &["f"], 0, Identity::Unique)];
    let (failed, accepted) = tokio::join!(
        queue.settle(vec![again], false),
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
    let error = EmbeddedQueue::open(dir.path(), Clock::system(), config()).unwrap_err();
    assert!(error.to_string().contains("in use by process"), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = TempDir::new().unwrap();
    let content = b"not a database, but long enough to look at".repeat(100);
    std::fs::write(dir.path().join("events.sqlite"), content).unwrap();
    let error = EmbeddedQueue::open(dir.path(), Clock::system(), config()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let connection = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = EmbeddedQueue::open(dir.path(), Clock::system(), config()).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

/// What came with version 3.
fn ordered(id: &str, lane: &str, due: Timestamp) -> Accept {
    let mut accept = accept(id, &["f"], due, Identity::Unique);
    accept.lanes = BTreeMap::from([("f".to_owned(), lane.to_owned())]);
    accept
}

async fn settle(queue: &EmbeddedQueue, delivery: &crate::ports::Delivery, end: Disposition) {
    let settled = queue
        .settle(vec![settlement(delivery.clone(), end)], false)
        .await;
    assert_eq!(settled.unwrap(), [Settled::Committed]);
    queue.release(&[delivery.seq]);
}

/// Of one ordering key there is never more than one delivery at a time, and the next comes when it is gone
/// for good: not with its retry, not with a restart.
#[tokio::test]
async fn a_lane_gives_one_at_a_time_in_order() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let events = vec![
        ordered("a1", "a", 0),
        ordered("a2", "a", 0),
        ordered("b1", "b", 0),
        ordered("a3", "a", 5_000),
        ordered("a4", "a", 0),
    ];
    queue.accept(events).await.unwrap();
    let first = queue.take("f", 10, 1_000).await.unwrap().deliveries;
    assert_eq!(first.len(), 2);
    assert_eq!(
        (first[0].event.id.as_str(), first[1].event.id.as_str()),
        ("a1", "b1")
    );
    let retry = Disposition::Retry {
        due: 2_000,
        attempt: attempt(),
    };
    settle(&queue, &first[0], retry).await;
    assert_eq!(ids(&queue.take("f", 10, 1_999).await.unwrap()), [""; 0]);
    drop(queue);
    let queue = open(&dir);
    let counts = queue.counts(2_000).await.unwrap();
    assert_eq!((counts[0].pending, counts[0].waiting), (5, 3));
    let again = queue.take("f", 10, 2_000).await.unwrap();
    assert_eq!(ids(&again), ["b1", "a1"]);
    let dead = Disposition::Dead {
        attempt: attempt(),
        reason: "enough".to_owned(),
    };
    settle(&queue, &again.deliveries[1], dead).await;
    let second = queue.take("f", 10, 2_000).await.unwrap();
    assert_eq!(ids(&second), ["a2"]);
    settle(&queue, &second.deliveries[0], Disposition::Done).await;
    // The third is delayed, and the fourth waits for it.
    let none = queue.take("f", 10, 2_000).await.unwrap();
    assert_eq!((ids(&none), none.next_due), (vec![], Some(5_000)));
    let third = queue.take("f", 10, 5_000).await.unwrap();
    assert_eq!(ids(&third), ["a3"]);
    settle(&queue, &third.deliveries[0], Disposition::Done).await;
    assert_eq!(ids(&queue.take("f", 10, 5_000).await.unwrap()), ["a4"]);
}

/// The next of a lane began while the one before it was decided and not yet applied, and overwrote its
/// effects.
#[tokio::test]
async fn a_lane_stays_closed_until_effects_are_applied() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![ordered("1", "l", 0), ordered("2", "l", 0)])
        .await
        .unwrap();
    let first = queue
        .take("f", 9, 1_000)
        .await
        .unwrap()
        .deliveries
        .remove(0);
    let intent = Intent {
        seq: first.seq,
        changes: Vec::new(),
        accepts: Vec::new(),
    };
    let mut done = settlement(first, Disposition::Done);
    done.intent = Some(intent.clone());
    queue.settle(vec![done], false).await.unwrap();
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), [""; 0]);
    drop(queue);
    let queue = open(&dir);
    queue.accept(vec![ordered("3", "l", 0)]).await.unwrap();
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), [""; 0]);
    queue.applied(intent.seq).await.unwrap();
    let second = queue.take("f", 9, 1_000).await.unwrap();
    assert_eq!(ids(&second), ["2"]);
    settle(&queue, &second.deliveries[0], Disposition::Done).await;
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), ["3"]);
}

#[tokio::test]
async fn a_paused_function_gets_nothing_over_a_restart_until_it_is_resumed() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![accept("a", &["f", "g"], 0, Identity::Unique)])
        .await
        .unwrap();
    assert!(queue.pause("f", true).await.unwrap());
    assert!(!queue.pause("f", true).await.unwrap());
    drop(queue);
    let queue = open(&dir);
    assert_eq!(ids(&queue.take("f", 1, 1_000).await.unwrap()), [""; 0]);
    assert_eq!(ids(&queue.take("g", 1, 1_000).await.unwrap()), ["a"]);
    assert_eq!(queue.counts(1_000).await.unwrap()[0].paused, Some(1_000));
    assert!(queue.pause("f", false).await.unwrap());
    assert_eq!(ids(&queue.take("f", 1, 1_000).await.unwrap()), ["a"]);
}

/// Leaves dead letters `1` to `count` of `f`.
async fn die(queue: &EmbeddedQueue, count: usize) {
    for number in 1..=count {
        let event = accept(&number.to_string(), &["f"], 0, Identity::Unique);
        queue.accept(vec![event]).await.unwrap();
        let taken = queue.take("f", 1, 1_000).await.unwrap();
        let dead = Disposition::Dead {
            attempt: attempt(),
            reason: "enough".to_owned(),
        };
        settle(queue, &taken.deliveries[0], dead).await;
    }
}

#[tokio::test]
async fn dead_letters_are_chosen_redriven_and_dropped() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    die(&queue, 5).await;
    let of = |function: &str| DeadFilter {
        function: Some(function.to_owned()),
        ..DeadFilter::default()
    };
    assert_eq!(
        queue.dead_letters(&of("f"), None, 9).await.unwrap().len(),
        5
    );
    assert_eq!(
        queue
            .dead_letters(&of("f"), Some(3), 9)
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(
        queue
            .dead_letters(&of("g"), None, 9)
            .await
            .unwrap()
            .is_empty()
    );
    let early = DeadFilter {
        before: Some(1_500),
        ..DeadFilter::default()
    };
    assert!(
        queue
            .dead_letters(&early, None, 9)
            .await
            .unwrap()
            .is_empty()
    );
    let two = DeadFilter {
        seqs: vec![2, 4],
        ..DeadFilter::default()
    };
    let redriven = queue.redrive(&two, 9, 3_000, 100).await.unwrap();
    assert_eq!(redriven, BTreeMap::from([("f".to_owned(), 2)]));
    let taken = queue.take("f", 9, 3_000).await.unwrap();
    assert_eq!(ids(&taken), ["2"]);
    assert_eq!(next_due(&queue, 3_000).await, Some(3_100));
    let again = &taken.deliveries[0];
    assert_eq!(
        (again.attempt(), again.failed, again.since()),
        (2, 0, 3_000)
    );
    assert_eq!(queue.drop_dead(&of("f"), 2).await.unwrap(), 2);
    assert_eq!(queue.drop_dead(&DeadFilter::default(), 9).await.unwrap(), 1);
}

/// A full store holds back its sources and not what functions publish, and a function with too many dead
/// letters gets no more events: nothing is lost, and nothing grows without bound.
#[tokio::test]
async fn quotas_hold_back_and_lose_nothing() {
    let dir = TempDir::new().unwrap();
    let small = QueueConfig {
        max_events: 3,
        max_dead_letters: 2,
        max_answers: 1 << 30,
        ..config()
    };
    let queue = EmbeddedQueue::open(dir.path(), Clock::manual(1_000), small).unwrap();
    die(&queue, 2).await;
    let events = |n: usize| vec![accept("a", &["f"], 0, Identity::Unique); n];
    queue.accept(events(2)).await.unwrap();
    queue.accept(events(1)).await.unwrap();
    let refused = queue.accept(events(1)).await.unwrap_err();
    assert!(
        refused.to_string().contains("queue.max-events"),
        "{refused}"
    );
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), [""; 0]);
    assert!(queue.counts(1_000).await.unwrap()[0].held);
    queue.drop_dead(&DeadFilter::default(), 1).await.unwrap();
    let taken = queue.take("f", 1, 1_000).await.unwrap();
    let mut done = settlement(taken.deliveries[0].clone(), Disposition::Done);
    done.accepts = events(3);
    queue.settle(vec![done], false).await.unwrap();
    assert_eq!(queue.counts(1_000).await.unwrap()[0].pending, 5);
}

fn change(key: &str, value: &str, expected: Expected) -> KeyChange {
    KeyChange {
        bucket: "b".to_owned(),
        key: key.to_owned(),
        value: Some(value.as_bytes().to_vec()),
        expected,
    }
}

/// Two handlers saw the same value and both changed it: the second to commit is told, and leaves nothing.
#[tokio::test]
async fn changes_of_keys_commit_with_the_settlement_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let events = (1..=4).map(|n| accept(&n.to_string(), &["f"], 0, Identity::Unique));
    queue.accept(events.collect()).await.unwrap();
    let taken = queue.take("f", 4, 1_000).await.unwrap().deliveries;
    let with = |at: usize, keys: Vec<KeyChange>| {
        let mut settlement = settlement(taken[at].clone(), Disposition::Done);
        settlement.keys = keys;
        settlement
    };
    let first = with(0, vec![change("k", "1", Expected::Absent)]);
    assert_eq!(
        queue.settle(vec![first], false).await.unwrap(),
        [Settled::Committed]
    );
    let value = queue
        .get("b", &["k".to_owned()])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(value.bytes, b"1");
    let seen = Expected::seen(Some(&value));
    let pair = vec![
        with(
            1,
            vec![change("k", "2", seen), change("l", "2", Expected::Any)],
        ),
        with(
            2,
            vec![change("m", "3", Expected::Any), change("k", "3", seen)],
        ),
    ];
    let settled = queue.settle(pair, false).await.unwrap();
    assert_eq!(settled[0], Settled::Committed);
    assert!(matches!(&settled[1], Settled::Conflict { reason, .. } if reason.contains("\"k\"")));
    assert_eq!(queue.keys("b", None, 9).await.unwrap(), ["k", "l"]);
    let pair = vec![
        with(2, vec![change("n", "4", Expected::Any)]),
        with(3, vec![change("k", "4", seen)]),
    ];
    let settled = queue.settle(pair, true).await.unwrap();
    assert!(
        settled
            .iter()
            .all(|settled| matches!(settled, Settled::Conflict { .. }))
    );
    assert_eq!(queue.keys("b", Some("k"), 9).await.unwrap(), ["l"]);
    // A lease ends with its release, not before.
    assert_eq!(queue.counts(1_000).await.unwrap()[0].running, 4);
    queue.release(&[1, 2]);
    assert_eq!(queue.counts(1_000).await.unwrap()[0].running, 2);
}

/// The clock was set back by an hour while no host ran, and what was due waited for an hour.
#[tokio::test]
async fn a_clock_that_was_set_back_delays_nothing() {
    const HOUR: u64 = 3_600_000;
    let dir = TempDir::new().unwrap();
    let at = |now| EmbeddedQueue::open(dir.path(), Clock::manual(now), config()).unwrap();
    let events = vec![
        accept("now", &["f"], 2 * HOUR, Identity::Unique),
        accept("in a second", &["f"], 2 * HOUR + 1_000, Identity::Unique),
        ordered("behind 1", "l", 2 * HOUR),
        ordered("behind 2", "l", 2 * HOUR + 2_000),
    ];
    at(2 * HOUR).accept(events).await.unwrap();
    let queue = at(HOUR);
    let taken = queue.take("f", 9, HOUR).await.unwrap();
    assert_eq!(ids(&taken), ["now", "behind 1"]);
    assert_eq!(next_due(&queue, HOUR).await, Some(HOUR + 1_000));
    settle(&queue, &taken.deliveries[1], Disposition::Done).await;
    assert_eq!(
        queue
            .take("f", 9, HOUR + 2_000)
            .await
            .unwrap()
            .deliveries
            .len(),
        2
    );
}

/// A byte flipped on the disk: the one event is set aside, and the others go on.
#[tokio::test]
async fn a_damaged_delivery_holds_nobody_up() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let events = vec![
        ordered("bad", "l", 0),
        ordered("behind", "l", 0),
        accept("other", &["f"], 0, Identity::Unique),
    ];
    queue.accept(events).await.unwrap();
    drop(queue);
    let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    let flip = "UPDATE delivery SET record = zeroblob(length(record)) WHERE seq = 1";
    assert_eq!(connection.execute(flip, []).unwrap(), 1);
    drop(connection);
    let queue = open(&dir);
    let taken = queue.take("f", 9, 1_000).await.unwrap();
    assert_eq!(ids(&taken), ["other"]);
    assert!(
        taken.damaged[0].contains("delivery 1"),
        "{:?}",
        taken.damaged
    );
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), ["behind"]);
}
