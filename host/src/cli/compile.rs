//! `kinglet compile`, which the other commands run for a component that isn't in the cache.

use std::path::Path;

use anyhow::Context;
use clap::Args;

use super::Verdict;
use super::output::write_output;
use crate::engine::{compile, confine};
use crate::files;

/// Compile a component from standard input to standard output, within limits.
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Example:\n  kinglet compile --memory 2147483648 --seconds 60 < function.wasm | cat > function.cwasm"
)]
pub(super) struct Compile {
    /// For the engine of WASI 0.3.
    #[arg(long)]
    concurrent: bool,
    /// The most memory, in bytes.
    #[arg(long)]
    memory: u64,
    /// The most time on each processor.
    #[arg(long)]
    seconds: u64,
}

impl Compile {
    pub fn execute(self) -> anyhow::Result<Verdict> {
        confine(self.memory, self.seconds).context("limits can't be set")?;
        let input = std::io::stdin().lock();
        let wasm = files::read_up_to(Path::new("standard input"), input, self.memory)?;
        let artifact = compile(&wasm, self.concurrent);
        match artifact {
            Ok(artifact) => {
                write_output(&artifact)?;
                Ok(Verdict::Good)
            }
            Err(error) => {
                say!("error: {error:#}");
                Ok(Verdict::Bad)
            }
        }
    }
}
