//! What goes wrong under the queue, or at a bad moment: a full disk, damaged records, a panic, a backup amid
//! writes.

use tempfile::TempDir;

use super::*;

/// An id came again after its window, and nothing had been tidied since: it was taken for a duplicate.
#[tokio::test]
async fn an_id_is_new_again_after_its_window() {
    let dir = TempDir::new().unwrap();
    let clock = Clock::manual(1_000);
    let queue = EmbeddedQueue::open(dir.path(), clock.clone(), config()).unwrap();
    for (wait, expected) in [
        (0, Accepted::New),
        (60_000, Accepted::Duplicate),
        (1, Accepted::New),
        (1, Accepted::Duplicate),
    ] {
        clock.advance(std::time::Duration::from_millis(wait));
        let mut event = accept("a", &["f"], 0, Identity::Id);
        event.event.accepted = clock.now();
        assert_eq!(
            queue.accept(vec![event]).await.unwrap(),
            [expected],
            "{wait}"
        );
    }
}

/// Where the disk is full in the middle of a group SQLite takes back all of it, and what followed was
/// committed by itself and answered as failed.
#[tokio::test]
async fn a_group_that_meets_a_full_disk_is_committed_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .write(|store| {
            let pages: i64 = store.one("PRAGMA page_count", [])?.unwrap_or(0);
            let set = store
                .connection
                .pragma_update(None, "max_page_count", pages);
            set.map_err(|error| schema::failed(&error))
        })
        .await
        .unwrap();
    let message = |id: String, size: usize| {
        let mut accept = accept(&id, &["f"], 0, Identity::Id);
        if let Payload::Message(message) = &mut accept.event.payload {
            message.body = vec![7; size];
        }
        accept
    };
    let mut refused = 0;
    for round in 0..40 {
        // Three in one group, as they come without a pause.
        let messages = [("small", 100), ("large", 20_000), ("after", 10)];
        let accepts = messages.map(|(name, size)| {
            let id = format!("{name} {round}");
            (id.clone(), queue.accept(vec![message(id, size)]))
        });
        let [(a, first), (b, second), (c, third)] = accepts;
        let (first, second, third) = tokio::join!(first, second, third);
        let there = queue.list("f", 1_000, 1_000).await.unwrap();
        for (id, answer) in [(a, first), (b, second), (c, third)] {
            let is_there = there.iter().any(|listed| listed.id == id);
            assert_eq!(answer.is_ok(), is_there, "{id}: {answer:?}");
            if let Err(error) = answer {
                assert!(error.to_string().contains("free some space"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

/// One flipped byte among the dead letters: none could be listed or redriven.
#[tokio::test]
async fn a_damaged_dead_letter_holds_nobody_up() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    die(&queue, 3).await;
    queue
        .write(|store| {
            store.sql(
                "UPDATE dead SET record = zeroblob(length(record)) WHERE seq = 2",
                [],
            )
        })
        .await
        .unwrap();
    let all = DeadFilter::default();
    let letters = queue.dead_letters(&all, None, 2).await.unwrap();
    let seqs: Vec<u64> = letters.iter().map(|letter| letter.delivery.seq).collect();
    assert_eq!(seqs, [1, 3]);
    let redriven = queue.redrive(&all, 10, 0, 0).await.unwrap();
    assert_eq!(redriven["f"], 2);
    assert_eq!(queue.counts(1_000).await.unwrap()[0].dead, 0);
}

/// A decided intent that can't be read: the host didn't start.
#[tokio::test]
async fn a_damaged_intent_is_told_and_holds_nobody_up() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .write(|store| store.sql("INSERT INTO intent (seq, record) VALUES (9, x'00')", []))
        .await
        .unwrap();
    let intents = queue.intents().await.unwrap();
    assert!(intents.intents.is_empty());
    assert!(intents.damaged[0].contains("intent 9"), "{intents:?}");
}

/// What is read and written while the log is lengthened, and after a restart, is as ever.
#[tokio::test]
async fn a_lengthened_log_holds_what_is_written() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let add = async |queue: &EmbeddedQueue, id: &str| {
        let event = accept(id, &["f"], 0, Identity::Unique);
        queue.accept(vec![event]).await.unwrap();
    };
    add(&queue, "before").await;
    queue.lengthen_log().await.unwrap();
    let log = dir.path().join(format!("{FILE}-wal"));
    assert!(log.metadata().unwrap().len() > 16_000_000);
    add(&queue, "after").await;
    assert!(log.metadata().unwrap().len() < 18_000_000);
    // As a killed process leaves them.
    let copy = TempDir::new().unwrap();
    for end in ["", "-wal"] {
        let name = format!("{FILE}{end}");
        std::fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    for queue in [open(&copy), queue] {
        let taken = queue.take("f", 9, 1_000).await.unwrap();
        assert_eq!(ids(&taken), ["before", "after"]);
    }
}

/// The end of one was still to be told when the next of its key was taken.
#[tokio::test]
async fn the_next_of_a_key_waits_until_the_one_before_is_released() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    queue
        .accept(vec![ordered("one", "l", 0), ordered("two", "l", 0)])
        .await
        .unwrap();
    let one = queue.take("f", 9, 1_000).await.unwrap();
    assert_eq!(ids(&one), ["one"]);
    let done = settlement(one.deliveries[0].clone(), Disposition::Done);
    queue.settle(vec![done], false).await.unwrap();
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), [""; 0]);
    queue.release(&[one.deliveries[0].seq]);
    assert_eq!(ids(&queue.take("f", 9, 1_000).await.unwrap()), ["two"]);
}

