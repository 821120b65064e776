//! The databases of a `spin.toml`. Spin itself has `default`, and others where a file of its runtime has them; here a
//! component's `tool.kinglet` does.

use std::collections::BTreeMap;

use super::schema::Component;
use crate::config::SqliteConfig;

/// What there is without being said.
const DEFAULT: &str = "default";

/// The databases that components say there are, with what is wrong: by the component's name, and its line.
pub fn declared<'a>(
    components: impl Iterator<Item = (&'a str, &'a Component)>,
    mut problem: impl FnMut(&str, &str, &str),
) -> BTreeMap<String, SqliteConfig> {
    let mut declared = BTreeMap::new();
    for (id, component) in components {
        let tool = component.tool.known.iter();
        for (name, config) in tool.flat_map(|tool| &tool.sqlite) {
            let before = declared.insert(name.clone(), *config);
            if before.is_some_and(|before| before != *config) {
                problem(
                    id,
                    &format!("tool.kinglet.sqlite.{name}"),
                    "another component says otherwise; have one of them say it",
                );
            }
        }
    }
    declared
}

/// Why a component can't have a database of this name.
pub fn unknown(name: &str, declared: &BTreeMap<String, SqliteConfig>) -> Option<String> {
    let known = name == DEFAULT || declared.contains_key(name);
    (!known).then(|| {
        format!(
            "there is no database {name:?}; use {DEFAULT:?}, or add `sqlite = {{ {name} = {{}} }}` to the component's \
             `tool.kinglet`"
        )
    })
}
