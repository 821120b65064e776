//! What one instance staged: one transaction, or for a batch one for each message beside the shared.

use std::collections::BTreeMap;

use crate::guard::{self, Guard};
use crate::ports::{
    Change, Draft, ObjectInfo, Reserved, StagedKey, StagedObject, StagedWriter, Transaction,
};

/// An event wants to stage more than it may.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StagingFull {
    /// More than its function may.
    #[error(
        "staging is limited to {limit} bytes in one event; write less, or raise `limits.staging`"
    )]
    Event {
        /// The function's limit, in bytes.
        limit: u64,
    },
    /// More effects than its function may have.
    #[error(
        "effects are limited to {limit} in one attempt, of objects, messages and keys together; stage fewer, or \
         raise `limits.effects`"
    )]
    Effects {
        /// The function's limit.
        limit: u32,
    },
    /// More than is left for all events.
    #[error(
        "the events under way have staged all that `queue.max-staging` allows; try again later, raise it, or \
         lower `limits.concurrency`"
    )]
    Host,
    /// More memory than the host has left.
    #[error(
        "the instances under way have taken all that `host.memory` gives; try again later, raise it, or lower \
         `limits.concurrency`"
    )]
    Memory,
    /// The effects of a request are committed by now.
    #[error(
        "what a request stages commits when its answer's head is set, which it is by now; stage before that"
    )]
    Answered,
    /// More memory than the host ever has for it.
    #[error(
        "what this event stages is more than `host.memory` has for it; write less, or raise it"
    )]
    Never,
}

/// A batch has no message of that index.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("batch-scope.enter({index}): the batch has {messages} messages")]
pub struct NoSuchMessage {
    /// What the guest entered.
    pub index: u32,
    /// How many there are.
    pub messages: usize,
}

/// What an effect takes beside its bytes.
pub(super) fn keeping(bytes: usize) -> usize {
    if guard::holds(Guard::StagedCount) {
        bytes
    } else {
        0
    }
}

/// Effects that wait for the end of the handler.
pub struct Staging {
    /// What belongs to every message: for a single event, everything.
    shared: Transaction,
    /// What belongs to one message each.
    scoped: Vec<Transaction>,
    /// The message that was entered last.
    entered: Option<usize>,
    /// Open writers, with their buckets.
    writers: BTreeMap<u32, (String, Box<dyn StagedWriter>)>,
    next_writer: u32,
    reserved: Reserved,
    most: StagingLimits,
    /// Objects, messages and keys that are staged.
    effects: usize,
    sealed: bool,
}

/// The limits of what one attempt stages.
#[derive(Clone, Copy, Debug, Default)]
pub struct StagingLimits {
    /// In bytes.
    pub bytes: u64,
    /// Objects, messages and keys together.
    pub effects: u32,
}

/// What an instance leaves.
pub struct Staged {
    /// What belongs to every message: for a single event, everything.
    pub shared: Transaction,
    /// One for each message of a batch.
    pub scoped: Vec<Transaction>,
    /// What they take.
    pub reserved: Reserved,
}

impl Staging {
    /// For one event, or a batch of `messages`; `reserved` is empty.
    pub fn new(messages: usize, most: StagingLimits, reserved: Reserved) -> Self {
        Self {
            shared: Transaction::default(),
            scoped: (0..messages).map(|_| Transaction::default()).collect(),
            entered: None,
            writers: BTreeMap::new(),
            next_writer: 0,
            reserved,
            most,
            effects: 0,
            sealed: false,
        }
    }

    pub(super) fn enter(&mut self, index: u32) -> Result<(), NoSuchMessage> {
        let messages = self.scoped.len();
        let entered = usize::try_from(index)
            .ok()
            .filter(|entered| *entered < messages);
        if entered.is_none() && guard::holds(Guard::BatchShape) {
            return Err(NoSuchMessage { index, messages });
        }
        self.entered = entered;
        Ok(())
    }

