//! What the commands need: the wasm target, the guests, the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

pub const WASM_TARGET: &str = "wasm32-wasip2";

/// The project's folder.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Cargo, in the project's folder.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Cargo for what is measured: the dev profile, in which what we stand on is optimised and built already,
/// with our own crates optimised as well.
pub fn measured() -> Command {
    let mut cargo = cargo();
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "3");
    cargo.env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false");
    cargo.env("CARGO_PROFILE_DEV_CODEGEN_UNITS", "16");
    cargo
}

/// Runs a command to its end, which must be a good one.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("can't run {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// Installs a program from the Debian package of its name, where it is missing.
pub fn ensure_program(name: &str) -> anyhow::Result<()> {
    // Whatever it makes of that option, it is there.
    if Command::new(name).arg("--version").output().is_ok() {
        return Ok(());
    }
    eprintln!("installing {name}");
    let mut install = Command::new("apt-get");
    install.stdout(std::process::Stdio::null());
    run(install.args(["install", "--yes", name]))
        .with_context(|| format!("`{name}` isn't here, and is needed; install it"))
}

/// Adds a compilation target where it is missing.
pub fn ensure_target(target: &str) -> anyhow::Result<()> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(root())
        .output()
        .context("can't run rustc; install Rust")?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && libdir.is_dir() {
        return Ok(());
    }
    eprintln!("adding the target {target}");
    run(Command::new("rustup")
        .args(["target", "add", target])
        .current_dir(root()))
    .with_context(|| format!("the target {target} is missing and can't be added"))
}

/// Builds the host, and returns its path.
pub fn build_host() -> anyhow::Result<PathBuf> {
    build_host_with(cargo())
}

/// Builds the host with this cargo, and returns its path.
pub fn build_host_with(mut cargo: Command) -> anyhow::Result<PathBuf> {
    eprintln!("building the host (the first time takes some minutes)");
    run(cargo.args(["build", "--package", "kinglet", "--bin", "kinglet"]))?;
    Ok(target_dir().join("debug").join("kinglet"))
}

/// Builds the library that the torture loads under a host, and returns its path. Cargo doesn't for tests.
pub fn build_shim() -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--package", "kinglet-shim", "--lib"]))?;
    Ok(target_dir().join("debug").join("libkinglet_shim.so"))
}

/// What is made with Spin's SDK, each in a workspace of its own.
const OF_SPIN: [&str; 2] = ["examples/spin-app", "tests/spin-guests"];

/// Builds the functions that ship and those that tests use.
pub fn build_guests() -> anyhow::Result<()> {
    ensure_target(WASM_TARGET)?;
    eprintln!("building the guests");
    for workspace in OF_SPIN {
        // Together, so that what both are made of is built once.
        let target = target_dir().join("spin");
        run(cargo()
            .current_dir(root().join(workspace))
            .args(["build", "--locked", "--release", "--target", WASM_TARGET])
            .arg("--target-dir")
            .arg(target))?;
    }
    run(cargo().args([
        "build",
        "--release",
        "--target",
        WASM_TARGET,
        "--package=thumbnail",
        "--package=preprocess",
        "--package=kinglet-test-guests",
        "--lib",
        "--examples",
    ]))
}
