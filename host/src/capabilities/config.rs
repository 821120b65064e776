//! `wasi:config/store`: the manifest's `config`, in the order of its names so that replay sees the
//! same list.

use std::sync::Arc;

use super::View;
use crate::bindings::config::{Error, Host};

impl Host for View<'_> {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        let value = self.context.reach.config.get(&key).cloned();
        self.carry(key.len() + value.as_ref().map_or(0, String::len))
            .await?;
        Ok(Ok(value))
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let config = Arc::clone(&self.context.reach.config);
        let bytes = config.iter().map(|(key, value)| key.len() + value.len());
        self.carry(bytes.sum()).await?;
        Ok(Ok(config
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()))
    }
}
