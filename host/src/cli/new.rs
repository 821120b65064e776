//! `kinglet new`

use clap::{Args, ValueEnum};

use super::Verdict;

/// Make a function: a crate that builds, a test, a manifest to run it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  kinglet new hello --on object-created")]
pub(super) struct New {
    /// name
    name: String,
    /// kind
    #[arg(long, value_enum)]
    on: Kind,
}
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind { ObjectCreated, Message }
impl New { pub fn execute(self) -> anyhow::Result<Verdict> { Ok(Verdict::Good) } }
