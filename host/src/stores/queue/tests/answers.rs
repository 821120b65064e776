//! What requests decide, and the answers that are remembered.

use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn a_store_of_version_2_learns_to_remember_answers() {
    let dir = TempDir::new().unwrap();
    let kept = accept("1", &["f"], 0, Identity::Id);
    open(&dir).accept(vec![kept.clone()]).await.unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("events.sqlite")).unwrap();
    connection.execute_batch(TO_VERSION_3).unwrap();
    connection
        .execute_batch(
            "DROP TABLE answer; DELETE FROM meta WHERE name = 'answers'; PRAGMA user_version = 2;",
        )
        .unwrap();
    drop(connection);
    let queue = open(&dir);
    let (key, answer) = ([7; 32], answered(b"first"));
    assert_eq!(queue.answer(&key).await.unwrap(), None);
    let (settled, _) = queue.commit(remember(key, &answer)).await.unwrap();
    assert_eq!(settled, Settled::Committed);
    drop(queue);
    let queue = open(&dir);
    assert_eq!(queue.answer(&key).await.unwrap(), Some(answer));
    assert_eq!(
        queue.accept(vec![kept]).await.unwrap(),
        [Accepted::Duplicate]
    );
}

fn answered(body: &[u8]) -> KeptAnswer {
    KeptAnswer {
        request: vec![1; 32],
        status: 201,
        headers: vec![crate::ports::Field {
            name: "x".to_owned(),
            value: vec![b'a', 0xff],
        }],
        body: body.to_vec(),
        trailers: Vec::new(),
    }
}

fn remember(key: AnswerKey, answer: &KeptAnswer) -> Commitment {
    Commitment {
        intent: None,
        accepts: Vec::new(),
        keys: Vec::new(),
        sightings: Vec::new(),
        answer: Some((key, answer.clone())),
    }
}

/// A request in conflict leaves nothing, neither its answer nor what would follow.
#[tokio::test]
async fn what_a_request_decided_is_kept_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let change = |expected| KeyChange {
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        value: Some(b"v".to_vec()),
        expected,
    };
    let intent = Intent {
        seq: 0,
        changes: Vec::new(),
        accepts: Vec::new(),
    };
    let mut commitment = remember([1; 32], &answered(b"one"));
    commitment.keys = vec![change(Expected::Absent)];
    commitment.intent = Some(intent.clone());
    commitment.accepts = vec![accept("1", &["f"], 0, Identity::Unique)];
    let (settled, seq) = queue.commit(commitment.clone()).await.unwrap();
    assert_eq!(settled, Settled::Committed);
    assert_eq!(queue.intents().await.unwrap().intents[0].seq, seq);
    queue.applied(seq).await.unwrap();

    // Another of the same key, that had begun before.
    let again = queue
        .commit(remember([1; 32], &answered(b"other")))
        .await
        .unwrap();
    assert!(matches!(again, (Settled::Conflict { .. }, _)), "{again:?}");
    let kept = queue.answer(&[1; 32]).await.unwrap();
    assert_eq!(kept, Some(answered(b"one")));

    commitment.answer = Some(([2; 32], answered(b"two")));
    let (settled, _) = queue.commit(commitment).await.unwrap();
    assert!(matches!(settled, Settled::Conflict { .. }), "{settled:?}");
    assert_eq!(queue.answer(&[2; 32]).await.unwrap(), None);
    assert_eq!(queue.intents().await.unwrap(), Intents::default());
    assert_eq!(queue.totals().await.unwrap().events, 1);
}

#[tokio::test]
async fn answers_go_after_their_window_and_have_so_much_room() {
    let dir = TempDir::new().unwrap();
    let clock = Clock::manual(1_000);
    let small = QueueConfig {
        max_answers: 100,
        ..config()
    };
    let queue = EmbeddedQueue::open(dir.path(), clock.clone(), small).unwrap();
    queue
        .commit(remember([1; 32], &answered(&[b'x'; 90])))
        .await
        .unwrap();
    let full = queue.answer(&[2; 32]).await.unwrap_err();
    assert!(full.to_string().contains("queue.max-answers"), "{full}");
    clock.advance(std::time::Duration::from_millis(60_001));
    // Not remembered any more; what is old makes room, whether or not anything else is written.
    assert_eq!(queue.answer(&[2; 32]).await.unwrap(), None);
    queue
        .commit(remember([1; 32], &answered(b"new")))
        .await
        .unwrap();
    clock.advance(std::time::Duration::from_millis(6_000));
    // Tidied up with the next commit.
    queue
        .commit(remember([3; 32], &answered(b"x")))
        .await
        .unwrap();
    assert!(queue.answer(&[2; 32]).await.is_err());
    clock.advance(std::time::Duration::from_millis(60_001));
    queue
        .accept(vec![accept("1", &["f"], 0, Identity::Id)])
        .await
        .unwrap();
    assert_eq!(queue.answer(&[2; 32]).await.unwrap(), None);
}
