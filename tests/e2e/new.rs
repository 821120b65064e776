//! From `kinglet new` to an event: what a person's first minutes are.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{App, Host, Output, finish, text, tmp, workspace};
use crate::http::{expect, get, up};

/// What of this process's environment would tell cargo of the workspace that is being tested.
const ABOUT_US: [&str; 3] = ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "RUSTFLAGS"];

/// Lets cargo build where earlier runs did, with what is on this machine: or from the registry, where
/// that doesn't do.
pub fn with_cargo(make: impl Fn() -> Command) -> Output {
    let run = |offline: &str| {
        let mut command = make();
        for name in ABOUT_US {
            command.env_remove(name);
        }
        command
            .env("CARGO_TARGET_DIR", tmp().join("new"))
            .env("CARGO_NET_OFFLINE", offline)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        finish(command.spawn().unwrap(), b"")
    };
    let offline = run("true");
    if offline.code == 0 {
        return offline;
    }
    run("false")
}

fn cargo(folder: &Path, arguments: &[&str]) -> Output {
    with_cargo(|| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(arguments).current_dir(folder);
        command
    })
}

/// A function of this kind, as it is made.
pub fn fresh(name: &str, kind: &str) -> App {
    let app = App::bare();
    let sdk = workspace().join("sdk");
    let sdk = sdk.to_str().unwrap();
    let output = app.kinglet(&["new", name, "--on", kind, "--path", ".", "--sdk", sdk]);
    let output = output.expect(0);
    assert!(output.stdout.contains("kinglet build"), "{output:?}");
    app
}

/// A function of this kind, whose own tests passed.
pub fn made(name: &str, kind: &str) -> App {
    let app = fresh(name, kind);
    let tested = cargo(&app.path(""), &["test"]).expect(0);
    assert!(tested.stdout.contains("2 passed"), "{tested:#?}");
    app
}

/// Builds with `kinglet build`, and starts the host.
fn built(app: &App, name: &str) -> Host {
    build(app, name);
    app.up()
}

fn build(app: &App, name: &str) {
    let built = with_cargo(|| app.command(&["build", "--json"]))
        .expect(0)
        .json();
    assert_eq!(built.len(), 1);
    assert_eq!(built[0]["function"], name);
    app.ok(&["check"]);
}

#[test]
fn a_function_woken_by_objects() {
    let app = made("summaries", "object-created");
    let mut host = built(&app, "summaries");
    app.put("inbox/note.txt", "one\ntwo\n");
    let outcome = host.outcome_of("summaries", "note.txt");
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    assert_eq!(
        app.read("outbox/note.txt.json"),
        r#"{"bytes":8,"text":true,"lines":2}"#
    );
    host.stop();
    app.ok(&["invoke", "summaries"]);
}

#[test]
fn a_function_woken_by_messages() {
    let app = made("alarm-2", "message");
    let mut host = built(&app, "alarm-2");
    app.publish("inbox", "40");
    let outcome = host.outcome_of("alarm-2", "inbox");
    assert_eq!(outcome["outcome"], "done", "{outcome}");
    host.until(|r| r["level"] == "warn" && r["text"] == "40 °C is above 30 °C");
    host.stop();
    let shown = app.ok(&["invoke", "alarm-2", "--body", "21.5"]);
    assert!(
        shown.contains("would publish to outbox, 4 B: 70.7"),
        "{shown}"
    );
}

#[test]
fn a_function_that_answers_requests() {
    let app = made("to-fahrenheit", "http");
    build(&app, "to-fahrenheit");
    let host = up(&app);
    expect(&get(&host, "/fahrenheit/21.5"), "200", "70.7\n");
    expect(&get(&host, "/fahrenheit/0?digits=2"), "200", "32.00\n");
    expect(
        &get(&host, "/fahrenheit/warm"),
        "400",
        "invalid float literal\n",
    );
    host.stop();
    // A route that its code doesn't have may not be meant.
    let manifest = app.read("kinglet.toml");
    app.put(
        "kinglet.toml",
        manifest.replace("/fahrenheit/{celsius}", "/celsius/{fahrenheit}"),
    );
    app.kinglet(&["check"]).expect(0).says(&[
        "`on.http` has /celsius/{fahrenheit}",
        "its code has the route /fahrenheit/{celsius}",
    ]);
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let app = App::bare();
    app.put("hello/precious.txt", "mine");
    let new = ["new", "hello", "--on", "message"];
    app.kinglet(&new)
        .expect(2)
        .says(&["hello exists already", "--path"]);
    assert_eq!(app.keys("hello"), ["precious.txt"]);
}

#[test]
fn cargo_component_builds_it_too() {
    let version = cargo(&tmp(), &["component", "--version"]);
    if version.code != 0 {
        assert!(
            std::env::var_os("KINGLET_TEST_FULL").is_none(),
            "cargo-component is missing; run `cargo xtask test --full`, which installs it"
        );
        eprintln!("skipped: cargo-component isn't installed; `cargo xtask test --full` does it");
        return;
    }
    let app = with_component("from-component", "object-created");
    let checked = app.kinglet(&["check", "--json"]).expect(0).json();
    assert!(
        checked[0]["imports"]
            .to_string()
            .contains("wasi:filesystem"),
        "{checked:?}"
    );
    let mut host = app.up();
    app.put("inbox/note.txt", "one\n");
    let outcome = host.outcome_of("from-component", "note.txt");
    assert_eq!(text(&outcome, "outcome"), "done", "{outcome}");
    assert_eq!(
        app.read("outbox/note.txt.json"),
        r#"{"bytes":4,"text":true,"lines":1}"#
    );
    host.stop();

    let app = with_component("web-component", "http");
    let host = up(&app);
    expect(&get(&host, "/fahrenheit/21.5"), "200", "70.7\n");
    host.stop();
}

/// A function that `cargo component` built.
fn with_component(name: &str, kind: &str) -> App {
    let app = made(name, kind);
    cargo(&app.path(""), &["component", "build", "--release"]).expect(0);
    let file = format!("new/wasm32-wasip1/release/{}.wasm", name.replace('-', "_"));
    let built = app.path(&format!("{name}.wasm"));
    std::fs::copy(tmp().join(file), built).unwrap();
    app
}
