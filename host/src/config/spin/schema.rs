//! What a `spin.toml` has, as `docs` and `crates/manifest` of Spin 4 say. What isn't served has its place here too, so
//! that it can be named; what nobody knows is an error with its line.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::Limits;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpinManifest {
    #[serde(rename = "spin_manifest_version")]
    _version: IgnoredAny,
    pub application: Application,
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    #[serde(default, rename = "trigger")]
    pub triggers: Known<HttpTriggers>,
    #[serde(default, rename = "component")]
    pub components: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    pub name: String,
    pub version: Option<IgnoredAny>,
    pub description: Option<IgnoredAny>,
    pub authors: Option<IgnoredAny>,
    pub targets: Option<IgnoredAny>,
    #[serde(default)]
    pub trigger: Known<HttpSettings>,
    pub tool: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// What all routes begin with.
    pub base: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    #[serde(rename = "description")]
    _description: Option<IgnoredAny>,
    #[serde(default)]
    pub required: bool,
    pub default: Option<String>,
    #[serde(default)]
    pub secret: bool,
}

#[derive(Deserialize)]
#[serde(transparent)]
pub struct HttpTriggers(pub Vec<HttpTrigger>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrigger {
    pub id: Option<String>,
    pub component: Option<TextOr<Box<Component>>>,
    pub route: TextOr<Private>,
    pub executor: Option<Executor>,
    pub static_response: Option<IgnoredAny>,
    pub components: Option<IgnoredAny>,
    pub dependencies: Option<IgnoredAny>,
}

/// In place of a route.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Private {
    pub private: bool,
}

/// What else an executor has goes with those that aren't served.
#[derive(Deserialize)]
pub struct Executor {
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// A file; what else it may be is downloaded.
    pub source: TextOr<IgnoredAny>,
    pub description: Option<IgnoredAny>,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub files: Vec<IgnoredAny>,
    pub exclude_files: Option<IgnoredAny>,
    #[serde(default)]
    pub allowed_http_hosts: Vec<IgnoredAny>,
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub key_value_stores: Vec<String>,
    #[serde(default)]
    pub sqlite_databases: Vec<IgnoredAny>,
    #[serde(default)]
    pub ai_models: Vec<IgnoredAny>,
    pub targets: Option<IgnoredAny>,
    pub build: Option<Build>,
    #[serde(default)]
    pub tool: Known<Tool>,
    pub dependencies_inherit_configuration: Option<IgnoredAny>,
    #[serde(default)]
    pub dependencies: BTreeMap<String, IgnoredAny>,
    pub profile: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    pub command: Commands,
    #[serde(rename = "workdir")]
    _workdir: Option<IgnoredAny>,
    #[serde(rename = "watch")]
    _watch: Option<IgnoredAny>,
}

/// One, or several to be run in turn.
pub struct Commands(Vec<String>);

impl Commands {
    /// As a shell takes them.
    pub fn joined(&self) -> String {
        self.0.join(" && ")
    }
}

/// What a component has for this host alone.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tool {
    pub limits: Limits,
    pub reuse: Option<u32>,
}

/// A text, or something that isn't.
pub enum TextOr<T> {
    Text(String),
    Other(T),
}

/// A table of which one key is known.
pub struct Known<T> {
    pub known: Option<T>,
    /// The names of the others.
    pub others: Vec<String>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self {
            known: None,
            others: Vec::new(),
        }
    }
}

pub trait Key {
    const KEY: &'static str;
}

impl Key for HttpTriggers {
    const KEY: &'static str = "http";
}

impl Key for HttpSettings {
    const KEY: &'static str = "http";
}

impl Key for Tool {
    const KEY: &'static str = "kinglet";
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Of<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a table")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Other)
            }
        }

        deserializer.deserialize_any(Of(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Commands;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Commands(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Commands)
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

impl<'de, T: Deserialize<'de> + Key> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Key> Visitor<'de> for Of<T> {
            type Value = Known<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = Known::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == T::KEY {
                        found.known = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        found.others.push(key);
                    }
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(Of(PhantomData))
    }
}
