//! `wasi:keyvalue` 0.2.0-draft, for components of hosts that have no newer one: the same values, with
//! unsigned numbers, counted cursors, and no compare-and-swap.

use wasmtime::component::Resource;

use super::View;
use crate::bindings::OpenKeys;
use crate::bindings::keyvalue::store as newer;
use crate::bindings::keyvalue_draft::{atomics, batch, store};
use store::{Error, KeyResponse};

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl store::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<OpenKeys>> {
        Ok(newer::Host::open(self, identifier).await?.map_err(older))
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<Option<Vec<u8>>> {
        Ok(newer::HostBucket::get(self, bucket, key)
            .await?
            .map_err(older))
    }

    async fn set(&mut self, bucket: Resource<OpenKeys>, key: String, value: Vec<u8>) -> Answer<()> {
        Ok(newer::HostBucket::set(self, bucket, key, value)
            .await?
            .map_err(older))
    }

    async fn delete(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<()> {
        Ok(newer::HostBucket::delete(self, bucket, key)
            .await?
            .map_err(older))
    }

    async fn exists(&mut self, bucket: Resource<OpenKeys>, key: String) -> Answer<bool> {
        Ok(newer::HostBucket::exists(self, bucket, key)
            .await?
            .map_err(older))
    }

    /// A number can't say after which key a page begins, so that there is one page, of every key.
    async fn list_keys(
        &mut self,
        bucket: Resource<OpenKeys>,
        _cursor: Option<u64>,
    ) -> Answer<KeyResponse> {
        let bucket = self.keys(&bucket)?;
        let keys = self.all_keys(&bucket).await?.map_err(older);
        Ok(keys.map(|keys| KeyResponse { keys, cursor: None }))
    }

    async fn drop(&mut self, bucket: Resource<OpenKeys>) -> wasmtime::Result<()> {
        newer::HostBucket::drop(self, bucket).await
    }
}

impl atomics::Host for View<'_> {
    async fn increment(
        &mut self,
        bucket: Resource<OpenKeys>,
        key: String,
        delta: u64,
    ) -> Answer<u64> {
        let bucket = self.keys(&bucket)?;
        let Ok(signed) = i64::try_from(delta) else {
            return Ok(Err(Error::Other(format!(
                "{delta} is too much to add; use at most {}",
                i64::MAX
            ))));
        };
        self.carry(key.len()).await?;
        let sum = self.context.increment(&bucket, &key, signed).await;
        Ok(sum.map_err(older).and_then(|sum| {
            u64::try_from(sum)
                .map_err(|_| Error::Other(format!("the value of key {key:?} is below zero: {sum}")))
        }))
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenKeys>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        use crate::bindings::keyvalue::batch as newer;
        Ok(newer::Host::get_many(self, bucket, keys)
            .await?
            .map_err(older))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<OpenKeys>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        use crate::bindings::keyvalue::batch as newer;
        Ok(newer::Host::set_many(self, bucket, key_values)
            .await?
            .map_err(older))
    }

    async fn delete_many(&mut self, bucket: Resource<OpenKeys>, keys: Vec<String>) -> Answer<()> {
        use crate::bindings::keyvalue::batch as newer;
        Ok(newer::Host::delete_many(self, bucket, keys)
            .await?
            .map_err(older))
    }
}

fn older(error: newer::Error) -> Error {
    match error {
        newer::Error::NoSuchStore => Error::NoSuchStore,
        newer::Error::AccessDenied => Error::AccessDenied,
        newer::Error::Other(text) => Error::Other(text),
    }
}
