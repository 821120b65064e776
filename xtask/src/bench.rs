//! `cargo xtask bench`: the benchmarks of the crate `bench/`, in a release build.

use clap::Args;

use crate::photos;
use crate::setup::{cargo, run};

#[derive(Debug, Args)]
pub struct Bench {
    /// The benchmark and its options: `photos`, `store --quick`, `store --json`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Bench {
    pub fn execute(self) -> anyhow::Result<()> {
        if self.arguments.first().is_some_and(|name| name == "photos") {
            return photos::measure();
        }
        run(cargo()
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                "kinglet-bench",
                "--",
            ])
            .args(self.arguments))
    }
}
