//! What a function feels of another that attacks the host, at its concurrency and without a pause.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kinglet::app::state_dir;
use kinglet::config::Manifest;
use kinglet::control::{Client, Request, Response};
use kinglet::events::NewMessage;
use kinglet::ports::Draft;

use super::busy::BusyThreads;
use super::load::{Until, closed_loops};
use super::ours::{Functions, Ours};
use super::side::{Lane, Side};
use super::strangers::Strangers;
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

/// The attack's messages, which are there before anything is measured: more than are handled meanwhile.
const MESSAGES: usize = 20_000;
/// So many are published at once.
const AT_ONCE: usize = 1_000;

/// Compare a function beside one that attacks with the same beside one that rests.
#[derive(clap::Args)]
pub struct NeighboursArgs {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Rounds of each, by turns, of which the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only this attack, or `strangers`, by the beginning of its name.
    #[arg(long)]
    attack: Option<String>,
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
             once, beside one that rests, and beside one that rests on a machine whose idle time others take; the \
             median of {} rounds of {} ms each, by turns",
            self.rounds, self.load_ms
        ));
        report.header();
        let chosen = |attack: &&Attack| {
            let begin = self.attack.as_deref().unwrap_or_default();
            attack.case.starts_with(begin)
        };
        for attack in ATTACKS.iter().filter(chosen) {
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
            let (mut attacked, mut in_peace, mut on_busy) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                in_peace.push(self.round(&ours, &root, None).await?);
                attacked.push(self.round(&ours, &root, Some(attack.body)).await?);
                // A virtual machine that is never idle has to wait for its own host.
                let busy = BusyThreads::start(19)?;
                on_busy.push(self.round(&ours, &root, None).await?);
                busy.stop();
            }
            for (name, of) in [
                ("p50", (|round| round.p50) as fn(&Round) -> f64),
                ("p99", |round| round.p99),
            ] {
                for (beside, rival) in [("", &in_peace), (", busy machine", &on_busy)] {
                    report.figure(&Figure {
                        case: &format!("{}, {name}{beside}", attack.case),
                        ours: median(&attacked, of),
                        rival: median(rival, of),
                        unit: "us",
                        better: Better::Less,
                        goal: if name == "p99" { 1.0 / 1.5 } else { 0.0 },
                    });
                }
            }
        }
        if "strangers".starts_with(self.attack.as_deref().unwrap_or_default()) {
            let strangers = Strangers {
                kinglet: &self.kinglet,
                guests: &self.guests,
                root: &root,
                repetitions: self.rounds,
                span: Duration::from_millis(self.load_ms),
            };
            strangers.measure(&report).await?;
        }
        Ok(())
    }

    async fn round(&self, ours: &Ours, root: &Path, attack: Option<&'static str>) -> Result<Round> {
        let dir = tempfile::tempdir_in(root)?;
        let server = ours.start(dir.path(), None).await?;
        let mut attacking = match attack {
            Some(body) => Some(begin(dir.path(), body).await?),
            None => None,
        };
        let span = Duration::from_millis(self.load_ms);
        closed_loops(&*server, Lane::Single, Until::Settled, 1, span / 4).await?;
        let stats = closed_loops(&*server, Lane::Single, Until::Settled, 1, span).await?;
        if let Some(client) = &mut attacking {
            goes_on(client).await?;
        }
        server.stop().await?;
        Ok(Round {
            p50: stats.p50_us,
            p99: stats.p99_us,
        })
    }
}

/// Has messages wait for the function that attacks.
async fn begin(app: &Path, body: &'static str) -> Result<Client> {
    let manifest = Manifest::load(&app.join("kinglet.toml"))?;
    let client = Client::connect(&state_dir(&manifest)).await?;
    let mut client = client.context("the host doesn't listen")?;
    for _ in 0..MESSAGES / AT_ONCE {
        let messages = (0..AT_ONCE).map(|_| message(body)).collect();
        match client.ask(&Request::Publish { messages }).await? {
            Response::Published(_) => {}
            other => bail!("not published: {other:?}"),
        }
    }
    Ok(client)
}

/// Whether it attacks still.
async fn goes_on(client: &mut Client) -> Result<()> {
    let Response::Status(counts, _) = client.ask(&Request::Status).await? else {
        bail!("no status");
    };
    let attacks = counts
        .iter()
        .any(|count| count.running > 0 && count.pending > count.delayed + count.running);
    ensure!(attacks, "the attack ended: {counts:?}");
    Ok(())
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
