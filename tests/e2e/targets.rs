//! `kinglet check --target`.

use crate::harness::{App, guest};

fn path(name: &str) -> String {
    guest(name).to_str().unwrap().to_owned()
}

#[test]
fn functions_of_the_sdk_run_on_other_hosts() {
    let app = App::bare();
    let api = path("sdk-http");
    let said = app.ok(&["check", "--target", "wasmtime", &api]);
    assert!(said.contains("wasi:http/incoming-handler@0.2.0"), "{said}");
    assert!(said.contains("calls it"), "{said}");
    assert!(said.contains("has it with `-S cli`"), "{said}");
    assert!(
        said.contains(&format!("wasmtime serve -S cli {api}")),
        "{said}"
    );
    let said = app.ok(&["check", "--target", "spin", &api]);
    assert!(said.contains("allowed_outbound_hosts"), "{said}");
    // Each also fits the world that the host publishes.
    for target in ["spin", "wasmtime", "wasmcloud"] {
        for name in ["sdk-http", "http-probe"] {
            let said = app.ok(&["check", "--target", target, &path(name)]);
            assert!(
                said.contains("it fits the world"),
                "{target} {name}: {said}"
            );
        }
    }
    for target in ["wasmtime", "wasmcloud"] {
        let said = app.ok(&["check", "--target", target, &path("http-probe-p3")]);
        assert!(said.contains("it fits the world"), "{target}: {said}");
    }
}

/// Spin's SDK 7 speaks a newer version of `wasi:http` than the release of Spin that is compared with.
#[test]
fn a_component_of_a_newer_sdk_is_told_the_version_that_the_host_calls() {
    let app = App::bare();
    let output = app.kinglet(&["check", "--target", "spin", &path("links"), "--json"]);
    let found = output.expect(1).json();
    let problems = found[0]["problems"].to_string();
    assert!(problems.contains("wasi:http/handler@0.3.0,"), "{problems}");
    assert!(problems.contains("0.3.0-rc-2026-03-15"), "{problems}");
}

#[test]
fn what_another_host_hasnt_is_told_with_what_to_do() {
    let app = App::bare();
    let results = path("sdk-results");
    for target in ["spin", "wasmtime", "wasmcloud"] {
        let output = app.kinglet(&["check", "--target", target, &results, "--json"]);
        let found = output.expect(1).json();
        let found = &found[0];
        assert_eq!(found["runs"], false, "{found}");
        let imports = found["imports"].as_array().unwrap();
        let objects = imports
            .iter()
            .find(|import| import["interface"] == "kinglet:events/objects@0.1.0")
            .unwrap();
        assert_eq!(objects["result"], "no", "{objects}");
        let note = objects["note"].as_str().unwrap();
        assert!(note.contains("Kinglet alone"), "{note}");
        let logging = imports
            .iter()
            .find(|import| import["interface"] == "wasi:logging/logging@0.1.0-draft")
            .unwrap();
        let expected = if target == "wasmcloud" { "with" } else { "no" };
        assert_eq!(logging["result"], expected, "{logging}");
    }
    let output = app.kinglet(&["check", "--target", "spin", &path("noop-message")]);
    let said = output.expect(1).stdout;
    assert!(said.contains("#[kinglet_sdk::http]"), "{said}");
    // A release of Spin has a candidate of 0.3.
    let output = app.kinglet(&["check", "--target", "spin", &path("http-probe-p3")]);
    assert!(output.expect(1).stdout.contains("0.3.0-rc"), "candidates");
}

#[test]
fn what_is_no_component_is_refused() {
    let app = App::bare();
    app.put("text.wasm", "#!/bin/sh\n");
    app.put("module.wasm", b"\0asm\x01\0\0\0");
    app.put("cut.wasm", b"\0asm\x0d\0\x01\0\x07");
    for (name, says) in [
        ("text.wasm", "isn't WebAssembly"),
        ("module.wasm", "core module"),
        ("cut.wasm", "isn't a valid component"),
        ("missing.wasm", "name a component's file"),
        (".", "isn't a file"),
    ] {
        let output = app.kinglet(&["check", "--target", "spin", name]);
        output.expect(2).says(&[name, says]);
    }
    let usage = app.kinglet(&["check", "--target", "spin"]).expect(2);
    assert!(usage.stderr.contains("COMPONENT"), "{usage:?}");
    app.kinglet(&["check", "x.wasm"])
        .expect(2)
        .says(&["--target"]);
    app.kinglet(&["check", "--target", "fermyon", "x.wasm"])
        .expect(2)
        .says(&["spin", "wasmtime", "wasmcloud"]);
}
