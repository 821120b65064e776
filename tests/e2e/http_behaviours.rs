//! What `wasi:http` 0.2 promises to a function beyond the ordinary: fields, requests and handles that are used wrongly.

use std::io::Read;
use std::net::TcpListener;

use crate::harness::App;
use crate::host::Host;
use crate::http::{address, get, probe_within, up};

/// What the function says, line by line.
fn said(host: &Host, path: &str) -> Vec<String> {
    let response = get(host, path);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{response}");
    body.lines().map(str::to_owned).collect()
}

fn app(grants: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "behaviours"
        component = "guest:http-behaviours"
        on = {{ http = "/..." }}
        grants = {{ http = {grants} }}
        limits = {{ memory = "64MiB", timeout = "60s" }}
        "#
    ))
}

#[test]
fn headers_that_would_break_a_message_are_refused() {
    let app = app("[]");
    let host = up(&app);
    let said = said(&host, "/fields");
    for line in &said {
        let expected = if line.contains("\"x-fine\"") {
            ": Ok(())"
        } else if line.starts_with("set:") || line.starts_with("delete:") {
            "HeaderError::Immutable"
        } else if ["Connection", "Keep-Alive", "Host", "Transfer-Encoding"]
            .iter()
            .chain(&["Upgrade", "Proxy-Connection", "HTTP2-Settings"])
            .any(|name| line.starts_with(&format!("append {name:?}")))
        {
            "HeaderError::Forbidden"
        } else {
            "HeaderError::InvalidSyntax"
        };
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(said.len(), 16, "{said:?}");
    host.stop();
}

#[test]
fn requests_that_no_server_would_take_are_refused() {
    let app = app("[]");
    let host = up(&app);
    let said = said(&host, "/requests");
    for end in ["Ok(())", "Err(())"] {
        assert!(said.iter().any(|line| line.ends_with(end)), "{said:?}");
    }
    for line in said {
        let fine = ["PURGE", "[::1]:80", "path: "].iter();
        let fine = fine.clone().any(|part| line.contains(part));
        // A port is looked at when it is connected to.
        let port = line.contains("with a port");
        assert!(
            port || line.ends_with(if fine { "Ok(())" } else { "Err(())" }),
            "{line}"
        );
    }
    host.stop();
}

#[test]
fn a_body_of_another_length_than_was_told_is_no_whole_request() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let to = address(&target_host);
    let app = app(&format!("\"http://{to}\""));
    let host = up(&app);
    let said = said(&host, &format!("/lengths?to={to}"));
    let [exact, short, long] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(exact, "eleven long: written, Ok(()), 200, 2 bytes");
    assert!(short.contains("HttpRequestBodySize(Some(5))"), "{short}");
    assert!(long.contains("HttpRequestBodySize(Some(18))"), "{long}");
    for line in [short, long] {
        assert!(!line.contains("200, "), "{line}");
    }
    host.stop();
    target_host.stop();
}

#[test]
fn a_function_waits_no_longer_for_a_server_than_it_wants() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let silent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Until the other side closes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let app = app(&format!("\"http://{to}\""));
    let host = up(&app);
    let said = said(&host, &format!("/timeouts?to={to}"));
    assert!(said[0].contains("Timeout"), "{said:?}");
    silent.join().unwrap();
    host.stop();
}

#[test]
fn a_request_without_a_path_or_a_host_or_for_another_scheme_isnt_sent() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let to = address(&target_host);
    let app = app(&format!("\"http://{to}\""));
    let host = up(&app);
    let said = said(&host, &format!("/schemes?to={to}"));
    assert_eq!(said.len(), 3, "{said:?}");
    for line in said {
        assert!(line.contains("ErrorCode::"), "{line}");
    }
    host.stop();
    target_host.stop();
}

/// Neither the function nor the host is the worse for it, and the next request goes out.
#[test]
fn handles_may_go_before_what_they_are_of() {
    let target = probe_within("http-probe", r#"memory = "64MiB", timeout = "60s""#);
    let target_host = up(&target);
    let to = address(&target_host);
    let app = app(&format!("\"http://{to}\""));
    let host = up(&app);
    for _ in 0..3 {
        let said = said(&host, &format!("/dropped?to={to}"));
        assert!(!said[0].contains("200"), "taken for whole: {said:?}");
        assert_eq!(said[1], "after: 418, 15 bytes");
    }
    host.stop();
    target_host.stop();
}

#[test]
fn several_requests_go_out_at_once_and_large_ones_too() {
    let target = probe_within("http-probe", r#"memory = "64MiB", concurrency = 8"#);
    let target_host = up(&target);
    let to = address(&target_host);
    let app = app(&format!("\"http://{to}\""));
    let host = up(&app);
    let at_once = said(&host, &format!("/at-once?to={to}"));
    assert_eq!(at_once, vec!["200, 8 bytes"; 8]);
    let large = said(&host, &format!("/large?to={to}"));
    assert_eq!(large, ["200, 7 bytes"], "4096000");
    host.stop();
    target_host.stop();
}
