//! SQLite, which carries the event queue, and redb: the same work on each in turn.

mod crash;
mod load;
mod model;
mod redb_store;
mod sqlite_store;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

pub use self::crash::ChildArgs;
use self::{
    crash::{commit_cost, detect, recover},
    load::{Stats, deliver, drain, fill, publish},
    model::{Kind, Store},
};
use crate::report::{Better, Figure, Report};

/// Compare redb and SQLite as the carrier of the event queue.
#[derive(clap::Args)]
pub struct StoreArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Small sizes, for a run of less than a minute.
    #[arg(long)]
    quick: bool,
    /// Deliveries pending in the backlog cases [default: 1000000, or 20000 with --quick].
    #[arg(long)]
    backlog: Option<u64>,
    /// Milliseconds of load for each round [default: 700, or 100 with --quick].
    #[arg(long)]
    load_ms: Option<u64>,
    /// Rounds of each closed loop, of which the best counts [default: 3, or 1 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Page cache of each store.
    #[arg(long, default_value_t = 64)]
    cache_mib: usize,
    /// The settings of redb to compare.
    #[arg(long, default_value = "redb")]
    redb: Kind,
    /// The settings of SQLite to compare.
    #[arg(long, default_value = "sqlite-wal4k")]
    sqlite: Kind,
    /// Also run the short cases on every setting of both.
    #[arg(long)]
    settings: bool,
    /// Where the stores are put: a folder of the filesystem to measure.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

impl StoreArgs {
    pub fn execute(self) -> Result<()> {
        let default_ms = if self.quick { 100 } else { 700 };
        let root = tempfile::Builder::new()
            .prefix("bench-tmp")
            .tempdir_in(&self.dir)?;
        let bench = Bench {
            root: root.path(),
            span: Duration::from_millis(self.load_ms.unwrap_or(default_ms)),
            backlog: self
                .backlog
                .unwrap_or(if self.quick { 20_000 } else { 1_000_000 }),
            cache_mib: self.cache_mib,
            quick: self.quick,
            rounds: self.rounds.unwrap_or(if self.quick { 1 } else { 3 }),
            kinds: [self.sqlite, self.redb],
            report: Report {
                bench: "store",
                ours_name: "sqlite",
                rival_name: "redb",
                json: self.json,
            },
        };
        bench.report.header();
        if self.settings {
            bench.settings()?;
        }
        bench.empty()?;
        bench.commits()?;
        bench.detection()?;
        bench.backlog()
    }
}

struct Bench<'a> {
    root: &'a Path,
    span: Duration,
    backlog: u64,
    cache_mib: usize,
    quick: bool,
    rounds: u32,
    /// Ours, then the rival.
    kinds: [Kind; 2],
    report: Report,
}

