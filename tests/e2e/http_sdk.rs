//! Functions that answer requests by way of the SDK.

use std::io::{BufRead, BufReader, Read, Write};

use crate::harness::App;
use crate::host::{Host, text};
use crate::http::{address, connect, expect, get, probe_within, send, up};

fn api(grants: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "api"
        component = "guest:sdk-http"
        on = {{ http = ["/...", "/birds/{{id}}/..."] }}
        grants = {{ {grants} }}
        limits = {{ memory = "64MiB", timeout = "20s" }}
        "#
    ))
}

/// A request with a body, and what comes back.
fn sent(host: &Host, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    send(
        host,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ),
    )
}

#[track_caller]
fn has_header(response: &str, line: &str) {
    assert!(
        response.contains(&format!("\r\n{line}\r\n")),
        "no {line:?} in {response}"
    );
}

#[test]
fn what_a_handler_returns_is_answered() {
    let app = api("");
    let host = up(&app);
    expect(&get(&host, "/hello"), "200", "Hello, world!\n");
    has_header(&get(&host, "/hello"), "content-length: 14");
    expect(&get(&host, "/teapot"), "418", "short and stout");
    let cookies = get(&host, "/headers");
    expect(&cookies, "207", "cookies");
    for line in ["set-cookie: a=1", "set-cookie: b=2", "x-name: wren"] {
        has_header(&cookies, line);
    }
    expect(&sent(&host, "POST", "/json", "", "[1, 2, 39]"), "200", "42");
    expect(
        &sent(&host, "POST", "/upper", "", "wren é"),
        "200",
        "WREN É",
    );
    let shown = sent(
        &host,
        "PURGE",
        "/show?a=1&b=x+%26&a=2",
        "X-Test-One: 1\r\nx-test-one: 2\r\n",
        "body",
    );
    let lines = "PURGE /show\n?a=1\n?b=x &\n?a=2\nx-test-one: 1\nx-test-one: 2\n4 bytes";
    expect(&shown, "200", lines);
    for path in ["/none", "/none-with-body"] {
        let none = get(&host, path);
        expect(&none, "204", "");
        assert!(!none.contains("content-length"), "{none}");
    }
    let unchanged = get(&host, "/unchanged");
    expect(&unchanged, "304", "");
    has_header(&unchanged, "etag: \"1\"");
    host.stop();
}

#[test]
fn the_parameters_of_a_route_are_decoded() {
    let app = App::new(
        r#"
        [[function]]
        name = "api"
        component = "guest:sdk-results"
        on = { http = "/results/{name}" }
        grants = { read = ["results"] }
        config = { kind = "text/markdown" }
        [buckets.results]
        "#,
    );
    app.put("results/a b.md", "# a result");
    let mut host = up(&app);
    let found = get(&host, "/results/a%20b.md");
    expect(&found, "200", "# a result");
    has_header(&found, "content-type: text/markdown");
    expect(&get(&host, "/results/c.md"), "404", "no result c.md\n");
    // A key that is none is the function's own error, which only the logs tell.
    expect(
        &get(&host, "/results/a%2F%2Fb"),
        "500",
        "the function failed\n",
    );
    let told = host.until(|r| r["kind"] == "output");
    assert!(text(&told, "text").contains("invalid: "), "{told}");
    host.until(|r| r["kind"] == "log" && r["text"] == "asked for a b.md");
    host.stop();
}

#[test]
fn a_failure_is_answered_and_its_reason_told_to_whom_it_concerns() {
    let app = api("");
    let mut host = up(&app);
    let bad = "the request has no bird in it\n";
    expect(&get(&host, "/reject"), "400", bad);
    let busy = get(&host, "/retry");
    expect(&busy, "503", "try again later\n");
    has_header(&busy, "retry-after: 2");
    for (path, reason) in [
        ("/other", "hunter2"),
        ("/bad-header", "\"x-bad\" has a line break"),
        ("/bad-status", "101 isn't the status"),
        ("/panic", "before the answer"),
    ] {
        expect(&get(&host, path), "500", "the function failed\n");
        host.until(|r| {
            r["kind"] == "output"
                && r["subject"] == format!("GET {path}")
                && text(r, "text").contains(reason)
        });
    }
    let bad = sent(&host, "POST", "/json", "", "[1, x]");
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    assert!(bad.contains("line 1 column"), "{bad}");
    // Never taken for whole.
    let broken = get(&host, "/stream-fails");
    assert!(
        broken.starts_with("HTTP/1.1 502") || !broken.ends_with("0\r\n\r\n"),
        "{broken}"
    );
    host.until(|r| r["kind"] == "output" && text(r, "text").contains("the disk is full"));
    host.stop();
}

