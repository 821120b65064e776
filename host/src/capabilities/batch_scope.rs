//! `kinglet:events/batch-scope`: whose effects are staged now.

use super::View;
use crate::bindings::{batch_scope, types};

impl batch_scope::Host for View<'_> {
    async fn enter(&mut self, index: u32) -> wasmtime::Result<()> {
        Ok(self.context.staging.enter(index)?)
    }
}

impl types::Host for View<'_> {}
