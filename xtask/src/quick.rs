//! `cargo xtask quick`: the inner loop.

use clap::Args;

use crate::setup::{cargo, run};
use crate::style::Style;
use crate::test::TESTED;

#[derive(Debug, Args)]
pub struct Quick {
    /// Only unit tests whose name contains this text; passed on to cargo.
    filter: Option<String>,
}

impl Quick {
    /// Checks the whole workspace, of which cargo rebuilds the crates that changed.
    ///
    /// Other selections of packages would resolve other features, and would build wasmtime again.
    pub fn execute(self) -> anyhow::Result<()> {
        run(cargo().args(["fmt", "--all", "--check"]))?;
        Style::default().execute()?;
        let deny = ["--", "--deny", "warnings"];
        run(cargo()
            .args(["clippy", "--quiet", "--workspace", "--all-targets"])
            .args(deny))?;
        // Integration tests need guests and take minutes: `cargo xtask test` runs these.
        let tests = ["test", "--quiet", "--lib", "--bins"];
        run(cargo().args(tests).args(TESTED).args(self.filter))
    }
}
