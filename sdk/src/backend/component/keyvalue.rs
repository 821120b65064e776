//! Values by key, as a component has them. Hosts have two drafts of the interface.

#[cfg(not(any(feature = "wasmtime", feature = "wasmcloud")))]
#[path = "keyvalue/draft2.rs"]
mod version;
#[cfg(any(feature = "wasmtime", feature = "wasmcloud"))]
#[path = "keyvalue/draft.rs"]
mod version;

use version::{batch, store};

use crate::Error;
use crate::keyvalue::{SwapError, is_valid_key};

#[derive(Debug)]
pub(crate) struct KeyValue {
    name: String,
    resource: store::Bucket,
}

impl KeyValue {
    pub fn open(name: &str) -> Result<Self, Error> {
        let resource = version::open(name).map_err(|e| keyvalue_error(e, name, &[]))?;
        Ok(Self {
            name: name.to_owned(),
            resource,
        })
    }

    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.resource.get(key).map_err(|e| self.error(e, &[key]))
    }

    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.resource
            .set(key, value)
            .map_err(|e| self.error(e, &[key]))
    }

    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.resource.delete(key).map_err(|e| self.error(e, &[key]))
    }

    pub fn contains(&self, key: &str) -> Result<bool, Error> {
        self.resource.exists(key).map_err(|e| self.error(e, &[key]))
    }

    /// A page of keys, and the cursor of the next one.
    pub fn key_page(&self, cursor: Option<&str>) -> Result<(Vec<String>, Option<String>), Error> {
        version::list_keys(&self.resource, cursor).map_err(|e| self.error(e, &[]))
    }

    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        version::increment(&self.resource, key, delta).map_err(|e| self.error(e, &[key]))
    }

    pub fn cas(&self, key: &str) -> Result<Cas, Error> {
        let resource = version::Cas::new(&self.resource, key).map_err(|e| self.error(e, &[key]))?;
        Ok(Cas {
            bucket: self.name.clone(),
            key: key.to_owned(),
            resource,
        })
    }

    pub fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let found =
            batch::get_many(&self.resource, &keys).map_err(|e| self.error(e, &all(&keys)))?;
        Ok(found
            .into_iter()
            .map(|pair| pair.map(|(_, value)| value))
            .collect())
    }

    pub fn set_many(&self, values: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        batch::set_many(&self.resource, &values).map_err(|e| {
            let keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
            self.error(e, &keys)
        })
    }

    pub fn remove_many(&self, keys: Vec<String>) -> Result<(), Error> {
        batch::delete_many(&self.resource, &keys).map_err(|e| self.error(e, &all(&keys)))
    }

    fn error(&self, failed: store::Error, keys: &[&str]) -> Error {
        keyvalue_error(failed, &self.name, keys)
    }
}

/// A value as it was seen, to be replaced where it is still the same.
#[derive(Debug)]
pub(crate) struct Cas {
    bucket: String,
    key: String,
    resource: version::Cas,
}

impl Cas {
    pub fn current(&self) -> Result<Option<Vec<u8>>, Error> {
        self.resource
            .current()
            .map_err(|e| keyvalue_error(e, &self.bucket, &[&self.key]))
    }

    pub fn swap(self, value: &[u8]) -> Result<(), SwapError> {
        let Self {
            bucket,
            key,
            resource,
        } = self;
        resource.swap(value).map_err(|error| match error {
            version::CasError::CasFailed(resource) => SwapError::Changed(Self {
                bucket,
                key,
                resource,
            }),
            version::CasError::StoreError(error) => {
                SwapError::Store(keyvalue_error(error, &bucket, &[&key]))
            }
        })
    }
}

/// The interface has one kind for everything but grants; only a key at fault can be told by itself.
fn keyvalue_error(error: store::Error, bucket: &str, keys: &[&str]) -> Error {
    match error {
        store::Error::NoSuchStore | store::Error::AccessDenied => Error::Denied(format!(
            "keyvalue bucket `{bucket}` isn't granted to this function; add it to `grants.keyvalue`"
        )),
        store::Error::Other(text) if !keys.iter().all(|key| is_valid_key(key)) => {
            Error::Invalid(text)
        }
        store::Error::Other(text) => Error::Other(text),
    }
}

fn all(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