#[test]
fn bodies_of_sdk_functions_go_both_ways() {
    let app = api("");
    let host = up(&app);
    let mut stream = connect(&host);
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    let mut buffer = [0; 1_024];
    for word in ["first", "second", "third"] {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        stream.write_all(chunk.as_bytes()).unwrap();
        // The answer to a piece comes before the next is sent.
        while !response.contains(word) {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{response}");
            response.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("0\r\n\r\n"), "{response}");

    let lines: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
    let stream = get(&host, "/stream");
    let (_, body) = stream.split_once("\r\n\r\n").unwrap();
    assert_eq!(unchunked(body), lines);
    let large = get(&host, "/large");
    has_header(&large, &format!("content-length: {}", 3 << 20));
    assert_eq!(large.matches('x').count(), (3 << 20) + 1, "and `text`'s");

    for (path, length) in [("/hello", "14"), ("/large", "3145728")] {
        let head = sent(&host, "HEAD", path, "", "");
        expect(&head, "200", "");
        has_header(&head, &format!("content-length: {length}"));
    }
    expect(&sent(&host, "HEAD", "/stream", "", ""), "200", "");
    host.stop();
}

/// A body that came in chunks.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
}

/// Each event is there before the next is made, and the instance ends with its client.
#[test]
fn events_come_one_by_one_until_their_client_goes() {
    let app = App::new(
        r#"
        [[function]]
        name = "api"
        component = "guest:sdk-http"
        on = { http = "/..." }
        limits = { memory = "64MiB", timeout = "10min", concurrency = 1 }
        "#,
    );
    let host = up(&app);
    let mut stream = connect(&host);
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = |part: &str| loop {
        let line = lines.next().unwrap().unwrap();
        if line.contains(part) {
            return line;
        }
    };
    next("200 OK");
    next("text/event-stream");
    for event in 0..5 {
        let line = next("data:");
        assert_eq!(line, format!("data: {event}"));
    }
    drop(lines);
    // Its only permit is free again: for ten minutes it wouldn't be.
    expect(&get(&host, "/hello"), "200", "Hello, world!\n");
    host.stop();
}

#[test]
fn functions_send_requests_by_way_of_the_sdk() {
    let target = api("");
    let target_host = up(&target);
    let port = address(&target_host).port();
    let app = api(&format!(r#"http = "http://localhost:{port}""#));
    let host = up(&app);
    let fetch = |method: &str, url: &str, body: &str| {
        sent(&host, method, &format!("/fetch?url={url}"), "", body)
    };
    let there = format!("http://localhost:{port}");
    let shown = fetch("PUT", &format!("{there}/show?x=1"), "new");
    // The first `&` or `?` of a query's value are its own.
    expect(&shown, "200", "PUT /show\n?x=1\nx-test-sent: yes\n3 bytes");
    expect(
        &fetch("GET", &format!("{there}/teapot"), ""),
        "418",
        "short and stout",
    );
    let large = "x".repeat(200_000);
    expect(
        &fetch("POST", &format!("{there}/echo"), &large),
        "200",
        &large,
    );
    let head = fetch("HEAD", &format!("{there}/hello"), "");
    expect(&head, "200", "");
    for (url, status, says) in [
        ("http://example.com/x?key=secret", "403", "grants.http"),
        ("ftp://localhost/", "422", "doesn't begin with"),
        ("http://me:secret@localhost/", "422", "authorization"),
    ] {
        let said = fetch("GET", url, "");
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{url}: {said}"
        );
        assert!(said.contains(says), "{url}: {said}");
        assert!(!said.contains("secret"), "{url}: {said}");
    }
    host.stop();

    // Nobody listens there any more.
    target_host.stop();
    let host = up(&app);
    let said = sent(&host, "GET", &format!("/fetch?url={there}/teapot"), "", "");
    assert!(said.starts_with("HTTP/1.1 502"), "{said}");
    assert!(
        said.contains("unavailable: request to http://localhost"),
        "{said}"
    );
    host.stop();
}

#[test]
fn a_function_of_messages_sends_requests_by_way_of_the_sdk() {
    let target = probe_within("http-probe", r#"memory = "64MiB""#);
    let target_host = up(&target);
    let port = address(&target_host).port();
    let app = App::new(&format!(
        r#"
        [[function]]
        name = "send"
        component = "guest:sdk-fetch"
        on = {{ message = "in" }}
        grants = {{ http = "http://localhost:{port}" }}
        retry = {{ attempts = 1 }}
        "#
    ));
    let mut host = app.up();
    app.publish("in", &format!("http://localhost:{port}/teapot"));
    host.until(|record| record["text"] == "418 short and stout");
    let done = host.outcome_of("send", "in");
    assert_eq!(done["outcome"], "done", "{done}");
    host.stop();
    target_host.stop();
}

/// The SDK's functions hold on to nothing, whatever they did: the instance answers the next one too.
#[test]
fn an_instance_of_an_sdk_function_can_be_reused() {
    let app = App::new(
        r#"
        [[function]]
        name = "api"
        component = "guest:sdk-http"
        on = { http = "/...", reuse = 4 }
        limits = { memory = "64MiB", concurrency = 1 }
        "#,
    );
    let host = up(&app);
    for (path, status, answer) in [
        ("/hello", "200", "Hello, world!\n"),
        ("/upper", "200", "WREN"),
        ("/teapot", "418", "short and stout"),
        ("/echo", "200", "wren"),
    ] {
        // Another may be ready beside the one that answered.
        let mut answered_next = false;
        for _ in 0..8 {
            expect(&sent(&host, "POST", path, "", "wren"), status, answer);
            answered_next |= get(&host, "/last").ends_with(&format!("\r\n\r\n{path}"));
        }
        assert!(answered_next, "{path}");
    }
    host.stop();
}
