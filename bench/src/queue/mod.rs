//! The event queue against NATS JetStream: durable publish, publish to settled, draining, memory and size,
//! with nothing waiting and with millions.
//!
//! Both are the real servers on one file system, in turn, with the same load from this process. Ours wakes a
//! WebAssembly function for each message; theirs hands it to a consumer in this process that does nothing.

mod busy;
mod functions;
mod load;
mod nats;
mod neighbours;
mod ours;
mod settled;
mod side;
mod strangers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

pub use self::functions::FunctionsArgs;
use self::load::{Stats, Until, closed_loops};
use self::nats::Nats;
pub use self::neighbours::NeighboursArgs;
use self::ours::{Functions, Ours};
use self::side::{Lane, Server, Side};
use crate::report::{Better, Figure, Report};
use crate::setup::{on_all_cores, scratch};

/// As many publishers as the host's control socket takes at once, and fewer.
const PUBLISHERS: [usize; 3] = [1, 8, 64];

/// What the closed loops do. Theirs knows no batches: its consumer is the same for both lanes.
const LOOPS: [(&str, Lane, Until); 3] = [
    ("publish", Lane::Waiting, Until::Published),
    ("settle one by one", Lane::Single, Until::Settled),
    ("settle in batches", Lane::Batch, Until::Settled),
];

/// How long after the last message a server's syncs count.
const PUT_OFF: Duration = Duration::from_millis(300);

/// Compare the event queue with NATS JetStream.
#[derive(clap::Args)]
pub struct QueueArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Small sizes and no backlog of millions, for a run of less than a minute.
    #[arg(long)]
    quick: bool,
    /// Also with ten million waiting.
    #[arg(long)]
    full: bool,
    /// Messages that wait meanwhile, instead of 0 and 1000000; may be given several times.
    #[arg(long)]
    backlog: Vec<u64>,
    /// Publishers at once, instead of 1, 8 and 64; may be given several times.
    #[arg(long)]
    publishers: Vec<usize>,
    /// Milliseconds of load for each round [default: 1000, or 200 with --quick].
    #[arg(long)]
    load_ms: Option<u64>,
    /// Rounds of each closed loop, of which the best counts [default: 3, or 1 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Messages that are drained [default: 10000, or 2000 with --quick].
    #[arg(long)]
    drain: Option<u64>,
    /// Instances at once of the function that takes messages one by one.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Messages at once for the function that takes batches.
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Where the stores are put: a folder of the filesystem to measure.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The program `kinglet`; `cargo xtask bench queue` names it.
    #[arg(long)]
    kinglet: PathBuf,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
    /// The program `nats-server`.
    #[arg(long)]
    nats_server: PathBuf,
}

impl QueueArgs {
    pub fn execute(self) -> Result<()> {
        on_all_cores(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let scratch = scratch(&self.dir)?;
        let root = scratch.path().to_owned();
        let ours = Ours {
            kinglet: self.kinglet,
            guests: self.guests,
            cache: root.join("cache"),
            concurrency: self.concurrency,
            batch_size: self.batch_size,
            functions: Functions::Lanes,
        };
        let nats = Nats {
            program: self.nats_server,
        };
        let (load_ms, rounds, drain) = if self.quick {
            (200, 1, 2_000)
        } else {
            (1_000, 3, 10_000)
        };
        let backlogs = match self.backlog.as_slice() {
            [] if self.quick => vec![0, 20_000],
            [] if self.full => vec![0, 1_000_000, 10_000_000],
            [] => vec![0, 1_000_000],
            given => given.to_vec(),
        };
        let bench = Bench {
            root: &root,
            span: Duration::from_millis(self.load_ms.unwrap_or(load_ms)),
            rounds: self.rounds.unwrap_or(rounds),
            drain: self.drain.unwrap_or(drain),
            publishers: if self.publishers.is_empty() {
                PUBLISHERS.to_vec()
            } else {
                self.publishers
            },
            sides: [&ours, &nats],
            report: Report {
                bench: "queue",
                ours_name: "kinglet",
                rival_name: "nats",
                json: self.json,
            },
        };
        // What is compiled once isn't compiled while it is measured.
        ours.start(tempfile::tempdir_in(&root)?.path(), None)
            .await?
            .stop()
            .await?;
        bench.report.header();
        bench.costs().await?;
        for backlog in backlogs {
            bench.at(backlog).await?;
        }
        Ok(())
    }
}

struct Bench<'a> {
    root: &'a Path,
    span: Duration,
    rounds: u32,
    drain: u64,
    publishers: Vec<usize>,
    /// Ours, then the rival.
    sides: [&'a dyn Side; 2],
    report: Report,
}

/// What a message costs the disk.
struct Cost {
    case: String,
    syncs: f64,
    written_kib: f64,
}

/// A pair of figures: ours and the rival's.
type Pair = [f64; 2];

impl Bench<'_> {
    fn figure(&self, case: &str, [ours, rival]: Pair, unit: &str, better: Better) {
        self.report.figure(&Figure {
            case,
            ours,
            rival,
            unit,
            better,
            goal: 1.0,
        });
    }

