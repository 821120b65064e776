//! The thread that owns the store: it commits what waits as a group, then answers.

use tokio::sync::{mpsc, oneshot};

use super::operations::Operations;
use crate::ports::QueueError;

/// The most commands in one commit: an answer shouldn't wait for more.
const GROUP: usize = 512;

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

/// Serves commands until every handle is gone.
pub(super) fn serve(mut store: Operations, mut commands: mpsc::Receiver<Command>) {
    while let Some(first) = commands.blocking_recv() {
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(work) => writes.push(work),
                Command::Read(work) => reads.push(work),
            }
            next = if writes.len() < GROUP {
                commands.try_recv().ok()
            } else {
                None
            };
        }
        // A look needn't wait for the disk: what was written before it was asked for is committed.
        for work in reads {
            (work.run)(Ok(&mut store))(Ok(()));
        }
        if !writes.is_empty() {
            commit(&mut store, writes);
        }
    }
    store.close();
}

fn commit(store: &mut Operations, writes: Vec<Work>) {
    if let Err(error) = store.begin() {
        // Without a transaction nothing is done, and everybody is told why.
        for work in writes {
            (work.run)(Err(error.clone()))(Ok(()));
        }
        return;
    }
    let answers: Vec<Answer> = writes
        .into_iter()
        .map(|work| (work.run)(Ok(&mut *store)))
        .collect();
    let committed = store.commit();
    for answer in answers {
        answer(committed.clone());
    }
}
