//! What was made for Spin: components of its SDK, and a `spin.toml`.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{App, guest, text, workspace};
use crate::host::Host;
use crate::http::{address, expect, get, probe_within, send, up};

/// Keys of a bucket that were there before the request, in more pages than one.
const KEYS: usize = 2_300;

/// A function made with Spin's SDK, and one that fills its store.
fn probe(more: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "probe"
        component = "guest:spin-probe"
        on = {{ http = "/...", spin-headers = true }}
        grants = {{ keyvalue = ["default"] }}
        config = {{ api_key = "k", other-name = "o" }}
        {more}
        [[function]]
        name = "fill"
        component = "guest:kv-probe"
        on = {{ message = "fill" }}
        grants = {{ keyvalue = ["default"] }}
        "#
    ))
}

/// The status and the body of an answer to a request with the app's token, which the older version of HTTP has in one
/// piece.
fn whole(host: &Host, request: &str, body: &str) -> (String, String) {
    let response = send(
        host,
        &format!(
            "{request} HTTP/1.0\r\nHost: here\r\nAuthorization: Bearer hunter2\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn body(host: &Host, path: &str) -> String {
    let said = whole(host, &format!("GET {path}"), "");
    assert_eq!(said.0, "200", "{path}: {said:?}");
    said.1
}

fn fill(app: &App, host: &mut Host, commands: &str) {
    let arguments = [
        "publish",
        "fill",
        "--attribute",
        "bucket=default",
        "--lines",
    ];
    app.kinglet_with(&arguments, commands.as_bytes()).expect(0);
    let filled = host.outcomes(1, "fill");
    assert_eq!(filled[0]["outcome"], "done", "{filled:?}");
}

#[test]
fn a_function_reads_what_it_wrote_through_spins_key_value() {
    let app = probe("");
    let host = up(&app);
    let seen = r#"None Some([49]) None true false ["one", "three"]"#;
    assert_eq!(body(&host, "/values"), seen);
    assert_eq!(body(&host, "/open/other"), "Some(Error::AccessDenied)");
    assert_eq!(body(&host, "/open/default"), "None");
    let long = "k".repeat(1_025);
    let refused = body(&host, &format!("/set/{long}"));
    assert!(refused.contains("Other(\"a key of 1025 bytes"), "{refused}");
    assert!(body(&host, "/set/").contains("a key of 0 bytes"));
    assert_eq!(body(&host, "/large/200000"), "Some(200000)");
    assert_eq!(body(&host, "/side-by-side/200"), "200");
    host.stop();
}

#[test]
fn keys_come_as_a_stream_of_pages() {
    let app = probe("");
    let mut host = up(&app);
    let pairs = (0..KEYS).map(|at| format!("key-{at:04}=v"));
    let pairs: Vec<String> = pairs.collect();
    fill(&app, &mut host, &format!("set-many {}", pairs.join(" ")));
    // One more and one less by this request.
    assert_eq!(body(&host, "/keys"), format!("{KEYS} of-this-request"));
    // Which is committed by now.
    assert_eq!(body(&host, "/first"), "Some(\"key-0001\") Ok(())");
    host.stop();
}

#[test]
fn a_variable_is_a_value_of_the_config() {
    let app = probe("");
    let host = up(&app);
    assert_eq!(body(&host, "/variable/api_key"), "Ok(\"k\")");
    let missing = body(&host, "/variable/no_key");
    assert!(
        missing.starts_with("Err(Error::Undefined(") && missing.contains("no_key"),
        "{missing}"
    );
    for name in ["other-name", "_a", "Api", ""] {
        let refused = body(&host, &format!("/variable/{name}"));
        assert!(
            refused.starts_with("Err(Error::InvalidName("),
            "{name}: {refused}"
        );
    }
    assert_eq!(body(&host, "/environment"), "[]");
    host.stop();
}

#[test]
fn limits_hold_for_spins_interfaces() {
    let app = probe(r#"limits = { memory = "8MiB", host-calls = "2MiB" }"#);
    let mut host = up(&app);
    assert_eq!(body(&host, "/stores/10000"), "256 Error::StoreTableFull");
    fill(&app, &mut host, "set big v*100000");
    let flooded = get(&host, "/flood/big");
    assert!(flooded.starts_with("HTTP/1.1 500"), "{flooded}");
    let told = host.until(|record| record["of"] == "host-calls");
    assert_eq!(told["limit"], 2 << 20, "{told}");
    host.stop();
}

/// Each holds a page, which is counted as what the guest itself has.
#[test]
fn lists_that_nobody_reads_on_are_bounded() {
    let app = probe(r#"limits = { memory = "8MiB" }"#);
    let mut host = up(&app);
    let pairs = (0..1_100).map(|at| format!("{at:01000}=v"));
    let pairs: Vec<String> = pairs.collect();
    fill(&app, &mut host, &format!("set-many {}", pairs.join(" ")));
    let said = body(&host, "/lists/100");
    assert!(said.contains("limits.memory"), "{said}");
    host.stop();
}

#[test]
fn a_function_is_told_of_its_request_where_it_asks() {
    let app = probe("");
    let host = up(&app);
    let listening = address(&host);
    let said = send(
        &host,
        "GET /told/a/b/?q=1 HTTP/1.1\r\nHost: example.com:81\r\nspin-client-addr: forged\r\nspin-other: forged\r\n\
         Connection: close\r\n\r\n",
    );
    assert!(!said.contains("forged"), "{said}");
    for told in [
        "spin-base-path: /\n",
        "spin-client-addr: 127.0.0.1:",
        "spin-component-route: \n",
        "spin-full-url: http://example.com:81/told/a/b/?q=1\n",
        "spin-matched-route: /...\n",
        "spin-path-info: /told/a/b/\n",
        "spin-raw-component-route: /...\n",
    ] {
        assert!(said.contains(told), "{told} in {said}");
    }
    host.stop();
    assert!(listening.ip().is_loopback());

    let app = App::new(
        r#"
        [[function]]
        name = "probe"
        component = "guest:spin-probe"
        on = { http = "/..." }
        "#,
    );
    let host = up(&app);
    assert_eq!(body(&host, "/told"), "");
    host.stop();
}

#[test]
fn older_interfaces_of_spin_and_wasmcloud_are_there() {
    let app = App::new(
        r#"
        [[function]]
        name = "older"
        component = "guest:spin-two"
        on = { message = "in" }
        grants = { keyvalue = ["default"] }
        config = { api_key = "k" }
        "#,
    );
    let mut host = app.up();
    app.publish("in", "api_key");
    assert_eq!(host.outcomes(1, "older")[0]["outcome"], "done");
    app.publish("in", "Bad");
    assert_eq!(host.outcomes(2, "older")[1]["outcome"], "done");
    let logs = host.records.iter().filter(|record| record["kind"] == "log");
    let said: Vec<&str> = logs.map(|log| text(log, "text")).collect();
    let expected = [
        r#"variable: Ok("k")"#,
        r#"dated: Ok(Some("k"))"#,
        r#"draft: Ok([("api_key", "k")])"#,
        r#"runtime: Ok(Some("k"))"#,
        "denied: Some(Error::AccessDenied)",
        "before: Ok([])",
        "written: Ok(())",
        r#"read: Ok(Some([49])) Ok(false) Ok(["a"])"#,
        "a key of 0 bytes",
        "variable: Err(Error::InvalidName(",
        r#"before: Ok(["a"])"#,
    ];
    for expected in expected {
        assert!(
            said.iter().any(|said| said.contains(expected)),
            "{expected} in {said:#?}"
        );
    }
    host.stop();
}

/// The example, with its component as `cargo build` leaves it.
fn links() -> App {
    let app = App::bare();
    let source = workspace().join("examples/spin-app/spin.toml");
    app.put("spin.toml", fs::read(source).unwrap());
    let built = fs::read(guest("links")).unwrap();
    app.put("target/wasm32-wasip2/release/links.wasm", built);
    app
}

/// Starts it with links that lead to `checked` being tried.
fn links_up(app: &App, checked: &str) -> Host {
    let checked = format!("checked={checked}");
    let mut command = app.command(&[
        "up",
        "--from",
        "spin.toml",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--variable",
        &checked,
    ]);
    command.env("SPIN_VARIABLE_TOKEN", "hunter2");
    let mut host = Host::start(command);
    host.said("ready");
    host
}

/// Sends a request with the token, and gives its status and body.
fn ask(host: &Host, request: &str, body: &str) -> (String, Value) {
    let (status, said) = whole(host, request, body);
    let parsed = serde_json::from_str(&said);
    (
        status,
        parsed.unwrap_or_else(|error| panic!("{error}: {said}")),
    )
}

/// What needs nothing of an earlier request.
#[test]
fn an_app_of_spin_starts_from_its_spin_toml() {
    let app = links();
    let mut host = links_up(&app, "https://*.example.com");
    host.warned("component.links.build");
    host.warned("application.description");
    let title = json!({ "title": "short links", "links": [] });
    for path in ["GET /links", "GET /links/"] {
        assert_eq!(
            ask(&host, path, ""),
            ("200".to_owned(), title.clone()),
            "{path}"
        );
    }
    let unauthorized = send(
        &host,
        "PUT /links/a HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert!(unauthorized.starts_with("HTTP/1.1 401"), "{unauthorized}");
    let (status, refused) = ask(&host, "PUT /links/a", r#"{"url": "ftp://a"}"#);
    assert_eq!(status, "400", "{refused}");
    let (status, kept) = ask(&host, "PUT /links/a", r#"{"url": "https://example.com/a"}"#);
    assert_eq!((status.as_str(), kept), ("201", json!({ "kept": 1 })));
    let many: Vec<Value> = (0..5_001)
        .map(|at| json!({ "name": format!("{at}"), "url": "https://example.com" }))
        .collect();
    let (status, refused) = ask(&host, "POST /links", &json!(many).to_string());
    assert_eq!(status, "409", "{refused}");
    host.stop();
    for command in ["status", "check"] {
        let mut command = app.command(&[command, "--manifest", "spin.toml"]);
        command.env("SPIN_VARIABLE_TOKEN", "hunter2");
        crate::harness::Output::of(command).expect(0);
    }
    // What runs nothing needs no values.
    app.kinglet(&["status", "--from", "."]).expect(0);
}

#[test]
fn what_an_app_of_spin_writes_is_kept() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let port = address(&target_host).port();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let closed = elsewhere.local_addr().unwrap().port();
    let app = links();
    let host = links_up(&app, &format!("http://localhost:{port}"));
    let url = |port: u16| format!("http://localhost:{port}/teapot");
    for (name, port) in [("tea", port), ("closed", closed)] {
        let link = json!({ "url": url(port) }).to_string();
        let (status, kept) = ask(&host, &format!("PUT /links/{name}"), &link);
        assert_eq!(status, "201", "{kept}");
    }
    let went = get(&host, "/go/tea");
    assert!(went.starts_with("HTTP/1.1 302"), "{went}");
    assert!(
        went.contains(&format!("location: {}\r\n", url(port))),
        "{went}"
    );
    // A slash at the end says nothing in a route of Spin.
    assert!(get(&host, "/go/tea/").starts_with("HTTP/1.1 302"));
    let shown = json!({ "url": url(port), "visits": 2 });
    assert_eq!(ask(&host, "GET /links/tea", "").1, shown);
    // Requests go where `allowed_outbound_hosts` says, and nowhere else.
    let checked = ask(&host, "POST /links/tea/check", "");
    assert_eq!(checked, ("200".to_owned(), json!({ "status": 418 })));
    let (status, denied) = ask(&host, "POST /links/closed/check", "");
    assert_eq!(status, "502");
    assert!(denied.to_string().contains("HttpRequestDenied"), "{denied}");
    assert!(elsewhere.accept().is_err(), "nobody came");
    let many: Vec<Value> = (0..1_500)
        .map(|at| json!({ "name": format!("n{at:04}"), "url": "https://example.com" }))
        .collect();
    let (status, kept) = ask(&host, "POST /links", &json!(many).to_string());
    assert_eq!((status.as_str(), kept), ("201", json!({ "kept": 1_500 })));
    let deleted = ask(&host, "DELETE /links/closed", "");
    assert_eq!(deleted, ("200".to_owned(), json!({ "deleted": "closed" })));
    host.stop();

    let host = links_up(&app, "https://*.example.com");
    assert_eq!(ask(&host, "GET /links/tea", "").1, shown);
    let (_, listed) = ask(&host, "GET /links", "");
    let names = listed["links"].as_array().unwrap();
    assert_eq!(names.len(), 1_501);
    assert_eq!((&names[0], &names[1_500]), (&json!("n0000"), &json!("tea")));
    assert!(get(&host, "/go/closed").starts_with("HTTP/1.1 404"));
    host.stop();
    target_host.stop();
}

#[test]
fn what_a_spin_toml_lacks_is_told_with_the_next_step() {
    let app = links();
    let without = app.kinglet(&["up", "--from", "spin.toml"]).expect(2);
    without.says(&[
        "variables.token",
        "SPIN_VARIABLE_TOKEN",
        "--variable token=VALUE",
    ]);
    let unknown = [
        "check",
        "--from",
        ".",
        "--variable",
        "token=a",
        "--variable",
        "tokne=b",
    ];
    app.kinglet(&unknown).expect(2).says(&["\"tokne\""]);
    let build = app.kinglet(&["build", "--manifest", "spin.toml"]).expect(2);
    build.says(&["`spin build`", "cargo build --release"]);
    fs::remove_dir_all(app.path("target")).unwrap();
    let missing = app.kinglet(&["up", "--from", "spin.toml", "--variable", "token=a"]);
    missing
        .expect(2)
        .says(&["links.wasm", "`spin build`", "cargo build --release"]);

    let lines = app.read("spin.toml").replace(
        "key_value_stores = [\"default\"]",
        "key_value_stores = [\"default\"]\nsqlite_databases = [\"default\"]\nfiles = [\"a\"]",
    );
    app.put("spin.toml", lines);
    let refused = app.kinglet(&["check", "--from", "spin.toml", "--variable", "token=a"]);
    refused
        .expect(2)
        .says(&["component.links.sqlite_databases", "component.links.files"]);

    let app = App::new("");
    let ours = app.kinglet(&["check", "--variable", "token=a"]).expect(2);
    ours.says(&["\"token\"", "spin.toml"]);
}

#[test]
fn a_functions_environment_is_what_the_manifest_says() {
    let app = App::new(
        r#"
        [[function]]
        name = "probe"
        component = "guest:spin-probe"
        on = { http = "/..." }
        environment = { B = "two = 2", A = "" }
        "#,
    );
    let mut command = app.command(&["up", "--json", "--listen", "127.0.0.1:0"]);
    command.env("SECRET", "hunter2");
    let mut host = Host::start(command);
    host.said("ready");
    expect(
        &get(&host, "/environment"),
        "200",
        r#"[("A", ""), ("B", "two = 2")]"#,
    );
    host.stop();
}

/// The same app under Spin itself, wherever it is installed.
#[test]
fn the_example_runs_under_spin_as_well() {
    let found = Command::new("spin")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no `spin` on the path");
        return;
    }
    let app = links();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // All that it says is lines, and none of them a record.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec \"$@\" >&2",
            "sh",
            "spin",
            "up",
            "--from",
            "spin.toml",
        ])
        .args([
            "--listen",
            &free.to_string(),
            "--variable",
            "token=hunter2",
            "--state-dir",
            "state",
        ])
        .current_dir(app.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut host = Host::start(command);
    host.warned(&format!("http://{free}"));
    let request = format!(
        "curl --silent --show-error --max-time 60 -X PUT -H 'Authorization: Bearer hunter2' \
         -d '{{\"url\": \"https://example.com/a\"}}' http://{free}/links/a && curl --silent http://{free}/links/a"
    );
    let said = Command::new("sh").args(["-c", &request]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.ends_with(r#"{"url":"https://example.com/a","visits":0}"#),
        "{said}"
    );
}
