//! `kinglet build`

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::output::{bytes, micros, print_json, print_line, record_text};
use super::target::{self, Target};
use super::{AppArgs, MAX_COMPONENT_BYTES, Verdict, find_function};
use crate::capabilities::{Buckets, Reach};
use crate::clock::{Clock, millis};
use crate::config::{self, Function};
use crate::engine::{InitContext, Snapshot, snapshot};
use crate::files;
use crate::ports::{Journal, Record};
use crate::stores::keyvalue::EmptyKeyValue;

const TARGET: &str = "wasm32-wasip2";

/// Build the functions of the application that have a `source`. Where one has an init, it is run, and its
/// instances begin with the memory that it left.
///
/// One with `targets` is built for these hosts as well: `api.spin.wasm` beside `api.wasm`, which
/// may be the same.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet build\n  kinglet build thumbnail\n  kinglet build thumbnail --no-snapshot"
)]
pub(super) struct Build {
    #[command(flatten)]
    app: AppArgs,
    /// Only these functions.
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,
    /// Run no init: each instance does that work when it comes to it.
    #[arg(long)]
    no_snapshot: bool,
    /// A JSON object for each component that was built.
    #[arg(long)]
    json: bool,
}

impl Build {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        for name in &self.functions {
            if find_function(&manifest, name)?.source.is_none() {
                bail!("function {name:?} has no `source` to build from; add `source = \"FOLDER\"`");
            }
        }
        let wanted = manifest
            .functions
            .iter()
            .filter(|f| self.functions.is_empty() || self.functions.contains(&f.name));
        let mut crates = Crates::default();
        let mut skipped = Vec::new();
        for function in wanted {
            let Some(source) = &function.source else {
                skipped.push(function.name.as_str());
                continue;
            };
            let source = manifest.root.join(source);
            let wasm = crates
                .build(&source, None)
                .with_context(|| format!("function {:?} can't be built", function.name))?;
            let component = manifest.root.join(&function.component);
            let made = self.make(function, &wasm).await?;
            self.write(function, &component, &made, None)?;
            let mut others: Vec<config::Target> = Vec::new();
            for target in &function.targets {
                if others.contains(target) {
                    continue;
                }
                others.push(*target);
                self.build_for(*target, function, &source, &component, &made, &mut crates)
                    .await?;
            }
        }
        let of_spin = manifest.functions.iter().filter_map(|function| {
            let build = function.spin_build.as_deref()?;
            Some(format!("{:?} with `{build}`", function.name))
        });
        let of_spin: Vec<String> = of_spin.collect();
        if !of_spin.is_empty() {
            bail!(
                "what a `spin.toml` has is built by `spin build`: {}",
                of_spin.join(", ")
            );
        }
        if !skipped.is_empty() {
            say!("no `source`, so nothing to build: {}", skipped.join(", "));
        }
        Ok(Verdict::Good)
    }

    /// Writes a component for another host: the one that there is, where it runs there as it is.
    async fn build_for(
        &self,
        target: config::Target,
        function: &Function,
        source: &Path,
        component: &Path,
        made: &Made,
        crates: &mut Crates,
    ) -> anyhow::Result<()> {
        let Some(host) = Target::of(target) else {
            return Ok(());
        };
        let file = target.component(component);
        let examine = |made: &Made| {
            target::examine(host, file.display().to_string(), made.wasm())
                .with_context(|| format!("function {:?}", function.name))
        };
        if examine(made)?.runs() {
            return self.write(function, &file, made, Some(target));
        }
        let wasm = crates.build(source, Some(target)).with_context(|| {
            format!(
                "function {:?} can't be built for {target}; `targets` need a crate that depends on \
                 kinglet-sdk",
                function.name
            )
        })?;
        let made = self.make(function, &wasm).await?;
        let finding = examine(&made)?;
        if !finding.runs() {
            bail!(
                "function {:?} doesn't run on {}, which its `targets` name: {}",
                function.name,
                finding.host(),
                finding.obstacles().join("; ")
            );
        }
        self.write(function, &file, &made, Some(target))
    }

    /// Runs the init, where there is one.
    async fn make(&self, function: &Function, built: &Arc<[u8]>) -> anyhow::Result<Made> {
        let snapshot = match self.no_snapshot {
            true => None,
            false => take_snapshot(function, built).await?,
        };
        Ok(Made {
            built: Arc::clone(built),
            snapshot,
        })
    }

    fn write(
        &self,
        function: &Function,
        component: &Path,
        made: &Made,
        target: Option<config::Target>,
    ) -> anyhow::Result<()> {
        let wasm = made.wasm();
        if let Some(parent) = component.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("can't make {}", parent.display()))?;
        }
        files::create(component)
            .map_err(std::io::Error::from)
            .and_then(|mut file| file.write_all(wasm))
            .with_context(|| format!("can't write {}", component.display()))?;
        let (size, before) = (wasm.len() as u64, made.built.len() as u64);
        if self.json {
            let snapshot = made.snapshot.as_ref().map(|snapshot| {
                serde_json::json!({ "bytes_before": before, "took_ms": millis(snapshot.took) })
            });
            let mut built = serde_json::json!({
                "function": function.name, "component": component, "bytes": size, "snapshot": snapshot
            });
            if let (Some(target), Some(fields)) = (target, built.as_object_mut()) {
                fields.insert("target".to_owned(), target.name().into());
            }
            return print_json(&built);
        }
        let snapshot = made.snapshot.as_ref().map_or_else(String::new, |snapshot| {
            let took = u64::try_from(snapshot.took.as_micros()).unwrap_or(u64::MAX);
            let (before, took) = (bytes(before), micros(took));
            format!(", initialised: {before} before, in {took}")
        });
        let target = target.map_or_else(String::new, |target| format!(" for {target}"));
        print_line(&format!(
            "{}: {}{target} ({}{snapshot})",
            function.name,
            component.display(),
            bytes(size)
        ))
    }
}

