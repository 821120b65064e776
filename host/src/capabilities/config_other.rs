//! `wasi:config` in the versions of other hosts: the same values.

use super::View;
use crate::bindings::{config, config_draft, config_spin};

/// Their functions differ in nothing but the name of the error, and ours has none to tell.
macro_rules! serve {
    ($interface:path, $error:ident) => {
        const _: () = {
            use $interface as interface;

            impl interface::Host for View<'_> {
                async fn get(
                    &mut self,
                    key: String,
                ) -> wasmtime::Result<Result<Option<String>, interface::$error>> {
                    let value = config::Host::get(self, key).await?;
                    Ok(value.map_err(|error| match error {
                        config::Error::Upstream(text) => interface::$error::Upstream(text),
                        config::Error::Io(text) => interface::$error::Io(text),
                    }))
                }

                async fn get_all(
                    &mut self,
                ) -> wasmtime::Result<Result<Vec<(String, String)>, interface::$error>> {
                    let values = config::Host::get_all(self).await?;
                    Ok(values.map_err(|error| match error {
                        config::Error::Upstream(text) => interface::$error::Upstream(text),
                        config::Error::Io(text) => interface::$error::Io(text),
                    }))
                }
            }
        };
    };
}

serve!(config_spin::store, Error);
serve!(config_draft::store, Error);
serve!(config_draft::runtime, ConfigError);
