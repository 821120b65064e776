//! What only `wasi:http` 0.3 promises: headers that are copied, options that are kept, bodies and their ends that go
//! from hand to hand, and what a function is told of how its messages were sent.

use std::io::{Read, Write};

use crate::harness::App;
use crate::host::{Host, settled, text};
use crate::http::{connect, expect, get, send, up};
use crate::http_behaviours::{app, lines, said, server, target, up_to};

const GUEST: &str = "http-behaviours-p3";
const LIMITS: &str = r#"memory = "64MiB""#;

/// A request with a body, and with trailers where these are some.
fn post(host: &Host, path: &str, body: &str, trailers: &str) -> String {
    send(
        host,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTE: trailers\r\nTrailer: x-sum\r\n\
             x-kept: kept\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n{trailers}\r\n",
            body.len()
        ),
    )
}

#[test]
fn headers_are_copied_and_outlive_what_they_are_of() {
    let app = app(GUEST, "[]", LIMITS);
    let host = up(&app);
    assert_eq!(
        said(&host, "/copies"),
        [
            "immutable: Err(HeaderError::Immutable)",
            "taken: a value",
            "copy: false",
            "kept: a value",
            "bad name: false",
        ]
    );
    host.stop();
}

/// The host adds one of its own, for which there is room, or an error.
#[test]
fn a_request_that_has_all_the_headers_that_may_be_is_sent() {
    let (_target, target_host, to) = target();
    let (_app, host) = up_to(GUEST, to);
    let said = said(&host, &format!("/full?to={to}"));
    let told = said[0].starts_with("ErrorCode::HttpRequestHeader");
    assert!(told || said[0].starts_with("200, 64"), "{said:?}");
    host.stop();
    target_host.stop();
}

#[test]
fn options_are_kept_and_those_of_a_request_dont_change() {
    let app = app(GUEST, "[]", LIMITS);
    let host = up(&app);
    assert_eq!(
        said(&host, "/options"),
        [
            "connect: Ok(())",
            "first: Ok(())",
            "between: Ok(())",
            "kept: [Some(1), Some(2), Some(3)]",
            "of a request: [Some(1), Some(2), Some(3)]",
            "changed: Err(RequestOptionsError::Immutable)",
            "changed: Err(RequestOptionsError::Immutable)",
            "changed: Err(RequestOptionsError::Immutable)",
            "copy: [Some(1), None, Some(3)], [Some(1), Some(2), Some(3)]",
            "none: true",
        ]
    );
    host.stop();
}

#[test]
fn a_body_is_read_in_pieces_or_by_a_request_that_it_is_given_to() {
    let app = app(GUEST, "[]", LIMITS);
    let host = up(&app);
    let (body, sum) = ("0123456789", "x-sum: 42\r\n");
    assert_eq!(
        lines(&post(&host, "/pieces", body, sum)),
        ["at most 4: 0123456789", "end: x-sum: 42", "headers: kept"]
    );
    assert_eq!(
        lines(&post(&host, "/pieces", body, "")),
        ["at most 4: 0123456789", "end: no trailers", "headers: kept"]
    );
    let twice = lines(&post(&host, "/twice", body, sum));
    assert_eq!(twice, [body, "end: x-sum: 42"]);
    assert_eq!(said(&host, "/own"), ["to itself", "left: Some(0)"]);
    host.stop();
}

/// A function reads four bytes, and answers with the rest. wasmtime lost what it had taken of the body by then, and the
/// answer was told as a whole one.
#[test]
fn what_is_left_of_a_body_can_be_handed_on() {
    let app = app(GUEST, "[]", LIMITS);
    let host = up(&app);
    let request = "POST /rest HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789";
    let answer = send(&host, request);
    assert!(answer.contains("x-first: 0123\r\n"), "{answer}");
    expect(&answer, "200", "456789");
    host.stop();
}

#[test]
fn bodies_and_trailers_pass_through_a_function() {
    let (_target, target_host, to) = target();
    let (_app, host) = up_to(GUEST, to);
    for passing in ["/proxy", "/through"] {
        let path = format!("{passing}/trailers?to={to}");
        let answer = post(&host, &path, "body", "x-sum: 42\r\n");
        let whole = "behind this\r\n0\r\nx-sum: 42\r\n\r\n";
        assert!(answer.ends_with(whole), "{passing}: {answer}");
    }
    let both = said(&host, &format!("/large-both?to={to}"));
    assert_eq!(both, ["4096000 true no trailers"]);
    let growing = said(&host, &format!("/growing?to={to}"));
    assert_eq!(growing, ["true no trailers"]);
    host.stop();
    target_host.stop();
}

