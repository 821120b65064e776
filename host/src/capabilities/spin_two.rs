//! `fermyon:spin/key-value` 2, as components import it that older versions of Spin's SDK make.

use wasmtime::component::Resource;

use super::View;
use crate::bindings::OpenKeys;
use crate::bindings::keyvalue::store as newer;
use crate::bindings::spin_two::key_value::{Error, Host, HostStore};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl Host for View<'_> {}

impl HostStore for View<'_> {
    async fn open(&mut self, label: String) -> Answer<Resource<OpenKeys>> {
        Ok(newer::Host::open(self, label).await?.map_err(spin))
    }

    async fn get(&mut self, store: Resource<OpenKeys>, key: String) -> Answer<Option<Vec<u8>>> {
        let value = newer::HostBucket::get(self, store, key).await?;
        Ok(value.map_err(spin))
    }

    async fn set(&mut self, store: Resource<OpenKeys>, key: String, value: Vec<u8>) -> Answer<()> {
        let set = newer::HostBucket::set(self, store, key, value).await?;
        Ok(set.map_err(spin))
    }

    async fn delete(&mut self, store: Resource<OpenKeys>, key: String) -> Answer<()> {
        let deleted = newer::HostBucket::delete(self, store, key).await?;
        Ok(deleted.map_err(spin))
    }

    async fn exists(&mut self, store: Resource<OpenKeys>, key: String) -> Answer<bool> {
        let there = newer::HostBucket::exists(self, store, key).await?;
        Ok(there.map_err(spin))
    }

    async fn get_keys(&mut self, store: Resource<OpenKeys>) -> Answer<Vec<String>> {
        let bucket = self.keys(&store)?;
        Ok(self.all_keys(&bucket).await?.map_err(spin))
    }

    async fn drop(&mut self, store: Resource<OpenKeys>) -> wasmtime::Result<()> {
        newer::HostBucket::drop(self, store).await
    }
}

fn spin(error: newer::Error) -> Error {
    match error {
        newer::Error::NoSuchStore => Error::NoSuchStore,
        newer::Error::AccessDenied => Error::AccessDenied,
        newer::Error::Other(text) => Error::Other(text),
    }
}
