//! Benchmarks of Kinglet and its rivals, in turn on the same work.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures real time, and replays nothing"
)]

#[cfg(feature = "host")]
mod engine;
#[cfg(feature = "host")]
mod http;
#[cfg(feature = "host")]
mod process;
#[cfg(feature = "host")]
mod queue;
mod report;
#[cfg(feature = "host")]
mod setup;
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
    /// Compare what a fresh instance costs with the least that wasmtime itself can do.
    #[cfg(feature = "host")]
    ColdStart(engine::ColdStartArgs),
    /// Have thousands of instances wait in a host call at once.
    #[cfg(feature = "host")]
    Density(engine::DensityArgs),
    /// Compare an application of many functions with one of three.
    #[cfg(feature = "host")]
    Functions(queue::FunctionsArgs),
    /// Compare a function that was initialised when it was built with the same that wasn't.
    #[cfg(feature = "host")]
    Init(engine::InitArgs),
    /// Compare a function beside one that attacks the host with the same beside one that rests.
    #[cfg(feature = "host")]
    Neighbours(queue::NeighboursArgs),
    /// Compare the throughput on two cores with that on one.
    #[cfg(feature = "host")]
    Scale(engine::ScaleArgs),
    /// Compare requests that are answered by fresh instances with other servers.
    #[cfg(feature = "host")]
    Http(http::HttpArgs),
    /// Answer requests with hyper alone; the other half of `http`.
    #[cfg(feature = "host")]
    #[command(hide = true)]
    HttpPlain,
    /// Compare the event queue with NATS JetStream.
    #[cfg(feature = "host")]
    Queue(queue::QueueArgs),
    /// Compare redb and SQLite as the carrier of the event queue.
    Store(store::StoreArgs),
    /// Load one store until killed; the other half of the recovery case.
    #[command(hide = true)]
    StoreChild(store::ChildArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        #[cfg(feature = "host")]
        Command::ColdStart(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::Density(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::Functions(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::Init(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::Neighbours(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::Scale(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::Http(args) => args.execute(),
        #[cfg(feature = "host")]
        Command::HttpPlain => http::serve_plain(),
        #[cfg(feature = "host")]
        Command::Queue(args) => args.execute(),
        Command::Store(args) => args.execute(),
        Command::StoreChild(args) => args.execute(),
    }
}
