//! Programs of others that look for faults in a server: HTTP/2 by h2spec, single messages by REDbot, slow clients by
//! slowhttptest.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{App, Output};
use crate::host::Host;
use crate::http::{PROBES, address, expect, get, probe_within, up};
use crate::http_server::secure;

/// A program that `cargo xtask test --full` installs.
fn installed(name: &str, variable: &str) -> Option<OsString> {
    let program = std::env::var_os(variable);
    if program.is_none() {
        assert!(
            std::env::var_os("KINGLET_TEST_FULL").is_none(),
            "{name} is missing; run `cargo xtask test --full`, which installs it"
        );
        eprintln!("skipped: {name} isn't installed; `cargo xtask test --full` does it");
    }
    program
}

fn output(program: &OsStr, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Output::of(command)
}

/// No package registry that the set-up uses has it, so it runs where somebody put it on the path.
#[test]
fn h2spec_finds_nothing() {
    let program = OsStr::new("h2spec");
    if Command::new(program).arg("--version").output().is_err() {
        eprintln!("skipped: h2spec isn't on the path");
        return;
    }
    for guest in PROBES {
        let app = secure(guest);
        let host = up(&app);
        let port = address(&host).port().to_string();
        // An answer that is longer than a window: what comes at a stream that is done already is no test.
        let ended = output(
            program,
            &[
                "--host",
                "localhost",
                "--port",
                &port,
                "--tls",
                "--insecure",
                "--strict",
                "--path",
                "/download/3000000",
                "--timeout",
                "10",
            ],
        )
        .expect(0);
        assert!(ended.stdout.contains(" 0 failed"), "{}", ended.stdout);
        host.stop();
    }
}

/// What REDbot says of an answer: how bad it is, and why.
fn notes(program: &OsStr, host: &Host, path: &str) -> Vec<(String, String)> {
    let url = format!("http://{}{path}", address(host));
    let said = output(program, &["--output-format", "har", &url]).expect(0);
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    let entry = &said["log"]["entries"][0];
    let text = |note: &Value, member: &str| note[member].as_str().unwrap().to_owned();
    let notes = entry["_red_messages"].as_array().unwrap().iter();
    notes
        .map(|note| (text(note, "level"), text(note, "summary")))
        .collect()
}

#[test]
fn redbot_finds_nothing_bad() {
    let Some(program) = installed("REDbot", "KINGLET_TEST_REDBOT") else {
        return;
    };
    for guest in PROBES {
        let app = App::new(&format!(
            r#"
            [[function]]
            name = "probe"
            component = "guest:{guest}"
            on = {{ http = ["/there/...", "/teapot", "/empty", "/panic", "/download/100000"] }}
            [[function]]
            name = "posts"
            component = "guest:{guest}"
            on = {{ http = "/posts", methods = "POST" }}
            "#
        ));
        let host = up(&app);
        // Those of a function, with and without a length or a body; those that the host gives in its place.
        for path in [
            "/teapot",
            "/empty",
            "/download/100000",
            "/panic",
            "/missing",
            "/posts",
        ] {
            let notes = notes(&program, &host, path);
            let good = notes.iter().any(|(level, _)| level == "GOOD");
            let bad = notes.iter().any(|(level, _)| level == "BAD");
            assert!(good && !bad, "{path}: {notes:?}");
        }
        host.stop();
    }
}

/// Clients that send their heads, or their bodies, as slowly as they can: others are served meanwhile, and the server ends
/// them all.
#[test]
fn slow_clients_are_ended_and_hold_up_nobody() {
    let Some(program) = installed("slowhttptest", "KINGLET_TEST_SLOWHTTPTEST") else {
        return;
    };
    // More than there are of these clients, as each holds one.
    let limits = r#"memory = "64MiB", timeout = "10s", concurrency = 64"#;
    let app = probe_within(PROBES[0], limits);
    let host = up(&app);
    let to = address(&host);
    for (slowly, path) in [("-H", "hello"), ("-B", "count")] {
        let url = format!("http://{to}/{path}");
        let ended = output(
            &program,
            &[
                slowly, "-u", &url, "-c", "50", "-r", "50", "-i", "5", "-l", "90", "-p", "5",
            ],
        )
        .expect(0);
        let said = plain(&ended.stdout);
        let last = said.rsplit("slow HTTP test status").next().unwrap();
        assert!(last.contains("No open connections left"), "{last}");
        let served = |line: &&str| line.starts_with("service available:");
        let served: Vec<_> = said.lines().filter(served).collect();
        assert!(!served.is_empty(), "{said}");
        assert!(served.iter().all(|line| line.ends_with("YES")), "{said}");
        expect(&get(&host, "/hello"), "200", "Hello, world!\n");
    }
    host.stop();
}

/// Without the colours of a terminal.
fn plain(text: &str) -> String {
    let pieces = text.split("\u{1b}[").enumerate();
    let pieces = pieces.map(|(number, piece)| match number {
        0 => piece,
        _ => piece
            .split_once(['m', 'H', 'J'])
            .map_or("", |(_, rest)| rest),
    });
    pieces.collect()
}