#[test]
fn a_message_may_have_no_body() {
    let (to, serving) = server(
        "0\r\nx-sum: 42\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    let (_app, host) = up_to(GUEST, to);
    let answer = get(&host, "/bodyless");
    assert!(answer.contains("content-length: 0\r\n"), "{answer}");
    expect(&answer, "202", "");
    // Its trailers go all the same.
    let said = said(&host, &format!("/no-trailers?to={to}"));
    assert_eq!(said, ["200, 0 bytes", "Ok(())"]);
    host.stop();
    let came = serving.join().unwrap();
    assert!(came.ends_with("\r\n\r\n0\r\nx-sum: 42\r\n\r\n"), "{came}");
}

/// Some of it is there by then.
#[test]
fn an_answer_whose_end_is_an_error_is_broken_off() {
    let app = app(GUEST, "[]", LIMITS);
    let mut host = up(&app);
    let answer = get(&host, "/broken");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.99}");
    assert!(!answer.ends_with("\r\n0\r\n\r\n"), "taken for whole");
    let outcome = host.until(settled);
    assert!(text(&outcome, "text").contains("no more"), "{outcome}");
    host.stop();
}

/// By the call. The future that the request came with says `Ok` all the same, which is wasmtime's.
#[test]
fn a_request_that_no_server_takes_is_told() {
    let app = app(GUEST, "\"http://127.0.0.1:1\"", LIMITS);
    let host = up(&app);
    let said = said(&host, "/refused?to=127.0.0.1:1");
    assert_eq!(said[0], "ErrorCode::ConnectionRefused");
    host.stop();
}

/// Waits for what the function prints that it is told of its answer.
fn told(host: &mut Host) -> String {
    let told = host.until(|record| {
        let said = record["text"].as_str().unwrap_or_default();
        said.starts_with("told: ") || settled(record)
    });
    text(&told, "text").to_owned()
}

#[test]
fn a_function_is_told_how_its_answer_was_sent() {
    for (path, expected) in [
        ("/told", "told: Ok(())"),
        // Whose end nobody asks for: all that was told has come.
        ("/told-all", "told: Ok(())"),
        (
            "/told-short",
            "told: Err(ErrorCode::HttpResponseBodySize(Some(8192)))",
        ),
    ] {
        let app = app(GUEST, "[]", LIMITS);
        let mut host = up(&app);
        get(&host, path);
        assert_eq!(told(&mut host), expected, "{path}");
        host.stop();
    }
}

/// It was, once the head was there.
#[test]
fn an_answer_isnt_told_as_sent_before_it_is_written() {
    let app = app(GUEST, "[]", LIMITS);
    let mut host = up(&app);
    let answer = get(&host, "/told-large");
    assert!(answer.ends_with("\r\n0\r\n\r\n"));
    assert_eq!(told(&mut host), "told: Ok(())");
    host.until(|record| record["text"] == "written");
    let place = |said: &str| {
        host.records
            .iter()
            .position(|record| record["text"] == said)
    };
    assert!(place("written") < place("told: Ok(())"));
    host.stop();
}

/// The two waited for each other until the deadline: what the function was told of its answer was what it said of the
/// request.
#[test]
fn a_function_can_say_of_a_request_what_it_is_told_of_its_answer() {
    let app = app(GUEST, "[]", r#"memory = "64MiB", timeout = "2s""#);
    let mut host = up(&app);
    let answer = post(&host, "/chained", "0123456789", "");
    assert!(answer.contains("0123456789"), "{answer}");
    assert_eq!(told(&mut host), "told: Ok(())");
    host.stop();
}

/// A server that answers before it has all of a body that is handed on: what may still come of that holds up neither its
/// client's connection nor the next request.
#[test]
fn a_body_that_nobody_wants_any_more_holds_nothing() {
    let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    let (to, serving) = server("half", answer);
    let app = App::new(&format!(
        r#"
        [[function]]
        name = "behaviours"
        component = "guest:{GUEST}"
        on = {{ http = "/...", reuse = 8 }}
        grants = {{ http = "http://{to}" }}
        limits = {{ {LIMITS}, concurrency = 1 }}
        "#
    ));
    let host = up(&app);
    let mut client = connect(&host);
    let request = format!(
        "POST /proxy/elsewhere?to={to} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\
         Content-Length: 1000000\r\n\r\nhalf"
    );
    client.write_all(request.as_bytes()).unwrap();
    let mut refused = String::new();
    client.read_to_string(&mut refused).unwrap();
    expect(&refused, "401", "no");
    serving.join().unwrap();
    expect(&get(&host, "/nothing"), "200", "nothing at /nothing");
    host.stop();
}