impl Bench<'_> {
    fn figure(&self, case: &str, [ours, rival]: [f64; 2], unit: &str, better: Better) {
        self.report.figure(&Figure {
            case,
            ours,
            rival,
            unit,
            better,
            goal: 1.0,
        });
    }

    fn stats(&self, case: &str, [ours, rival]: &[Stats; 2]) {
        let pair = |of: fn(&Stats) -> f64| [of(ours), of(rival)];
        self.figure(case, pair(|stats| stats.per_second), "/s", Better::More);
        self.figure(
            &format!("{case} p50"),
            pair(|stats| stats.p50_us),
            "us",
            Better::Less,
        );
        self.figure(
            &format!("{case} p99"),
            pair(|stats| stats.p99_us),
            "us",
            Better::Less,
        );
        self.figure(
            &format!("{case} cpu"),
            pair(|stats| stats.cpu_us),
            "us",
            Better::Less,
        );
    }

    /// Runs the two by turns and keeps the best round of each, since a shared machine only slows.
    fn rounds(&self, mut work: impl FnMut(Kind) -> Result<Stats>) -> Result<[Stats; 2]> {
        let mut best = self.each(&mut work)?;
        for _ in 1..self.rounds {
            let round = self.each(&mut work)?;
            for (best, stats) in best.iter_mut().zip(round) {
                if stats.per_second > best.per_second {
                    *best = stats;
                }
            }
        }
        Ok(best)
    }

    /// Does the same with each of the two, ours first.
    fn each<T>(&self, mut work: impl FnMut(Kind) -> Result<T>) -> Result<[T; 2]> {
        let [ours, rival] = self.kinds;
        Ok([work(ours)?, work(rival)?])
    }

    fn fresh(&self, kind: Kind) -> Result<(tempfile::TempDir, Box<dyn Store>)> {
        let dir = tempfile::tempdir_in(self.root)?;
        let store = kind.open(dir.path(), self.cache_mib)?;
        Ok((dir, store))
    }

    /// Every setting of both stores, in the cases that tell them apart.
    fn settings(&self) -> Result<()> {
        for kind in Kind::ALL {
            let mut line = format!("{:<18}", kind.name());
            for (threads, body_len) in [(1, 300), (64, 300), (64, 8192)] {
                let (_dir, mut store) = self.fresh(kind)?;
                let stats = publish(
                    store.as_mut(),
                    &AtomicU64::new(0),
                    threads,
                    self.span,
                    body_len,
                )?;
                line += &format!(
                    " | {threads}x{body_len}B {:.0}/s p50 {:.0} p99 {:.0} us",
                    stats.per_second, stats.p50_us, stats.p99_us
                );
            }
            let (_dir, mut store) = self.fresh(kind)?;
            let stats = deliver(store.as_mut(), &AtomicU64::new(0), 8, self.span, 300)?;
            line += &format!(" | deliver 8x300B {:.0}/s", stats.per_second);
            let cost = commit_cost(kind, self.root, self.cache_mib, 500)?;
            line += &format!(
                " | {:.1} KiB, {:.2?} syncs a commit",
                cost.written_kib, cost.syncs
            );
            self.report.note(&line);
        }
        Ok(())
    }

    /// Closed loops on a store that starts empty.
    fn empty(&self) -> Result<()> {
        for (body, body_len) in [("300 B", 300), ("8 KiB", 8192)] {
            for threads in [1, 8, 64] {
                let stats = self.rounds(|kind| {
                    let (_dir, mut store) = self.fresh(kind)?;
                    publish(
                        store.as_mut(),
                        &AtomicU64::new(0),
                        threads,
                        self.span,
                        body_len,
                    )
                })?;
                self.stats(&format!("accept {body}, {threads} publishers"), &stats);
            }
        }
        for threads in [1, 8, 64] {
            let stats = self.rounds(|kind| {
                let (_dir, mut store) = self.fresh(kind)?;
                deliver(store.as_mut(), &AtomicU64::new(0), threads, self.span, 300)
            })?;
            self.stats(&format!("publish-take-settle, {threads} loops"), &stats);
        }
        Ok(())
    }

    /// What one commit costs the disk.
    fn commits(&self) -> Result<()> {
        let accepts = if self.quick { 200 } else { 2_000 };
        let [ours, rival] =
            self.each(|kind| commit_cost(kind, self.root, self.cache_mib, accepts))?;
        let written = [ours.written_kib, rival.written_kib];
        self.figure(
            "written for a commit of one accept",
            written,
            "KiB",
            Better::Less,
        );
        match (ours.syncs, rival.syncs) {
            (Some(ours), Some(rival)) => {
                self.figure("syncs for a commit", [ours, rival], "calls", Better::Less);
            }
            _ => self
                .report
                .note("syncs are not counted: strace is not installed"),
        }
        Ok(())
    }

    /// Whether damage to the file is noticed.
    fn detection(&self) -> Result<()> {
        let flips = if self.quick { 4 } else { 16 };
        // A panic is counted, and its message would only clutter the table.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let seen = self.each(|kind| detect(kind, self.root, 5_000, flips));
        std::panic::set_hook(hook);
        let [ours, rival] = seen?;
        let share = |part: u32, of: u32| f64::from(part) * 100.0 / f64::from(of);
        let by_check = [
            share(ours.by_check, ours.flips),
            share(rival.by_check, rival.flips),
        ];
        self.figure(
            "flipped bytes noticed by a check",
            by_check,
            "%",
            Better::More,
        );
        for (kind, seen) in self.kinds.iter().zip([ours, rival]) {
            self.report.note(&format!(
                "{}: of {} flips {} noticed by reading, {} read as wrong data, {} panics",
                kind.name(),
                seen.flips,
                seen.by_reading,
                seen.wrong_data_read,
                seen.panics
            ));
        }
        Ok(())
    }

    /// Everything that a backlog changes: speed, size, memory, recovery, draining, reuse.
    fn backlog(&self) -> Result<()> {
        let mut seqs = [AtomicU64::new(0), AtomicU64::new(0)];
        let dirs = [
            tempfile::tempdir_in(self.root)?,
            tempfile::tempdir_in(self.root)?,
        ];
        let [ours, rival] = self.kinds;
        let of = |kind: Kind| usize::from(kind != ours && kind == rival);
        let (dir, seq) = (
            |kind| pick(&dirs, of(kind)).path(),
            |kind| pick(&seqs, of(kind)),
        );

        let rates = self.each(|kind| {
            let mut store = kind.open(dir(kind), self.cache_mib)?;
            let before = Instant::now();
            fill(store.as_mut(), seq(kind), self.backlog, 300)?;
            Ok(per_second(self.backlog, before))
        })?;
        self.figure("fill, 20,000 an accept", rates, "/s", Better::More);
        let sizes = self.each(|kind| size_mib(dir(kind)))?;
        self.figure("size with the backlog", sizes, "MiB", Better::Less);
        for threads in [1, 8, 64] {
            let stats = self.rounds(|kind| {
                let mut store = kind.open(dir(kind), self.cache_mib)?;
                publish(store.as_mut(), seq(kind), threads, self.span, 300)
            })?;
            self.stats(
                &format!("backlog: accept 300 B, {threads} publishers"),
                &stats,
            );
        }
        for threads in [1, 8, 64] {
            let stats = self.rounds(|kind| {
                let mut store = kind.open(dir(kind), self.cache_mib)?;
                deliver(store.as_mut(), seq(kind), threads, self.span, 300)
            })?;
            self.stats(
                &format!("backlog: publish-take-settle, {threads} loops"),
                &stats,
            );
        }

        let [ours, rival] =
            self.each(|kind| recover(kind, dir(kind), self.cache_mib, self.span))?;
        let open = [ours.open_ms, rival.open_ms];
        self.figure("backlog: open after kill -9", open, "ms", Better::Less);
        let read = [ours.first_read_ms, rival.first_read_ms];
        self.figure("backlog: first read after it", read, "ms", Better::Less);
        let rss = [ours.rss_mib, rival.rss_mib];
        self.figure("backlog: memory under load", rss, "MiB", Better::Less);
        for (kind, one) in self.kinds.iter().zip([&ours, &rival]) {
            let (lost, acknowledged) = (one.lost, one.acknowledged);
            self.report
                .note(&format!("{}: {lost} of {acknowledged} lost", kind.name()));
            ensure!(lost == 0, "{} lost acknowledged events", kind.name());
        }

        let rates = self.each(|kind| {
            let mut store = kind.open(dir(kind), self.cache_mib)?;
            let before = Instant::now();
            let drained = drain(store.as_mut())?;
            Ok(per_second(drained, before))
        })?;
        self.figure("drain, 5,000 a commit", rates, "/s", Better::More);
        let before = self.each(|kind| size_mib(dir(kind)))?;
        self.figure("size when drained", before, "MiB", Better::Less);
        for seq in &mut seqs {
            *seq.get_mut() += 1 << 41;
        }
        let seq = |kind| pick(&seqs, of(kind));
        self.each(|kind| {
            let mut store = kind.open(dir(kind), self.cache_mib)?;
            fill(store.as_mut(), seq(kind), self.backlog / 2, 300)
        })?;
        let after = self.each(|kind| size_mib(dir(kind)))?;
        self.figure("size with half a backlog again", after, "MiB", Better::Less);
        Ok(())
    }
}

fn pick<T>([ours, rival]: &[T; 2], place: usize) -> &T {
    if place == 0 { ours } else { rival }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few million")]
fn per_second(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

/// The size of all files in a folder.
#[expect(clippy::cast_precision_loss, reason = "sizes of a few GiB")]
fn size_mib(dir: &Path) -> Result<f64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes as f64 / f64::from(1 << 20))
}
