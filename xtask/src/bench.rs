//! `cargo xtask bench`: the benchmarks of the crate `bench/`, and of the main job.

use clap::Args;

use crate::setup::{measured, run};
use crate::{photos, rivals};

#[derive(Debug, Args)]
pub struct Bench {
    /// The benchmark and its options: `photos`, `queue --quick`, `store --quick`, `store --json`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Bench {
    pub fn execute(self) -> anyhow::Result<()> {
        let mut bench = measured();
        bench.args(["run", "--quiet", "--package", "kinglet-bench"]);
        let options = match self.arguments.first().map(String::as_str) {
            Some("photos") => return photos::measure(),
            Some("queue") => rivals::set_up()?,
            Some("cold-start" | "density" | "scale") => rivals::guests()?,
            Some("init") => rivals::table()?,
            Some("functions" | "neighbours") => rivals::host()?,
            Some("http") => rivals::http()?,
            Some("store") => {
                // Without the queue's bench, and so without building the engine.
                bench.arg("--no-default-features");
                Vec::new()
            }
            _ => Vec::new(),
        };
        run(bench.arg("--").args(self.arguments).args(options))
    }
}
