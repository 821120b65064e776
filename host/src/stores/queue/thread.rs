//! Who commits: what waits goes into one group, which the store's thread commits and then answers. Where
//! nothing waits the caller commits by itself.
//!
//! A caller who does, and whose event was handed to a function that is quicker than a sync of the disk, waits
//! for that to be settled: then one sync does for both. Meanwhile the group is open to others, and whoever comes
//! through the store's thread or wants to read commits it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::operations::Operations;
use crate::ports::QueueError;

/// The most commands in one commit: an answer shouldn't wait for more.
const GROUP: usize = 512;

/// How long to wait for somebody who has the store, and is about to commit the group.
const ABOUT_TO: Duration = Duration::from_micros(100);

#[derive(Debug)]
pub(super) struct Shared {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// Until it is closed.
    store: Option<Operations>,
    /// What waits for its commit, where a transaction is open.
    group: Option<Group>,
    /// How many groups there have been.
    groups: u64,
}

struct Group {
    number: u64,
    answers: Vec<Answer>,
    /// Dropped with the group, which tells whoever opened it that it has ended.
    _open: Sender<()>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Group").field(&self.number).finish()
    }
}

impl Shared {
    pub fn new(store: Operations) -> Self {
        Self {
            held: Mutex::new(Held {
                store: Some(store),
                group: None,
                groups: 0,
            }),
        }
    }

    #[cfg(test)]
    pub fn groups(&self) -> u64 {
        self.lock().groups
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Who panicked with the store had a transaction open, which the next one finds and rolls back.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) enum Command {
    /// Joins the group's transaction; answered when that is on disk.
    Write(Work),
    /// Answered before the group's commit.
    Read(Work),
}

/// Something to do with the store, and the answer that is owed for it.
pub(super) struct Work {
    /// Takes the store, or why it can't be used.
    run: Run,
}

type Run = Box<dyn FnOnce(Result<&mut Operations, QueueError>) -> Answer + Send>;

/// Sends what the work came to, or the error of the commit that it was part of.
type Answer = Box<dyn FnOnce(Result<(), QueueError>) + Send>;

impl Work {
    pub fn new<T: Send + 'static>(
        work: impl FnOnce(&mut Operations) -> Result<T, QueueError> + Send + 'static,
        answer: oneshot::Sender<Result<T, QueueError>>,
    ) -> Self {
        let run = move |store: Result<&mut Operations, QueueError>| -> Answer {
            let result = store.and_then(work);
            Box::new(move |committed: Result<(), QueueError>| {
                // A caller that went away doesn't want the answer.
                let _ = answer.send(committed.and(result));
            })
        };
        Self { run: Box::new(run) }
    }
}

/// Serves commands until every handle is gone, and closes the store.
pub(super) fn serve(shared: &Shared, mut commands: mpsc::Receiver<Command>) {
    while let Some(first) = commands.blocking_recv() {
        let mut waiting = vec![first];
        let mut held = shared.lock();
        // Those that came while somebody else had the store are of the group.
        while waiting.len() < GROUP
            && let Ok(next) = commands.try_recv()
        {
            waiting.push(next);
        }
        // Whoever waited for an answer gets none; the others go on, and the next group takes back what is left.
        let executed = catch_unwind(AssertUnwindSafe(|| execute(&mut held, waiting)));
        if executed.is_err() {
            tracing::error!("a command on the store panicked");
        }
    }
    let mut held = shared.lock();
    finish(&mut held);
    if let Some(store) = held.store.take() {
        store.close();
    }
}

/// Executes a command on the caller's own thread where nobody has the store, or hands it back. Waking the
/// store's thread and being woken by it takes a good part of the time that a sync takes.
pub(super) fn execute_at_once(shared: &Shared, command: Command) -> Result<(), Command> {
    let mut held = match shared.held.try_lock() {
        Ok(held) => held,
        // As in `lock`.
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(command),
    };
    match command {
        Command::Read(work) if held.group.is_none() => {
            read(&mut held, work);
            Ok(())
        }
        // A sync blocks for long, which only a runtime of several threads can make up for.
        Command::Write(work) if has_several_threads() => {
            tokio::task::block_in_place(|| {
                let opened = join(&mut held, vec![work]);
                match patience(&held) {
                    None => finish(&mut held),
                    Some(left) => {
                        let number = held.groups;
                        drop(held);
                        if let Some(ended) = opened {
                            finish_in_time(shared, number, left, &ended);
                        }
                    }
                }
            });
            Ok(())
        }
        command => Err(command),
    }
}

fn has_several_threads() -> bool {
    use tokio::runtime::{Handle, RuntimeFlavor};
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

fn execute(held: &mut Held, commands: Vec<Command>) {
    let mut writes = Vec::new();
    for command in commands {
        match command {
            // A look needn't wait for the disk, but what it is to see must be committed.
            Command::Read(work) => {
                finish(held);
                read(held, work);
            }
            Command::Write(work) => writes.push(work),
        }
    }
    if !writes.is_empty() {
        join(held, writes);
        finish(held);
    }
}

fn read(held: &mut Held, work: Work) {
    let store = held.store.as_mut().ok_or(QueueError::Closed);
    let store = store.and_then(|store| store.roll_back_left_over().map(|()| store));
    (work.run)(store)(Ok(()));
}

/// Executes writes in the open group, or in a new one: then with what tells its end.
fn join(held: &mut Held, writes: Vec<Work>) -> Option<Receiver<()>> {
    let Some(store) = &mut held.store else {
        refuse(writes, &QueueError::Closed);
        return None;
    };
    let mut opened = None;
    // Where one of the writes panics, the group is gone with all that is owed to it.
    let mut group = match held.group.take() {
        Some(group) => group,
        None => {
            if let Err(error) = store.begin() {
                // Without a transaction nothing is done, and everybody is told why.
                refuse(writes, &error);
                return None;
            }
            held.groups += 1;
            let (open, ended) = channel();
            opened = Some(ended);
            Group {
                number: held.groups,
                answers: Vec::with_capacity(writes.len()),
                _open: open,
            }
        }
    };
    for work in writes {
        // What came after the loss of the transaction would be committed by itself, and answered as failed.
        let store = match store.lost() {
            None => Ok(&mut *store),
            Some(error) => Err(error),
        };
        group.answers.push((work.run)(store));
    }
    store.hand_out();
    held.group = Some(group);
    opened
}

/// For how long yet the open group may save somebody a sync by waiting.
fn patience(held: &Held) -> Option<Duration> {
    held.group.as_ref()?;
    held.store.as_ref()?.patience()
}

/// Commits the group of that number after a while, unless somebody has done so. Waits without the store: those
/// who want it would keep the one who opened the group from going on long after its end.
fn finish_in_time(shared: &Shared, number: u64, after: Duration, ended: &Receiver<()>) {
    let mut wait = after;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(wait) {
        let mut held = match shared.held.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                wait = ABOUT_TO;
                continue;
            }
        };
        if held
            .group
            .as_ref()
            .is_some_and(|group| group.number == number)
        {
            finish(&mut held);
        }
        return;
    }
}

/// Commits the open group, and answers.
fn finish(held: &mut Held) {
    if let Some(group) = held.group.take()
        && let Some(store) = &mut held.store
    {
        let committed = store.commit();
        for answer in group.answers {
            answer(committed.clone());
        }
    }
}

fn refuse(writes: Vec<Work>, error: &QueueError) {
    for work in writes {
        (work.run)(Err(error.clone()))(Ok(()));
    }
}
