//! Events that are handed out before they are on disk, and groups that wait for their settlement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::ports::{Delivery, Waiter};

/// Takes up to `room` deliveries in all.
struct Taker {
    room: Mutex<usize>,
    takes: Duration,
    given: mpsc::UnboundedSender<Delivery>,
    woken: AtomicBool,
}

impl Waiter for Taker {
    fn room(&self) -> usize {
        *self.room.lock().unwrap()
    }

    fn offer(&self, mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let mut room = self.room.lock().unwrap();
        let refused = deliveries.split_off(deliveries.len().min(*room));
        *room -= deliveries.len();
        deliveries
            .into_iter()
            .for_each(|delivery| self.given.send(delivery).unwrap());
        refused
    }

    fn takes(&self) -> Duration {
        self.takes
    }

    fn wake(&self, _due: Timestamp) {
        self.woken.store(true, Ordering::SeqCst);
    }
}

async fn attend(
    queue: &EmbeddedQueue,
    room: usize,
    takes: Duration,
) -> (Arc<Taker>, mpsc::UnboundedReceiver<Delivery>) {
    let (given, receiver) = mpsc::unbounded_channel();
    let taker = Arc::new(Taker {
        room: Mutex::new(room),
        takes,
        given,
        woken: AtomicBool::new(false),
    });
    let waiter: Arc<dyn Waiter> = Arc::clone(&taker) as _;
    queue.attend("f", waiter).await.unwrap();
    (taker, receiver)
}

async fn groups_take(queue: &EmbeddedQueue, usual_commit: Duration) {
    let set = queue.write(move |store| {
        store.usual_commit = usual_commit;
        Ok(())
    });
    set.await.unwrap();
    // That was a group itself, whose commit was quick.
    let set = queue.read(move |store| {
        store.usual_commit = usual_commit;
        Ok(())
    });
    set.await.unwrap();
}

fn one(id: &str) -> Vec<Accept> {
    vec![accept(id, &["f"], 0, Identity::Id)]
}

#[tokio::test]
async fn what_a_waiter_takes_is_leased_and_the_rest_wakes_it() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let (taker, mut given) = attend(&queue, 2, Duration::MAX).await;
    let three = ["a", "b", "c"].map(|id| accept(id, &["f"], 0, Identity::Id));
    queue.accept(three.to_vec()).await.unwrap();

    let first = given.recv().await.unwrap();
    let second = given.recv().await.unwrap();
    assert_eq!(
        (first.event.id.as_str(), second.event.id.as_str()),
        ("a", "b")
    );
    assert!(taker.woken.load(Ordering::SeqCst));
    // What was given isn't given again before it is released.
    let taken = queue.take("f", 9, 1_000).await.unwrap();
    assert_eq!(ids(&taken), ["c"]);
    queue.release(&[first.seq]);
    let taken = queue.take("f", 9, 1_000).await.unwrap();
    assert_eq!(ids(&taken), ["a"]);
    let settled = queue
        .settle(vec![settlement(second, Disposition::Done)], false)
        .await;
    assert_eq!(settled.unwrap(), [Settled::Committed]);
}

#[tokio::test]
async fn what_isnt_due_or_has_an_ordering_key_and_what_a_paused_function_gets_stays_in_the_store() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let (taker, mut given) = attend(&queue, 9, Duration::MAX).await;
    let mut ordered = accept("ordered", &["f"], 0, Identity::Id);
    ordered.lanes = BTreeMap::from([("f".to_owned(), "key".to_owned())]);
    let later = accept("later", &["f"], 5_000, Identity::Id);
    queue.accept(vec![ordered, later]).await.unwrap();
    assert!(taker.woken.load(Ordering::SeqCst));

    queue.pause("f", true).await.unwrap();
    queue.accept(one("paused")).await.unwrap();
    assert!(given.try_recv().is_err());
    queue.pause("f", false).await.unwrap();
    let taken = queue.take("f", 9, 5_000).await.unwrap();
    assert_eq!(ids(&taken), ["ordered", "paused", "later"]);
}

