//! Benchmarks of Kinglet and its rivals, in turn on the same work.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures real time, and replays nothing"
)]

#[cfg(feature = "queue")]
mod queue;
mod report;
mod store;

use clap::{Parser, Subcommand};

/// Benchmarks of Kinglet and its rivals, in turn on the same work.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the event queue with NATS JetStream.
    #[cfg(feature = "queue")]
    Queue(queue::QueueArgs),
    /// Compare redb and SQLite as the carrier of the event queue.
    Store(store::StoreArgs),
    /// Load one store until killed; the other half of the recovery case.
    #[command(hide = true)]
    StoreChild(store::ChildArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        #[cfg(feature = "queue")]
        Command::Queue(args) => args.execute(),
        Command::Store(args) => args.execute(),
        Command::StoreChild(args) => args.execute(),
    }
}