/// A component.
struct Made {
    /// As cargo made it.
    built: Arc<[u8]>,
    /// With the memory that its init left.
    snapshot: Option<Snapshot>,
}

impl Made {
    fn wasm(&self) -> &[u8] {
        match &self.snapshot {
            Some(snapshot) => &snapshot.wasm,
            None => &self.built,
        }
    }
}

/// The crates that are built, for which hosts: several functions may be one crate.
#[derive(Default)]
struct Crates(BTreeMap<(PathBuf, Option<&'static str>), Arc<[u8]>>);

impl Crates {
    fn build(
        &mut self,
        source: &Path,
        target: Option<config::Target>,
    ) -> anyhow::Result<Arc<[u8]>> {
        let key = (source.to_owned(), target.map(config::Target::name));
        if let Some(built) = self.0.get(&key) {
            return Ok(Arc::clone(built));
        }
        let artifact = build_crate(source, target)?;
        // The next build may write to the same file.
        let built = Arc::from(files::read(&artifact, MAX_COMPONENT_BYTES)?);
        self.0.insert(key, Arc::clone(&built));
        Ok(built)
    }
}

async fn take_snapshot(function: &Function, wasm: &[u8]) -> anyhow::Result<Option<Snapshot>> {
    let reach = Reach {
        buckets: Buckets::default(),
        keyvalue: Arc::new(EmptyKeyValue),
        grants: Arc::default(),
        config: Arc::new(function.config.clone()),
        environment: Arc::default(),
        outgoing: None,
    };
    let context = InitContext {
        function,
        reach,
        journal: Arc::new(Shown),
        clock: Clock::system(),
    };
    let taken = snapshot(wasm, context).await;
    taken.with_context(|| format!("function {:?} can't be built", function.name))
}

/// What an init logs is shown beside what cargo says.
struct Shown;

impl Journal for Shown {
    fn write(&self, record: Record) {
        say!("{}", record_text(&record));
    }
}

/// Runs cargo, and finds the component in what it says it made.
fn build_crate(source: &Path, target: Option<config::Target>) -> anyhow::Result<PathBuf> {
    let manifest = source.join("Cargo.toml");
    if !manifest.is_file() {
        bail!("there is no {}; correct `source`", manifest.display());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--target", TARGET]);
    if let Some(target) = target {
        // The SDK's feature of that name.
        command.arg(format!("--features=kinglet-sdk/{target}"));
    }
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .current_dir(source)
        .stderr(Stdio::inherit())
        .output()
        .context("can't run cargo; install Rust")?;
    if !output.status.success() {
        bail!(
            "cargo failed in {}; where the target is missing, `rustup target add {TARGET}`",
            source.display()
        );
    }
    let wanted = manifest
        .canonicalize()
        .with_context(|| format!("can't resolve {}", manifest.display()))?;
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| {
            let made_from = message
                .get("manifest_path")
                .and_then(serde_json::Value::as_str);
            made_from.is_some_and(|path| Path::new(path) == wanted)
        })
        .filter_map(|message| {
            let files = message.get("filenames")?.as_array()?.clone();
            files.into_iter().find_map(|file| {
                let path = PathBuf::from(file.as_str()?);
                (path.extension()? == "wasm").then_some(path)
            })
        })
        .next_back()
        .with_context(|| {
            format!(
                "cargo made no component; {} needs `[lib] crate-type = [\"cdylib\"]`",
                manifest.display()
            )
        })
}
