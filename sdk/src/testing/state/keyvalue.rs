//! Keyvalue buckets. What a handler sees of a key is its own message's change, else what the whole batch
//! shares, else what is committed.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{PAGE, State};
use crate::Error;
use crate::keyvalue::{about, is_valid_key};

/// By bucket, then by key.
pub(super) type KeyBuckets = BTreeMap<String, BTreeMap<String, Value>>;

/// By scope, bucket and key; the last change of a key wins.
pub(super) type StagedKeys = BTreeMap<(Option<usize>, String, String), Seen>;

/// A committed value.
#[derive(Clone, Debug)]
pub(super) struct Value {
    bytes: Vec<u8>,
    /// Another one with each change.
    revision: u64,
}

/// A value as a handler sees or changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `None` where there is none.
    pub value: Option<Vec<u8>>,
    /// What a change that relies on it relies on.
    expected: Expected,
}

/// What must hold of a key when its change commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Any,
    Absent,
    Revision(u64),
}

impl Expected {
    fn holds(self, current: Option<&Value>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(revision) => current.is_some_and(|value| value.revision == revision),
        }
    }
}

impl State {
    // What handlers ask for.

    pub fn open_keyvalue(&self, name: &str) -> Result<(), Error> {
        if self.keyvalue.contains_key(name) {
            return Ok(());
        }
        Err(Error::Denied(format!(
            "keyvalue bucket `{name}` isn't granted; grant it with `host.keyvalue({name:?})` here and \
             with `grants.keyvalue` in the manifest"
        )))
    }

    pub fn seen_key(&self, bucket: &str, key: &str) -> Result<Seen, Error> {
        check_key(key)?;
        let staged = self.staged_key(bucket, key).cloned();
        Ok(
            staged.unwrap_or_else(|| match self.committed_key(bucket, key) {
                Some(value) => Seen {
                    value: Some(value.bytes.clone()),
                    expected: Expected::Revision(value.revision),
                },
                None => Seen {
                    value: None,
                    expected: Expected::Absent,
                },
            }),
        )
    }

    /// Stages a value, or its removal, whatever there is.
    pub fn set_key(
        &mut self,
        bucket: &str,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        check_key(key)?;
        // What this handler relied on before, it relies on still.
        let staged = self.staged_key(bucket, key);
        let expected = staged.map_or(Expected::Any, |staged| staged.expected);
        self.stage_key(bucket, key, Seen { value, expected });
        Ok(())
    }

