//! `kinglet check --target`: what another host has of what a component imports and exports.

mod facts;
mod world;

use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use super::output::{print_json, print_line, table};
use super::{MAX_COMPONENT_BYTES, Verdict};
use crate::config;
use crate::engine::{Interface, Interfaces};
use crate::files;
use facts::{Facts, Offer};
use world::{Fit, World};

/// A host that runs components of HTTP functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Target {
    /// Spin 4.
    Spin,
    /// `wasmtime serve` of Wasmtime 48.
    Wasmtime,
    /// wasmCloud 2.
    Wasmcloud,
}

impl Target {
    fn facts(self) -> &'static Facts {
        match self {
            Self::Spin => &facts::SPIN,
            Self::Wasmtime => &facts::WASMTIME,
            Self::Wasmcloud => &facts::WASMCLOUD,
        }
    }

    fn world(self) -> &'static World {
        match self {
            Self::Spin => &world::SPIN,
            Self::Wasmtime => &world::WASMTIME,
            Self::Wasmcloud => &world::WASMCLOUD,
        }
    }

    /// Returns the host that a manifest names; none for Kinglet, which checks a component by
    /// loading it.
    pub fn of(target: config::Target) -> Option<Self> {
        match target {
            config::Target::Kinglet => None,
            config::Target::Spin => Some(Self::Spin),
            config::Target::Wasmtime => Some(Self::Wasmtime),
            config::Target::Wasmcloud => Some(Self::Wasmcloud),
        }
    }
}

/// What is found of a component.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    component: String,
    host: &'static str,
    /// Whether it runs there.
    runs: bool,
    exports: Vec<Line>,
    imports: Vec<Line>,
    problems: Vec<String>,
    /// What the user has to say there.
    with: Vec<&'static str>,
    /// The comparison with the world that the host publishes; none where the component doesn't run there
    /// anyway.
    world: Option<WorldLine>,
}

/// A comparison with the world that a host publishes.
#[derive(Debug, Serialize)]
struct WorldLine {
    name: &'static str,
    /// None where it can't be compared.
    fits: Option<bool>,
    note: Option<String>,
}

/// What is found of an interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    interface: String,
    result: Has,
    note: Option<String>,
}

/// Whether a host has an interface, or calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Has {
    Yes,
    /// Where the user says so.
    With,
    No,
    /// It isn't called, and nothing depends on that.
    Unused,
}

/// Compares a component with a host's facts, and prints what comes of it.
pub(super) fn check(target: Target, component: &Path, json: bool) -> anyhow::Result<Verdict> {
    let shown = component.display();
    let wasm = files::read(component, MAX_COMPONENT_BYTES).context("name a component's file")?;
    let finding = examine(target, shown.to_string(), &wasm)?;
    finding.report(target, json)?;
    Ok(if finding.runs {
        Verdict::Good
    } else {
        Verdict::Bad
    })
}

/// Compares a component with a host's facts, and with the world that the host publishes.
pub(super) fn examine(target: Target, component: String, wasm: &[u8]) -> anyhow::Result<Finding> {
    let interfaces = Interfaces::of(wasm).with_context(|| component.clone())?;
    let mut finding = compare(target.facts(), component, &interfaces);
    if finding.runs {
        let world = target.world();
        let fit = world.fit(wasm, &interfaces);
        finding.fit(
            world.name,
            fit.with_context(|| format!("{} can't be read", world.name))?,
        );
    }
    Ok(finding)
}

