//! Capabilities natively: those of the testing host of this thread, or a clear error where there is none.

mod http;

pub(crate) use http::{Incoming, IncomingBody, OutgoingBody, send, tell};

use crate::bucket::WriteOptions;
use crate::keyvalue::SwapError;
use crate::testing::{Seen, State};
use crate::{Draft, Error, Level, ObjectInfo};

#[derive(Debug)]
pub(crate) struct Bucket {
    name: String,
}

impl Bucket {
    pub fn open(name: &str) -> Result<Self, Error> {
        State::with_current(|state| state.open_bucket(name))?;
        Ok(Self {
            name: name.to_owned(),
        })
    }

    pub fn head(&self, key: &str) -> Result<ObjectInfo, Error> {
        State::with_current(|state| Ok(state.read(&self.name, key, None)?.info))
    }

    pub fn read(&self, key: &str, etag: Option<&str>) -> Result<Vec<u8>, Error> {
        State::with_current(|state| Ok(state.read(&self.name, key, etag)?.body.to_vec()))
    }

    pub fn read_range(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, Error> {
        State::with_current(|state| {
            let body = state.read(&self.name, key, etag)?.body;
            let start = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(body.len());
            let end = start.saturating_add(length as usize).min(body.len());
            Ok(body.get(start..end).unwrap_or_default().to_owned())
        })
    }

    pub fn write(&self, key: &str, body: &[u8], options: WriteOptions) -> Result<(), Error> {
        State::with_current(|state| state.write(&self.name, key, body.to_owned(), options))
    }

    pub fn create(&self, key: &str, options: WriteOptions) -> Result<Writer, Error> {
        State::with_current(|state| state.check_write(&self.name, key, &options.condition))?;
        Ok(Writer {
            bucket: self.name.clone(),
            key: key.to_owned(),
            options,
            body: Vec::new(),
        })
    }

    pub fn remove(&self, key: &str) -> Result<(), Error> {
        State::with_current(|state| state.remove(&self.name, key))
    }

    pub fn list_page(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, Error> {
        State::with_current(|state| state.list_page(&self.name, prefix, after))
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    bucket: String,
    key: String,
    options: WriteOptions,
    body: Vec<u8>,
}

impl Writer {
    #[expect(clippy::unnecessary_wraps, reason = "in a component it can fail")]
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.body.extend_from_slice(chunk);
        Ok(())
    }

    pub fn finish(self) -> Result<(), Error> {
        let Self {
            bucket,
            key,
            options,
            body,
        } = self;
        // As in a component: the condition was checked at `create`, and is again at the commit.
        State::with_current(|state| state.stage_object(&bucket, &key, body, options))
    }
}

#[derive(Debug)]
pub(crate) struct Topic {
    name: String,
}

impl Topic {
    pub fn open(name: &str) -> Result<Self, Error> {
        State::with_current(|state| state.open_topic(name))?;
        Ok(Self {
            name: name.to_owned(),
        })
    }

    pub fn publish(&self, drafts: Vec<Draft>) -> Result<(), Error> {
        State::with_current(|state| state.publish(&self.name, drafts))
    }
}

#[derive(Debug)]
pub(crate) struct KeyValue {
    name: String,
}

impl KeyValue {
    pub fn open(name: &str) -> Result<Self, Error> {
        State::with_current(|state| state.open_keyvalue(name))?;
        Ok(Self {
            name: name.to_owned(),
        })
    }

    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        State::with_current(|state| Ok(state.seen_key(&self.name, key)?.value))
    }

    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        State::with_current(|state| state.set_key(&self.name, key, Some(value.to_owned())))
    }

    pub fn remove(&self, key: &str) -> Result<(), Error> {
        State::with_current(|state| state.set_key(&self.name, key, None))
    }

    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        Ok(self.get(key)?.is_some())
    }

    /// A page of keys, and the cursor of the next one.
    pub fn key_page(&self, cursor: Option<&str>) -> Result<(Vec<String>, Option<String>), Error> {
        State::with_current(|state| state.key_page(&self.name, cursor))
    }

    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        State::with_current(|state| state.increment(&self.name, key, delta))
    }

    pub fn cas(&self, key: &str) -> Result<Cas, Error> {
        let seen = State::with_current(|state| state.seen_key(&self.name, key))?;
        Ok(Cas {
            bucket: self.name.clone(),
            key: key.to_owned(),
            seen,
        })
    }

    pub fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    pub fn set_many(&self, values: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        values
            .iter()
            .try_for_each(|(key, value)| self.set(key, value))
    }

    pub fn remove_many(&self, keys: Vec<String>) -> Result<(), Error> {
        keys.iter().try_for_each(|key| self.remove(key))
    }
}

/// A value as it was seen, to be replaced where it is still the same.
#[derive(Debug)]
pub(crate) struct Cas {
    bucket: String,
    key: String,
    seen: Seen,
}

impl Cas {
    #[expect(clippy::unnecessary_wraps, reason = "in a component it can fail")]
    pub fn current(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.seen.value.clone())
    }

    pub fn swap(mut self, value: &[u8]) -> Result<(), SwapError> {
        let swapped = State::with_current(|state| {
            state.swap_key(&self.bucket, &self.key, &self.seen, value.to_owned())
        });
        match swapped {
            Ok(None) => Ok(()),
            Ok(Some(newer)) => {
                self.seen = newer;
                Err(SwapError::Changed(self))
            }
            Err(error) => Err(SwapError::Store(error)),
        }
    }
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, Error> {
    State::with_current(|state| Ok(state.config.get(key).cloned()))
}

pub(crate) fn config_all() -> Result<Vec<(String, String)>, Error> {
    State::with_current(|state| {
        Ok(state
            .config
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    })
}

pub(crate) fn log(level: Level, context: &str, message: &str) {
    eprintln!("{level:?} {context}: {message}");
    let kept = State::with_current(|state| {
        state.log(level, context, message);
        Ok(())
    });
    // Without a host, standard error is all there is.
    drop(kept);
}

pub(crate) fn enter_scope(index: u32) -> Result<(), Error> {
    State::with_current(|state| state.enter_scope(index))
}
