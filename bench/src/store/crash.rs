//! What a store does when its process is killed, and when its file is damaged.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    load::{FOREVER_MS, closed_loop, fill},
    model::{FUNCTIONS, Kind, accept, delivery},
};

/// The child's first event, above all that a backlog holds.
const CHILD_FIRST_SEQ: u64 = 1 << 40;
/// The child's publishers.
const CHILD_THREADS: u64 = 8;

/// Load one store until killed; the other half of the recovery case.
#[derive(clap::Args)]
pub struct ChildArgs {
    /// The store and its settings.
    kind: Kind,
    /// The store's folder.
    dir: PathBuf,
    /// Stop by itself after this many accepts from one publisher.
    #[arg(long)]
    accepts: Option<u64>,
    /// Page cache of the store.
    #[arg(long, default_value_t = 64)]
    cache_mib: usize,
}

impl ChildArgs {
    pub fn execute(self) -> Result<()> {
        let mut store = self.kind.open(&self.dir, self.cache_mib)?;
        let seqs = AtomicU64::new(CHILD_FIRST_SEQ);
        let last = CHILD_FIRST_SEQ + self.accepts.unwrap_or(u64::MAX - CHILD_FIRST_SEQ);
        let threads = if self.accepts.is_some() {
            1
        } else {
            CHILD_THREADS
        };
        let output = Mutex::new(std::io::stdout());
        let before = proc_figure("/proc/self/io", "write_bytes:")?;
        let day = Duration::from_secs(86_400);
        let stats = closed_loop(store.as_mut(), threads, day, |client, _| {
            let seq = seqs.fetch_add(1, Ordering::Relaxed);
            if seq >= last {
                return Ok(false);
            }
            client.call(accept(seq, 300))?;
            // Only what was acknowledged is printed, so all that the parent reads must survive.
            writeln!(
                output.lock().unwrap_or_else(PoisonError::into_inner),
                "{seq}"
            )?;
            Ok(true)
        })?;
        let written = proc_figure("/proc/self/io", "write_bytes:")? - before;
        println!("written {written} commits {}", stats.commits);
        Ok(())
    }
}

/// A number from a file of `/proc`, whatever its unit.
fn proc_figure(path: &str, name: &str) -> Result<u64> {
    fs::read_to_string(path)?
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("{path} has no {name}"))
}

fn child(kind: Kind, dir: &Path, cache_mib: usize) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("store-child").arg(kind.name()).arg(dir);
    command.arg("--cache-mib").arg(cache_mib.to_string());
    Ok(command)
}

/// What a kill and the opening after it showed.
pub struct Recovery {
    pub open_ms: f64,
    pub first_read_ms: f64,
    pub acknowledged: usize,
    pub lost: usize,
    pub rss_mib: f64,
}

/// Kills a child with SIGKILL in the middle of its load, then opens what it left.
pub fn recover(kind: Kind, dir: &Path, cache_mib: usize, load: Duration) -> Result<Recovery> {
    let mut child = child(kind, dir, cache_mib)?
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("the child has no stdout")?);
    let (mut acknowledged, mut rss_kib, mut started) = (Vec::new(), 0, None);
    for line in lines.lines() {
        // The last line may be cut short by the kill.
        let Ok(seq) = line?.parse::<u64>() else { break };
        acknowledged.push(seq);
        let started = *started.get_or_insert_with(Instant::now);
        if rss_kib == 0 && started.elapsed() >= load {
            rss_kib = proc_figure(&format!("/proc/{}/status", child.id()), "VmRSS:")?;
            child.kill()?;
        }
    }
    child.wait()?;
    ensure!(rss_kib > 0, "{} stopped before it was killed", kind.name());
    // A number cut short is no event of the child's.
    acknowledged.retain(|seq| *seq >= CHILD_FIRST_SEQ);

    let before = Instant::now();
    let store = kind.open(dir, cache_mib)?;
    let open_ms = before.elapsed().as_secs_f64() * 1e3;
    let before = Instant::now();
    let mut reader = store.reader()?;
    reader.due(0, FOREVER_MS, &HashSet::new(), 1)?;
    let first_read_ms = before.elapsed().as_secs_f64() * 1e3;
    let mut lost = 0;
    for seq in &acknowledged {
        lost += usize::from(!reader.contains(*seq)?);
    }
    let rss_mib = f64::from(u32::try_from(rss_kib)?) / 1024.0;
    Ok(Recovery {
        open_ms,
        first_read_ms,
        acknowledged: acknowledged.len(),
        lost,
        rss_mib,
    })
}

