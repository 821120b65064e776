//! A server as a child process: traced where its syncs are counted, ended by its own id.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a server may take to end what it does.
const STOP: Duration = Duration::from_secs(60);

/// A running server. Dropped, it is killed.
pub struct Process {
    child: Child,
    id: u32,
    trace: Option<PathBuf>,
}

impl Process {
    /// Starts `program`; with `trace`, its syncs are written to that file.
    pub fn start(program: &Path, args: &[OsString], trace: Option<&Path>) -> Result<Self> {
        let mut command = match trace {
            None => Command::new(program),
            Some(file) => {
                let mut command = Command::new("strace");
                // With -D the tracer stands aside: the child that we hold is the server itself.
                command.args([
                    "-D",
                    "-f",
                    "-e",
                    "trace=fsync,fdatasync,sync_file_range,openat",
                ]);
                command.arg("-o").arg(file).arg(program);
                command
            }
        };
        let child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {:?}", command.as_std().get_program()))?;
        let id = child.id().context("the server ended at once")?;
        let trace = trace.map(Path::to_owned);
        Ok(Self { child, id, trace })
    }

    /// Its standard error, once.
    pub fn stderr(&mut self) -> Result<tokio::process::ChildStderr> {
        self.child.stderr.take().context("standard error is taken")
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// Starts `program` on one core alone.
    pub fn start_on(core: usize, program: &Path, args: &[OsString]) -> Result<Self> {
        let core: OsString = core.to_string().into();
        let pinned = ["-c".into(), core, program.into()];
        Self::start(Path::new("taskset"), &[&pinned, args].concat(), None)
    }

    /// The processor's time that it took so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        // After the name in brackets: the twelfth and thirteenth are user's and system's ticks, of which Linux
        // shows a hundred a second on every machine.
        let (_, rest) = stat.rsplit_once(')').context("a stat without a name")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks = || -> Result<u64> { Ok(fields.next().context("a short stat")?.parse()?) };
        Ok(Duration::from_millis(10 * (ticks()? + ticks()?)))
    }

    /// Fails where it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended: {status}"),
            None => Ok(()),
        }
    }

    /// What it holds in memory by now, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
            .context("a status without VmRSS")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    /// What it had written to the disk so far, in KiB, in whole pages.
    pub fn written_kib(&self) -> Result<f64> {
        let counts = std::fs::read_to_string(format!("/proc/{}/io", self.id))?;
        let bytes = counts
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes:"));
        Ok(bytes
            .context("counts without write_bytes")?
            .trim()
            .parse::<f64>()?
            / 1024.0)
    }

    /// Syncs so far: calls of fsync and the like, and files opened to be synced with each write.
    pub fn syncs(&self) -> Result<u64> {
        let trace = self.trace.as_deref().context("the server isn't traced")?;
        let text = std::fs::read_to_string(trace)?;
        let is_sync = |line: &&str| {
            // A call that another thread's interrupts is written twice.
            !line.contains("resumed>")
                && (line.contains("sync(")
                    || line.contains("sync_file_range(")
                    || line.contains("O_SYNC")
                    || line.contains("O_DSYNC"))
        };
        Ok(text.lines().filter(is_sync).count() as u64)
    }

    /// Ends it at once.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Ends it as ctrl-c does.
    pub async fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        kill_process(id.context("not a process id")?, Signal::INT)?;
        let ended = tokio::time::timeout(STOP, self.child.wait()).await;
        let status = ended.with_context(|| format!("the server didn't end within {STOP:?}"))??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

/// What the files below a folder take on the disk, in MiB.
#[expect(clippy::cast_precision_loss, reason = "sizes of a few GiB")]
pub fn size_mib(path: &Path) -> Result<f64> {
    Ok(size(path)? as f64 / f64::from(1 << 20))
}

fn size(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path)?;
    // A block is 512 bytes, whatever the file system's own is.
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            bytes += size(&entry?.path())?;
        }
    }
    Ok(bytes)
}