    fn stats(&self, case: &str, ours: &Stats, rival: &Stats) {
        self.figure(
            case,
            [ours.per_second, rival.per_second],
            "/s",
            Better::More,
        );
        let p50 = [ours.p50_us, rival.p50_us];
        self.figure(&format!("{case}, p50"), p50, "us", Better::Less);
        let p99 = [ours.p99_us, rival.p99_us];
        self.figure(&format!("{case}, p99"), p99, "us", Better::Less);
    }

    fn fresh(&self) -> Result<[TempDir; 2]> {
        Ok([
            tempfile::tempdir_in(self.root)?,
            tempfile::tempdir_in(self.root)?,
        ])
    }

    /// What a message costs the disk, in a pass of its own, since counting syncs slows both down.
    async fn costs(&self) -> Result<()> {
        if std::process::Command::new("strace")
            .arg("-V")
            .output()
            .is_err()
        {
            self.report
                .note("syncs are not counted: strace is not installed");
            return Ok(());
        }
        let [ours, theirs] = self.sides;
        let (ours, theirs) = (self.costs_of(ours).await?, self.costs_of(theirs).await?);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let syncs = [ours.syncs, theirs.syncs];
            self.figure(
                &format!("syncs: {}", ours.case),
                syncs,
                "a message",
                Better::Less,
            );
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let written = [ours.written_kib, theirs.written_kib];
            self.figure(
                &format!("written: {}", ours.case),
                written,
                "KiB each",
                Better::Less,
            );
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of seconds' work")]
    async fn costs_of(&self, side: &dyn Side) -> Result<Vec<Cost>> {
        let dir = tempfile::tempdir_in(self.root)?;
        let server = side
            .start(dir.path(), Some(&dir.path().join("trace")))
            .await?;
        let span = self.span.min(Duration::from_millis(500));
        // What a server does once after its start is no cost of a message.
        let (lane, until) = (Lane::Waiting, Until::Published);
        closed_loops(&*server, lane, until, 1, Duration::from_millis(1)).await?;
        let mut costs = Vec::new();
        for publishers in [1, 64] {
            for (name, lane, until) in LOOPS {
                let process = server.process();
                let before = (process.syncs()?, process.written_kib()?);
                let stats = closed_loops(&*server, lane, until, publishers, span).await?;
                // What a server puts off is its cost too.
                tokio::time::sleep(PUT_OFF).await;
                let messages = stats.count.max(1) as f64;
                costs.push(Cost {
                    case: format!("{name}, {publishers}"),
                    syncs: (process.syncs()? - before.0) as f64 / messages,
                    written_kib: (process.written_kib()? - before.1) / messages,
                });
            }
        }
        server.stop().await?;
        Ok(costs)
    }

    /// Everything, with so many messages waiting.
    async fn at(&self, backlog: u64) -> Result<()> {
        let waiting = format!("{} waiting", amount(backlog));
        let [our_side, their_side] = self.sides;
        let dirs = self.fresh()?;
        let [our_dir, their_dir] = &dirs;
        if backlog > 0 {
            let ours = timed(our_side.fill(our_dir.path(), Lane::Waiting, backlog)).await?;
            let theirs = timed(their_side.fill(their_dir.path(), Lane::Waiting, backlog)).await?;
            // Gigabytes that the system still has to write would be measured with what comes next.
            tokio::task::spawn_blocking(rustix::fs::sync).await?;
            self.report.note(&format!(
                "{waiting}: filled in {:.1} s (kinglet) and {:.1} s (nats, without a sync for each)",
                ours.1 / 1e3,
                theirs.1 / 1e3
            ));
            let sizes = self.sizes(&dirs)?;
            self.figure(&format!("{waiting}: size"), sizes, "MiB", Better::Less);
        }

        let (ours, our_start) = timed(our_side.start(our_dir.path(), None)).await?;
        let (theirs, their_start) = timed(their_side.start(their_dir.path(), None)).await?;
        let starts = [our_start, their_start];
        self.figure(&format!("{waiting}: start"), starts, "ms", Better::Less);
        for &publishers in &self.publishers {
            self.loops(&waiting, [&*ours, &*theirs], publishers).await?;
        }
        let memory = [
            ours.process().resident_mib()?,
            theirs.process().resident_mib()?,
        ];
        self.figure(&format!("{waiting}: memory"), memory, "MiB", Better::Less);
        ours.stop().await?;
        theirs.stop().await?;

        let [ours, theirs] = self
            .drains(&waiting, "one by one", Lane::Single, &dirs)
            .await?;
        let again = self
            .drains(&waiting, "in batches", Lane::Batch, &dirs)
            .await?;
        // What comes the second time finds room where the first was.
        let [our_size, their_size] = again;
        let growth = [(our_size - ours).max(0.0), (their_size - theirs).max(0.0)];
        let case = format!("{waiting}: growth by a second drain");
        self.figure(&case, growth, "MiB", Better::Less);
        Ok(())
    }

    /// The closed loops of both sides by turns, the best round of each, since a shared machine only slows.
    async fn loops(
        &self,
        waiting: &str,
        [ours, theirs]: [&dyn Server; 2],
        publishers: usize,
    ) -> Result<()> {
        for (name, lane, until) in LOOPS {
            let run = |server| closed_loops(server, lane, until, publishers, self.span);
            let mut best = [run(ours).await?, run(theirs).await?];
            for _ in 1..self.rounds {
                for (best, server) in best.iter_mut().zip([ours, theirs]) {
                    let round = run(server).await?;
                    if round.per_second > best.per_second {
                        *best = round;
                    }
                }
            }
            let [ours, theirs] = best;
            self.stats(&format!("{waiting}: {name}, {publishers}"), &ours, &theirs);
        }
        Ok(())
    }

    /// Drains both; returns how large the stores are afterwards.
    async fn drains(
        &self,
        waiting: &str,
        name: &str,
        lane: Lane,
        dirs: &[TempDir; 2],
    ) -> Result<Pair> {
        let ([our_side, their_side], [our_dir, their_dir]) = (self.sides, dirs);
        let rates = [
            self.drain(our_side, our_dir.path(), lane).await?,
            self.drain(their_side, their_dir.path(), lane).await?,
        ];
        self.figure(
            &format!("{waiting}: drain {name}"),
            rates,
            "/s",
            Better::More,
        );
        self.sizes(dirs)
    }

    /// Settlements a second of messages that were there before the server.
    async fn drain(&self, side: &dyn Side, dir: &Path, lane: Lane) -> Result<f64> {
        side.fill(dir, lane, self.drain).await?;
        let server = side.start(dir, None).await?;
        let rate = server.settled().drained(self.drain).await?;
        server.stop().await?;
        Ok(rate)
    }

    fn sizes(&self, [ours, theirs]: &[TempDir; 2]) -> Result<Pair> {
        let [our_side, their_side] = self.sides;
        Ok([
            our_side.size_mib(ours.path())?,
            their_side.size_mib(theirs.path())?,
        ])
    }
}

/// What work comes to, and how long it took in milliseconds.
async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(T, f64)> {
    let before = Instant::now();
    let value = work.await?;
    Ok((value, before.elapsed().as_secs_f64() * 1e3))
}

/// As people say it: `20k`, `1M`.
fn amount(count: u64) -> String {
    match count {
        0 => "0".to_owned(),
        _ if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        _ if count.is_multiple_of(1_000) => format!("{}k", count / 1_000),
        _ => count.to_string(),
    }
}