/// Syncs and bytes written for each commit of one publisher.
pub struct CommitCost {
    /// None where `strace` is not there to count.
    pub syncs: Option<f64>,
    pub written_kib: f64,
}

/// Counts the cost of a commit in a child, once traced and once not.
#[expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]
pub fn commit_cost(kind: Kind, root: &Path, cache_mib: usize, accepts: u64) -> Result<CommitCost> {
    let dir = tempfile::tempdir_in(root)?;
    let plain = child(kind, dir.path(), cache_mib)?
        .args(["--accepts", &accepts.to_string()])
        .output()?;
    let text = String::from_utf8(plain.stdout)?;
    let last: Vec<_> = text.lines().last().unwrap_or_default().split(' ').collect();
    let ["written", bytes, "commits", commits] = last.as_slice() else {
        bail!("no cost: {text}")
    };
    let written_kib = bytes.parse::<f64>()? / commits.parse::<f64>()? / 1024.0;

    let (dir, counts) = (tempfile::tempdir_in(root)?, root.join("strace.txt"));
    let command = child(kind, dir.path(), cache_mib)?;
    let traced = Command::new("strace")
        .args([
            "-f",
            "-c",
            "-e",
            "trace=fsync,fdatasync,sync_file_range",
            "-o",
        ])
        .arg(&counts)
        .arg(command.get_program())
        .args(command.get_args())
        .args(["--accepts", &accepts.to_string()])
        .output();
    let syncs = match traced {
        Ok(traced) if traced.status.success() => {
            let table = fs::read_to_string(&counts)?;
            let calls = table
                .lines()
                .filter(|line| line.trim_end().ends_with("sync"));
            let calls =
                calls.filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
            Some(calls.sum::<u64>() as f64 / accepts as f64)
        }
        _ => None,
    };
    Ok(CommitCost { syncs, written_kib })
}

/// How many of `flips` damages each means noticed.
#[derive(Default)]
pub struct Detection {
    pub flips: u32,
    pub by_check: u32,
    pub by_reading: u32,
    pub panics: u32,
    pub wrong_data_read: u32,
}

/// Flips a byte in the body of a stored delivery, one at a time, and looks for who notices.
pub fn detect(kind: Kind, root: &Path, deliveries: u64, flips: u32) -> Result<Detection> {
    let pristine = tempfile::tempdir_in(root)?;
    fill(
        kind.open(pristine.path(), 64)?.as_mut(),
        &AtomicU64::new(0),
        deliveries,
        300,
    )?;
    let bytes = fs::read(pristine.path().join("queue.db"))?;
    let mut seen = Detection::default();
    for flip in 0..flips {
        let seq = deliveries * u64::from(flip) / u64::from(flips);
        let body = delivery(seq, 300).blob;
        let needle = body.get(100..124).context("a body of 300 bytes")?;
        let place = bytes
            .windows(needle.len())
            .position(|window| window == needle);
        let mut damaged = bytes.clone();
        let byte = damaged.get_mut(place.context("a body is not in the file")?);
        *byte.context("a place in the file")? ^= 0x10;
        let dir = tempfile::tempdir_in(root)?;
        fs::write(dir.path().join("queue.db"), damaged)?;
        seen.flips += 1;
        let read = catch_unwind(AssertUnwindSafe(|| read_all(kind, dir.path())));
        match read {
            Ok(Ok(wrong)) => seen.wrong_data_read += u32::from(wrong > 0),
            Ok(Err(_)) => seen.by_reading += 1,
            Err(_) => seen.panics += 1,
        }
        let check = catch_unwind(AssertUnwindSafe(|| kind.open(dir.path(), 64)?.is_sound()));
        match check {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) => seen.by_check += 1,
            Err(_) => seen.panics += 1,
        }
    }
    Ok(seen)
}

/// Reads every delivery; returns how many bodies were not what was stored.
fn read_all(kind: Kind, dir: &Path) -> Result<usize> {
    let store = kind.open(dir, 64)?;
    let mut reader = store.reader()?;
    let mut wrong = 0;
    for function in 0..u32::try_from(FUNCTIONS)? {
        let all = reader.due(function, FOREVER_MS, &HashSet::new(), usize::MAX)?;
        wrong += all
            .iter()
            .filter(|one| one.blob != delivery(one.key.seq, 300).blob)
            .count();
    }
    Ok(wrong)
}
