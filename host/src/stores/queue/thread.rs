//! Who commits: what waits goes into one group, which the store's thread commits and then answers. Where
//! nothing waits the caller commits by itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::operations::Operations;
use crate::ports::QueueError;

/// The most commands in one commit: an answer shouldn't wait for more.
const GROUP: usize = 512;

/// The store, until it is closed.
pub(super) type Shared = Arc<Mutex<Option<Operations>>>;

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
type Answer = Box<dyn FnOnce(Result<(), QueueError>)>;

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
pub(super) fn serve(store: &Shared, mut commands: mpsc::Receiver<Command>) {
    while let Some(first) = commands.blocking_recv() {
        let mut waiting = vec![first];
        let mut held = lock(store);
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
    if let Some(store) = lock(store).take() {
        store.close();
    }
}

/// Executes a command on the caller's own thread where nobody has the store, or hands it back. Waking the
/// store's thread and being woken by it takes a good part of the time that a sync takes.
pub(super) fn execute_at_once(store: &Shared, command: Command) -> Result<(), Command> {
    let held = match store.try_lock() {
        Ok(held) => held,
        Err(_) => return Err(command),
    };
    match command {
        read @ Command::Read(_) => execute_held(held, read),
        // A sync blocks for long, which only a runtime of several threads can make up for.
        write @ Command::Write(_) if has_several_threads() => {
            tokio::task::block_in_place(|| execute_held(held, write));
        }
        write @ Command::Write(_) => return Err(write),
    }
    Ok(())
}

fn execute_held(mut held: MutexGuard<'_, Option<Operations>>, command: Command) {
    execute(&mut held, vec![command]);
}

fn has_several_threads() -> bool {
    use tokio::runtime::{Handle, RuntimeFlavor};
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

fn lock(store: &Shared) -> MutexGuard<'_, Option<Operations>> {
    // Who panicked with the store had a transaction open, which the next one finds and rolls back.
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn execute(store: &mut Option<Operations>, commands: Vec<Command>) {
    let mut writes = Vec::new();
    for command in commands {
        match command {
            // A look needn't wait for the disk: what was written before it was asked for is committed.
            Command::Read(work) => {
                let store = store.as_mut().ok_or(QueueError::Closed);
                (work.run)(store)(Ok(()));
            }
            Command::Write(work) => writes.push(work),
        }
    }
    if writes.is_empty() {
        return;
    }
    match store {
        Some(store) => commit(store, writes),
        None => refuse(writes, &QueueError::Closed),
    }
}

fn commit(store: &mut Operations, writes: Vec<Work>) {
    if let Err(error) = store.begin() {
        // Without a transaction nothing is done, and everybody is told why.
        return refuse(writes, &error);
    }
    let mut answers: Vec<Answer> = Vec::with_capacity(writes.len());
    for work in writes {
        // What came after the loss of the transaction would be committed by itself, and answered as failed.
        let store = match store.lost() {
            None => Ok(&mut *store),
            Some(error) => Err(error),
        };
        answers.push((work.run)(store));
    }
    let committed = store.commit();
    for answer in answers {
        answer(committed.clone());
    }
}

fn refuse(writes: Vec<Work>, error: &QueueError) {
    for work in writes {
        (work.run)(Err(error.clone()))(Ok(()));
    }
}