    pub fn increment(&mut self, bucket: &str, key: &str, delta: i64) -> Result<i64, Error> {
        let Seen { value, expected } = self.seen_key(bucket, key)?;
        let current = match value {
            None => 0,
            Some(bytes) => str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| {
                    Error::Other(format!("{} isn't a decimal number", about(bucket, key)))
                })?,
        };
        let sum = current.checked_add(delta).ok_or_else(|| {
            let about = about(bucket, key);
            Error::Other(format!(
                "{about} is {current}: adding {delta} is more than 64 bits hold"
            ))
        })?;
        let value = Some(sum.to_string().into_bytes());
        self.stage_key(bucket, key, Seen { value, expected });
        Ok(sum)
    }

    /// Stages a value where the key is as it was seen; else gives what it is now.
    pub fn swap_key(
        &mut self,
        bucket: &str,
        key: &str,
        seen: &Seen,
        value: Vec<u8>,
    ) -> Result<Option<Seen>, Error> {
        let now = self.seen_key(bucket, key)?;
        if now != *seen {
            return Ok(Some(now));
        }
        let swapped = Seen {
            value: Some(value),
            expected: seen.expected,
        };
        self.stage_key(bucket, key, swapped);
        Ok(None)
    }

    /// A page of keys past a cursor, and the cursor of the next page.
    pub fn key_page(
        &self,
        bucket: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        self.open_keyvalue(bucket)?;
        let mut keys: BTreeMap<&str, bool> = BTreeMap::new();
        if let Some(committed) = self.keyvalue.get(bucket) {
            keys.extend(committed.keys().map(|key| (key.as_str(), true)));
        }
        if let Some(run) = &self.run {
            // Those of the whole batch come before those of a message.
            let own = run.keys.iter().filter(|((scope, in_bucket, _), _)| {
                in_bucket == bucket && (scope.is_none() || *scope == run.scope)
            });
            keys.extend(own.map(|((.., key), staged)| (key.as_str(), staged.value.is_some())));
        }
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let page: Vec<String> = keys
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, there)| **there)
            .map(|(key, _)| (*key).to_owned())
            .take(PAGE)
            .collect();
        let next = page.last().filter(|_| page.len() == PAGE).cloned();
        Ok((page, next))
    }

    // What the host does around them.

    /// Commits the changes of the scopes that commit, or none: then it gives the first scope whose change
    /// relies on what isn't so any more.
    pub(super) fn commit_keys(
        &mut self,
        staged: &StagedKeys,
        commits: impl Fn(Option<usize>) -> bool,
    ) -> Result<(), (Option<usize>, Error)> {
        let changes = || staged.iter().filter(|((scope, ..), _)| commits(*scope));
        let mut changed_by: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for ((scope, bucket, key), change) in changes() {
            // What the whole batch shares commits with its first message.
            let message = scope.unwrap_or_default();
            let by_another = changed_by
                .insert((bucket, key), message)
                .is_some_and(|other| other != message);
            let holds = match change.expected {
                Expected::Any => true,
                expected => !by_another && expected.holds(self.committed_key(bucket, key)),
            };
            if !holds {
                return Err((*scope, Error::Changed(about(bucket, key))));
            }
        }
        for ((_, bucket, key), change) in changes() {
            self.apply_key(bucket, key, change.value.clone());
        }
        Ok(())
    }

    // What tests arrange and look at.

    pub fn add_keyvalue(&mut self, name: &str) {
        self.keyvalue.entry(name.to_owned()).or_default();
    }

    /// Changes a value at once.
    pub fn put_key(
        &mut self,
        bucket: &str,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        check_key(key)?;
        self.apply_key(bucket, key, value);
        Ok(())
    }

    pub fn stored_key(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.committed_key(bucket, key)
            .map(|value| value.bytes.clone())
    }

    pub fn stored_keys(&self, bucket: &str) -> Vec<String> {
        self.keyvalue
            .get(bucket)
            .map(|values| values.keys().cloned().collect())
            .unwrap_or_default()
    }

    // What they share.

    fn committed_key(&self, bucket: &str, key: &str) -> Option<&Value> {
        self.keyvalue.get(bucket)?.get(key)
    }

    /// This handler's own change of a key: in the entered message's scope, else in that of the batch.
    fn staged_key(&self, bucket: &str, key: &str) -> Option<&Seen> {
        let run = self.run.as_ref()?;
        let in_scope = |scope| run.keys.get(&(scope, bucket.to_owned(), key.to_owned()));
        in_scope(run.scope).or_else(|| in_scope(None))
    }

    /// Outside of a run there is nothing to wait for.
    fn stage_key(&mut self, bucket: &str, key: &str, change: Seen) {
        match &mut self.run {
            Some(run) => {
                let name = (run.scope, bucket.to_owned(), key.to_owned());
                run.keys.insert(name, change);
            }
            None => self.apply_key(bucket, key, change.value),
        }
    }

    fn apply_key(&mut self, bucket: &str, key: &str, value: Option<Vec<u8>>) {
        let (revision, _) = self.tick();
        if let Some(values) = self.keyvalue.get_mut(bucket) {
            match value {
                Some(bytes) => values.insert(key.to_owned(), Value { bytes, revision }),
                None => values.remove(key),
            };
        }
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if is_valid_key(key) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a key of {} bytes: use 1 to 1024",
        key.len()
    )))
}