/// What the function did counts for nothing, its source having been told that its event wasn't accepted.
#[tokio::test]
async fn an_event_whose_acceptance_fails_cant_be_settled() {
    let dir = TempDir::new().unwrap();
    let queue = open(&dir);
    let broken = queue.between(|store| {
        let sql = "PRAGMA foreign_keys = ON;
             CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);";
        let made = store.connection.execute_batch(sql);
        made.map_err(|error| schema::failed(&error))
    });
    broken.await.unwrap();
    let (_, mut given) = attend(&queue, 9, Duration::MAX).await;

    // In one group, whose commit is what fails.
    let busy = queue.between(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    let (_, accepted, broken) = tokio::join!(
        busy,
        queue.accept(one("a")),
        queue.write(|store| store.sql("INSERT INTO child VALUES (1)", []))
    );
    assert!(accepted.is_err() && broken.is_err(), "{accepted:?}");
    let delivery = given.recv().await.unwrap();
    let seq = delivery.seq;
    let settle = || queue.settle(vec![settlement(delivery.clone(), Disposition::Done)], false);
    let refused = settle().await.unwrap_err();
    assert!(refused.to_string().contains("never accepted"), "{refused}");

    // Another that isn't there was lost by the store.
    queue.release(&[seq]);
    let damaged = settle().await.unwrap_err();
    assert!(matches!(damaged, QueueError::Damaged { .. }), "{damaged}");
    // And the source's next try is as good as any.
    queue.accept(one("a")).await.unwrap();
    assert_eq!(given.recv().await.unwrap().event.id, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_function_is_settled_by_the_commit_that_accepts_its_event() {
    let dir = TempDir::new().unwrap();
    let queue = Arc::new(open(&dir));
    let (_, mut given) = attend(&queue, 9, Duration::ZERO).await;
    groups_take(&queue, Duration::from_secs(60)).await;
    let before = queue.store.groups();
    let accepting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.accept(one("a")).await }
    });
    let delivery = given.recv().await.unwrap();
    assert!(!accepting.is_finished());
    let follower = accept("b", &["g"], 0, Identity::Unique);
    let settlement = Settlement {
        accepts: vec![follower],
        ..settlement(delivery, Disposition::Done)
    };
    let settled = queue.settle(vec![settlement], false).await;
    assert_eq!(settled.unwrap(), [Settled::Committed]);
    assert_eq!(accepting.await.unwrap().unwrap(), [Accepted::New]);
    assert_eq!(queue.store.groups(), before + 1);

    drop(Arc::into_inner(queue).unwrap());
    let queue = open(&dir);
    assert_eq!(queue.totals().await.unwrap().events, 1);
    let again = queue.accept(one("a")).await.unwrap();
    assert_eq!(again, [Accepted::Duplicate]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_waits_no_longer_than_a_commit_takes_and_no_reader_sees_it_before() {
    let dir = TempDir::new().unwrap();
    let queue = Arc::new(open(&dir));
    let (_, mut given) = attend(&queue, 9, Duration::ZERO).await;
    // Nobody settles it.
    groups_take(&queue, Duration::from_millis(20)).await;
    queue.accept(one("a")).await.unwrap();
    given.recv().await.unwrap();

    groups_take(&queue, Duration::from_secs(60)).await;
    let accepting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.accept(one("b")).await }
    });
    given.recv().await.unwrap();
    // To read is to have it committed.
    assert_eq!(queue.totals().await.unwrap().events, 2);
    accepting.await.unwrap().unwrap();
}

/// Nothing that is open is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_closes_commits_what_waits() {
    let dir = TempDir::new().unwrap();
    let queue = Arc::new(open(&dir));
    let (_, mut given) = attend(&queue, 9, Duration::ZERO).await;
    groups_take(&queue, Duration::from_millis(200)).await;
    let accepting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.accept(one("a")).await }
    });
    given.recv().await.unwrap();
    drop(queue);
    accepting.await.unwrap().unwrap();
    assert_eq!(open(&dir).totals().await.unwrap().events, 1);
}