    /// Counts bytes against the limit before they are staged.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), StagingFull> {
        if self.sealed {
            return Err(StagingFull::Answered);
        }
        let total = self.reserved.bytes().saturating_add(bytes as u64);
        let limit = self.most.bytes;
        if total > limit && guard::holds(Guard::Staging) {
            return Err(StagingFull::Event { limit });
        }
        if self.reserved.take(bytes as u64) {
            Ok(())
        } else {
            Err(StagingFull::Host)
        }
    }

    /// The same of bytes that stay in memory, beside the instance's, until the event is settled.
    pub(super) fn charge_memory(&mut self, bytes: usize) -> Result<(), StagingFull> {
        self.charge_kept(bytes, bytes)
    }

    /// The same of bytes of which so many stay in memory.
    pub(super) fn charge_kept(&mut self, bytes: usize, kept: usize) -> Result<(), StagingFull> {
        self.charge(bytes)?;
        match self.reserved.keep(kept as u64) {
            true => Ok(()),
            false if self.reserved.could_fit() => Err(StagingFull::Memory),
            false => Err(StagingFull::Never),
        }
    }

    /// Checks that so many more effects may be staged, open writers counted.
    fn admit(&self, more: usize) -> Result<(), StagingFull> {
        let limit = self.most.effects;
        let total = self.effects.saturating_add(self.writers.len());
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        if total.saturating_add(more) > most && guard::holds(Guard::Effects) {
            return Err(StagingFull::Effects { limit });
        }
        Ok(())
    }

    /// Checks that so many messages may be staged.
    pub(super) fn admit_messages(&self, messages: usize) -> Result<(), StagingFull> {
        self.admit(messages)
    }

    /// Checks that a change of an object may be staged; another change of the same one is no
    /// further effect.
    pub(super) fn admit_object(&self, bucket: &str, key: &str) -> Result<(), StagingFull> {
        let name = (bucket.to_owned(), key.to_owned());
        let staged = self.current().objects.contains_key(&name);
        self.admit(usize::from(!staged))
    }

    /// Checks that a change of a key may be staged; another change of the same one is no further
    /// effect.
    pub(super) fn admit_key(&self, bucket: &str, key: &str) -> Result<(), StagingFull> {
        let name = (bucket.to_owned(), key.to_owned());
        let staged = self.current().keys.contains_key(&name);
        self.admit(usize::from(!staged))
    }

    fn current(&self) -> &Transaction {
        let scoped = self.entered.and_then(|index| self.scoped.get(index));
        scoped.unwrap_or(&self.shared)
    }

    fn current_mut(&mut self) -> &mut Transaction {
        match self.entered.and_then(|index| self.scoped.get_mut(index)) {
            Some(scoped) => scoped,
            None => &mut self.shared,
        }
    }

    fn change_object(&mut self, name: (String, String), change: Change) {
        let replaced = self.current_mut().objects.insert(name, change);
        self.effects += usize::from(replaced.is_none());
    }

    pub(super) fn write(&mut self, bucket: &str, object: StagedObject) {
        let name = (bucket.to_owned(), object.info.key.clone());
        self.change_object(name, Change::Write(object));
    }

    pub(super) fn remove(&mut self, bucket: &str, key: &str) {
        self.change_object((bucket.to_owned(), key.to_owned()), Change::Remove);
    }

    pub(super) fn publish(&mut self, drafts: Vec<Draft>) {
        self.effects = self.effects.saturating_add(drafts.len());
        self.current_mut().messages.extend(drafts);
    }

    /// This handler's own change of an object: in the entered message's scope, else in the shared one.
    pub(super) fn change(&self, bucket: &str, key: &str) -> Option<&Change> {
        let key = (bucket.to_owned(), key.to_owned());
        self.entered
            .and_then(|index| self.scoped.get(index))
            .and_then(|scoped| scoped.objects.get(&key))
            .or_else(|| self.shared.objects.get(&key))
    }

    /// This handler's own changes in a bucket, by key.
    pub(super) fn changes(&self, bucket: &str) -> BTreeMap<String, Option<&ObjectInfo>> {
        let scoped = self.entered.and_then(|index| self.scoped.get(index));
        let mut changes = BTreeMap::new();
        for transaction in [Some(&self.shared), scoped].into_iter().flatten() {
            for ((_, key), change) in transaction
                .objects
                .iter()
                .filter(|((in_bucket, _), _)| in_bucket == bucket)
            {
                let info = match change {
                    Change::Write(object) => Some(&object.info),
                    Change::Remove => None,
                };
                changes.insert(key.clone(), info);
            }
        }
        changes
    }

    pub(super) fn set_key(&mut self, bucket: &str, key: &str, staged: StagedKey) {
        let name = (bucket.to_owned(), key.to_owned());
        let replaced = self.current_mut().keys.insert(name, staged);
        self.effects += usize::from(replaced.is_none());
    }

    /// This handler's own change of a key, as `change` has it of an object.
    pub(super) fn key(&self, bucket: &str, key: &str) -> Option<&StagedKey> {
        let key = (bucket.to_owned(), key.to_owned());
        self.entered
            .and_then(|index| self.scoped.get(index))
            .and_then(|scoped| scoped.keys.get(&key))
            .or_else(|| self.shared.keys.get(&key))
    }

    /// This handler's own changes in a keyvalue bucket, by key.
    pub(super) fn keys(&self, bucket: &str) -> BTreeMap<String, &StagedKey> {
        let scoped = self.entered.and_then(|index| self.scoped.get(index));
        let transactions = [Some(&self.shared), scoped].into_iter().flatten();
        transactions
            .flat_map(|transaction| &transaction.keys)
            .filter(|((in_bucket, _), _)| in_bucket == bucket)
            .map(|((_, key), staged)| (key.clone(), staged))
            .collect()
    }

    pub(super) fn add_writer(&mut self, bucket: &str, writer: Box<dyn StagedWriter>) -> u32 {
        let id = self.next_writer;
        self.next_writer = self.next_writer.wrapping_add(1);
        self.writers.insert(id, (bucket.to_owned(), writer));
        id
    }

    pub(super) fn writer(&mut self, id: u32) -> Option<&mut Box<dyn StagedWriter>> {
        self.writers.get_mut(&id).map(|(_, writer)| writer)
    }

    pub(super) fn open_writers(&self) -> usize {
        self.writers.len()
    }

    pub(super) fn take_writer(&mut self, id: u32) -> Option<(String, Box<dyn StagedWriter>)> {
        self.writers.remove(&id)
    }

    /// The same, and nothing more is staged.
    pub fn seal(&mut self) -> Staged {
        self.sealed = true;
        self.finish()
    }

    /// What was staged; nothing of it is left here.
    pub fn finish(&mut self) -> Staged {
        self.writers.clear();
        Staged {
            shared: std::mem::take(&mut self.shared),
            scoped: std::mem::take(&mut self.scoped),
            reserved: self.reserved.take_all(),
        }
    }
}
