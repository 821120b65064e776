//! `cargo xtask style`: counts of what breaks the project's rules of prose and structure.
//!
//! `xtask/style-counts.json` has the counts that are allowed. A count may fall, and may not rise.

mod circles;
mod prose;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::setup::root;

/// The allowed counts, relative to the project's folder.
const COUNTS: &str = "xtask/style-counts.json";

#[derive(Debug, Default, Args)]
pub struct Style {
    /// Write the counts of today where they are lower than the allowed ones.
    #[arg(long)]
    update: bool,
    /// Print each place of this rule, such as `doc-openings`.
    #[arg(long)]
    list: Option<String>,
}

/// The places that break a rule, by the rule's name.
type Findings = BTreeMap<&'static str, Vec<String>>;

impl Style {
    pub fn execute(self) -> anyhow::Result<()> {
        let files = SourceFiles::read()?;
        let mut findings = Findings::new();
        prose::check(&files, &mut findings);
        circles::check(&files, &mut findings)?;
        if let Some(rule) = &self.list {
            let Some(places) = findings.get(rule.as_str()) else {
                let rules: Vec<&str> = findings.into_keys().collect();
                bail!("there is no rule {rule:?}; use one of {}", rules.join(", "));
            };
            for place in places {
                println!("{place}");
            }
            return Ok(());
        }
        compare(&findings, self.update)
    }
}

/// Compares the findings with the allowed counts, and lowers these on request.
fn compare(findings: &Findings, update: bool) -> anyhow::Result<()> {
    let path = root().join(COUNTS);
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {COUNTS}"))?;
    let mut allowed: BTreeMap<String, usize> =
        serde_json::from_str(&text).with_context(|| format!("{COUNTS} is not valid"))?;
    let mut risen = Vec::new();
    for (&rule, places) in findings {
        let (count, allowed) = (places.len(), allowed.entry(rule.to_owned()).or_default());
        println!("{count:6} of {allowed} allowed  {rule}");
        if count > *allowed {
            risen.push(format!("{rule} ({count}, {allowed} allowed)"));
        } else if update {
            *allowed = count;
        }
    }
    if update {
        let mut text = serde_json::to_string_pretty(&allowed)?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("can't write {COUNTS}"))?;
    }
    ensure!(
        risen.is_empty(),
        "these counts rose: {}; `cargo xtask style --list RULE` prints the places",
        risen.join(", ")
    );
    Ok(())
}

/// The files that the rules are about, with their texts.
struct SourceFiles {
    rust: Vec<SourceFile>,
    markdown: Vec<SourceFile>,
}

struct SourceFile {
    /// Relative to the project's folder.
    path: PathBuf,
    text: String,
}

impl SourceFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl SourceFiles {
    /// Reads the files that Git knows, without vendored ones.
    fn read() -> anyhow::Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .args(["--", "*.rs", "*.md"])
            .current_dir(root())
            .output()
            .context("can't run git")?;
        ensure!(output.status.success(), "`git ls-files` failed");
        let (mut rust, mut markdown) = (Vec::new(), Vec::new());
        for name in String::from_utf8(output.stdout)?.lines() {
            let path = PathBuf::from(name);
            // A file that was removed and not yet committed.
            let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
                continue;
            };
            let file = SourceFile { path, text };
            match file
                .path
                .extension()
                .and_then(|extension| extension.to_str())
            {
                Some("rs") => rust.push(file),
                _ if is_vendored(&file.path) => {}
                _ => markdown.push(file),
            }
        }
        Ok(Self { rust, markdown })
    }

    /// Iterates over the Rust files that ship: no tests, fuzz targets or benchmarks.
    fn production(&self) -> impl Iterator<Item = &SourceFile> {
        self.rust.iter().filter(|file| is_production(&file.path))
    }
}

fn is_vendored(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "deps")
}

fn is_production(path: &Path) -> bool {
    let in_folder = |name: &str| path.components().any(|part| part.as_os_str() == name);
    let is_tests = path
        .file_stem()
        .is_some_and(|stem| stem == "tests" || stem == "test");
    !is_tests && !["tests", "fuzz", "bench"].into_iter().any(in_folder)
}
