//! `spin:variables` 3 and `fermyon:spin/variables` 2: the manifest's `config`, by names as Spin has them.

use wasmtime::component::Accessor;

use super::spin_key_value::carry;
use super::{CapabilitiesView, Context, HasCapabilities, View};
use crate::bindings::spin::variables::variables as three;
use crate::bindings::spin_two::variables as two;
use crate::config::is_variable;

/// Why there is no value.
enum Missing {
    /// There could be none.
    Name(String),
    /// There is none.
    Undefined(String),
}

impl Context {
    fn variable(&self, name: &str) -> Result<String, Missing> {
        if !is_variable(name) {
            return Err(Missing::Name(format!(
                "{name:?}: use lower-case letters, digits and single underscores, beginning with a letter"
            )));
        }
        let value = self.reach.config.get(name).cloned();
        value.ok_or_else(|| Missing::Undefined(format!("the function has no variable {name:?}")))
    }
}

impl three::Host for View<'_> {}

impl<T: CapabilitiesView + 'static> three::HostWithStore<T> for HasCapabilities {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, three::Error>> {
        let found = accessor.with(|mut access| access.get().context.variable(&name));
        carry(accessor, name.len() + found.as_ref().map_or(0, String::len)).await?;
        Ok(found.map_err(|missing| match missing {
            Missing::Name(text) => three::Error::InvalidName(text),
            Missing::Undefined(text) => three::Error::Undefined(text),
        }))
    }
}

impl two::Host for View<'_> {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, two::Error>> {
        let found = self.context.variable(&name);
        self.carry(name.len() + found.as_ref().map_or(0, String::len))
            .await?;
        Ok(found.map_err(|missing| match missing {
            Missing::Name(text) => two::Error::InvalidName(text),
            Missing::Undefined(text) => two::Error::Undefined(text),
        }))
    }
}
