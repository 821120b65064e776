//! What is remembered of ids to recognise duplicates.

use std::time::Duration;

use super::*;

fn identified(source: &str, id: &str) -> Accept {
    let mut accept = accept(id, &[], 0, Identity::Id);
    accept.event.source = source.to_owned();
    accept
}

async fn is_known(queue: &EmbeddedQueue, source: &str, id: &str) -> bool {
    let answer = queue.accept(vec![identified(source, id)]).await.unwrap();
    answer == [Accepted::Duplicate]
}

async fn remembered(queue: &EmbeddedQueue) -> u64 {
    queue.totals().await.unwrap().remembered
}

/// 338 events with ids of 1 MB left a store of 653 MB.
#[tokio::test]
async fn a_long_id_is_known_by_its_digest() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let long = "x".repeat(1_000);
    assert!(!is_known(&queue, "/shop", &long).await);
    assert!(is_known(&queue, "/shop", &long).await);
    // What belongs to the source and what to the id counts.
    assert!(!is_known(&queue, "/shopx", &long[1..]).await);
    assert!(!is_known(&queue, "/other", &long).await);
    let taken = remembered(&queue).await;
    assert!(taken < 3 * 200, "{taken}");
    drop(queue);
    assert!(is_known(&open(&dir), "/shop", &long).await);
}

#[tokio::test]
async fn what_is_remembered_counts_as_taken() {
    let dir = TempDir::new().unwrap();
    let clock = Clock::manual(1_000);
    let small = QueueConfig {
        max_bytes: 2_000,
        ..config()
    };
    let queue = EmbeddedQueue::open(dir.path(), clock.clone(), small).unwrap();
    let mut refused = None;
    for number in 0..100 {
        let event = accept(&number.to_string(), &["f"], 0, Identity::Id);
        if let Err(error) = queue.accept(vec![event]).await {
            refused = Some(error);
            break;
        }
        let taken = queue.take("f", 1, 1_000).await.unwrap();
        let done = settlement(taken.deliveries[0].clone(), Disposition::Done);
        queue.settle(vec![done], false).await.unwrap();
    }
    let refused = refused.unwrap().to_string();
    let says = ["ids that are remembered take", "`queue.max-bytes` is 2000"];
    assert!(says.iter().all(|says| refused.contains(says)), "{refused}");
    // They are forgotten when their time has come, by whoever commits.
    clock.advance(Duration::from_secs(120));
    queue
        .accept(vec![accept("a", &[], 0, Identity::Unique)])
        .await
        .unwrap();
    assert_eq!(remembered(&queue).await, 0);
    queue
        .accept(vec![accept("b", &["f"], 0, Identity::Id)])
        .await
        .unwrap();
}

/// A store of version 3 remembers ids as they are, however long.
#[tokio::test]
async fn an_older_store_knows_its_ids_still() {
    let dir = TempDir::new().unwrap();
    let long = "x".repeat(3_000);
    drop(open(&dir));
    let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    connection.execute_batch(TO_VERSION_3).unwrap();
    for id in ["short", &long] {
        let sql = "INSERT INTO seen (source, id, accepted) VALUES ('/shop', ?1, 1000)";
        connection.execute(sql, [id]).unwrap();
    }
    drop(connection);
    let queue = open(&dir);
    assert_eq!(remembered(&queue).await, 5 + 5 + 64 + 64 + 64);
    assert!(is_known(&queue, "/shop", "short").await);
    assert!(is_known(&queue, "/shop", &long).await);
    assert!(!is_known(&queue, "/shop", "new").await);
}
