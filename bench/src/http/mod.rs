//! Requests answered by a function: ours, each in a fresh instance, beside `wasmtime serve`, Spin, and hyper
//! alone. Every server has one core and the load another.

mod plain;
mod wrk;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};

pub use self::plain::serve_plain;
use self::wrk::{Load, load};
use crate::process::Process;
use crate::report::{Better, Figure, Report};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Compare requests that are answered by fresh instances with other servers.
#[derive(clap::Args)]
pub struct HttpArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Seconds of each load.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Rounds, of which the best of each server counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The program `kinglet`; `cargo xtask bench http` names it.
    #[arg(long)]
    kinglet: PathBuf,
    /// The program `wasmtime`.
    #[arg(long)]
    wasmtime: PathBuf,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
}

/// A server that is compared.
struct Server {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
}

/// What a server did at one number of connections.
#[derive(Clone, Copy)]
struct Seen {
    load: Load,
    cpu_us: f64,
}

impl HttpArgs {
    pub fn execute(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let servers = self.servers(dir.path())?;
        let mut seen: Vec<Vec<Seen>> = servers.iter().map(|_| Vec::new()).collect();
        for (at, &connections) in CONNECTIONS.iter().enumerate() {
            for _ in 0..self.rounds {
                for (server, seen) in servers.iter().zip(&mut seen) {
                    let now = self.run(server, connections, dir.path()).await?;
                    match seen.get_mut(at) {
                        Some(best) if best.load.per_second() >= now.load.per_second() => {}
                        Some(best) => *best = now,
                        None => seen.push(now),
                    }
                }
            }
        }
        self.report(&servers, &seen);
        Ok(())
    }

    fn servers(&self, dir: &Path) -> Result<Vec<Server>> {
        let hello = self.guests.join("hello_http.wasm");
        std::fs::copy(&hello, dir.join("hello.wasm"))
            .with_context(|| format!("can't read {}", hello.display()))?;
        std::fs::write(
            dir.join("kinglet.toml"),
            "[app]\nname = \"bench\"\n[[function]]\nname = \"hello\"\ncomponent = \"hello.wasm\"\n\
             on = { http = \"/\" }\nlimits = { concurrency = 64 }\n",
        )?;
        let wasmtime = |reuse: &str| {
            let args = ["serve", "-S", "cli", "--addr", "127.0.0.1:0"].map(OsString::from);
            let mut args = args.to_vec();
            if !reuse.is_empty() {
                args.push(reuse.into());
            }
            args.push(dir.join("hello.wasm").into());
            args
        };
        let own = std::env::current_exe()?;
        Ok(vec![
            Server {
                name: "kinglet",
                program: self.kinglet.clone(),
                args: ["up", "--quiet", "--listen", "127.0.0.1:0", "--manifest"]
                    .map(OsString::from)
                    .into_iter()
                    .chain([dir.into(), "--cache-dir".into(), dir.join("cache").into()])
                    .collect(),
            },
            Server {
                name: "wasmtime serve, fresh",
                program: self.wasmtime.clone(),
                args: wasmtime("--max-instance-reuse-count=1"),
            },
            Server {
                name: "wasmtime serve, reusing",
                program: self.wasmtime.clone(),
                args: wasmtime("--max-instance-reuse-count=128"),
            },
            Server {
                name: "hyper alone",
                program: own,
                args: vec!["http-plain".into()],
            },
        ])
    }

    async fn run(&self, server: &Server, connections: usize, dir: &Path) -> Result<Seen> {
        let mut process = Process::start_on(SERVER_CORE, &server.program, &server.args)?;
        let mut lines = BufReader::new(process.stderr()?).lines();
        let mut said = String::new();
        let address = loop {
            let Some(line) = lines.next_line().await? else {
                bail!("{} didn't start: {said}", server.name);
            };
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().unwrap_or_default().to_owned();
            }
            said += &line;
            said.push('\n');
        };
        let others =
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://{address}/");
        // Until everything is warm.
        tokio::time::sleep(Duration::from_millis(200)).await;
        load(LOAD_CORE, &url, connections, 1, dir).await?;
        let before = process.cpu()?;
        let load = load(LOAD_CORE, &url, connections, self.seconds, dir).await?;
        let cpu = process.cpu()?.saturating_sub(before);
        process.check()?;
        process.kill().await?;
        others.abort();
        Ok(Seen {
            load,
            cpu_us: cpu.as_secs_f64() * 1e6 / load.requests,
        })
    }

    fn report(&self, servers: &[Server], seen: &[Vec<Seen>]) {
        let [ours, rivals @ ..] = seen else { return };
        let mut report = Report {
            bench: "http",
            ours_name: "kinglet",
            rival_name: "rival",
            json: self.json,
        };
        report.note(
            "one component (wasi:http 0.2) that says hello; each server on one core, wrk with one thread on \
             another; the best of the rounds by requests a second. Ours: a fresh instance for each request, \
             fuel, memory and deadline limited",
        );
        report.header();
        for (at, connections) in CONNECTIONS.iter().enumerate() {
            for (server, rival) in servers.iter().skip(1).zip(rivals) {
                let (Some(ours), Some(rival)) = (ours.get(at), rival.get(at)) else {
                    continue;
                };
                report.rival_name = server.name;
                let goal = match server.name {
                    "wasmtime serve, fresh" => 3.0,
                    "wasmtime serve, reusing" => 2.0,
                    _ => 0.3,
                };
                let case =
                    |what: &str| format!("{connections} connections, {what}: {}", server.name);
                let figure = |what: &str, ours, rival, unit, better, goal| {
                    report.figure(&Figure {
                        case: &case(what),
                        ours,
                        rival,
                        unit,
                        better,
                        goal,
                    });
                };
                figure(
                    "requests",
                    ours.load.per_second(),
                    rival.load.per_second(),
                    "/s",
                    Better::More,
                    goal,
                );
                figure("CPU", ours.cpu_us, rival.cpu_us, "us", Better::Less, goal);
                let goal = if server.name == "wasmtime serve, reusing" {
                    1.0 / 0.7
                } else {
                    goal.min(1.0)
                };
                figure(
                    "p50",
                    ours.load.p50,
                    rival.load.p50,
                    "us",
                    Better::Less,
                    goal,
                );
                figure(
                    "p99",
                    ours.load.p99,
                    rival.load.p99,
                    "us",
                    Better::Less,
                    goal.min(1.0),
                );
            }
        }
    }
}
