//! `cargo xtask fuzz`: bytes that nobody in their right mind would send, for as long as one likes.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::setup::{root, run};

/// The version that the targets are known to build with.
const CARGO_FUZZ: &str = "0.13.2";
/// What one input may take, in seconds.
const TIMEOUT: u32 = 20;
const MEMORY_MIB: u32 = 3_000;

#[derive(Debug, Args)]
pub struct Fuzz {
    /// Only this target; by default all, one after the other.
    target: Option<Target>,
    /// How long each is fuzzed.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// What is fuzzed; `tests/fuzzed` says what must hold of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// `kinglet.toml`.
    Manifest,
    /// Records, requests, journals and events' files.
    Events,
    /// The files of a store.
    Store,
    /// A function's file.
    Component,
    /// A guest's calls of the host.
    Calls,
    /// Components that `wasm-smith` makes.
    Smith,
}

impl Target {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The longest input, in bytes.
    fn longest(self) -> u32 {
        match self {
            Self::Manifest | Self::Events | Self::Smith => 8 << 10,
            Self::Store | Self::Calls => 1 << 10,
            Self::Component => 128 << 10,
        }
    }
}

impl Fuzz {
    pub fn execute(self) -> anyhow::Result<()> {
        install()?;
        let targets = match &self.target {
            Some(target) => std::slice::from_ref(target),
            None => Target::value_variants(),
        };
        let mut finds = Vec::new();
        for target in targets {
            let name = target.name();
            run(fuzz("build").arg(&name)).context("the targets can't be built")?;
            if run(&mut self.command(*target)?).is_err() {
                finds.push(name);
            }
        }
        if finds.is_empty() {
            return Ok(());
        }
        bail!(
            "{} found something: the inputs are in fuzz/artifacts; mend the host, and keep each in \
             tests/fuzzed/regressions with a test of its name",
            finds.join(", ")
        )
    }

    fn command(&self, target: Target) -> anyhow::Result<Command> {
        let name = target.name();
        // What libFuzzer adds goes into the first.
        let own = folder().join("corpus").join(&name);
        std::fs::create_dir_all(&own).with_context(|| format!("can't make {}", own.display()))?;
        let mut command = fuzz("run");
        command.arg(&name).arg(own);
        let kept = root().join("tests/fuzzed/corpus").join(&name);
        if kept.is_dir() {
            command.arg(kept);
        }
        command.args([
            "--".to_owned(),
            format!("-max_total_time={}", self.seconds),
            format!("-max_len={}", target.longest()),
            format!("-timeout={TIMEOUT}"),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            "-print_final_stats=1".to_owned(),
        ]);
        let dictionary = folder().join("dictionaries").join(format!("{name}.dict"));
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        Ok(command)
    }
}

fn folder() -> PathBuf {
    root().join("fuzz")
}

fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo"])
        .current_dir(folder());
    command
}

/// Without a sanitizer: we have next to no unsafe code, and an instrumented host is several times as slow.
fn fuzz(what: &str) -> Command {
    let mut command = nightly();
    command.args(["fuzz", what, "--release", "--sanitizer", "none"]);
    // Else some of what we stand on would behave otherwise than in a host.
    command.args(["--no-cfg-fuzzing", "--codegen-units", "16"]);
    command.env("RUSTC_WRAPPER", folder().join("instrument-ours"));
    command
}

fn install() -> anyhow::Result<()> {
    if !succeeds(nightly().arg("--version")) {
        eprintln!("installing Rust's nightly toolchain");
        run(Command::new("rustup").args(["toolchain", "install", "nightly", "--profile=minimal"]))
            .context("the nightly toolchain can't be installed")?;
    }
    if !succeeds(nightly().args(["fuzz", "--version"])) {
        eprintln!("installing cargo-fuzz {CARGO_FUZZ} (some minutes)");
        let version = format!("cargo-fuzz@{CARGO_FUZZ}");
        run(Command::new("cargo")
            .args(["install", "--locked", &version])
            .current_dir(root()))
        .context("cargo-fuzz can't be installed")?;
    }
    Ok(())
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
