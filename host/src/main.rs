//! The `kinglet` command.

use std::process::ExitCode;

use clap::Parser;
use kinglet::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
