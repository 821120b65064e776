use std::fmt::Display;
use std::str::FromStr;

use crate::{Error, backend};

/// The function's settings: what its manifest has under `config`.
///
/// ```
/// use kinglet_sdk::{Config, Error};
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.config("width", "64").config("quality", "high");
///
/// let width: u32 = Config::get_or("width", 256)?;
/// assert_eq!(width, 64);
/// assert_eq!(Config::get::<String>("title")?, None);
/// let error = Config::require::<u8>("quality").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "invalid: config `quality` is \"high\": invalid digit found in string",
/// );
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub enum Config {}

impl Config {
    /// A setting, parsed; `None` where the manifest doesn't have it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it doesn't parse, naming key and value.
    pub fn get<T>(key: &str) -> Result<Option<T>, Error>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = backend::config_get(key)? else {
            return Ok(None);
        };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => Err(Error::Invalid(format!(
                "config `{key}` is {value:?}: {error}"
            ))),
        }
    }

    /// A setting, parsed; `default` where the manifest doesn't have it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it doesn't parse, naming key and value.
    pub fn get_or<T>(key: &str, default: T) -> Result<T, Error>
    where
        T: FromStr<Err: Display>,
    {
        Ok(Self::get(key)?.unwrap_or(default))
    }

    /// A setting that must be there, parsed.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the manifest doesn't have it, or it doesn't parse.
    pub fn require<T>(key: &str) -> Result<T, Error>
    where
        T: FromStr<Err: Display>,
    {
        Self::get(key)?.ok_or_else(|| {
            Error::Invalid(format!("config `{key}` is missing; set it in the manifest"))
        })
    }

    /// Every setting, as key and value.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the host can't tell.
    pub fn all() -> Result<Vec<(String, String)>, Error> {
        backend::config_all()
    }
}
