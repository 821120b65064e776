//! Functions in Python, as `componentize-py` makes components of them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::{App, Output, text, tmp, workspace};
use crate::http;
use crate::init::{build_of, function};

/// The component of `tests/guests/python`, where the set-up has `componentize-py`.
fn python() -> Option<PathBuf> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let Some(program) = std::env::var_os("KINGLET_TEST_COMPONENTIZE_PY") else {
        assert!(
            std::env::var_os("KINGLET_TEST_FULL").is_none(),
            "componentize-py is missing; run `cargo xtask test --full`, which installs it"
        );
        eprintln!("skipped: componentize-py isn't installed; `cargo xtask test --full` does it");
        return None;
    };
    let make = || {
        let made = tmp().join("python.wasm");
        let source = workspace().join("tests/guests/python");
        let mut command = Command::new(program);
        command
            .arg("-d")
            .arg(workspace().join("wit"))
            .arg("-d")
            .arg(source.join("wit"))
            .args(["-w", "test:python/function", "componentize", "app", "-p"])
            .arg(&source)
            .arg("-o")
            .arg(&made)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        Output::of(command).expect(0);
        made
    };
    Some(MADE.get_or_init(make).clone())
}

#[test]
fn python_handles_messages_and_its_errors_are_told() {
    let Some(component) = python() else {
        return;
    };
    let app = App::new(
        r#"
        [[function]]
        name = "python"
        component = "python.wasm"
        on = { message = "words" }
        retry = { attempts = 1 }
        grants = { publish = ["shouts"] }
        limits = { timeout = "1m" }

        [[function]]
        name = "echo"
        component = "guest:echo"
        on = { message = "shouts" }
        "#,
    );
    std::fs::copy(component, app.path("python.wasm")).unwrap();
    let mut host = app.up();
    app.publish("words", "hello");
    assert_eq!(host.outcome_of("python", "words")["outcome"], "done");
    assert_eq!(host.outcome_of("echo", "shouts")["outcome"], "done");
    let echoed = host.records.iter().any(|record| record["text"] == "HELLO");
    assert!(echoed, "{:?}", host.records);

    for (words, outcome, reason) in [
        ("reject", "rejected", "never"),
        ("raise", "trap", "ValueError: there is no cat"),
        ("denied", "trap", "Error_Denied"),
    ] {
        let start = host.records.len();
        app.publish("words", words);
        let ended = |r: &serde_json::Value| {
            r["function"] == "python" && r["subject"] == "words" && r["settled"] == true
        };
        let end = host
            .place_of(start, 1, crate::host::PATIENCE, ended)
            .unwrap();
        let end = &host.records[end];
        assert!(text(end, "text").contains(outcome), "{words}: {end}");
        assert!(text(end, "reason").contains(reason), "{words}: {end}");
    }
    host.stop();
}

#[test]
fn python_is_initialised_at_the_build() {
    let Some(component) = python() else {
        return;
    };
    // Python itself asks for random numbers.
    let lines = "limits = { timeout = \"1m\" }\nsnapshot = { allow = [\"random\"] }";
    let manifest =
        function("python", "table", lines).replace("message = \"in\"", "http = \"/...\"");
    for (arguments, said) in [
        (["--json"].as_slice(), "table 1000"),
        (&["--json", "--no-snapshot"], "table 0"),
    ] {
        let app = App::new(&manifest);
        build_of(&app, &component, arguments).expect(0);
        let host = http::up(&app);
        http::expect(&http::get(&host, "/"), "200", said);
        for path in ["/raise", "/error"] {
            let raised = http::get(&host, path);
            assert!(raised.starts_with("HTTP/1.1 500"), "{raised}");
        }
        host.stop();
    }
}
