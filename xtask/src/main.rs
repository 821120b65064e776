//! The project's own commands. Each does all the set-up it needs, so that a fresh clone, Linux, Rust by way
//! of rustup and a C compiler are enough; tests also need util-linux and unprivileged user namespaces.

#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value gives null where there is none"
)]

mod bench;
mod ci;
mod corpus;
mod demo;
mod docs;
mod fuzz;
mod host;
mod photos;
mod quick;
mod rivals;
mod setup;
mod style;
mod test;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the Kinglet project.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make thumbnails and tensors of the example's photos, and show what each cost.
    Demo(demo::Demo),
    /// Check formatting, style and lints, and run the unit tests.
    Quick(quick::Quick),
    /// Run every test.
    Test(test::Test),
    /// Run all that must hold for every commit.
    Ci,
    /// Count what breaks the rules of prose and structure; the counts may only fall.
    Style(style::Style),
    /// Build the book, and check its links, paths and flows.
    Docs,
    /// Run the image corpora through the host, and compare with Pillow; part of `test --full`.
    Corpus,
    /// Kill the host again and again, lose what isn't synced, and check what it accepted.
    Torture(torture::Torture),
    /// Fuzz what comes from outside: the manifest, records and requests, the store's files, components.
    Fuzz(fuzz::Fuzz),
    /// Measure ours and a rival in turn, on the same work.
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(command) => command.execute(),
        Command::Quick(command) => command.execute(),
        Command::Test(command) => command.execute(),
        Command::Ci => ci::execute(),
        Command::Style(command) => command.execute(),
        Command::Docs => docs::execute(),
        Command::Corpus => setup::build_guests().and_then(|()| corpus::check()),
        Command::Torture(command) => command.execute(),
        Command::Fuzz(command) => command.execute(),
        Command::Bench(command) => command.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
