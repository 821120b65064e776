//! `host.memory`: what all instances take of the host's memory together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::guard::{self, Guard};

/// In so many bytes memory is given.
const PAGE: u64 = 4_096;

/// The memory of a host, given out in pages, to whoever came first.
pub struct Budget {
    pages: Semaphore,
    total: u64,
    /// Pages that are held as long as the host runs.
    kept: AtomicU64,
    /// How many wait for more than there is.
    waiting: AtomicUsize,
    /// Drops something that can be made again; whether there was anything.
    spare: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
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

impl Budget {
    /// Of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let pages = usize::try_from(bytes / PAGE).unwrap_or(usize::MAX);
        let pages = pages.min(Semaphore::MAX_PERMITS);
        Self {
            pages: Semaphore::new(pages),
            total: pages as u64,
            kept: AtomicU64::new(0),
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
        let left = self.pages.available_permits() as u64;
        MemoryUse {
            total: self.total * PAGE,
            taken: self.total.saturating_sub(left) * PAGE,
        }
    }

    /// Whether somebody waits for memory.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Takes so many bytes, or as many as it can ever have; waits for them in turn. What can be made again is given
    /// up before.
    pub async fn take(self: &Arc<Self>, bytes: u64) -> Share {
        if let Some(share) = self.try_take(bytes) {
            return share;
        }
        let _waiting = Waiting::of(self);
        // Looked at behind the word that somebody waits: from now on nothing more is kept, which it would wait for.
        let most = self.total.saturating_sub(self.kept.load(Ordering::SeqCst));
        let pages = pages(bytes).min(most);
        while self.give_up() {
            if let Some(share) = self.share(pages) {
                return share;
            }
        }
        let permits = u32::try_from(pages).unwrap_or(u32::MAX);
        // Never closed.
        if let Ok(permits) = self.pages.acquire_many(permits).await {
            permits.forget();
        }
        Share {
            budget: Some(Arc::clone(self)),
            pages: permits.into(),
        }
    }

    /// Takes so many bytes where they are there at once.
    pub fn try_take(self: &Arc<Self>, bytes: u64) -> Option<Share> {
        self.share(pages(bytes))
    }

    /// Takes bytes for as long as the host runs. They are in use whether there is room for them or not, so that no
    /// more than half of all is taken by them.
    pub fn keep(self: &Arc<Self>, bytes: u64) {
        let half = self.total / 2;
        let more = |kept: u64| Some(kept.saturating_add(pages(bytes)).min(half));
        let Ok(before) = self
            .kept
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
        else {
            return;
        };
        let kept = before
            .saturating_add(pages(bytes))
            .min(half)
            .saturating_sub(before);
        match self.share(kept).filter(|_| !self.is_short()) {
            Some(mut share) => share.budget = None,
            None => {
                self.kept.fetch_sub(kept, Ordering::SeqCst);
            }
        }
    }

    fn share(self: &Arc<Self>, pages: u64) -> Option<Share> {
        let mut share = Share::none(self);
        share.add(pages).then_some(share)
    }

    fn give_up(&self) -> bool {
        self.spare.get().is_some_and(|spare| spare())
    }
}

/// Somebody who waits.
struct Waiting<'a>(&'a Budget);

impl<'a> Waiting<'a> {
    fn of(budget: &'a Budget) -> Self {
        budget.waiting.fetch_add(1, Ordering::SeqCst);
        Self(budget)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Share {
    /// Nothing yet.
    pub fn none(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Some(Arc::clone(budget)),
            pages: 0,
        }
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

    /// The whole that this is a part of, in bytes.
    pub fn total(&self) -> u64 {
        let budget = self.budget.as_ref();
        budget.map_or(u64::MAX, |budget| budget.total * PAGE)
    }

    /// Has at least so many bytes, and takes at once what is missing; whether there was as much. What can be made
    /// again is given up for it.
    pub fn cover(&mut self, bytes: u64) -> bool {
        let Some(missing) = pages(bytes)
            .checked_sub(self.pages)
            .filter(|more| *more > 0)
        else {
            return true;
        };
        loop {
            if self.add(missing) {
                return true;
            }
            let gave_up = self.budget.as_ref().is_some_and(|budget| budget.give_up());
            if !gave_up {
                return false;
            }
        }
    }

    fn add(&mut self, pages: u64) -> bool {
        let Some(budget) = &self.budget else {
            return true;
        };
        if !guard::holds(Guard::Budget) {
            return true;
        }
        let Ok(permits) = u32::try_from(pages) else {
            return false;
        };
        let Ok(permits) = budget.pages.try_acquire_many(permits) else {
            return false;
        };
        permits.forget();
        self.pages += pages;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget
                .pages
                .add_permits(usize::try_from(self.pages).unwrap_or(0));
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
        drop(waiting);
        drop(held);
        assert_eq!(budget.memory().taken, 0);
        assert!(!budget.is_short());
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
        assert!(budget.try_take(4 * PAGE).is_some());
    }
}
