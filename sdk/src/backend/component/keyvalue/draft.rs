//! `wasi:keyvalue` 0.2.0-draft, which Wasmtime and wasmCloud have. It counts up alone, and can't
//! compare and swap.

use crate::bindings::of_others::wasi::keyvalue0_2_0_draft::atomics;
pub use crate::bindings::of_others::wasi::keyvalue0_2_0_draft::{batch, store};

/// Opens a bucket. Wasmtime has one alone, whose name is empty.
pub fn open(name: &str) -> Result<store::Bucket, store::Error> {
    store::open(match name {
        "default" if cfg!(feature = "wasmtime") => "",
        name => name,
    })
}

pub fn list_keys(
    bucket: &store::Bucket,
    cursor: Option<&str>,
) -> Result<(Vec<String>, Option<String>), store::Error> {
    // A page's cursor is the number that the page before came with.
    let cursor = cursor.and_then(|cursor| cursor.parse().ok());
    let page = bucket.list_keys(cursor)?;
    Ok((page.keys, page.cursor.map(|cursor| cursor.to_string())))
}

pub fn increment(bucket: &store::Bucket, key: &str, delta: i64) -> Result<i64, store::Error> {
    let delta = u64::try_from(delta).map_err(|_| other("numbers only grow"))?;
    let number = atomics::increment(bucket, key, delta)?;
    i64::try_from(number)
        .map_err(|_| other("the number is past the largest of 64 bits with a sign"))
}

fn other(text: &str) -> store::Error {
    store::Error::Other(format!(
        "with wasi:keyvalue 0.2.0-draft, the version of Wasmtime and wasmCloud, {text}"
    ))
}

#[expect(dead_code, reason = "no swap ever begins")]
pub enum CasError {
    StoreError(store::Error),
    CasFailed(Cas),
}

/// None is ever made.
#[derive(Debug)]
pub enum Cas {}

impl Cas {
    pub fn new(_: &store::Bucket, _: &str) -> Result<Self, store::Error> {
        Err(other("there is no compare-and-swap"))
    }

    pub fn current(&self) -> Result<Option<Vec<u8>>, store::Error> {
        match *self {}
    }

    pub fn swap(self, _: &[u8]) -> Result<(), CasError> {
        match self {}
    }
}
