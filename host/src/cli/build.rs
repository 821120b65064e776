//! `kinglet build`

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::output::{bytes, micros, print_json, print_line, record_text};
use super::{AppArgs, Verdict, find_function};
use crate::capabilities::{Buckets, Reach};
use crate::clock::{Clock, millis};
use crate::config::Function;
use crate::engine::{InitContext, Snapshot, snapshot};
use crate::files;
use crate::ports::{Journal, Record};
use crate::stores::keyvalue::EmptyKeyValue;

/// The largest component that is taken from a build, in bytes.
const COMPONENT: u64 = 1 << 30;
const TARGET: &str = "wasm32-wasip2";

/// Build the functions of the application that have a `source`. Where one has an init, it is run, and its
/// instances begin with the memory that it left.
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
        let mut built: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let mut skipped = Vec::new();
        for function in wanted {
            let Some(source) = &function.source else {
                skipped.push(function.name.as_str());
                continue;
            };
            let source = manifest.root.join(source);
            // Several functions may be one crate.
            let artifact = match built.get(&source) {
                Some(artifact) => artifact.clone(),
                None => {
                    let artifact = build_crate(&source)
                        .with_context(|| format!("function {:?} can't be built", function.name))?;
                    built.insert(source, artifact.clone());
                    artifact
                }
            };
            self.install(
                function,
                &artifact,
                &manifest.root.join(&function.component),
            )
            .await?;
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

    async fn install(
        &self,
        function: &Function,
        artifact: &Path,
        component: &Path,
    ) -> anyhow::Result<()> {
        let built = files::read(artifact, COMPONENT)?;
        let snapshot = match self.no_snapshot {
            true => None,
            false => take_snapshot(function, &built).await?,
        };
        let wasm = snapshot.as_ref().map_or(&built, |snapshot| &snapshot.wasm);
        if let Some(parent) = component.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("can't make {}", parent.display()))?;
        }
        files::create(component)
            .map_err(std::io::Error::from)
            .and_then(|mut file| file.write_all(wasm))
            .with_context(|| format!("can't write {}", component.display()))?;
        let (size, before) = (wasm.len() as u64, built.len() as u64);
        if self.json {
            let snapshot = snapshot.map(|snapshot| {
                serde_json::json!({ "bytes_before": before, "took_ms": millis(snapshot.took) })
            });
            let built = serde_json::json!({
                "function": function.name, "component": component, "bytes": size, "snapshot": snapshot
            });
            return print_json(&built);
        }
        let snapshot = snapshot.map_or_else(String::new, |snapshot| {
            let took = u64::try_from(snapshot.took.as_micros()).unwrap_or(u64::MAX);
            let (before, took) = (bytes(before), micros(took));
            format!(", initialised: {before} before, in {took}")
        });
        print_line(&format!(
            "{}: {} ({}{snapshot})",
            function.name,
            component.display(),
            bytes(size)
        ))
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
fn build_crate(source: &Path) -> anyhow::Result<PathBuf> {
    let manifest = source.join("Cargo.toml");
    if !manifest.is_file() {
        bail!("there is no {}; correct `source`", manifest.display());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--target", TARGET])
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
