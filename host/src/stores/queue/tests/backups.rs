//! Backups, and what takes the store's place.

use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn a_backup_is_whole_and_takes_the_stores_place() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let backup = dir.path().join("backup");
    queue
        .accept(vec![accept("a", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    queue.backup(&backup).await.unwrap();
    assert!(queue.backup(&backup).await.is_err(), "it is there already");
    queue
        .accept(vec![accept("later", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    assert!(matches!(
        restore(&backup, dir.path()),
        Err(QueueError::InUse { .. })
    ));
    drop(queue);
    let kept = restore(&backup, dir.path()).unwrap().unwrap();
    let queue = open(&dir);
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), ["a"]);
    drop(queue);
    // What was there is a whole store too, and no restore after it takes it away.
    let other = restore(&backup, dir.path()).unwrap().unwrap();
    assert_ne!(other, kept);
    restore(&kept, dir.path()).unwrap();
    assert_eq!(
        ids(&open(&dir).take("f", 9, 1_000).await.unwrap()),
        ["a", "later"]
    );
}

#[test]
fn what_is_no_whole_backup_takes_nobodys_place() {
    let dir = TempDir::new().unwrap();
    drop(open(&dir));
    let store = std::fs::read(dir.path().join(FILE)).unwrap();
    let bad = dir.path().join("bad");
    for content in [&b""[..], b"no store", &store[..store.len() - 5_000]] {
        std::fs::write(&bad, content).unwrap();
        assert!(
            restore(&bad, dir.path()).is_err(),
            "{} bytes",
            content.len()
        );
        assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), store);
    }
}

/// A damaged store is what backups are for.
#[tokio::test]
async fn a_backup_takes_the_place_of_a_damaged_store() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let backup = dir.path().join("backup");
    queue
        .accept(vec![accept("a", &["f"], 0, Identity::Unique)])
        .await
        .unwrap();
    queue.backup(&backup).await.unwrap();
    drop(queue);
    std::fs::write(dir.path().join(FILE), b"damage".repeat(2_000)).unwrap();
    assert!(EmbeddedQueue::open(dir.path(), Clock::system(), config()).is_err());
    let kept = restore(&backup, dir.path()).unwrap().unwrap();
    assert!(std::fs::read(kept).unwrap().starts_with(b"damage"));
    assert_eq!(ids(&open(&dir).take("f", 9, 1_000).await.unwrap()), ["a"]);
}
