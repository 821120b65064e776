//! What a function's init may take and ask for, when `kinglet build` runs it.

use serde::Deserialize;

use super::values::{Period, one_or_many};

/// How a function's init is run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SnapshotConfig {
    /// What of the build may get into the snapshot.
    #[serde(deserialize_with = "one_or_many")]
    pub allow: Vec<Allowed>,
    /// How long the init may take.
    pub timeout: Period,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            timeout: Period::from_secs(60),
        }
    }
}

/// What an init may ask for, and what then is the same in every instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Allowed {
    /// Random numbers, which derive from the component.
    Random,
    /// The time of the build.
    Clock,
    /// The function's `config`, as it is at the build.
    Config,
}

impl TryFrom<String> for Allowed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "random" => Ok(Self::Random),
            "clock" => Ok(Self::Clock),
            "config" => Ok(Self::Config),
            _ => Err(format!(
                "{text:?} isn't anything that a snapshot may have; use \"random\", \"clock\" or \"config\""
            )),
        }
    }
}
