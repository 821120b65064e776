//! `wasi:config/store`: the manifest's `config`, in the order of its names so that replay sees the
//! same list.

use super::View;
use crate::bindings::config::{Error, Host};

impl Host for View<'_> {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.context.reach.config.get(&key).cloned()))
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let config = &self.context.reach.config;
        Ok(Ok(config
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()))
    }
}
