//! `wasi:keyvalue` 0.2.0-draft2, which Kinglet and Spin have.

use crate::bindings::keyvalue::atomics;
pub use crate::bindings::keyvalue::{batch, store};

pub enum CasError {
    StoreError(store::Error),
    CasFailed(Cas),
}

pub fn open(name: &str) -> Result<store::Bucket, store::Error> {
    store::open(name)
}

pub fn list_keys(
    bucket: &store::Bucket,
    cursor: Option<&str>,
) -> Result<(Vec<String>, Option<String>), store::Error> {
    let page = bucket.list_keys(cursor)?;
    Ok((page.keys, page.cursor))
}

pub fn increment(bucket: &store::Bucket, key: &str, delta: i64) -> Result<i64, store::Error> {
    atomics::increment(bucket, key, delta)
}

/// A value as it was seen.
#[derive(Debug)]
pub struct Cas(atomics::Cas);

impl Cas {
    pub fn new(bucket: &store::Bucket, key: &str) -> Result<Self, store::Error> {
        atomics::Cas::new(bucket, key).map(Self)
    }

    pub fn current(&self) -> Result<Option<Vec<u8>>, store::Error> {
        self.0.current()
    }

    pub fn swap(self, value: &[u8]) -> Result<(), CasError> {
        atomics::swap(self.0, value).map_err(|error| match error {
            atomics::CasError::StoreError(error) => CasError::StoreError(error),
            atomics::CasError::CasFailed(cas) => CasError::CasFailed(Self(cas)),
        })
    }
}
