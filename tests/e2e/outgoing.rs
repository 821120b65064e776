//! Requests that functions send, to a host of their own: another one with its own functions.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::harness::App;
use crate::host::Host;
use crate::http::{PROBES, address, expect, get, probe_within, up};
use crate::http_server::secure;

/// An app that fetches what its requests say, with these grants and limits.
fn fetching(guest: &str, granted: &str, limits: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "fetch"
        component = "guest:{guest}"
        on = {{ http = "/..." }}
        grants = {{ http = {granted} }}
        limits = {{ memory = "64MiB", fuel = 2_000_000_000, {limits} }}
        "#
    ))
}

/// What the function says of a URL.
fn fetch(host: &Host, url: &str) -> String {
    let said = get(host, &format!("/fetch/{url}"));
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{said}");
    // Where it came in pieces, their lengths.
    let piece = |line: &&str| !line.is_empty() && usize::from_str_radix(line, 16).is_err();
    match head.contains("chunked") {
        true => body.split("\r\n").filter(piece).collect(),
        false => body.to_owned(),
    }
}

#[test]
fn a_function_sends_requests_where_it_is_granted() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let port = address(&target_host).port();
    for guest in PROBES {
        let app = fetching(
            guest,
            &format!(r#"["http://localhost:{port}", "http://127.0.0.1:*"]"#),
            "",
        );
        let host = up(&app);
        let said = fetch(&host, &format!("http://localhost:{port}/print/1"));
        assert_eq!(said, "200 /print/1", "{guest}");
        assert_eq!(
            fetch(&host, &format!("http://127.0.0.1:{port}/teapot")),
            "418 short and stout"
        );
        // Over the connections that are there.
        for _ in 0..20 {
            assert_eq!(
                fetch(&host, &format!("http://localhost:{port}/print/2")),
                "200 /print/2"
            );
        }
        for elsewhere in [
            "http://localhost:1/",
            "https://localhost/",
            "http://127.0.0.2/",
            "http://example.com/",
        ] {
            assert!(
                fetch(&host, elsewhere).contains("HttpRequestDenied"),
                "{guest} {elsewhere}"
            );
        }
        assert!(fetch(&host, "http://127.0.0.1:1/").contains("ConnectionRefused"));
        host.stop();
    }
    target_host.stop();
}

/// Whatever name it has: granted are all names, and none of this machine.
#[test]
fn own_networks_are_reached_by_name_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for guest in PROBES {
        let app = fetching(guest, r#"["http://*:*", "https://*"]"#, "");
        let host = up(&app);
        for name in [
            "localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::]",
        ] {
            let said = fetch(&host, &format!("http://{name}:{port}/"));
            assert!(
                said.contains("DestinationIpProhibited"),
                "{guest} {name}: {said}"
            );
        }
        assert!(
            fetch(&host, "http://169.254.169.254/latest/meta-data")
                .contains("DestinationIpProhibited")
        );
        assert!(fetch(&host, "http://no.such.name.invalid/").contains("Dns"));
        assert!(fetch(&host, "http://user:secret@localhost/").contains("HttpRequestUriInvalid"));
        host.stop();
    }
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn an_attempt_sends_no_more_requests_than_it_may() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let port = address(&target_host).port();
    for guest in PROBES {
        let app = fetching(
            guest,
            &format!(r#""http://localhost:{port}""#),
            "requests = 0",
        );
        let mut host = up(&app);
        let said = get(&host, &format!("/fetch/http://localhost:{port}/teapot"));
        // That of 0.3 has answered by the time that it ends.
        let status = if guest == "http-probe" { "500" } else { "200" };
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{guest}: {said}"
        );
        let told = host.until(|record| record["of"] == "requests");
        assert_eq!(told["limit"], 0, "{told}");
        host.stop();
        let app = fetching(
            guest,
            &format!(r#""http://localhost:{port}""#),
            "host-calls = 100_000",
        );
        let mut host = up(&app);
        let said = get(&host, &format!("/fetch/http://localhost:{port}/large"));
        assert!(said.starts_with("HTTP/1.1 500"), "{guest}: {said}");
        let told = host.until(|record| record["of"] == "host-calls");
        assert_eq!(told["limit"], 100_000, "{told}");
        host.stop();
    }
    target_host.stop();
}

#[test]
fn servers_are_trusted_by_their_certificates() {
    let target = secure("http-probe");
    let target_host = up(&target);
    let port = address(&target_host).port();
    for guest in PROBES {
        let app = fetching(
            guest,
            &format!(r#"["https://localhost:{port}", "https://127.0.0.1:{port}"]"#),
            "",
        );
        // Whom the system trusts, which isn't this one.
        let host = up(&app);
        let said = fetch(&host, &format!("https://localhost:{port}/show"));
        assert!(said.contains("TlsCertificateError"), "{guest}: {said}");
        host.stop();

        let mut trusting = app.command(&["up", "--json", "--listen", "127.0.0.1:0"]);
        trusting.env("SSL_CERT_FILE", target.path("cert.pem"));
        let mut host = Host::start(trusting);
        host.said("ready");
        let said = fetch(&host, &format!("https://localhost:{port}/show"));
        assert!(
            said.contains(&format!("https://localhost:{port}/show")),
            "{guest}: {said}"
        );
        // Its certificate is for another name.
        let said = fetch(&host, &format!("https://127.0.0.1:{port}/show"));
        assert!(said.contains("TlsCertificateError"), "{guest}: {said}");
        host.stop();
    }
    target_host.stop();
}

/// Ends what waits for a server that says nothing, with the function's own deadline.
#[test]
fn a_server_that_says_nothing_or_breaks_off_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        // Silent, half a body, nonsense.
        let mut held = Vec::new();
        for answer in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            b"nonsense\r\n\r\n",
        ] {
            for _ in PROBES {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1_000];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(answer).unwrap();
                if answer.is_empty() {
                    held.push(stream);
                }
            }
        }
    });
    let hosts: Vec<Host> = PROBES
        .iter()
        .map(|guest| {
            up(&fetching(
                guest,
                &format!(r#""http://localhost:{port}""#),
                "timeout = \"1s\"",
            ))
        })
        .collect();
    let url = format!("http://localhost:{port}/");
    for host in &hosts {
        expect(
            &get(host, &format!("/fetch/{url}")),
            "504",
            "the function took too long\n",
        );
    }
    for host in &hosts {
        let said = fetch(host, &url);
        assert!(!said.contains("200"), "taken for whole: {said}");
    }
    for host in &hosts {
        assert!(fetch(host, &url).contains("HttpProtocolError"));
    }
    serving.join().unwrap();
    hosts.into_iter().for_each(|host| drop(host.stop()));
}

#[test]
fn a_function_of_events_sends_requests_too() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let port = address(&target_host).port();
    let app = App::bare();
    app.manifest(&format!(
        r#"
        [[function]]
        name = "send"
        component = "guest:fetch"
        on = {{ message = "in" }}
        grants = {{ http = "http://localhost:{port}" }}
        retry = {{ attempts = 1 }}
        "#
    ));
    let mut host = app.up();
    app.publish("in", &format!("http://localhost:{port}/teapot"));
    host.until(|record| record["text"] == "418");
    let sent = host.outcome_of("send", "in");
    assert_eq!(sent["outcome"], "done", "{sent}");
    host.stop();
    target_host.stop();
}
