//! The load: `wrk`, on a core of its own.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

/// Prints what it measured as one line of JSON, latencies in microseconds.
const SCRIPT: &str = r#"
local body = BODY
if body > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", body)
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"us":%d,"p50":%d,"p99":%d,"bytes":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"#;

/// What a run of `wrk` saw.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Load {
    pub requests: f64,
    us: f64,
    pub p50: f64,
    pub p99: f64,
    pub bytes: f64,
    errors: u64,
}

/// What is asked of a server.
pub struct Asked {
    pub connections: usize,
    /// How many bytes each request brings; none by `GET`.
    pub body: usize,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.requests / (self.us / 1e6)
    }
}

/// Sends requests over so many connections for so many seconds, each after the answer to the one before.
pub async fn load(core: usize, url: &str, asked: &Asked, seconds: u64, dir: &Path) -> Result<Load> {
    let script = dir.join("report.lua");
    std::fs::write(&script, SCRIPT.replace("BODY", &asked.body.to_string()))?;
    let output = Command::new("taskset")
        .args([
            "-c",
            &core.to_string(),
            "wrk",
            "--threads",
            "1",
            "--latency",
            "--connections",
        ])
        .arg(asked.connections.to_string())
        .arg("--duration")
        .arg(format!("{seconds}s"))
        // A large body may take longer than its two seconds on a busy machine.
        .args(["--timeout", "30s"])
        .arg("--script")
        .arg(&script)
        .arg(url)
        .output()
        .await
        .context("can't run `wrk` by way of `taskset`")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("wrk said nothing of use: {text}"))?;
    let load: Load = serde_json::from_str(line)?;
    ensure!(load.errors == 0, "{} requests to {url} failed", load.errors);
    ensure!(load.requests > 0.0, "no request to {url} was answered");
    Ok(load)
}
