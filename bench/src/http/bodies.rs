//! Large bodies, by the same component of the SDK: a megabyte that comes back, and a hundred that are only sent.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::wrk::Asked;
use super::{HttpArgs, REUSE, Seen, Server};
use crate::report::{Better, Figure, Report};

const FUNCTION: &str = "sdk_http";
const MEGABYTE: usize = 1_000_000;

struct Work {
    name: &'static str,
    path: &'static str,
    /// How many bytes a request brings.
    sent: usize,
    /// How many an answer has.
    received: usize,
    connections: usize,
}

const WORK: [Work; 3] = [
    Work {
        name: "1: 1 MB echoed",
        path: "/echo",
        sent: MEGABYTE,
        received: MEGABYTE,
        connections: 1,
    },
    Work {
        name: "16: 1 MB echoed",
        path: "/echo",
        sent: MEGABYTE,
        received: MEGABYTE,
        connections: 16,
    },
    Work {
        name: "1: 100 MB streamed",
        path: "/download/100000000",
        sent: 0,
        received: 100 * MEGABYTE,
        connections: 1,
    },
];

/// What a server moved of bodies.
#[derive(Clone, Copy)]
pub(super) struct Moved {
    /// Megabytes a second, of answers alone.
    rate: f64,
    /// Microseconds of processor time for each of these.
    cpu_us: f64,
}

/// A kind of work, and what ours and its rivals did.
pub(super) struct Compared {
    work: &'static Work,
    ours: Moved,
    rivals: Vec<(&'static str, Moved)>,
}

impl HttpArgs {
    pub(super) async fn bodies(&self, dir: &Path) -> Result<Vec<Compared>> {
        let dir = dir.join("bodies");
        std::fs::create_dir(&dir)?;
        let file = format!("{FUNCTION}.wasm");
        let from = self.guests.join(&file);
        std::fs::copy(&from, dir.join(&file))
            .with_context(|| format!("can't read {}", from.display()))?;
        let manifest = format!(
            "[app]\nname = \"bench\"\n[[function]]\nname = \"api\"\ncomponent = \"{file}\"\n\
             on = {{ http = \"/...\" }}\nlimits = {{ concurrency = 64 }}\n"
        );
        std::fs::write(dir.join("kinglet.toml"), manifest)?;
        let mut compared = Vec::new();
        for work in &WORK {
            let servers = [
                self.ours(&dir, "kinglet", work.path),
                self.wasmtime_serve(&dir, "wasmtime serve, fresh", FUNCTION, 1),
                self.wasmtime_serve(&dir, "wasmtime serve, reusing", FUNCTION, REUSE),
            ];
            let servers = servers.map(|server| Server {
                path: work.path,
                ..server
            });
            let mut best: Vec<Option<Moved>> = vec![None; servers.len()];
            for _ in 0..self.rounds {
                for (server, best) in servers.iter().zip(&mut best) {
                    let asked = Asked {
                        connections: work.connections,
                        body: work.sent,
                    };
                    let now = moved(work, self.run(server, &asked, &dir).await?)?;
                    if best.is_none_or(|best| now.rate > best.rate) {
                        *best = Some(now);
                    }
                }
            }
            let names = servers.iter().map(|server| server.name);
            let mut seen = names.zip(best.into_iter().flatten());
            let (_, ours) = seen.next().context("no round")?;
            compared.push(Compared {
                work,
                ours,
                rivals: seen.collect(),
            });
        }
        Ok(compared)
    }

    pub(super) fn report_bodies(&self, compared: &[Compared]) {
        let mut report = Report {
            bench: "http",
            ours_name: "kinglet",
            rival_name: "rival",
            json: self.json,
        };
        report.note(
            "a component of the SDK that reads and writes 64 KiB at a time; megabytes of answers a second, and the \
             processor time of the server for each",
        );
        report.header();
        for Compared { work, ours, rivals } in compared {
            for (name, rival) in rivals {
                report.rival_name = name;
                report.figure(&Figure {
                    case: &format!("{}: {name}", work.name),
                    ours: ours.rate,
                    rival: rival.rate,
                    unit: "MB/s",
                    better: Better::More,
                    goal: 1.0,
                });
                report.figure(&Figure {
                    case: &format!("{}, CPU: {name}", work.name),
                    ours: ours.cpu_us,
                    rival: rival.cpu_us,
                    unit: "us/MB",
                    better: Better::Less,
                    goal: 1.0,
                });
            }
        }
    }
}

/// One that answers with less than it should would be the quicker for it.
fn moved(work: &Work, seen: Seen) -> Result<Moved> {
    let Seen { load, cpu_us } = seen;
    let each = load.bytes / load.requests;
    ensure!(
        each >= work.received as f64,
        "an answer had {each:.0} bytes of {}",
        work.received
    );
    let megabytes = work.received as f64 / MEGABYTE as f64;
    Ok(Moved {
        rate: load.per_second() * megabytes,
        cpu_us: cpu_us / megabytes,
    })
}
