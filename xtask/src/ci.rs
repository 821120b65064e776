//! `cargo xtask ci`: what must hold for every commit.

use std::process::{Command, Stdio};

use crate::docs;
use crate::setup::{cargo, run};
use crate::style::Style;
use crate::test::Test;

pub fn execute() -> anyhow::Result<()> {
    step("formatting");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    step("prose and structure");
    Style::default().execute()?;
    step("docs");
    docs::execute()?;
    step("lints");
    let clippy = ["clippy", "--workspace", "--all-targets", "--"];
    run(cargo().args(clippy).args(["--deny", "warnings"]))?;
    step("dependencies");
    dependencies()?;
    step("tests");
    Test::default().execute()
}

fn step(name: &str) {
    println!("\n== {name}");
}

/// Checks licences and sources, and advisories where their database can be reached.
fn dependencies() -> anyhow::Result<()> {
    if !succeeds(cargo().args(["deny", "--version"])) {
        run(cargo().args(["install", "--locked", "--quiet", "cargo-deny"]))?;
    }
    let check = ["deny", "--all-features", "check"];
    run(cargo().args(check).args(["licenses", "bans", "sources"]))?;
    if succeeds(cargo().args(["deny", "fetch", "db"])) {
        run(cargo().args(check).arg("advisories"))?;
    } else {
        println!("skipped: the advisory database can't be reached from here");
    }
    Ok(())
}

/// Runs a command without its output, and returns whether it succeeded.
fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
