//! A `spin.toml` of Spin, version 2, read as a manifest: its components that requests wake are the functions. What they
//! couldn't do without here is refused, by the name of its line; what only does nothing is noted.

mod hosts;
mod routes;
mod schema;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::schema::{Component, HttpTrigger, SpinManifest, TextOr};
use self::variables::Values;
pub use self::variables::{Variables, is_variable};
use super::{
    App, ConfigError, Function, Grants, Manifest, NAME_RULE, Retry, Route, SnapshotConfig, Trigger,
    is_name,
};

/// The version that is read.
const VERSION: i64 = 2;

/// What says of a file that it is Spin's.
#[derive(Deserialize)]
struct Versions {
    spin_manifest_version: Option<toml::Value>,
    /// Of version 1.
    spin_version: Option<toml::Value>,
}

impl Versions {
    fn of(text: &str) -> Option<toml::Value> {
        // Most manifests aren't Spin's, and needn't be parsed twice to know that.
        if !text.contains("spin_manifest_version") && !text.contains("spin_version") {
            return None;
        }
        // What can't be parsed has its error from who reads it.
        let versions: Self = toml::from_str(text).ok()?;
        versions.spin_manifest_version.or(versions.spin_version)
    }
}

/// Whether a manifest is Spin's.
pub(super) fn is_spin(text: &str) -> bool {
    Versions::of(text).is_some()
}

/// Reads a manifest of Spin, with relative paths that start at `root`; `name` is for errors.
pub(super) fn parse(
    text: &str,
    root: &Path,
    name: &str,
    variables: &Variables,
) -> Result<Manifest, ConfigError> {
    let version = Versions::of(text);
    if !matches!(version, Some(toml::Value::Integer(VERSION))) {
        let version = version.map_or_else(String::new, |version| format!(" {version}"));
        return Err(ConfigError::Invalid {
            path: name.to_owned(),
            problems: vec![format!(
                "the manifest's version{version} isn't read; write `spin_manifest_version = {VERSION}`, and what that \
                 version has"
            )],
        });
    }
    let spin: SpinManifest = super::parse::parse(text, name)?;
    let mut reading = Reading::default();
    let manifest = reading.manifest(&spin, root, variables);
    manifest.checked(reading.problems, name)
}

/// What comes up while a manifest is read.
#[derive(Default)]
struct Reading {
    /// Why it can't be served.
    problems: Vec<String>,
    /// Lines that say nothing to this host.
    unused: Vec<String>,
    /// What is otherwise than it seems.
    notes: Vec<String>,
}

/// A component that requests wake.
struct Woken<'a> {
    id: String,
    component: &'a Component,
    routes: Vec<Route>,
}

impl Reading {
    fn manifest(&mut self, spin: &SpinManifest, root: &Path, variables: &Variables) -> Manifest {
        let application = &spin.application;
        let mut app = application.name.clone();
        if !is_name(&app) {
            self.problem(
                "application.name",
                &format!("{app:?} isn't a name; {NAME_RULE}"),
            );
            // It isn't told twice.
            app = "app".to_owned();
        }
        for (there, line) in [
            (application.version.is_some(), "version"),
            (application.description.is_some(), "description"),
            (application.authors.is_some(), "authors"),
            (application.targets.is_some(), "targets"),
            (application.tool.is_some(), "tool"),
        ] {
            self.unused(there, || format!("application.{line}"));
        }
        for other in &application.trigger.others {
            self.unused(true, || format!("application.trigger.{other}"));
        }
        for kind in &spin.triggers.others {
            self.problem(
                &format!("trigger.{kind}"),
                "only `[[trigger.http]]` is served; remove it, or have another host serve it",
            );
        }
        let values = Values::of(&spin.variables, variables, &mut self.problems);
        let woken = self.woken(spin);
        if woken.is_empty() && self.problems.is_empty() {
            self.problem(
                "trigger",
                "no requests wake any component; add a `[[trigger.http]]` with a route",
            );
        }
        let asleep = spin.components.keys();
        let awake: BTreeSet<&str> = woken.iter().map(|woken| woken.id.as_str()).collect();
        for id in asleep.filter(|id| !awake.contains(id.as_str())) {
            self.notes.push(format!(
                "component.{id}: no `[[trigger.http]]` with a route names it, so that it isn't loaded"
            ));
        }
        let functions = woken.into_iter();
        let functions = functions
            .map(|woken| self.function(woken, &values))
            .collect();
        let mut notes = std::mem::take(&mut self.notes);
        if !self.unused.is_empty() {
            notes.push(format!(
                "nothing is done here with {}",
                self.unused.join(", ")
            ));
        }
        Manifest {
            ingresses: Vec::new(),
            app: App { name: app },
            buckets: BTreeMap::new(),
            topics: BTreeMap::new(),
            http: super::HttpConfig::default(),
            queue: super::QueueLimits::default(),
            compile: super::CompileConfig::default(),
            host: super::HostLimits::default(),
            functions,
            root: root.to_owned(),
            notes,
            index: super::Index::default(),
        }
    }

