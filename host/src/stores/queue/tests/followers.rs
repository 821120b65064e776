//! Events that follow from one decision and are many.

use super::*;
use crate::ports::STEP_BYTES;

const MANY: usize = 3 * STEP + 7;

fn followers(count: usize) -> Vec<Accept> {
    let accept = |number: usize| accept(&number.to_string(), &["g"], 0, Identity::Unique);
    (0..count).map(accept).collect()
}

fn roomy(dir: &TempDir) -> EmbeddedQueue {
    let config = QueueConfig {
        max_events: 1_000_000,
        max_bytes: 1 << 30,
        ..config()
    };
    EmbeddedQueue::open(dir.path(), Clock::manual(1_000), config).unwrap()
}

/// Settles an event of `f` from which many follow, and returns the number of their intent.
async fn decide(queue: &EmbeddedQueue) -> u64 {
    let first = accept("a", &["f"], 0, Identity::Unique);
    queue.accept(vec![first]).await.unwrap();
    let delivery = take_one(queue, 1_000).await;
    let seq = delivery.seq;
    let mut done = settlement(delivery, Disposition::Done);
    done.intent = Some(Intent {
        seq,
        changes: Vec::new(),
        accepts: followers(MANY),
    });
    let settled = queue.settle(vec![done], false).await.unwrap();
    assert_eq!(settled, [Settled::Committed]);
    seq
}

/// Fails unless the events that follow are there, once each and in order.
async fn assert_all_there(queue: &EmbeddedQueue) {
    let taken = queue.take("g", 2 * MANY, 9_000).await.unwrap();
    let expected: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    assert_eq!(ids(&taken), expected);
    assert_eq!(queue.intents().await.unwrap(), Intents::default());
}

async fn kept(queue: &EmbeddedQueue) -> i64 {
    let count = |store: &mut Operations| store.one("SELECT count(*) FROM follower", []);
    queue.read(count).await.unwrap().unwrap()
}

/// One step that accepted a million events held the store for ten seconds.
#[tokio::test]
async fn many_events_follow_in_steps_that_others_go_between() {
    let dir = TempDir::new().unwrap();
    let queue = roomy(&dir);
    let before = queue.store.groups();
    let seq = decide(&queue).await;
    let decided = queue.store.groups();
    assert!(decided - before >= 2 + MANY.div_ceil(STEP) as u64);
    assert!(
        queue
            .take("g", 1, 9_000)
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
    let answers = queue.applied(seq).await.unwrap();
    assert_eq!(answers, vec![Accepted::New; MANY]);
    assert!(queue.store.groups() - decided >= MANY.div_ceil(STEP) as u64);
    assert_all_there(&queue).await;
    assert_eq!(queue.applied(seq).await.unwrap(), []);
    assert_eq!(kept(&queue).await, 0);
}

/// A host that ended between two steps finds the rest at its next start, and nothing comes twice.
#[tokio::test]
async fn many_events_survive_an_end_between_two_steps() {
    let dir = TempDir::new().unwrap();
    let queue = roomy(&dir);
    let seq = decide(&queue).await;
    let step = queue.write(move |store| store.accept_followers(seq)).await;
    assert_eq!(step.unwrap().len(), STEP);
    drop(queue);
    let queue = roomy(&dir);
    let intents = queue.intents().await.unwrap().intents;
    assert_eq!(intents.len(), 1);
    assert_eq!(intents[0].seq, seq);
    let rest = queue.applied(seq).await.unwrap();
    assert_eq!(rest.len(), MANY - STEP);
    assert_all_there(&queue).await;
}

/// What was kept for a decision that a host didn't come to is gone at its next start.
#[tokio::test]
async fn what_was_kept_for_no_decision_goes() {
    let dir = TempDir::new().unwrap();
    let queue = roomy(&dir);
    let mut intent = Intent {
        seq: 5,
        changes: Vec::new(),
        accepts: followers(MANY),
    };
    let numbers = queue.keep_followers(vec![None, Some(&mut intent)]).await;
    assert_eq!(numbers.unwrap(), [None, Some(5)]);
    assert_eq!(kept(&queue).await, MANY as i64);
    drop(queue);
    let queue = roomy(&dir);
    assert_eq!(kept(&queue).await, 0);
    assert_eq!(queue.applied(5).await.unwrap(), []);
    assert!(
        queue
            .take("g", 1, 9_000)
            .await
            .unwrap()
            .deliveries
            .is_empty()
    );
}

#[tokio::test]
async fn a_conflict_keeps_none_of_many_events() {
    let dir = TempDir::new().unwrap();
    let queue = roomy(&dir);
    let first = accept("a", &["f"], 0, Identity::Unique);
    queue.accept(vec![first]).await.unwrap();
    let delivery = take_one(&queue, 1_000).await;
    let mut done = settlement(delivery.clone(), Disposition::Done);
    done.intent = Some(Intent {
        seq: delivery.seq,
        changes: Vec::new(),
        accepts: followers(MANY),
    });
    done.keys = vec![change("k", "v", Expected::Revision(99))];
    let settled = queue.settle(vec![done], false).await.unwrap();
    assert!(
        matches!(settled[0], Settled::Conflict { .. }),
        "{settled:?}"
    );
    assert_eq!(kept(&queue).await, 0);
}

/// Few events of many bytes are many as well, and one that is larger than a step is a step of its
/// own.
#[tokio::test]
async fn a_step_ends_after_so_many_bytes() {
    let large = |size: usize| {
        let mut accept = accept("a", &["g"], 0, Identity::Unique);
        if let Payload::Message(message) = &mut accept.event.payload {
            message.body = vec![0; size];
        }
        accept
    };
    let half = vec![large(STEP_BYTES / 2); 5];
    assert_eq!(Accept::step(&half), 1);
    let third = vec![large(STEP_BYTES / 3); 5];
    assert_eq!(Accept::step(&third), 2);
    assert_eq!(Accept::step(&vec![large(2 * STEP_BYTES); 2]), 1);
    assert!(!Accept::are_many(&[large(2 * STEP_BYTES)]));

    let dir = TempDir::new().unwrap();
    let queue = roomy(&dir);
    let mut intent = Intent {
        seq: 0,
        changes: Vec::new(),
        accepts: third,
    };
    let commitment = Commitment {
        intent: Some(intent.clone()),
        accepts: Vec::new(),
        keys: Vec::new(),
        sightings: Vec::new(),
        answer: None,
    };
    let (settled, seq) = queue.commit(commitment).await.unwrap();
    assert_eq!(settled, Settled::Committed);
    let step = queue.write(move |store| store.accept_followers(seq)).await;
    // With what a record adds, three fill a step.
    assert_eq!(step.unwrap().len(), 3);
    assert_eq!(queue.applied(seq).await.unwrap().len(), 2);
    intent.seq = seq;
    assert_eq!(queue.intents().await.unwrap(), Intents::default());
}
