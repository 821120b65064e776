//! Capabilities natively: those of the testing host of this thread, or a clear error where there is none.

use crate::bucket::WriteOptions;
use crate::testing::State;
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
        State::with_current(|state| state.write(&bucket, &key, body, options))
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
