//! Events that are handed out before they are on disk.
//!
//! What a handler does takes effect in a later group than the one that accepts its event, so that the event may
//! be handled while that one is synced. Where the sync fails the event was never accepted, and settling it is
//! refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::operations::Operations;
use crate::clock::Timestamp;
use crate::ports::{Delivery, QueueError, Waiter};

#[derive(Default)]
pub(super) struct Ahead {
    /// By function.
    waiters: HashMap<String, Arc<dyn Waiter>>,
    /// Accepted in this group, for functions whose waiters are ready.
    fresh: Vec<Delivery>,
    /// Whom this group has something for, and when the first of it is due.
    woken: BTreeMap<String, Timestamp>,
    /// Handed out in this group.
    handed: Vec<u64>,
    /// Of these, those that are likely to be settled before the group would be on disk.
    awaited: HashSet<u64>,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiters = self.waiters.keys();
        f.debug_set().entries(waiters).finish()
    }
}

impl Ahead {
    pub fn attend(&mut self, function: String, waiter: Arc<dyn Waiter>) {
        self.waiters.insert(function, waiter);
    }

    /// Notes what this group accepts.
    pub fn note(&mut self, delivery: Delivery, now: Timestamp) {
        let Some(waiter) = self.waiters.get(&delivery.function) else {
            return;
        };
        // The order of a key's events is the store's matter.
        if delivery.lane.is_none() && delivery.due <= now && waiter.room() > 0 {
            self.fresh.push(delivery);
        } else {
            self.wake(delivery.function, delivery.due);
        }
    }

    fn wake(&mut self, function: String, due: Timestamp) {
        let first = self.woken.entry(function).or_insert(due);
        *first = due.min(*first);
    }

    /// Notes that a delivery is settled.
    pub fn settled(&mut self, seq: u64) {
        self.awaited.remove(&seq);
    }

    pub fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// How much was noted, to go back to.
    pub fn mark(&self) -> usize {
        self.fresh.len()
    }

    /// Takes back what was noted past a mark, since it isn't accepted. Whom it wakes finds nothing.
    pub fn back_to(&mut self, mark: usize) {
        self.fresh.truncate(mark);
    }
}

impl Operations {
    /// Hands what this group accepts to those who wait for it.
    pub(super) fn hand_out(&mut self) {
        let mut by_function: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
        for delivery in std::mem::take(&mut self.ahead.fresh) {
            match by_function.get_mut(&delivery.function) {
                Some(others) => others.push(delivery),
                None => {
                    by_function.insert(delivery.function.clone(), vec![delivery]);
                }
            }
        }
        // Where commits fail this one is likely to, and the run would be for nothing.
        if self.failing || self.lost().is_some() {
            let functions = by_function.into_keys();
            return functions.for_each(|function| self.ahead.wake(function, 0));
        }
        for (function, deliveries) in by_function {
            if !self.offer(&function, deliveries) {
                self.ahead.wake(function, 0);
            }
        }
    }

    /// Leases deliveries of one function to who waits for them; whether all were taken.
    fn offer(&mut self, function: &str, mut deliveries: Vec<Delivery>) -> bool {
        let waiter = self.ahead.waiters.get(function).map(Arc::clone);
        let Some(waiter) = waiter.filter(|_| matches!(self.is_held(function), Ok(false))) else {
            return false;
        };
        let all = deliveries.len();
        deliveries.truncate(waiter.room());
        let mut seqs: Vec<u64> = deliveries.iter().map(|delivery| delivery.seq).collect();
        let name = Arc::from(function);
        let mut leases = self.leases();
        for seq in &seqs {
            leases.add(*seq, &name, None);
        }
        let refused = waiter.offer(deliveries);
        for delivery in &refused {
            leases.remove(delivery.seq);
        }
        drop(leases);
        seqs.truncate(seqs.len() - refused.len());
        let taken = seqs.len();
        if waiter.takes() < self.usual_commit {
            self.ahead.awaited.extend(&seqs);
        }
        self.ahead.handed.extend(seqs);
        taken == all
    }

    /// Wakes those for whom this group has something; where it failed, what was handed out is lost.
    pub(super) fn end_ahead(&mut self, committed: bool) {
        self.ahead.fresh.clear();
        self.ahead.awaited.clear();
        let handed = std::mem::take(&mut self.ahead.handed);
        let woken = std::mem::take(&mut self.ahead.woken);
        if committed {
            for (function, due) in woken {
                if let Some(waiter) = self.ahead.waiters.get(&function) {
                    waiter.wake(due);
                }
            }
        } else {
            self.leases().lose(&handed);
        }
    }

    /// Why a delivery that isn't there can't be settled.
    pub(super) fn missing(&self, seq: u64) -> QueueError {
        if self.leases().is_lost(seq) {
            QueueError::Refused {
                reason: format!(
                    "event {seq} was never accepted, since the commit of its acceptance failed; its source was \
                     told, and nothing that the function did takes effect"
                ),
            }
        } else {
            QueueError::Damaged {
                reason: format!("delivery {seq} is missing"),
            }
        }
    }
}