fn compare(facts: &'static Facts, component: String, interfaces: &Interfaces) -> Finding {
    let mut with = Vec::new();
    let imports =
        interfaces
            .imports
            .iter()
            .map(|import| match offered(facts.imports, &import.name) {
                Some(offer) => Line::has(&import.name, offer),
                None => Line {
                    interface: import.name.clone(),
                    result: Has::No,
                    note: Some(advice(facts, &import.name)),
                },
            });
    let imports: Vec<Line> = imports.collect();
    for import in &interfaces.imports {
        let needed = offered(facts.imports, &import.name).and_then(|offer| offer.with);
        with.extend(needed);
    }
    // As often as it is said, in the order in which it came.
    let mut seen = std::collections::HashSet::new();
    with.retain(|needed| seen.insert(*needed));

    let mut problems = Vec::new();
    let mut handlers = Vec::new();
    let exports = interfaces.exports.iter().map(|export| {
        if let Some(offer) = offered(facts.handlers, &export.name) {
            handlers.push(export);
            return Line::has(&export.name, offer);
        }
        let others = other_versions(facts.handlers, &export.name);
        let (result, note) = match others {
            Some(versions) => (Has::No, format!("it calls {versions}; build for that")),
            None => (Has::Unused, unused(&export.name).to_owned()),
        };
        Line {
            interface: export.name.clone(),
            result,
            note: Some(note),
        }
    });
    let exports: Vec<Line> = exports.collect();
    if handlers.is_empty() {
        problems.push(no_handler(facts, interfaces));
    }
    problems.extend(
        handlers
            .iter()
            .filter_map(|export| blocked(export, interfaces)),
    );
    let lacking = imports.iter().any(|line| line.result == Has::No);
    Finding {
        component,
        host: facts.name,
        runs: problems.is_empty() && !lacking,
        exports,
        imports,
        problems,
        with,
        world: None,
    }
}

impl Line {
    fn has(interface: &str, offer: &Offer) -> Self {
        Self {
            interface: interface.to_owned(),
            result: match offer.with {
                Some(_) => Has::With,
                None => Has::Yes,
            },
            note: offer.with.map(|with| format!("with {with}")),
        }
    }

    fn text(&self, kind: &str) -> Vec<String> {
        let verdict = match (self.result, kind) {
            (Has::Yes | Has::With, "export") => "calls it",
            (Has::Yes | Has::With, _) => "has it",
            (Has::Unused, _) | (Has::No, "export") => "doesn't call it",
            (Has::No, _) => "hasn't it",
        };
        let verdict = match (&self.note, self.result) {
            (None, _) => verdict.to_owned(),
            (Some(note), Has::With) => format!("{verdict} {note}"),
            (Some(note), _) => format!("{verdict}: {note}"),
        };
        vec![kind.to_owned(), self.interface.clone(), verdict]
    }
}

/// `wasi:http/types@0.2.0` in its parts; the version is empty where there is none.
fn parts(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/').unwrap_or((path, ""));
    (package, interface, version)
}

/// The first that has it, which says the least.
fn offered<'a>(offers: &'a [Offer], name: &str) -> Option<&'a Offer> {
    let (package, interface, version) = parts(name);
    let has = |offer: &&Offer| {
        offer.package == package
            && (offer.interfaces.is_empty() || offer.interfaces.contains(&interface))
            && fits(offer.version, version)
    };
    offers.iter().find(has)
}

