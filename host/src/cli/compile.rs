//! `kinglet compile`, which the other commands run for a component that isn't in the cache.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::Verdict;
use super::output::write_output;
use crate::engine::{compile, confine};
use crate::files;
use crate::scheduling::use_default_slices;

/// Compile a component from standard input to standard output, within limits.
#[derive(Debug, Args)]
#[command(
    hide = true,
    after_help = "Example:\n  kinglet compile --memory 2147483648 --milliseconds 60000 < function.wasm | cat > function.cwasm"
)]
pub(super) struct Compile {
    /// For the engine of WASI 0.3.
    #[arg(long)]
    concurrent: bool,
    /// The most memory, in bytes.
    #[arg(long)]
    memory: u64,
    /// The most processor time, over all threads.
    #[arg(long)]
    milliseconds: u64,
}

impl Compile {
    pub fn execute(self) -> anyhow::Result<Verdict> {
        // The host that started this process has short slices, which a compiler has no use for.
        use_default_slices();
        let time = Duration::from_millis(self.milliseconds);
        confine(self.memory, time).context("limits can't be set")?;
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
