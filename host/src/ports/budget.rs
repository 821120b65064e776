//! `host.memory`: what all instances take of the host's memory together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::guard::{self, Guard};

/// In so many bytes memory is given.
const PAGE: u64 = 4_096;

/// The memory of a host, given out in pages: who has some goes first when it wants more, and who has none waits in
/// line for all that it wants. So nobody who runs fails for want of memory that only lies ready for somebody else, and
/// what runs comes to its end.
pub struct Budget {
    pages: Mutex<Pages>,
    total: u64,
    /// How many are in line.
    waiting: AtomicUsize,
    /// Drops something that can be made again; whether there was anything.
    spare: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

struct Pages {
    free: u64,
    /// Held as long as the host runs.
    kept: u64,
    /// Of what is kept, what isn't taken yet.
    owed: u64,
    line: VecDeque<Turn>,
}

/// Somebody in line.
struct Turn {
    pages: u64,
    share: oneshot::Sender<Share>,
}

/// A part of a budget, given back when dropped.
pub struct Share {
    /// None where there is no bound.
    budget: Option<Arc<Budget>>,
    pages: u64,
}

/// How much memory a host gives, and has given, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// `host.memory`, or what stands for it.
    pub total: u64,
    /// What is taken.
    pub taken: u64,
}

impl Pages {
    fn take(&mut self, pages: u64) -> bool {
        let left = self.free.checked_sub(pages);
        self.free = left.unwrap_or(self.free);
        left.is_some()
    }
}

impl Budget {
    /// Of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let total = bytes / PAGE;
        Self {
            pages: Mutex::new(Pages {
                free: total,
                kept: 0,
                owed: 0,
                line: VecDeque::new(),
            }),
            total,
            waiting: AtomicUsize::new(0),
            spare: OnceLock::new(),
        }
    }

    /// Says what to drop where memory is short.
    pub fn give_up_with(&self, spare: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.spare.set(Box::new(spare));
    }

    /// How much there is, and is taken.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            total: self.total * PAGE,
            taken: (self.total - self.lock().free) * PAGE,
        }
    }

    /// Whether somebody waits for memory.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Takes so many bytes, or as many as it can ever have; waits for them in line. What can be made again is given
    /// up before.
    pub async fn take(self: &Arc<Self>, bytes: u64) -> Share {
        if !guard::holds(Guard::Budget) {
            return Share::none(self);
        }
        let mut in_line = {
            let mut state = self.lock();
            let pages = pages(bytes).min(self.total - state.kept);
            if state.line.is_empty() && state.take(pages) {
                return self.share(pages);
            }
            let (sender, share) = oneshot::channel();
            state.line.push_back(Turn {
                pages,
                share: sender,
            });
            self.waiting.store(state.line.len(), Ordering::SeqCst);
            let budget = self;
            InLine { budget, share }
        };
        // Behind the word that somebody waits: from now on nothing more is made ready.
        loop {
            if let Ok(share) = in_line.share.try_recv() {
                return share;
            }
            if !self.give_up() {
                break;
            }
        }
        // The sender goes with the budget, which is here.
        let share = (&mut in_line.share).await;
        share.unwrap_or_else(|_| Share::none(self))
    }

    /// Takes so many bytes where they are there at once, and nobody waits for any.
    pub fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        if !guard::holds(Guard::Budget) {
            return Some(Share::none(self));
        }
        let mut state = self.lock();
        let pages = pages(bytes);
        let there = state.line.is_empty() && state.take(pages);
        drop(state);
        there.then(|| self.share(pages))
    }

    /// Takes bytes for as long as the host runs: as soon as nobody waits for them, since they are in use in any case.
    /// No more than half of all is taken so.
    pub fn keep(self: &Arc<Self>, bytes: u64) {
        let mut state = self.lock();
        let kept = state.kept.saturating_add(pages(bytes)).min(self.total / 2);
        state.owed += kept - state.kept;
        state.kept = kept;
        self.serve(state);
    }

    /// Gives what is free to those in line, and then to what is kept.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, Pages>) {
        let mut served = Vec::new();
        while let Some(next) = state.line.front() {
            let (pages, gone) = (next.pages, next.share.is_closed());
            if !gone && !state.take(pages) {
                break;
            }
            let turn = state.line.pop_front();
            served.extend(turn.filter(|_| !gone));
        }
        if state.line.is_empty() {
            let paid = state.owed.min(state.free);
            state.owed -= paid;
            state.free -= paid;
        }
        self.waiting.store(state.line.len(), Ordering::SeqCst);
        drop(state);
        for Turn { pages, share } in served {
            // One that has gone meanwhile gives it back.
            let _ = share.send(self.share(pages));
        }
    }

    fn share(self: &Arc<Self>, pages: u64) -> Share {
        Share {
            budget: Some(Arc::clone(self)),
            pages,
        }
    }

    fn give_up(&self) -> bool {
        self.spare.get().is_some_and(|spare| spare())
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in line, which who leaves gives up.
struct InLine<'a> {
    budget: &'a Arc<Budget>,
    share: oneshot::Receiver<Share>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.share.close();
        self.budget.serve(self.budget.lock());
    }
}

impl Share {
    /// Nothing yet.
    pub fn none(budget: &Arc<Budget>) -> Self {
        budget.share(0)
    }

    /// Whatever is asked for, where no host's memory is counted.
    pub fn endless() -> Self {
        Self {
            budget: None,
            pages: 0,
        }
    }

