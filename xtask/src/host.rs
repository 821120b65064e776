//! The real host as a child process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// A host that runs an application. Dropped, it is ended.
pub struct Host {
    child: Child,
    records: Box<dyn BufRead>,
}

impl Host {
    /// Starts `command`, a `kinglet up --json`, and waits until it is ready.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("can't start the host")?;
        let stderr = child
            .stderr
            .take()
            .context("the host has no standard error")?;
        let stdout = child
            .stdout
            .take()
            .context("the host has no standard output")?;
        let mut host = Self {
            child,
            records: Box::new(BufReader::new(stdout)),
        };
        let mut lines = BufReader::new(stderr).lines();
        loop {
            let Some(line) = lines.next() else {
                bail!("the host didn't start: {}", host.child.wait()?);
            };
            let line = line?;
            eprintln!("{line}");
            if line.starts_with("ready") {
                break;
            }
        }
        // What the host says later goes on to the terminal, and keeps its pipe from filling up.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"))
        });
        Ok(host)
    }

    /// `kinglet up --json` of the application in `app`.
    pub fn up(kinglet: &Path, app: &Path) -> Command {
        let mut command = Command::new(kinglet);
        command.args(["up", "--json", "--manifest"]).arg(app);
        command
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next log record or outcome; none once the host has ended.
    pub fn next_record(&mut self) -> anyhow::Result<Option<Value>> {
        let mut line = String::new();
        if self.records.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .with_context(|| format!("not a record: {line}"))
    }

    /// The next outcome after which no attempt follows.
    pub fn next_settled(&mut self) -> anyhow::Result<Value> {
        loop {
            let Some(record) = self.next_record()? else {
                bail!("the host ended: {}", self.child.wait()?);
            };
            if record["kind"] == "outcome" && record["settled"] == true {
                return Ok(record);
            }
        }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the host ended with {status}");
        }
        Ok(())
    }

    /// Stops it as ctrl-c does, and waits for its end.
    pub fn stop(self) -> anyhow::Result<()> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT)?;
        self.wait()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Only on the way out after an error; a host that was stopped has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
