//! `cargo xtask test`: everything the tests need, and the tests.

use std::process::Command;

use anyhow::Context;
use clap::Args;

use crate::corpus;
use crate::rivals;
use crate::setup::{
    build_guests, build_shim, cargo, ensure_program, ensure_target, root, run, target_dir,
};
use crate::torture;

/// The version that guests are known to build with.
const CARGO_COMPONENT: &str = "0.21.1";

/// What stands in for AWS, with its server.
const MOTO: &str = "moto[server]==5.2.1";

/// What looks for faults in answers.
const REDBOT: &str = "redbot==2.7.1";

/// The package that makes components of Python.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// The packages that are tested. Benchmarks are measured instead, and bring a second database.
pub const TESTED: [&str; 3] = ["--workspace", "--exclude", "kinglet-bench"];

/// Each window of a commit some times; `cargo xtask torture` has more.
const TORTURE_ROUNDS: u32 = 20;

#[derive(Debug, Default, Args)]
pub struct Test {
    /// Add what is slow or downloads much: `cargo component`, a stand-in of AWS, clients that look
    /// for faults in servers, Python's components, the image corpora. Nothing is skipped.
    #[arg(long)]
    full: bool,
    /// Only tests whose name has this in it; passed on to cargo.
    filter: Option<String>,
}

impl Test {
    pub fn execute(self) -> anyhow::Result<()> {
        // They ask the server, and make its certificates.
        ensure_program("curl")?;
        ensure_program("openssl")?;
        build_guests()?;
        build_shim()?;
        if self.full {
            install_cargo_component()?;
        }
        let mut test = cargo();
        test.args(["test", "--all-targets"]).args(TESTED);
        test.args(&self.filter);
        test.env(
            "KINGLET_TEST_GUESTS",
            target_dir().join("wasm32-wasip2").join("release"),
        );
        if self.full {
            test.env("KINGLET_TEST_FULL", "1");
            test.env("KINGLET_TEST_MOTO", rivals::of_python(MOTO, "moto_server")?);
            test.env("KINGLET_TEST_REDBOT", rivals::of_python(REDBOT, "redbot")?);
            let componentize = rivals::of_python(COMPONENTIZE_PY, "componentize-py")?;
            test.env("KINGLET_TEST_COMPONENTIZE_PY", componentize);
            ensure_program("slowhttptest")?;
            test.env("KINGLET_TEST_SLOWHTTPTEST", "slowhttptest");
        }
        // Whose answers are compared with ours.
        for (name, program) in [
            ("KINGLET_TEST_WASMTIME", rivals::wasmtime()),
            ("KINGLET_TEST_WASH", rivals::wash()),
        ] {
            match program {
                Ok(program) => {
                    test.env(name, program);
                }
                Err(error) if self.full => return Err(error),
                Err(error) => eprintln!("skipped: tests with {name}: {error:#}"),
            }
        }
        run(&mut test)?;
        if self.filter.is_none() {
            // Examples in the documentation are tests too.
            run(cargo().args(["test", "--doc", "--package", "kinglet-sdk"]))?;
            if cfg!(target_os = "linux") {
                torture::some_rounds(TORTURE_ROUNDS)?;
            }
        }
        if self.full {
            corpus::check()?;
        }
        Ok(())
    }
}

fn install_cargo_component() -> anyhow::Result<()> {
    ensure_target("wasm32-wasip1")?;
    let installed = Command::new("cargo")
        .args(["component", "--version"])
        .output();
    if installed.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    eprintln!("installing cargo-component {CARGO_COMPONENT} (some minutes)");
    let version = format!("cargo-component@{CARGO_COMPONENT}");
    run(Command::new("cargo")
        .args(["install", "--locked", &version])
        .current_dir(root()))
    .context("cargo-component can't be installed")
}
