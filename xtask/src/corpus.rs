//! The image corpora through the real host: every file an event, every thumbnail held against Pillow's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::setup::{build_host, root, run, target_dir};

const MANIFEST: &str = r#"
[app]
name = "corpus"
[buckets.photos]
path = "corpus/files"
[buckets.thumbs]
[[function]]
name = "thumbnail"
component = "thumbnail.wasm"
on = { object-created = "photos" }
limits = { memory = "512MiB", fuel = 100_000_000_000, timeout = "60s", concurrency = 2 }
retry = { attempts = 1 }
grants = { read = ["photos"], write = ["thumbs"] }
config = { sizes = "256x256", format = "png" }
"#;

/// Fetches the corpora, runs `thumbnail` on each file, and compares. Needs Debian's package manager for
/// the corpora, and Python.
pub fn check() -> anyhow::Result<()> {
    let kinglet = build_host()?;
    let app = target_dir().join("corpus");
    fs::create_dir_all(&app)?;
    run(Command::new("bash")
        .arg(root().join("tests/corpus/fetch.sh"))
        .arg(app.join("corpus")))?;
    let python = python(&app)?;

    for left in ["thumbs", ".kinglet"] {
        match fs::remove_dir_all(app.join(left)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    fs::write(app.join("kinglet.toml"), MANIFEST)?;
    let component = target_dir().join("wasm32-wasip2/release/thumbnail.wasm");
    fs::copy(&component, app.join("thumbnail.wasm"))
        .with_context(|| format!("can't copy {}", component.display()))?;
    // Rejections are dead letters, which is a negative result and what is expected of some.
    let status = Command::new(&kinglet)
        .args(["run", "thumbnail", "photos", "--manifest"])
        .arg(&app)
        .status()
        .context("can't run the host")?;
    if !matches!(status.code(), Some(0 | 1)) {
        bail!("`kinglet run` ended with {status}");
    }
    let outcomes = app.join("outcomes.jsonl");
    collect_outcomes(&kinglet, &app, &outcomes)?;
    run(Command::new(python)
        .arg(root().join("tests/corpus/compare.py"))
        .args([app.join("corpus/files"), app.join("thumbs"), outcomes]))
}

/// A Python with what the comparison needs.
fn python(app: &Path) -> anyhow::Result<std::path::PathBuf> {
    let venv = app.join("venv");
    let python = venv.join("bin").join("python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(root().join("tests/corpus/requirements.txt")))?;
    Ok(python)
}

/// The journal's outcomes, as the comparison reads them.
fn collect_outcomes(kinglet: &Path, app: &Path, to: &Path) -> anyhow::Result<()> {
    let mut logs = Command::new(kinglet)
        .args(["logs", "--json", "--manifest"])
        .arg(app)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = logs.stdout.take().context("no output of `kinglet logs`")?;
    let mut file = File::create(to)?;
    for line in BufReader::new(stdout).lines() {
        let record: Value = serde_json::from_str(&line?)?;
        if record["kind"] != "outcome" || record["settled"] != true {
            continue;
        }
        let reason = record["reason"].as_str().or(record["text"].as_str());
        // The words that the host puts before a function's own.
        let reason = reason.map(|reason| reason.trim_start_matches("rejected: "));
        let outcome = match (record["outcome"].as_str(), record["failure"].as_str()) {
            (Some("failed"), Some("reject")) => "rejected",
            (outcome, _) => outcome.unwrap_or("unknown"),
        };
        writeln!(
            file,
            "{}",
            json!({ "key": record["subject"], "outcome": outcome, "reason": reason })
        )?;
    }
    logs.wait()?;
    Ok(())
}
