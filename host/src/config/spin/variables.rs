//! The variables of a `spin.toml`, and what has `{{ name }}` in it.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::schema::Variable;

/// Values for the variables of a `spin.toml`, beside their defaults.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    unneeded: bool,
}

impl Variables {
    /// What the environment has for a variable is named by this and its name in capitals.
    pub const ENVIRONMENT: &'static str = "SPIN_VARIABLE_";

    /// What was given for this start, and, where nothing was, what the environment has under its names for them:
    /// `SPIN_VARIABLE_API_KEY` for `api_key`.
    pub fn new(
        given: impl IntoIterator<Item = (String, String)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let environment = environment.into_iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(Self::ENVIRONMENT)?;
            Some((name.to_ascii_lowercase(), value))
        });
        Self {
            given: given.into_iter().collect(),
            environment: environment.collect(),
            unneeded: false,
        }
    }

    /// For who runs no function: what has no value is empty.
    pub fn unneeded() -> Self {
        Self {
            unneeded: true,
            ..Self::default()
        }
    }

    /// One that was given for this start.
    pub(in crate::config) fn given(&self) -> Option<&str> {
        self.given.keys().next().map(String::as_str)
    }
}

/// Whether this can be the name of a variable: words of lower-case letters and digits between underscores.
pub fn is_variable(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .split('_')
            .all(|word| !word.is_empty() && word.bytes().all(plain))
}

pub(super) fn bad_name(name: &str) -> String {
    format!(
        "{name:?} isn't a variable's name; use lower-case letters, digits and single underscores, beginning with a \
         letter"
    )
}

/// What all texts with variables in them come to, in bytes: a long value in many places would be more than anybody
/// means.
const RESOLVED: usize = 1 << 20;

/// All variables of an application.
pub(super) struct Values<'a> {
    values: BTreeMap<&'a str, Value>,
    /// How many bytes may still come of them.
    left: Cell<usize>,
}

struct Value {
    text: String,
    secret: bool,
}

/// A text in which each variable has its value.
pub(super) struct Resolved {
    pub text: String,
    /// Whether somebody who reads it learns a secret.
    pub secret: bool,
}

impl<'a> Values<'a> {
    pub fn of(
        declared: &'a BTreeMap<String, Variable>,
        variables: &Variables,
        problems: &mut Vec<String>,
    ) -> Self {
        for name in variables.given.keys() {
            if !declared.contains_key(name) {
                problems.push(format!(
                    "a value is given for {name:?}, which isn't a variable of the application; add it to \
                     `[variables]`, or leave it out"
                ));
            }
        }
        let mut values = BTreeMap::new();
        for (name, variable) in declared {
            if !is_variable(name) {
                problems.push(format!("variables.{name}: {}", bad_name(name)));
            }
            if variable.default.is_none() && !variable.required {
                problems.push(format!(
                    "variables.{name}: it is neither required nor has a default; add `required = true` or `default = \
                     \"\"`"
                ));
            }
            let value = variables.given.get(name);
            let value = value.or_else(|| variables.environment.get(name));
            let text = match value.or(variable.default.as_ref()) {
                Some(text) => text.clone(),
                None => {
                    if variable.required && !variables.unneeded {
                        problems.push(format!(
                            "variables.{name}: it is required and has no value; set {}{} in the \
                             environment, or use `--variable {name}=VALUE`",
                            Variables::ENVIRONMENT,
                            name.to_ascii_uppercase()
                        ));
                    }
                    String::new()
                }
            };
            let secret = variable.secret;
            values.insert(name.as_str(), Value { text, secret });
        }
        Self {
            values,
            left: Cell::new(RESOLVED),
        }
    }

    /// Puts values in the place of names.
    pub fn resolve(&self, template: &str) -> Result<Resolved, String> {
        let mut resolved = Resolved {
            text: String::new(),
            secret: false,
        };
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once("{{") {
            let Some((name, after)) = behind.split_once("}}") else {
                return Err("a `{{` without its `}}`; close it, as `{{ name }}`".to_owned());
            };
            let name = name.trim();
            let Some(value) = self.values.get(name) else {
                return Err(format!(
                    "there is no variable {name:?}; add it to `[variables]`"
                ));
            };
            let left = self.left.get().checked_sub(value.text.len());
            let Some(left) = left else {
                return Err(format!(
                    "what variables stand for comes to more than {RESOLVED} bytes in all; use shorter values, or fewer \
                     times"
                ));
            };
            self.left.set(left);
            resolved.text.extend([before, &value.text]);
            resolved.secret |= value.secret;
            rest = after;
        }
        resolved.text.push_str(rest);
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_spin_takes() {
        for (name, good) in [
            ("a", true),
            ("api_key2", true),
            ("a_2", true),
            ("", false),
            ("Api", false),
            ("2a", false),
            ("a-b", false),
            ("_a", false),
            ("a_", false),
            ("a__b", false),
        ] {
            assert_eq!(is_variable(name), good, "{name}");
        }
    }

    #[test]
    fn names_in_braces_get_their_values() {
        let value = |text: &str, secret| Value {
            text: text.to_owned(),
            secret,
        };
        let values = Values {
            values: BTreeMap::from([
                ("host", value("example.com", false)),
                ("key", value("{{ host }}", true)),
            ]),
            left: Cell::new(100),
        };
        for (template, text, secret) in [
            ("", "", false),
            ("plain } text", "plain } text", false),
            (
                "https://{{ host }}:{{host}}/",
                "https://example.com:example.com/",
                false,
            ),
            // A value is no template.
            ("<{{ key }}>", "<{{ host }}>", true),
        ] {
            let resolved = values
                .resolve(template)
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((resolved.text.as_str(), resolved.secret), (text, secret));
        }
        for (template, says) in [
            ("{{ host", "`}}`"),
            ("{{ }}", "\"\""),
            ("{{ no }}", "\"no\""),
            (
                "{{host}}{{host}}{{host}}{{host}}{{host}}{{host}}{{host}}",
                "in all",
            ),
        ] {
            let error = values.resolve(template).err().unwrap_or_default();
            assert!(error.contains(says), "{template}: {error}");
        }
    }
}