    /// The components that requests wake, in the order in which triggers name them.
    fn woken<'a>(&mut self, spin: &'a SpinManifest) -> Vec<Woken<'a>> {
        let settings = spin.application.trigger.known.as_ref();
        let base = settings
            .and_then(|http| http.base.as_deref())
            .unwrap_or("/");
        let triggers = spin.triggers.known.as_ref();
        let triggers = triggers.map_or(&[][..], |triggers| &triggers.0);
        let mut woken: Vec<Woken<'a>> = Vec::new();
        let mut places = BTreeMap::new();
        for (at, trigger) in triggers.iter().enumerate() {
            let place = match &trigger.id {
                Some(id) => format!("trigger.http {id:?}"),
                None => format!("trigger.http, the {}.", at + 1),
            };
            self.refuse_parts(&place, trigger);
            let (id, component) = match &trigger.component {
                Some(TextOr::Text(id)) => match spin.components.get(id) {
                    Some(component) => (id.clone(), component),
                    None => {
                        self.problem(
                            &place,
                            &format!("there is no component {id:?}; add `[component.{id}]`"),
                        );
                        continue;
                    }
                },
                Some(TextOr::Other(component)) => {
                    let id = trigger.id.clone();
                    let id = id.unwrap_or_else(|| format!("http-{}", at + 1));
                    (id, component.as_ref())
                }
                None => {
                    if trigger.static_response.is_none() {
                        self.problem(&place, "it names no component; add `component = \"NAME\"`");
                    }
                    continue;
                }
            };
            let route = match &trigger.route {
                TextOr::Text(route) => routes::route(base, route),
                TextOr::Other(private) if private.private => {
                    self.notes.push(format!(
                        "{place}: nobody can send requests to a private endpoint, as functions reach none of the same \
                         application by name"
                    ));
                    continue;
                }
                TextOr::Other(_) => Err("use a path, or `{ private = true }`".to_owned()),
            };
            let route = match route {
                Ok(route) => route,
                Err(problem) => {
                    self.problem(&format!("{place}: route"), &problem);
                    continue;
                }
            };
            let at = *places.entry(id.clone()).or_insert(woken.len());
            match woken.get_mut(at) {
                Some(woken) => woken.routes.push(route),
                None => woken.push(Woken {
                    id,
                    component,
                    routes: vec![route],
                }),
            }
        }
        woken
    }

    /// What else a trigger may have.
    fn refuse_parts(&mut self, place: &str, trigger: &HttpTrigger) {
        if let Some(executor) = &trigger.executor
            && !matches!(executor.kind.as_str(), "http" | "spin")
        {
            self.problem(place, &format!(
                "the executor {:?} isn't served; use `{{ type = \"http\" }}`, and a component that answers requests",
                executor.kind
            ));
        }
        for (there, line, next) in [
            (
                trigger.static_response.is_some(),
                "static_response",
                "have a component answer it",
            ),
            (
                trigger.components.is_some(),
                "components",
                "compose them into one, as with `wac plug`, and name that as `source`",
            ),
            (
                trigger.dependencies.is_some(),
                "dependencies",
                "compose them into one, as with `wac plug`, and name that as `source`",
            ),
        ] {
            if there {
                self.problem(
                    &format!("{place}: {line}"),
                    &format!("it isn't served; {next}"),
                );
            }
        }
    }

    fn function(&mut self, woken: Woken<'_>, values: &Values<'_>) -> Function {
        let Woken {
            id,
            component,
            routes,
        } = woken;
        self.refuse_lines(&id, component);
        self.note_lines(&id, component);
        let source = match &component.source {
            TextOr::Text(path) => PathBuf::from(path),
            TextOr::Other(_) => {
                self.line(
                    &id,
                    "source",
                    "components aren't downloaded; download it, and name its file",
                );
                PathBuf::new()
            }
        };
        let mut config = BTreeMap::new();
        for (name, template) in &component.variables {
            let line = format!("variables.{name}");
            if !is_variable(name) {
                self.line(&id, &line, &variables::bad_name(name));
            }
            match values.resolve(template) {
                Ok(resolved) => drop(config.insert(name.clone(), resolved.text)),
                Err(problem) => self.line(&id, &line, &problem),
            }
        }
        let tool = component.tool.known.clone().unwrap_or_default();
        Function {
            name: id.clone(),
            component: source,
            source: None,
            targets: Vec::new(),
            snapshot: SnapshotConfig::default(),
            on: Trigger {
                http: routes,
                spin_headers: true,
                reuse: tool.reuse,
                ..Trigger::default()
            },
            limits: tool.limits,
            retry: Retry::default(),
            grants: Grants {
                keyvalue: component.key_value_stores.clone(),
                http: self.destinations(&id, component, values),
                of_spin: true,
                ..Grants::default()
            },
            config,
            environment: component.environment.clone(),
            allow_loop: None,
            spin_build: component.build.as_ref().map(|build| build.command.joined()),
        }
    }

    fn destinations(
        &mut self,
        id: &str,
        component: &Component,
        values: &Values<'_>,
    ) -> Vec<super::Destination> {
        const LINE: &str = "allowed_outbound_hosts";
        let mut granted = Vec::new();
        for template in &component.allowed_outbound_hosts {
            let resolved = match values.resolve(template) {
                Ok(resolved) => resolved,
                Err(problem) => {
                    self.line(id, LINE, &format!("{template:?}: {problem}"));
                    continue;
                }
            };
            match hosts::destinations(&resolved.text) {
                Ok(destinations) => granted.extend(destinations),
                Err(problem) => {
                    let shown = match &resolved.text {
                        text if resolved.secret || text == template => format!("{template:?}"),
                        text => format!("{template:?}, which is {text:?}"),
                    };
                    self.line(id, LINE, &format!("{shown}: {problem}"));
                }
            }
        }
        if granted.iter().any(|destination| !destination.is_named()) {
            self.notes.push(format!(
                "component.{id}.{LINE}: a `*` stands for no address of the machine's own network here; what is there \
                 is reached where its name is listed"
            ));
        }
        granted
    }

    /// What a function would do wrong without.
    fn refuse_lines(&mut self, id: &str, component: &Component) {
        for (there, line, next) in [
            (
                !component.sqlite_databases.is_empty(),
                "sqlite_databases",
                "there is no SQLite here; keep what it has in a key-value store",
            ),
            (
                !component.ai_models.is_empty(),
                "ai_models",
                "there are no models here; send requests to a server that has them",
            ),
            (
                !component.files.is_empty(),
                "files",
                "functions have no files here; put them into the component, as with `include_bytes!`",
            ),
            (
                !component.dependencies.is_empty(),
                "dependencies",
                "components aren't composed here; do so, as with `wac plug`, and name what comes out as `source`",
            ),
            (
                !component.allowed_http_hosts.is_empty(),
                "allowed_http_hosts",
                "it isn't read any more; write its hosts as URLs into `allowed_outbound_hosts`",
            ),
        ] {
            if there {
                self.line(id, line, next);
            }
        }
    }

    /// What it does as well without.
    fn note_lines(&mut self, id: &str, component: &Component) {
        for (there, line) in [
            (component.description.is_some(), "description"),
            (component.exclude_files.is_some(), "exclude_files"),
            (component.targets.is_some(), "targets"),
            (component.build.is_some(), "build"),
            (component.profile.is_some(), "profile"),
            (
                component.dependencies_inherit_configuration.is_some(),
                "dependencies_inherit_configuration",
            ),
        ] {
            self.unused(there, || format!("component.{id}.{line}"));
        }
        for tool in &component.tool.others {
            self.unused(true, || format!("component.{id}.tool.{tool}"));
        }
    }

    fn unused(&mut self, there: bool, line: impl FnOnce() -> String) {
        if there {
            self.unused.push(line());
        }
    }

    fn line(&mut self, id: &str, line: &str, problem: &str) {
        self.problem(&format!("component.{id}.{line}"), problem);
    }

    fn problem(&mut self, place: &str, problem: &str) {
        self.problems.push(format!("{place}: {problem}"));
    }
}

#[cfg(test)]
mod tests;
