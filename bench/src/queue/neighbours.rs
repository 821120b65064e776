//! What a function feels of another that attacks the host, at its concurrency and without a pause.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kinglet::app::state_dir;
use kinglet::config::Manifest;
use kinglet::control::{Client, Request, Response};
use kinglet::events::NewMessage;
use kinglet::ports::Draft;
use tokio::task::JoinSet;

use super::load::{Until, closed_loops};
use super::ours::{Functions, Ours};
use super::side::{Lane, Side};
use crate::report::{Better, Figure, Report};
use crate::setup::{on_all_cores, scratch};

/// An attack of the guest `hostile`.
struct Attack {
    case: &'static str,
    /// What tells the guest to.
    body: &'static str,
    /// Lines of its function.
    settings: &'static str,
}

/// The worst for whoever is beside them: on the processor, the allocator, the journal, the disk, and the tables of
/// handles.
const ATTACKS: [Attack; 5] = [
    Attack {
        case: "spin",
        body: "spin",
        settings: "limits.fuel = 9_000_000_000_000_000_000\nlimits.timeout = \"500ms\"",
    },
    Attack {
        case: "memory growth",
        body: "hoard",
        settings: "limits.memory = \"64MiB\"",
    },
    Attack {
        case: "log flood",
        body: "log-flood",
        settings: "limits.log = \"1MiB\"",
    },
    Attack {
        case: "object flood",
        body: "objects",
        settings: "limits.staging = \"4MiB\"",
    },
    Attack {
        case: "handle flood",
        body: "open-topics",
        settings: "",
    },
];

/// So many of the attack's messages at first, and some more again and again: more than are handled meanwhile.
const AT_FIRST: usize = 400;
const MORE: usize = 100;
const AGAIN: Duration = Duration::from_millis(100);

/// Compare a function beside one that attacks with the same beside one that rests.
#[derive(clap::Args)]
pub struct NeighboursArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Rounds of each, by turns, of which the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds of load for each round.
    #[arg(long, default_value_t = 2_000)]
    load_ms: u64,
    /// The program `kinglet`; `cargo xtask bench neighbours` names it.
    #[arg(long)]
    kinglet: PathBuf,
    /// The folder with the functions' components.
    #[arg(long)]
    guests: PathBuf,
}

/// One round, in microseconds.
#[derive(Clone, Copy)]
struct Round {
    p50: f64,
    p99: f64,
}

impl NeighboursArgs {
    pub fn execute(self) -> Result<()> {
        on_all_cores(self.measure())
    }

    async fn measure(self) -> Result<()> {
        let scratch = scratch(Path::new("."))?;
        let root = scratch.path().to_owned();
        let report = Report {
            bench: "neighbours",
            ours_name: "attacked",
            rival_name: "in peace",
            json: self.json,
        };
        report.note(&format!(
            "messages published and settled one after the other, beside a function that attacks with 4 instances at \
             once; the median of {} rounds of {} ms each, by turns",
            self.rounds, self.load_ms
        ));
        report.header();
        for attack in &ATTACKS {
            let ours = Ours {
                kinglet: self.kinglet.clone(),
                guests: self.guests.clone(),
                cache: root.join("cache"),
                concurrency: 64,
                batch_size: 64,
                functions: Functions::Attacked {
                    settings: attack.settings,
                },
            };
            let (mut attacked, mut in_peace) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                in_peace.push(self.round(&ours, &root, None).await?);
                attacked.push(self.round(&ours, &root, Some(attack.body)).await?);
            }
            for (name, of) in [
                ("p50", (|round| round.p50) as fn(&Round) -> f64),
                ("p99", |round| round.p99),
            ] {
                report.figure(&Figure {
                    case: &format!("{}, {name}", attack.case),
                    ours: median(&attacked, of),
                    rival: median(&in_peace, of),
                    unit: "us",
                    better: Better::Less,
                    goal: if name == "p99" { 1.0 / 1.5 } else { 0.0 },
                });
            }
        }
        Ok(())
    }

    async fn round(&self, ours: &Ours, root: &Path, attack: Option<&'static str>) -> Result<Round> {
        let dir = tempfile::tempdir_in(root)?;
        let server = ours.start(dir.path(), None).await?;
        let mut attacking = JoinSet::new();
        if let Some(body) = attack {
            let manifest = Manifest::load(&dir.path().join("kinglet.toml"))?;
            let client = Client::connect(&state_dir(&manifest)).await?;
            let client = client.context("the host doesn't listen")?;
            attacking.spawn(keep_attacking(client, body));
        }
        let span = Duration::from_millis(self.load_ms);
        closed_loops(&*server, Lane::Single, Until::Settled, 1, span / 4).await?;
        let stats = closed_loops(&*server, Lane::Single, Until::Settled, 1, span).await?;
        if let Some(ended) = attacking.try_join_next() {
            bail!("the attack ended: {:?}", ended?);
        }
        attacking.shutdown().await;
        server.stop().await?;
        Ok(Round {
            p50: stats.p50_us,
            p99: stats.p99_us,
        })
    }
}

/// Has messages wait for the function that attacks.
async fn keep_attacking(mut client: Client, body: &'static str) -> Result<()> {
    let mut count = AT_FIRST;
    loop {
        let messages = (0..count).map(|_| message(body)).collect();
        match client.ask(&Request::Publish { messages }).await? {
            Response::Published(_) => {}
            other => bail!("not published: {other:?}"),
        }
        tokio::time::sleep(AGAIN).await;
        count = MORE;
    }
}

fn message(body: &str) -> NewMessage {
    NewMessage {
        id: None,
        source: None,
        draft: Draft {
            topic: "attack".to_owned(),
            body: body.as_bytes().to_vec(),
            content_type: None,
            ordering_key: None,
            attributes: Vec::new(),
            delay_ms: None,
        },
    }
}

fn median(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
