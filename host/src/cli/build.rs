//! `kinglet build`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

use super::output::{bytes, print_json, print_line};
use super::{AppArgs, Verdict, find_function};
use crate::config::Function;

const TARGET: &str = "wasm32-wasip2";

/// Build the functions of the application that have a `source`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kinglet build\n  kinglet build thumbnail")]
pub(super) struct Build {
    #[command(flatten)]
    app: AppArgs,
    /// Only these functions.
    #[arg(value_name = "FUNCTION")]
    functions: Vec<String>,
    /// A JSON object for each component that was built.
    #[arg(long)]
    json: bool,
}

impl Build {
    pub fn execute(self) -> anyhow::Result<Verdict> {
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
            )?;
        }
        if !skipped.is_empty() {
            eprintln!("no `source`, so nothing to build: {}", skipped.join(", "));
        }
        Ok(Verdict::Good)
    }

    fn install(
        &self,
        function: &Function,
        artifact: &Path,
        component: &Path,
    ) -> anyhow::Result<()> {
        if let Some(parent) = component.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("can't make {}", parent.display()))?;
        }
        let size = std::fs::copy(artifact, component)
            .with_context(|| format!("can't write {}", component.display()))?;
        if self.json {
            let built = serde_json::json!({
                "function": function.name, "component": component, "bytes": size
            });
            return print_json(&built);
        }
        print_line(&format!(
            "{}: {} ({})",
            function.name,
            component.display(),
            bytes(size)
        ))
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
