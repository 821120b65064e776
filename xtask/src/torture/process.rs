//! A host, and commands beside it, under the shim.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use kinglet_powercut::{ENVIRONMENT, Plan};

use super::app::App;
use crate::setup::{WASM_TARGET, build_host, build_shim, cargo, ensure_target, run, target_dir};

/// Nothing takes longer, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// What a torture runs.
#[derive(Debug)]
pub struct Tools {
    kinglet: PathBuf,
    shim: PathBuf,
    cache: PathBuf,
}

impl Tools {
    pub fn build() -> anyhow::Result<Self> {
        ensure_target(WASM_TARGET)?;
        run(cargo().args([
            "build",
            "--release",
            "--target",
            WASM_TARGET,
            "--package=kinglet-test-guests",
            "--example=torture",
        ]))?;
        Ok(Self {
            kinglet: build_host()?,
            shim: build_shim()?,
            cache: home().join("cache"),
        })
    }

    /// A `kinglet` command on the application, under the shim.
    pub fn command(&self, app: &App, plan: &Plan, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.kinglet);
        command
            .args(arguments)
            .arg("--manifest")
            .arg(&app.root)
            .env_remove("KINGLET_MANIFEST")
            .env("KINGLET_CACHE_DIR", &self.cache)
            .env("KINGLET_CACHE_KEY", self.cache.with_extension("key"))
            .env("LD_PRELOAD", &self.shim)
            .env(ENVIRONMENT, plan.to_text()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

/// Where torture keeps its files: in the target folder, which has extended attributes on every machine that
/// builds there.
pub fn home() -> PathBuf {
    target_dir().join("torture")
}

/// A plan that only watches.
pub fn watching(app: &App) -> Plan {
    Plan {
        root: app.root.clone(),
        undo: app.undo.clone(),
        seed: 0,
        kill: None,
        without: None,
        faults: None,
        idle: false,
    }
}

/// A running `kinglet up`.
pub struct Host {
    child: Child,
    said: Receiver<String>,
    lines: Vec<String>,
}

/// How a host ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The last that it said.
    pub said: String,
}

impl Ended {
    /// Whether it ended by itself with an error: neither killed nor stopped.
    pub fn gave_up(&self) -> bool {
        self.status.code().is_some_and(|code| code != 0)
    }
}

impl Host {
    pub fn start(tools: &Tools, app: &App, plan: &Plan) -> anyhow::Result<Self> {
        let mut child = tools
            .command(app, plan, &["up", "--quiet"])?
            .spawn()
            .context("can't start the host")?;
        let stderr = child
            .stderr
            .take()
            .context("the host has no error output")?;
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            said,
            lines: Vec::new(),
        })
    }

    /// Waits until it is ready; false where that didn't come in time, or it ended.
    pub fn ready(&mut self, within: Duration) -> bool {
        let mut waited = Duration::ZERO;
        while waited < within {
            match self.said.recv_timeout(POLL) {
                Ok(line) => {
                    let ready = line.starts_with("ready");
                    self.lines.push(line);
                    if ready {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout) => waited += POLL,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        false
    }

    /// Waits for its end; none where that doesn't come in time.
    pub fn ends(&mut self, within: Duration) -> anyhow::Result<Option<Ended>> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.lines.extend(self.said.iter());
                let from = self.lines.len().saturating_sub(12);
                let said = self.lines.get(from..).unwrap_or_default().join("\n");
                return Ok(Some(Ended { status, said }));
            }
            if waited >= within {
                return Ok(None);
            }
            std::thread::sleep(POLL);
            waited += POLL;
        }
    }

    /// The end that no process can prepare for.
    pub fn kill(&mut self) -> anyhow::Result<Ended> {
        self.child.kill()?;
        self.ends(PATIENCE)?.context("the host can't be killed")
    }

    /// Ctrl-c, and the good end that must follow.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT)?;
        match self.ends(PATIENCE)? {
            Some(ended) if ended.status.success() => Ok(()),
            Some(ended) => bail!("the host stopped with {}: {}", ended.status, ended.said),
            None => bail!("the host doesn't stop"),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has a file on disk under a name that appears at once, as a careful program would.
pub fn drop_file(app: &App, bucket: &Path, name: &str) -> anyhow::Result<()> {
    let scratch = app.root.with_file_name(name);
    let mut file = std::fs::File::create(&scratch)?;
    std::io::Write::write_all(&mut file, name.as_bytes())?;
    // Long ago, so that a starting host needn't wait to see whether it still grows.
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    file.set_modified(long_ago)?;
    file.sync_all()?;
    std::fs::rename(&scratch, bucket.join(name))?;
    std::fs::File::open(bucket)?.sync_all()?;
    Ok(())
}