/// Whether a version is one of those that `offer` stands for.
fn fits(offer: &str, version: &str) -> bool {
    if offer == version {
        return true;
    }
    // Of two numbers, it stands for all of its track; a draft is of none.
    let track = version
        .strip_prefix(offer)
        .and_then(|rest| rest.strip_prefix('.'));
    offer.split('.').count() == 2
        && track.is_some_and(|patch| {
            !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// The versions in which an interface is offered, where it isn't in that of `name`.
fn other_versions(offers: &[Offer], name: &str) -> Option<String> {
    let (package, interface, _) = parts(name);
    let offers = offers.iter().filter(|offer| {
        offer.package == package
            && (offer.interfaces.is_empty() || offer.interfaces.contains(&interface))
    });
    let mut versions: Vec<&str> = offers.map(|offer| offer.version).collect();
    versions.dedup();
    match versions.as_slice() {
        [] => None,
        [""] => Some("it without a version".to_owned()),
        versions => Some(format!("version {}", versions.join(" or "))),
    }
}

/// What to do about an import that a host hasn't.
fn advice(facts: &Facts, name: &str) -> String {
    if let Some(versions) = other_versions(facts.imports, name) {
        return format!("it has {versions}, which doesn't fit; build for that");
    }
    match parts(name).0 {
        "kinglet:events" => {
            "Kinglet alone has buckets, topics and batches; do without them there".to_owned()
        }
        "wasi:logging" => {
            "print with `println!` and `eprintln!`, in place of `kinglet_sdk::info!` and its siblings"
                .to_owned()
        }
        _ => "it isn't known there; do without it".to_owned(),
    }
}

fn unused(name: &str) -> &'static str {
    match parts(name) {
        ("kinglet:events", "init", _) => "`kinglet build` does, and it isn't needed after",
        ("kinglet:events", ..) => "Kinglet alone has events",
        _ => "the component may have it all the same",
    }
}

fn no_handler(facts: &Facts, interfaces: &Interfaces) -> String {
    let exported: Vec<&str> = interfaces
        .exports
        .iter()
        .map(|export| export.name.as_str())
        .collect();
    let exported = match exported.as_slice() {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    let of_http = |offer: &&Offer| offer.package == "wasi:http";
    let wanted: Vec<String> = facts
        .handlers
        .iter()
        .filter(of_http)
        .map(|offer| format!("wasi:http/{} {}", offer.interfaces.join(","), offer.version))
        .collect();
    format!(
        "it exports {exported}, and {} calls {}; write it with `#[kinglet_sdk::http]`",
        facts.name,
        wanted.join(" or ")
    )
}

/// A handler that can't wait for what it calls: such a call traps, in each host.
fn blocked(handler: &Interface, interfaces: &Interfaces) -> Option<String> {
    let handle = handler
        .functions
        .iter()
        .find(|function| !function.is_async)?;
    let waiting = interfaces.imports.iter().find_map(|import| {
        let function = import.functions.iter().find(|function| function.is_async)?;
        Some(format!("`{}` of {}", function.name, import.name))
    })?;
    Some(format!(
        "`{}` of {} is synchronous, and {waiting}, which it imports, asynchronous: a call of it traps; import its like of \
         WASI 0.2, or export wasi:http/handler@0.3",
        handle.name, handler.name
    ))
}

impl Finding {
    /// Tells whether the component runs there.
    pub fn runs(&self) -> bool {
        self.runs
    }

    /// Returns the host's name with its release.
    pub fn host(&self) -> &'static str {
        self.host
    }

    /// Returns why the component doesn't run there.
    pub fn obstacles(&self) -> Vec<String> {
        let lines = self.exports.iter().chain(&self.imports);
        let lacking = lines.filter(|line| line.result == Has::No).map(|line| {
            let note = line.note.as_deref().unwrap_or_default();
            format!("{}: {note}", line.interface)
        });
        lacking.chain(self.problems.iter().cloned()).collect()
    }

    fn fit(&mut self, name: &'static str, fit: Fit) {
        let (fits, note) = match fit {
            Fit::Good => (Some(true), None),
            Fit::Unknown(reason) => (None, Some(reason)),
            Fit::Bad(reason) => (Some(false), Some(reason)),
        };
        if let (Some(false), Some(reason)) = (fits, &note) {
            self.runs = false;
            self.problems
                .push(format!("it doesn't fit {name}: {reason}"));
        }
        self.world = Some(WorldLine { name, fits, note });
    }

    fn report(&self, target: Target, json: bool) -> anyhow::Result<()> {
        if json {
            return print_json(self);
        }
        let exports = self.exports.iter().map(|line| line.text("export"));
        let imports = self.imports.iter().map(|line| line.text("import"));
        let rows: Vec<Vec<String>> = exports.chain(imports).collect();
        let host = self.host.to_uppercase();
        print_line(&table(&["", "INTERFACE", &host], &rows))?;
        if let Some(WorldLine { name, fits, note }) = &self.world {
            match (fits, note) {
                (Some(true), _) => print_line(&format!("it fits the world {name}"))?,
                (None, Some(note)) => {
                    print_line(&format!("it isn't compared with the world {name}: {note}"))?;
                }
                _ => {}
            }
        }
        for problem in &self.problems {
            print_line(&format!("problem: {problem}"))?;
        }
        if !self.runs {
            return print_line(&format!("it doesn't run on {}", self.host));
        }
        let flags: Vec<String> = self.with.iter().map(|with| with.replace('`', "")).collect();
        print_line(&match (target, flags.as_slice()) {
            (_, []) => format!("it runs on {}", self.host),
            (Target::Wasmtime, flags) => {
                format!(
                    "it runs on {}: wasmtime serve {} {}",
                    self.host,
                    flags.join(" "),
                    self.component
                )
            }
            (_, _) => format!("it runs on {} with {}", self.host, self.with.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::InterfaceFunction as Function;

    fn interface(name: &str, is_async: bool) -> Interface {
        Interface {
            name: name.to_owned(),
            functions: vec![Function {
                name: "handle".to_owned(),
                is_async,
            }],
        }
    }

    fn found(target: Target, imports: &[&str], exports: &[&str]) -> Finding {
        let all = |names: &[&str]| names.iter().map(|name| interface(name, false)).collect();
        let interfaces = Interfaces {
            imports: all(imports),
            exports: all(exports),
        };
        compare(target.facts(), "x.wasm".to_owned(), &interfaces)
    }

    const HANDLER: &str = "wasi:http/incoming-handler@0.2.0";

    #[test]
    fn versions_of_a_track_fit_and_drafts_dont() {
        for (offer, version, expected) in [
            ("0.2", "0.2.0", true),
            ("0.2", "0.2.12", true),
            ("0.2", "0.3.0", false),
            ("0.2", "0.20.0", false),
            ("0.2", "0.2", true),
            ("0.2", "0.2.0-draft2", false),
            ("0.2", "", false),
            ("0.2.0-draft2", "0.2.0-draft2", true),
            ("0.2.0-draft", "0.2.0-draft2", false),
            ("0.3.0-rc-2026-03-15", "0.3.0", false),
            ("0.2.0", "0.2.1", false),
            ("", "", true),
            ("", "2.0.0", false),
        ] {
            assert_eq!(fits(offer, version), expected, "{offer} {version}");
        }
    }

    /// Facts that no published world has: older versions that Spin keeps, and an interface of
    /// Wasmtime's alone.
    const BEYOND: [&str; 6] = [
        "fermyon:spin@",
        "fermyon:spin@3.0.0",
        "spin:postgres@4.0",
        "spin:postgres@4.1",
        "spin:sqlite@3.0",
        "wasi:nn@0.2.0-rc-2024-10-28",
    ];

    #[test]
    fn facts_and_published_worlds_agree() {
        for target in [Target::Spin, Target::Wasmtime, Target::Wasmcloud] {
            let facts = target.facts();
            let (mut imports, handlers) = target.world().names("p2");
            let (others, later) = target.world().names("p3");
            imports.extend(others);
            for import in &imports {
                let known = offered(facts.imports, import).is_some();
                assert!(known, "{target:?} has {import}, and the facts don't");
            }
            for handler in handlers.iter().chain(&later) {
                let known = offered(facts.handlers, handler).is_some();
                assert!(
                    known,
                    "{target:?} calls {handler}, and the facts don't say so"
                );
            }
            for offer in facts.imports {
                let fact = format!("{}@{}", offer.package, offer.version);
                let published = imports.iter().any(|import| {
                    let (package, _, version) = parts(import);
                    package == offer.package && fits(offer.version, version)
                });
                let beyond = BEYOND.contains(&fact.as_str());
                assert_eq!(published, !beyond, "{target:?}: {fact}");
            }
        }
    }

    #[test]
    fn what_a_host_has_is_told() {
        for (target, import, result, note) in [
            (Target::Wasmtime, "wasi:io/streams@0.2.6", Has::Yes, ""),
            (Target::Wasmtime, "wasi:cli/stdout@0.2.6", Has::Yes, ""),
            (Target::Wasmtime, "wasi:cli/exit@0.2.6", Has::With, "-S cli"),
            (
                Target::Wasmtime,
                "wasi:config/store@0.2.0-rc.1",
                Has::With,
                "-S config",
            ),
            (
                Target::Wasmtime,
                "wasi:keyvalue/store@0.2.0-draft2",
                Has::No,
                "version 0.2.0-draft,",
            ),
            (
                Target::Wasmtime,
                "wasi:logging/logging@0.1.0-draft",
                Has::No,
                "println!",
            ),
            (
                Target::Spin,
                "wasi:keyvalue/store@0.2.0-draft2",
                Has::With,
                "key_value_stores",
            ),
            (
                Target::Spin,
                "wasi:http/outgoing-handler@0.2.6",
                Has::With,
                "allowed_outbound_hosts",
            ),
            (Target::Spin, "wasi:http/client@0.3.0", Has::No, "rc"),
            (Target::Spin, "fermyon:spin/llm@2.0.0", Has::Yes, ""),
            (Target::Spin, "spin:sqlite/sqlite@3.0.0", Has::With, "toml"),
            (
                Target::Wasmcloud,
                "wasi:logging/logging@0.1.0-draft",
                Has::With,
                "hostInterfaces",
            ),
            (
                Target::Wasmcloud,
                "kinglet:events/objects@0.1.0",
                Has::No,
                "buckets",
            ),
            (Target::Wasmcloud, "own:thing/x", Has::No, "do without"),
            (Target::Wasmcloud, "log", Has::No, "do without"),
        ] {
            let finding = found(target, &[import], &[HANDLER]);
            let line = &finding.imports[0];
            assert_eq!(line.result, result, "{target:?} {import}");
            let said = line.note.as_deref().unwrap_or_default();
            assert!(said.contains(note), "{target:?} {import}: {said}");
            assert_eq!(said.is_empty(), note.is_empty(), "{import}: {said}");
            assert_eq!(finding.runs, result != Has::No);
        }
    }

    #[test]
    fn a_component_needs_a_handler_that_is_called() {
        let finding = found(Target::Spin, &[], &["kinglet:events/message@0.1.0"]);
        assert!(!finding.runs);
        assert_eq!(finding.exports[0].result, Has::Unused);
        assert!(finding.problems[0].contains("kinglet:events/message@0.1.0, and Spin"));
        let finding = found(Target::Spin, &[], &[]);
        assert!(finding.problems[0].contains("exports nothing"));
        let both = found(Target::Spin, &[], &[HANDLER, "kinglet:events/init@0.1.0"]);
        assert!(both.runs, "{both:?}");
        let later = found(Target::Spin, &[], &["wasi:http/handler@0.3.0"]);
        assert!(!later.runs);
        assert_eq!(later.exports[0].result, Has::No);
        let note = later.exports[0].note.as_deref().unwrap_or_default();
        assert!(note.contains("0.3.0-rc"), "{note}");
        assert!(found(Target::Wasmtime, &[], &["wasi:http/handler@0.3.0"]).runs);
    }

    #[test]
    fn a_synchronous_handler_of_asynchronous_imports_is_named() {
        let with = |handler: Interface| {
            let interfaces = Interfaces {
                imports: vec![
                    interface("wasi:io/poll@0.2.0", false),
                    interface("wasi:http/client@0.3.0", true),
                ],
                exports: vec![handler],
            };
            compare(&facts::WASMTIME, "x.wasm".to_owned(), &interfaces)
        };
        let finding = with(interface(HANDLER, false));
        assert!(!finding.runs);
        let problem = &finding.problems[0];
        for word in [HANDLER, "wasi:http/client@0.3.0", "synchronous", "traps"] {
            assert!(problem.contains(word), "{problem}");
        }
        assert!(with(interface("wasi:http/handler@0.3.0", true)).runs);
    }
}