/// Others stood still for as long as the store was copied. What comes meanwhile isn't in the copy, and stays.
#[tokio::test]
async fn a_backup_has_what_was_there_when_it_began() {
    let dir = TempDir::new().unwrap();
    let roomy = QueueConfig {
        max_bytes: 1 << 30,
        ..config()
    };
    let queue = EmbeddedQueue::open(dir.path(), Clock::manual(1_000), roomy).unwrap();
    let add = async |id: String, size: usize| {
        let mut event = accept(&id, &["f"], 0, Identity::Unique);
        if let Payload::Message(message) = &mut event.event.payload {
            message.body = vec![7; size];
        }
        queue.accept(vec![event]).await.unwrap();
    };
    add("before".to_owned(), 1).await;
    let bytes = queue.between(Operations::begin_backup).await.unwrap();
    // More than the log holds before it is moved into the file, where no backup forbids it.
    for number in 0..60 {
        add(number.to_string(), 400_000).await;
    }
    let copy = dir.path().join("copy");
    backup::copy(&queue.file, bytes, &copy).unwrap();
    queue.between(Operations::end_backup).await.unwrap();
    add("after".to_owned(), 1).await;
    let other = TempDir::new().unwrap();
    restore(&copy, other.path()).unwrap();
    let restored = open(&other).take("f", 100, 1_000).await.unwrap();
    assert_eq!(ids(&restored), ["before"]);
    assert_eq!(
        queue.take("f", 100, 1_000).await.unwrap().deliveries.len(),
        62
    );
}

/// Its name is synced when the store is opened, so it must be there by then; `cargo xtask torture` has such syncs
/// fail.
#[tokio::test]
async fn the_log_is_there_as_soon_as_the_store_is() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let queue = open(&dir);
        assert!(dir.path().join(format!("{FILE}-wal")).exists());
        drop(queue);
    }
}

/// In a runtime of several threads a caller commits by itself where nobody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_that_commits_by_itself_loses_nothing_and_neither_does_one_that_panics() {
    let dir = TempDir::new().unwrap();
    let queue = Arc::new(open(&dir));
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..8 {
        let queue = Arc::clone(&queue);
        publishers.spawn(async move {
            for number in 0..50 {
                let id = format!("{publisher}/{number}");
                let event = accept(&id, &["f"], 0, Identity::Id);
                assert_eq!(queue.accept(vec![event]).await.unwrap(), [Accepted::New]);
            }
        });
    }
    while let Some(done) = publishers.join_next().await {
        done.unwrap();
    }
    let panics = Arc::clone(&queue);
    let ended = tokio::spawn(async move {
        panics
            .write(|store| -> operations::Result<()> {
                let event = accept("lost", &["f"], 0, Identity::Id);
                store.accept(&[event])?;
                panic!("in the middle of a group");
            })
            .await
    });
    // On its own thread, or on the store's.
    assert!(!matches!(ended.await, Ok(Ok(()))));
    let event = accept("after", &["f"], 0, Identity::Id);
    queue.accept(vec![event]).await.unwrap();
    let there = queue.list("f", 1_000, 1_000).await.unwrap();
    assert_eq!(there.len(), 401);
    assert!(there.iter().all(|listed| listed.id != "lost"));
}
