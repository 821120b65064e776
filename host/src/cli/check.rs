//! `kinglet check`

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use super::output::{print_json, print_line, table};
use super::target::{self, Target};
use super::{AppArgs, CacheArgs, MAX_COMPONENT_BYTES, NO_FUNCTIONS, VariableArgs, Verdict};
use crate::app::{Rooms, check_http_files, load_function, new_engine};
use crate::clock::Clock;
use crate::config::{Function, Manifest, Source};
use crate::engine::routes_of;
use crate::files;
use crate::ports::{Journal, KeyValue, Record};
use crate::stores::keyvalue::EmptyKeyValue;

/// Check the manifest and the components without running anything, or whether a component runs on another host.
///
/// With `--target`, each import and export of a component is compared with what that host has, as of August 2026: the
/// exit status is 1 where it can't run there.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet check\n  kinglet check --manifest examples/photos --json\n  kinglet check --from spin.toml\n  kinglet check --target spin api.wasm"
)]
pub(super) struct Check {
    #[command(flatten)]
    app: AppArgs,
    #[command(flatten)]
    variables: VariableArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Another host that is to run a component.
    #[arg(long, value_enum, value_name = "HOST", requires = "component")]
    target: Option<Target>,
    /// The component's file.
    #[arg(value_name = "COMPONENT", requires = "target")]
    component: Option<PathBuf>,
    /// A JSON object for each function, or for the component.
    #[arg(long)]
    json: bool,
}

/// What was found of one function.
#[derive(serde::Serialize)]
struct Finding {
    function: String,
    problem: Option<String>,
    /// What is valid and may not be meant.
    advice: Vec<String>,
    /// The next times of its schedule.
    next: Vec<String>,
    exports: Vec<String>,
    imports: Vec<String>,
}

/// Nothing runs, so nothing logs.
struct Nowhere;

impl Journal for Nowhere {
    fn write(&self, _: Record) {}
}

/// Returns what is valid and may not be meant, of the manifest and of the component beside it.
fn advice(manifest: &Manifest, function: &Function) -> Vec<String> {
    let mut advice = manifest.advice(function);
    let Source::Http(requests) = function.on.source() else {
        return advice;
    };
    // It was loaded before, so that it is there and not too large.
    let wasm = files::read(
        &manifest.root.join(&function.component),
        MAX_COMPONENT_BYTES,
    )
    .unwrap_or_default();
    let own = routes_of(&wasm);
    if own.is_empty() {
        return advice;
    }
    for route in requests.routes {
        if !own.iter().any(|other| route.overlaps(other)) {
            advice.push(format!(
                "`on.http` has {route}, and none of the routes in its code match such a path: \
                 it is answered with 404"
            ));
        }
    }
    for route in &own {
        if !requests.routes.iter().any(|other| other.overlaps(route)) {
            advice.push(format!(
                "its code has the route {route}, and `on.http` sends no such request there"
            ));
        }
    }
    advice
}

impl Check {
    pub fn execute(self) -> anyhow::Result<Verdict> {
        if let (Some(target), Some(component)) = (self.target, &self.component) {
            return target::check(target, component, self.json);
        }
        let manifest = self.app.load_with(&self.variables.variables()?)?;
        if manifest.functions.is_empty() {
            bail!(NO_FUNCTIONS);
        }
        for name in manifest.buckets.keys() {
            let folder = manifest.bucket_path(name);
            match std::fs::metadata(&folder) {
                Ok(found) if !found.is_dir() => bail!(
                    "bucket {name:?}: {} isn't a folder; correct `path`",
                    folder.display()
                ),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => say!(
                    "note: bucket {name:?}: {} isn't there; it is made when the host starts",
                    folder.display()
                ),
                _ => {}
            }
        }
        for note in &manifest.notes {
            say!("note: {note}");
        }
        check_http_files(&manifest)?;
        let clock = Clock::system();
        let now = clock.now();
        let mut engine = new_engine(
            &manifest,
            self.cache.cache(),
            Arc::new(Nowhere),
            clock,
            Rooms::of(&manifest),
            None,
        )?;
        let buckets = Arc::new(HashMap::new());
        let keyvalue: Arc<dyn KeyValue> = Arc::new(EmptyKeyValue);
        let findings: Vec<Finding> = manifest
            .functions
            .iter()
            .map(|function| {
                let loaded =
                    load_function(&mut engine, &manifest, function, &buckets, &keyvalue, None);
                let mut finding = Finding {
                    function: function.name.clone(),
                    problem: None,
                    advice: manifest.advice(function),
                    next: function.on.upcoming(now),
                    exports: Vec::new(),
                    imports: Vec::new(),
                };
                match (loaded, function.on.source()) {
                    (Err(error), _) => finding.problem = Some(error.to_string()),
                    (Ok(_), Source::Schedule(schedule)) if finding.next.is_empty() => {
                        finding.problem = Some(schedule.is_over());
                    }
                    (Ok(loaded), _) => {
                        finding.advice = advice(&manifest, function);
                        finding.exports = loaded.handlers.exports.clone();
                        finding.imports = loaded.handlers.imports.clone();
                    }
                }
                finding
            })
            .collect();
        self.report(&findings)?;
        for Finding {
            function,
            advice,
            next,
            ..
        } in &findings
        {
            if !next.is_empty() {
                say!("function {function:?} comes next at {}", next.join(", "));
            }
            for sentence in advice {
                say!("note: function {function:?}: {sentence}");
            }
        }
        for ingress in &manifest.ingresses {
            for sentence in ingress.advice(&manifest) {
                say!("note: ingress {}: {sentence}", ingress.path);
            }
        }
        let good = findings.iter().all(|finding| finding.problem.is_none());
        Ok(if good { Verdict::Good } else { Verdict::Bad })
    }

    fn report(&self, findings: &[Finding]) -> anyhow::Result<()> {
        if self.json {
            return findings.iter().try_for_each(print_json);
        }
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|finding| {
                let verdict = match &finding.problem {
                    None => format!("good: serves {}", finding.exports.join(", ")),
                    Some(problem) => problem.clone(),
                };
                vec![finding.function.clone(), verdict]
            })
            .collect();
        print_line(&table(&["FUNCTION", "RESULT"], &rows))
    }
}
