//! `cargo xtask torture`: that no accepted event is lost and effects commit once, with real kills and the loss
//! of what wasn't synced.
//!
//! A round starts the host under the shim of `tests/shim`, loads it from outside, lets it be killed, and
//! takes back every write and every name that no sync made stand. After some rounds the host may finish
//! its work, and what it accepted is compared with what is there.
//!
//! - `app`: the application that is tortured, and which effects an event must have.
//! - `process`: a host, and commands beside it, under the shim.
//! - `load`: what comes from outside, and what was answered.
//! - `round`: what a round does, drawn from the seed.
//! - `session`: rounds on one application.
//! - `checks`: what must hold. Further checks go there.
//! - `told`: asks a host what waits, and for counters and dead letters.
//! - `table`: what is printed.

mod app;
mod checks;
mod load;
mod process;
mod round;
mod session;
mod table;
mod told;

use anyhow::bail;
use clap::Args;
use kinglet_powercut::Class;

use session::{Session, Setting};

/// As many rounds as find the lack of any sync, several times over.
const ROUNDS_WITHOUT: u32 = 60;

#[derive(Debug, Args)]
pub struct Torture {
    /// How often the host is killed.
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// Decides load, kills and faults; drawn and shown without it.
    #[arg(long)]
    seed: Option<u64>,
    /// Have the syncs of one class do nothing, as if they weren't in the code: must fail.
    #[arg(long, value_name = "CLASS", conflicts_with = "syncs")]
    without: Option<Class>,
    /// Take away each class of syncs in turn, and show what notices.
    #[arg(long)]
    syncs: bool,
}

impl Torture {
    pub fn execute(self) -> anyhow::Result<()> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let tools = process::Tools::build()?;
        if self.syncs {
            return without_each(&tools, seed);
        }
        let setting = Setting {
            seed,
            rounds: self.rounds,
            without: self.without,
        };
        run(&tools, setting)
    }
}

/// Some rounds, for the tests.
pub fn some_rounds(rounds: u32) -> anyhow::Result<()> {
    let setting = Setting {
        seed: fastrand::u64(..),
        rounds,
        without: None,
    };
    run(&process::Tools::build()?, setting)
}

fn run(tools: &process::Tools, setting: Setting) -> anyhow::Result<()> {
    eprintln!(
        "torture: {} rounds with seed {}",
        setting.rounds, setting.seed
    );
    let report = Session::start(tools, setting)?.run()?;
    print!("{}", table::of_report(&report));
    if report.violations.is_empty() {
        println!("every accepted event had its effects, once");
        Ok(())
    } else {
        bail!(
            "{} violations; the seed is {}",
            report.violations.len(),
            setting.seed
        )
    }
}

/// Each class alone, until a check fails.
fn without_each(tools: &process::Tools, seed: u64) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for class in Class::ALL {
        eprintln!("torture: without {class}, seed {seed}");
        let setting = Setting {
            seed,
            rounds: ROUNDS_WITHOUT,
            without: Some(class),
        };
        rows.push((class, Session::start(tools, setting)?.run()?));
    }
    print!("{}", table::of_syncs(&rows));
    let unnoticed: Vec<String> = rows
        .iter()
        .filter(|(_, report)| report.violations.is_empty())
        .map(|(class, _)| class.to_string())
        .collect();
    if !unnoticed.is_empty() {
        bail!("nothing notices the lack of {}", unnoticed.join(", "));
    }
    Ok(())
}
