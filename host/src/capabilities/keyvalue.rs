//! `wasi:keyvalue` 0.2.0-draft2: values by key, whose changes are staged with everything else.
//!
//! Plain reads and writes are last-writer-wins. `increment` and `swap` rely on the value that they read:
//! where another event's commit changed it meanwhile, this event's commit is in conflict and the event is
//! tried again, so that what they returned was true.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::yield_now;
use wasmtime::component::Resource;

use super::denials::cut;
use super::host_calls::bytes_of;
use super::staging::keeping;
use super::{Context, View};
use crate::bindings::keyvalue::atomics::{self, CasError};
use crate::bindings::keyvalue::batch;
use crate::bindings::keyvalue::store::{self, Error, KeyResponse};
use crate::bindings::{OpenCas, OpenKeys, Seen};
use crate::config::{GrantKind, keyvalue_bucket};
use crate::guard::{self, Guard};
use crate::ports::{Expected, QueueError, StagedKey, Value};

/// What a staged value takes beside its bytes.
const KEEPING: usize = 256;
/// The longest key, in bytes.
const MAX_KEY: usize = 1_024;
/// The most keys that one page lists.
pub(super) const PAGE: usize = 1_000;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl store::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<OpenKeys>> {
        self.carry(identifier.len()).await?;
        if !self.context.may_open(&identifier) {
            return Ok(Err(Error::AccessDenied));
        }
        let bucket = Arc::from(keyvalue_bucket(&identifier));
        Ok(Ok(self.table.push(OpenKeys { bucket })?))
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<Option<Vec<u8>>> {
        self.carry(key.len()).await?;
        let bucket = self.keys(&bucket)?;
        let value = self.context.value_of(&bucket, &key).await;
        self.context.calls.check()?;
        Ok(value)
    }

    async fn set(&mut self, bucket: Resource<OpenKeys>, key: String, value: Vec<u8>) -> Answer<()> {
        self.carry(key.len() + value.len()).await?;
        let bucket = self.keys(&bucket)?;
        Ok(self.context.set(&bucket, &key, Some(value)))
    }

    async fn delete(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<()> {
        self.carry(key.len()).await?;
        let bucket = self.keys(&bucket)?;
        Ok(self.context.set(&bucket, &key, None))
    }

    async fn exists(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<bool> {
        self.carry(key.len()).await?;
        let bucket = self.keys(&bucket)?;
        let value = self.context.seen(&bucket, &key).await;
        Ok(value.map(|seen| seen.value.is_some()))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<OpenKeys>,
        cursor: Option<String>,
    ) -> Answer<KeyResponse> {
        let bucket = self.keys(&bucket)?;
        let page = self.context.key_page(&bucket, cursor.as_deref()).await;
        let keys = page.as_ref().map_or(0, |(keys, _)| bytes_of(keys));
        self.carry(keys + cursor.map_or(0, |cursor| cursor.len()))
            .await?;
        Ok(page.map(|(keys, cursor)| KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<OpenKeys>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<OpenKeys>,
        key: String,
        delta: i64,
    ) -> Answer<i64> {
        self.carry(key.len()).await?;
        let bucket = self.keys(&bucket)?;
        Ok(self.context.increment(&bucket, &key, delta).await)
    }

    async fn swap(
        &mut self,
        cas: Resource<OpenCas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        self.carry(value.len()).await?;
        let OpenCas { bucket, key, seen } = self.table.delete(cas)?;
        self.context.let_go(&seen);
        let now = match self.context.seen(&bucket, &key).await {
            Ok(now) => now,
            Err(error) => return Ok(Err(CasError::StoreError(error))),
        };
        if now != seen {
            if let Err(error) = self.context.hold(&now) {
                return Ok(Err(CasError::StoreError(error)));
            }
            let latest = OpenCas {
                bucket,
                key,
                seen: now,
            };
            return Ok(Err(CasError::CasFailed(self.table.push(latest)?)));
        }
        let expected = seen.expected;
        let staged = self.context.stage_key(&bucket, &key, Some(value), expected);
        Ok(staged.map_err(CasError::StoreError))
    }
}

impl atomics::HostCas for View<'_> {
    async fn new(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<Resource<OpenCas>> {
        self.carry(key.len()).await?;
        let bucket = self.keys(&bucket)?;
        let seen = match self.context.seen(&bucket, &key).await {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        match self.context.hold(&seen) {
            Ok(()) => Ok(Ok(self.table.push(OpenCas { bucket, key, seen })?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn current(&mut self, cas: Resource<OpenCas>) -> Answer<Option<Vec<u8>>> {
        let value = self.table.get(&cas)?.seen.value.clone();
        self.carry(value.as_ref().map_or(0, Vec::len)).await?;
        Ok(Ok(value))
    }

    async fn drop(&mut self, cas: Resource<OpenCas>) -> wasmtime::Result<()> {
        let OpenCas { seen, .. } = self.table.delete(cas)?;
        self.context.let_go(&seen);
        Ok(())
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenKeys>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        self.carry(bytes_of(&keys)).await?;
        let bucket = self.keys(&bucket)?;
        let mut values = Vec::with_capacity(keys.len());
        let mut bytes = 0_usize;
        for key in keys {
            let value = match self.context.value_of(&bucket, &key).await {
                Ok(value) => value,
                Err(error) => return Ok(Err(error)),
            };
            self.context.calls.check()?;
            let found = value.as_ref().map_or(0, Vec::len);
            bytes = bytes.saturating_add(found);
            if !self.context.fits(bytes as u64) {
                return Ok(Err(too_large(bytes as u64)));
            }
            values.push(value.map(|value| (key, value)));
        }
        Ok(Ok(values))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<OpenKeys>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        let bytes = key_values
            .iter()
            .map(|(key, value)| key.len() + value.len());
        self.carry(bytes.sum()).await?;
        let bucket = self.keys(&bucket)?;
        let mut values = key_values.into_iter();
        Ok(values.try_for_each(|(key, value)| self.context.set(&bucket, &key, Some(value))))
    }

    async fn delete_many(&mut self, bucket: Resource<OpenKeys>, keys: Vec<String>) -> Answer<()> {
        self.carry(bytes_of(&keys)).await?;
        let bucket = self.keys(&bucket)?;
        Ok(keys
            .iter()
            .try_for_each(|key| self.context.set(&bucket, key, None)))
    }
}

impl Seen {
    pub(super) fn size(&self) -> u64 {
        self.value.as_ref().map_or(0, |value| value.len() as u64)
    }
}

impl View<'_> {
    pub(super) fn keys(&self, bucket: &Resource<OpenKeys>) -> wasmtime::Result<Arc<str>> {
        Ok(Arc::clone(&self.table.get(bucket)?.bucket))
    }

    /// Every key, for interfaces that have no pages.
    pub(super) async fn all_keys(&mut self, bucket: &str) -> Answer<Vec<String>> {
        let mut keys: Vec<String> = Vec::new();
        let mut cursor = None;
        let mut bytes = 0_usize;
        loop {
            let (mut page, next) = match self.context.key_page(bucket, cursor.as_deref()).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            let found = bytes_of(&page);
            self.carry(found).await?;
            keys.append(&mut page);
            bytes = bytes.saturating_add(found);
            if !self.context.fits(bytes as u64) {
                return Ok(Err(too_many_keys()));
            }
            if next.is_none() {
                return Ok(Ok(keys));
            }
            cursor = next;
        }
    }
}

impl Context {
    /// Tells whether a bucket of this name is granted, and logs where it isn't.
    pub(super) fn may_open(&self, identifier: &str) -> bool {
        if self.reach.grants.has_keyvalue(identifier) || !guard::holds(Guard::Grants) {
            return true;
        }
        let name = keyvalue_bucket(identifier);
        let opened = match identifier {
            "" => format!("keyvalue bucket \"\", which is {name:?},"),
            _ => format!("keyvalue bucket {:?}", cut(name)),
        };
        self.denials().note(&opened, GrantKind::KeyValue, name);
        false
    }

    /// What a key has, which counts as moved whether the guest is given it or not; the next call ends one that moved
    /// too much.
    async fn seen(&self, bucket: &str, key: &str) -> Result<Seen, Error> {
        let seen = self.looked_up(bucket, key).await?;
        let bytes = usize::try_from(seen.size()).unwrap_or(usize::MAX);
        if self.calls.count(bytes) == Ok(true) {
            yield_now().await;
        }
        Ok(seen)
    }

    async fn looked_up(&self, bucket: &str, key: &str) -> Result<Seen, Error> {
        if let Some(staged) = self.staged_key(bucket, key)? {
            return Ok(staged);
        }
        let keys = [key.to_owned()];
        self.committed_key(self.reach.keyvalue.get(bucket, &keys).await)
    }

    /// What this handler itself made of a key.
    pub(super) fn staged_key(&self, bucket: &str, key: &str) -> Result<Option<Seen>, Error> {
        check_key(key)?;
        Ok(self.staging.key(bucket, key).map(|staged| Seen {
            value: staged.value.clone(),
            expected: staged.expected,
        }))
    }

    /// What the store says of one key.
    pub(super) fn committed_key(
        &self,
        found: Result<Vec<Option<Value>>, QueueError>,
    ) -> Result<Seen, Error> {
        let found = found.map_err(|error| self.trouble.keys(&error))?;
        let value = found.into_iter().flatten().next();
        Ok(Seen {
            expected: Expected::seen(value.as_ref()),
            value: value.map(|value| value.bytes),
        })
    }

    /// What a compare-and-swap's handle holds for the guest takes of the guest's memory, as if it had it.
    fn hold(&mut self, seen: &Seen) -> Result<(), Error> {
        let held = self.held.saturating_add(seen.size());
        if !self.fits(held) {
            return Err(too_large(held));
        }
        self.held = held;
        Ok(())
    }

    fn let_go(&mut self, seen: &Seen) {
        self.held = self.held.saturating_sub(seen.size());
    }

    pub(super) async fn value_of(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let seen = self.seen(bucket, key).await?;
        self.fitting(seen)
    }

    /// A value that the guest's memory has room for.
    pub(super) fn fitting(&self, seen: Seen) -> Result<Option<Vec<u8>>, Error> {
        match seen.size() {
            bytes if self.fits(bytes) => Ok(seen.value),
            bytes => Err(too_large(bytes)),
        }
    }

    /// Stages a value, or the removal of it, whatever the committed one is.
    pub(super) fn set(
        &mut self,
        bucket: &str,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        check_key(key)?;
        // What this handler relied on before, it relies on still.
        let staged = self.staging.key(bucket, key);
        let expected = staged.map_or(Expected::Any, |staged| staged.expected);
        self.stage_key(bucket, key, value, expected)
    }

    fn stage_key(
        &mut self,
        bucket: &str,
        key: &str,
        value: Option<Vec<u8>>,
        expected: Expected,
    ) -> Result<(), Error> {
        let bytes = value.as_ref().map_or(0, Vec::len) + key.len() + keeping(KEEPING);
        self.staging
            .admit_key(bucket, key)
            .and_then(|()| self.staging.charge_memory(bytes))
            .map_err(|full| self.trouble.key_staging(full))?;
        self.staging
            .set_key(bucket, key, StagedKey { value, expected });
        Ok(())
    }

    /// The value is decimal text, as other hosts have it.
    pub(super) async fn increment(
        &mut self,
        bucket: &str,
        key: &str,
        delta: i64,
    ) -> Result<i64, Error> {
        let seen = self.seen(bucket, key).await?;
        let current = match &seen.value {
            None => 0,
            Some(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| {
                    Error::Other(format!("the value of key {key:?} isn't a decimal number"))
                })?,
        };
        let sum = current.checked_add(delta).ok_or_else(|| {
            Error::Other(format!(
                "{current} + {delta} at key {key:?} is more than 64 bits hold"
            ))
        })?;
        self.stage_key(
            bucket,
            key,
            Some(sum.to_string().into_bytes()),
            seen.expected,
        )?;
        Ok(sum)
    }

    /// A page of keys past a cursor, and the cursor of the next page.
    pub(super) async fn key_page(
        &self,
        bucket: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let committed = self.reach.keyvalue.keys(bucket, cursor, PAGE).await;
        self.merged_page(bucket, cursor, committed)
    }

    /// The same of the committed keys of that page, of which there are up to `PAGE`.
    pub(super) fn merged_page(
        &self,
        bucket: &str,
        cursor: Option<&str>,
        committed: Result<Vec<String>, QueueError>,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        let committed = committed.map_err(|error| self.trouble.keys(&error))?;
        let next = (committed.len() >= PAGE)
            .then(|| committed.last().cloned())
            .flatten();
        let mut keys: BTreeMap<String, bool> =
            committed.into_iter().map(|key| (key, true)).collect();
        for (key, staged) in self.staging.keys(bucket) {
            let in_page = cursor.is_none_or(|cursor| key.as_str() > cursor)
                && next.as_ref().is_none_or(|next| key <= *next);
            if in_page {
                keys.insert(key, staged.value.is_some());
            }
        }
        let there = keys.into_iter().filter(|(_, there)| *there);
        Ok((there.map(|(key, _)| key).collect(), next))
    }
}

pub(super) fn check_key(key: &str) -> Result<(), Error> {
    let fits = !key.is_empty() && key.len() <= MAX_KEY;
    if !fits && guard::holds(Guard::KeyvalueSizes) {
        return Err(Error::Other(format!(
            "a key of {} bytes: use 1 to {MAX_KEY}",
            key.len()
        )));
    }
    Ok(())
}

pub(super) fn too_many_keys() -> Error {
    let text = "the keys don't fit the function's memory; raise `limits.memory`";
    Error::Other(text.to_owned())
}

fn too_large(bytes: u64) -> Error {
    Error::Other(format!(
        "{bytes} bytes don't fit the function's memory; raise `limits.memory`"
    ))
}