    /// What is taken, in bytes.
    pub fn bytes(&self) -> u64 {
        self.pages * PAGE
    }

    /// The most that it can ever have, in bytes.
    pub fn most(&self) -> u64 {
        let budget = self.budget.as_ref();
        budget.map_or(u64::MAX, |budget| {
            (budget.total - budget.lock().kept) * PAGE
        })
    }

    /// What it has beyond so many bytes, which it keeps.
    pub fn split_off(&mut self, bytes: u64) -> Self {
        let pages = self.pages.saturating_sub(pages(bytes));
        self.pages -= pages;
        Self {
            budget: self.budget.clone(),
            pages,
        }
    }

    /// Has at least so many bytes, and takes at once what is missing, before those in line; whether there was as much.
    /// What can be made again is given up for it.
    pub fn cover(&mut self, bytes: u64) -> bool {
        let missing = pages(bytes).saturating_sub(self.pages);
        let Some(budget) = self.budget.as_ref().filter(|_| missing > 0) else {
            return true;
        };
        if !guard::holds(Guard::Budget) {
            return true;
        }
        while !budget.lock().take(missing) {
            if !budget.give_up() {
                return false;
            }
        }
        self.pages += missing;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.as_ref().filter(|_| self.pages > 0) {
            let mut state = budget.lock();
            state.free += self.pages;
            budget.serve(state);
        }
    }
}

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn what_is_taken_is_given_back_and_comes_to_who_waits() {
        let budget = Arc::new(Budget::new(10 * PAGE));
        let mut one = budget.try_take(6 * PAGE).unwrap();
        assert!(one.cover(7 * PAGE - 1) && one.bytes() == 7 * PAGE);
        assert!(!one.cover(11 * PAGE), "more than there is");
        assert_eq!(one.bytes(), 7 * PAGE, "it keeps what it has");
        assert!(budget.try_take(4 * PAGE).is_none());
        assert_eq!(budget.memory().taken, 7 * PAGE);

        let mut context = Context::from_waker(Waker::noop());
        // More than all is as much as all.
        let mut waiting = Box::pin(budget.take(99 * PAGE));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        assert!(budget.is_short());
        assert!(budget.try_take(PAGE).is_none(), "it is another's turn");
        assert!(one.cover(8 * PAGE), "who has some goes first");
        drop(one);
        let Poll::Ready(all) = waiting.as_mut().poll(&mut context) else {
            panic!("it still waits");
        };
        assert_eq!(all.bytes(), 10 * PAGE);
        drop((waiting, all));
        assert!(!budget.is_short());
        assert_eq!(budget.memory().taken, 0);
    }

    #[test]
    fn who_stops_waiting_leaves_nothing_taken() {
        let budget = Arc::new(Budget::new(4 * PAGE));
        let held = budget.try_take(PAGE).unwrap();
        let mut waiting = Box::pin(budget.take(4 * PAGE));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        let mut behind = Box::pin(budget.take(PAGE));
        assert!(behind.as_mut().poll(&mut context).is_pending());
        drop(waiting);
        let Poll::Ready(served) = behind.as_mut().poll(&mut context) else {
            panic!("nobody is before it any more");
        };
        drop((behind, served, held));
        assert_eq!(budget.memory().taken, 0);
        assert!(!budget.is_short());

        let all = budget.try_take(4 * PAGE).unwrap();
        let mut served = Box::pin(budget.take(4 * PAGE));
        assert!(served.as_mut().poll(&mut context).is_pending());
        drop(all);
        drop(served);
        assert_eq!(budget.memory().taken, 0, "what it never came to take");
    }

    #[test]
    fn what_can_be_made_again_goes_first() {
        let budget = Arc::new(Budget::new(4 * PAGE));
        let spare = Arc::new(Mutex::new(vec![
            budget.try_take(2 * PAGE).unwrap(),
            budget.try_take(PAGE).unwrap(),
        ]));
        let given = Arc::clone(&spare);
        budget.give_up_with(move || given.lock().unwrap().pop().is_some());
        let mut share = Share::none(&budget);
        assert!(share.cover(2 * PAGE));
        assert_eq!(spare.lock().unwrap().len(), 1);
        assert!(share.cover(4 * PAGE));
        assert!(!share.cover(5 * PAGE));
    }

    #[test]
    fn what_is_kept_leaves_half() {
        let budget = Arc::new(Budget::new(8 * PAGE));
        budget.keep(PAGE);
        budget.keep(100 * PAGE);
        assert_eq!(budget.memory().taken, 4 * PAGE);
        assert_eq!(Share::none(&budget).most(), 4 * PAGE);
        assert!(budget.try_take(4 * PAGE).is_some());
    }

    #[test]
    fn what_is_kept_is_taken_once_it_is_free() {
        let budget = Arc::new(Budget::new(4 * PAGE));
        let all = budget.try_take(4 * PAGE).unwrap();
        budget.keep(PAGE);
        drop(all);
        assert_eq!(budget.memory().taken, PAGE);
    }

    #[test]
    fn a_part_goes_by_itself() {
        let budget = Arc::new(Budget::new(4 * PAGE));
        let mut whole = budget.try_take(3 * PAGE).unwrap();
        let part = whole.split_off(PAGE - 1);
        assert_eq!((whole.bytes(), part.bytes()), (PAGE, 2 * PAGE));
        drop(whole);
        assert_eq!(budget.memory().taken, 2 * PAGE);
    }
}
