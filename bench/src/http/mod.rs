//! Requests answered by a function: ours, each in a fresh instance, beside `wasmtime serve`, Spin, and hyper
//! alone. Every server has one core and the load another.

mod bodies;
mod in_process;
mod plain;
mod wrk;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};

use self::in_process::{InProcess, in_process};
pub use self::plain::serve_plain;
use self::wrk::{Asked, Load, load};
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
    path: &'static str,
    /// Of a rival: which of ours it is compared with, and how often these are to have its throughput.
    rivals: Vec<(usize, f64)>,
}

/// Which component answers at which path of ours, and for how many requests an instance.
const FUNCTIONS: [(&str, &str, u32); 3] = [
    ("hello_http", "/", 1),
    ("hello_http_p3", "/p3", 1),
    ("hello_http", "/reuse", REUSE),
];
/// As `wasmtime serve` does by default.
const REUSE: u32 = 128;

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
                    let asked = Asked {
                        connections,
                        body: 0,
                    };
                    let now = self.run(server, &asked, dir.path()).await?;
                    match seen.get_mut(at) {
                        Some(best) if best.load.per_second() >= now.load.per_second() => {}
                        Some(best) => *best = now,
                        None => seen.push(now),
                    }
                }
            }
        }
        let in_process = in_process(dir.path(), Duration::from_secs(self.seconds)).await?;
        let bodies = self.bodies(dir.path()).await?;
        self.report(&servers, &seen, in_process);
        self.report_bodies(&bodies);
        Ok(())
    }

    fn servers(&self, dir: &Path) -> Result<Vec<Server>> {
        let mut manifest = "[app]\nname = \"bench\"\n".to_owned();
        for (name, path, reuse) in FUNCTIONS {
            let file = format!("{name}.wasm");
            let from = self.guests.join(&file);
            std::fs::copy(&from, dir.join(&file))
                .with_context(|| format!("can't read {}", from.display()))?;
            manifest += &format!(
                "[[function]]\nname = \"{name}-{reuse}\"\ncomponent = \"{file}\"\nlimits = {{ concurrency = 64 }}\n\
                 on = {{ http = \"{path}\", reuse = {reuse} }}\n"
            );
        }
        std::fs::write(dir.join("kinglet.toml"), manifest)?;
        let ours = |name, path| self.ours(dir, name, path);
        let wasmtime = |name, file: &str, reuse: u32, rivals: &[(usize, f64)]| Server {
            rivals: rivals.to_vec(),
            ..self.wasmtime_serve(dir, name, file, reuse)
        };
        let [(p2, path, _), (p3, p3_path, _), (_, reuse_path, _)] = FUNCTIONS;
        let reusing = &[(0, 2.0), (2, 1.0)];
        Ok(vec![
            ours("kinglet", path),
            ours("kinglet 0.3", p3_path),
            ours("kinglet, reusing", reuse_path),
            wasmtime("wasmtime serve, fresh", p2, 1, &[(0, 3.0)]),
            wasmtime("wasmtime serve, reusing", p2, REUSE, reusing),
            wasmtime("wasmtime serve 0.3, fresh", p3, 1, &[(1, 3.0)]),
            wasmtime("wasmtime serve 0.3, reusing", p3, REUSE, &[(1, 2.0)]),
            Server {
                name: "hyper alone",
                program: std::env::current_exe()?,
                args: vec!["http-plain".into()],
                path: "/",
                rivals: vec![(0, 0.3)],
            },
        ])
    }

    fn ours(&self, dir: &Path, name: &'static str, path: &'static str) -> Server {
        Server {
            name,
            program: self.kinglet.clone(),
            args: ["up", "--quiet", "--listen", "127.0.0.1:0", "--manifest"]
                .map(OsString::from)
                .into_iter()
                .chain([dir.into(), "--cache-dir".into(), dir.join("cache").into()])
                .collect(),
            path,
            rivals: Vec::new(),
        }
    }

    fn wasmtime_serve(&self, dir: &Path, name: &'static str, file: &str, reuse: u32) -> Server {
        let args = [
            "serve",
            "-S",
            "cli,p3",
            "-W",
            "component-model-async",
            "--addr",
            "127.0.0.1:0",
        ];
        let mut args = args.map(OsString::from).to_vec();
        args.push(format!("--max-instance-reuse-count={reuse}").into());
        args.push(dir.join(format!("{file}.wasm")).into());
        Server {
            name,
            program: self.wasmtime.clone(),
            args,
            path: "/",
            rivals: Vec::new(),
        }
    }

    async fn run(&self, server: &Server, asked: &Asked, dir: &Path) -> Result<Seen> {
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
        let url = format!("http://{address}{}", server.path);
        // Until everything is warm.
        tokio::time::sleep(Duration::from_millis(200)).await;
        load(LOAD_CORE, &url, asked, 1, dir).await?;
        let before = process.cpu()?;
        let load = load(LOAD_CORE, &url, asked, self.seconds, dir).await?;
        let cpu = process.cpu()?.saturating_sub(before);
        process.check()?;
        process.kill().await?;
        others.abort();
        Ok(Seen {
            load,
            cpu_us: cpu.as_secs_f64() * 1e6 / load.requests,
        })
    }

    fn report(&self, servers: &[Server], seen: &[Vec<Seen>], in_process: InProcess) {
        let mut report = Report {
            bench: "http",
            ours_name: "kinglet",
            rival_name: "rival",
            json: self.json,
        };
        report.note(
            "a component that says hello, of wasi:http 0.2 and of 0.3, each with its like; each server on one core, \
             wrk with one thread on another, at 1, 16 and 64 connections; the best of the rounds by requests a second. \
             Ours: a fresh instance for each request, or where said one for 128; fuel, memory and deadline limited",
        );
        report.header();
        for (at, connections) in CONNECTIONS.iter().enumerate() {
            for (server, rival) in servers.iter().zip(seen) {
                let Some(rival) = rival.get(at) else { continue };
                for &(ours, goal) in &server.rivals {
                    let (Some(own), Some(seen)) = (servers.get(ours), seen.get(ours)) else {
                        continue;
                    };
                    let Some(ours) = seen.get(at) else { continue };
                    report.rival_name = server.name;
                    let figure = |what: &str, ours, rival, unit, better, goal| {
                        report.figure(&Figure {
                            case: &format!("{connections}: {what}, {} : {}", own.name, server.name),
                            ours,
                            rival,
                            unit,
                            better,
                            goal,
                        });
                    };
                    let (rate, rivals) = (ours.load.per_second(), rival.load.per_second());
                    figure("requests", rate, rivals, "/s", Better::More, goal);
                    figure("CPU", ours.cpu_us, rival.cpu_us, "us", Better::Less, goal);
                    let median = if server.name.ends_with("reusing") {
                        1.0 / 0.7
                    } else {
                        goal.min(1.0)
                    };
                    let (load, rivals) = (&ours.load, &rival.load);
                    figure("p50", load.p50, rivals.p50, "us", Better::Less, median);
                    let tail = goal.min(1.0);
                    figure("p99", load.p99, rivals.p99, "us", Better::Less, tail);
                }
            }
        }
        report.rival_name = "hyper alone";
        report.figure(&Figure {
            case: "in process, no network: hyper alone",
            ours: in_process.ours,
            rival: in_process.plain,
            unit: "us",
            better: Better::Less,
            goal: 0.0,
        });
    }
}
