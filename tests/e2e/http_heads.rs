//! Heads of requests as no client should send them, the limits of a head, and the answers to clients that still send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::host::Host;
use crate::http::{PROBES, address, connect, get, probe_within, send, up};
use crate::http_server::{curl, secure};

const LIMITS: &str = r#"memory = "64MiB", request = 1000"#;

/// What comes after a request's line where nothing else is of interest.
const CLOSE: &str = "Host: here\r\nConnection: close";

/// The answer to a request, sent in one piece, of which these lines are all.
fn answer(host: &Host, lines: &str) -> String {
    send(host, &format!("{lines}\r\n\r\n"))
}

#[track_caller]
fn expect(said: &str, status: u16, has: &str, of: &str) {
    let of: String = of.chars().take(200).collect();
    assert!(
        said.starts_with(&format!("HTTP/1.1 {status} ")),
        "{of}: {said}"
    );
    let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(body.contains(has), "{of}: {has:?} isn't in {said}");
}

/// RFC 9110, 9112: each with the status that it must or may have, and a part of the reason.
#[test]
fn what_is_wrong_with_a_head_is_answered_in_words() {
    let app = probe_within("http-probe", LIMITS);
    let host = up(&app);
    let nonsense = "not valid HTTP/1.1";
    for (request, status, has) in [
        // 9112, 2.2 and 3: the line.
        ("GET /show HTTP/3.0\r\nHost: one", 400, nonsense),
        ("GET /sh ow HTTP/1.1\r\nHost: one", 400, nonsense),
        ("GET  /show HTTP/1.1\r\nHost: one", 400, nonsense),
        ("G(T /show HTTP/1.1\r\nHost: one", 400, nonsense),
        ("GET /\u{1}show HTTP/1.1\r\nHost: one", 400, nonsense),
        // 3.2: the target.
        ("GET * HTTP/1.1\r\nHost: one", 400, "begin it with `/`"),
        ("GET one:80 HTTP/1.1\r\nHost: one", 400, ""),
        (
            "GET ftp://one/ HTTP/1.1\r\nHost: one",
            400,
            "use http or https",
        ),
        (
            "GET http://user@one/ HTTP/1.1\r\nHost: one",
            400,
            "user@one",
        ),
        (
            "CONNECT one:443 HTTP/1.1\r\nHost: one:443",
            501,
            "CONNECT is not supported",
        ),
        // 3.2: the host.
        ("GET /show HTTP/1.1", 400, "no header `Host`"),
        ("GET http://one/show HTTP/1.1", 400, "no header `Host`"),
        (
            "GET /show HTTP/1.1\r\nHost: one\r\nHost: one",
            400,
            "several headers `Host`",
        ),
        (
            "GET http://one/show HTTP/1.1\r\nHost: one\r\nHost: one",
            400,
            "several",
        ),
        ("GET /show HTTP/1.1\r\nHost:", 400, "isn't a host"),
        (
            "GET /show HTTP/1.1\r\nHost: user@one",
            400,
            "`Host: user@one` isn't a host",
        ),
        ("GET /show HTTP/1.1\r\nHost: one:port", 400, "isn't a host"),
        ("GET /show HTTP/1.1\r\nHost: one:65536", 400, "isn't a host"),
        ("GET /show HTTP/1.1\r\nHost: one, two", 400, "isn't a host"),
        ("GET /show HTTP/1.1\r\nHost: one/two", 400, "isn't a host"),
        (
            "GET http://one/show HTTP/1.1\r\nHost: a b",
            400,
            "isn't a host",
        ),
        // 5.1, 5.2 and 2.2: the fields.
        ("GET /show HTTP/1.1\r\nHost : one", 400, nonsense),
        (
            "GET /show HTTP/1.1\r\nHost: one\r\nX: a\r\n b",
            400,
            nonsense,
        ),
        ("GET /show HTTP/1.1\r\nHost: one\r\n X: a", 400, nonsense),
        ("GET /show HTTP/1.1\r\nHost: one\r\nX: a\rb", 400, nonsense),
        ("GET /show HTTP/1.1\r\nHost: one\r\nX: a\0b", 400, nonsense),
        ("GET /show HTTP/1.1\r\nHost: one\r\nno colon", 400, nonsense),
        (
            "GET /show HTTP/1.1\r\nHost: one\r\n: no name",
            400,
            nonsense,
        ),
        // 6.1 and 6.3: the length of the body.
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 1\r\nContent-Length: 2",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 1, 1",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: +1",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 0x1",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length:",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 1001",
            413,
            "more than 1000 bytes",
        ),
        // The largest of 64 bits and those beside it, and one that is larger.
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 18446744073709551613",
            413,
            "1000 bytes",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 18446744073709551614",
            413,
            "smaller body",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 18446744073709551615",
            413,
            "smaller body",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 18446744073709551616",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: gzip, chunked",
            501,
            "`Transfer-Encoding: gzip, chunked`",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            501,
            "gzip, chunked",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: identity, chunked",
            501,
            "send `chunked` alone",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: chunked, chunked",
            400,
            "more than once",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: Chunked",
            400,
            "more than once",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: chunked, gzip, chunked",
            400,
            "more than once",
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: chunked, gzip",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: gzip",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding:",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: xchunked",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.1\r\nHost: one\r\nTransfer-Encoding: chunked;a=b",
            400,
            nonsense,
        ),
        (
            "POST /count HTTP/1.0\r\nHost: one\r\nTransfer-Encoding: chunked",
            400,
            nonsense,
        ),
    ] {
        let said = answer(&host, &format!("{request}\r\nConnection: close"));
        expect(&said, status, has, request);
        let text = said.lines().last().unwrap();
        assert!(!text.ends_with('.'), "{text}");
    }
    host.stop();
}

#[test]
fn what_is_unusual_in_a_head_is_answered() {
    for guest in PROBES {
        let app = probe_within(guest, LIMITS);
        let host = up(&app);
        let own = format!("http://{}/show", address(&host));
        let own_host = format!("host: {}", address(&host));
        for (request, status, has) in [
            (
                "GET http://one/show HTTP/1.1\r\nHost: one",
                200,
                "http://one/show",
            ),
            // 9112, 3.2.2: the target goes before the header, whose value the function doesn't see.
            (
                "GET http://one/show HTTP/1.1\r\nHost: other",
                200,
                "http://one/show",
            ),
            (
                "GET http://one/show HTTP/1.1\r\nHost: other",
                200,
                "host: one",
            ),
            (
                "GET http://one:81/show HTTP/1.1\r\nHost: one:80",
                200,
                "host: one:81",
            ),
            ("GET http://one/show HTTP/1.1\r\nHost:", 200, "host: one"),
            (
                "GET HTTP://ONE/show HTTP/1.1\r\nHost: one",
                200,
                "host: ONE",
            ),
            ("GET /show HTTP/1.1\r\nHost: one", 200, "host: one"),
            (
                "GET /show HTTP/1.1\r\nhost: [::1]:80",
                200,
                "host: [::1]:80",
            ),
            ("GET /show HTTP/1.1\r\nHost: one:", 200, "host: one:"),
            // 9112, 3.3: before HTTP/1.1 a request needs no host.
            ("GET /show HTTP/1.0", 200, &*own),
            ("GET /show HTTP/1.0", 200, &*own_host),
            ("GET /show HTTP/1.0\r\nHost:", 200, &*own_host),
            ("GET /show HTTP/1.0\r\nHost: one", 200, "host: one"),
            ("OPTIONS /show HTTP/1.0", 200, "Method::Options"),
            ("HEAD /show HTTP/1.0", 200, ""),
            // 9110, 9.3.7: the server as a whole.
            ("OPTIONS * HTTP/1.1\r\nHost: one", 204, ""),
            ("OPTIONS * HTTP/1.0", 204, ""),
            (
                "OPTIONS * HTTP/1.1\r\nHost: one\r\nMax-Forwards: 0",
                204,
                "",
            ),
            ("OPTIONS http://one HTTP/1.1\r\nHost: one", 200, "/"),
            (
                "OPTIONS /show HTTP/1.1\r\nHost: one\r\nMax-Forwards: 0",
                200,
                "max-forwards: 0",
            ),
            // 9110, 7.8: nothing is switched to.
            (
                "GET /show HTTP/1.1\r\nHost: one\r\nConnection: upgrade\r\nUpgrade: websocket",
                200,
                "host: one",
            ),
            (
                "GET /show HTTP/1.1\r\nHost: one\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
                200,
                "host: one",
            ),
            // 9110, 7.6.1: whoever answers sees what its connection's client named.
            (
                "GET /show HTTP/1.1\r\nHost: one\r\nConnection: close, x-named\r\nX-Named: 1",
                200,
                "x-named: 1",
            ),
            (
                "GET /show HTTP/1.1\r\nHost: one\r\nTrailer: x-sum\r\nTE: trailers",
                200,
                "trailer: x-sum",
            ),
            (
                "GET /show HTTP/1.1\r\nHost: one\r\nExpect: something",
                200,
                "host: one",
            ),
            // 9112, 2.2: empty lines before a request, and lines that end with LF alone.
            ("\r\n\r\nGET /show HTTP/1.1\r\nHost: one", 200, "host: one"),
            ("GET /show HTTP/1.1\nHost: one\nX: 1", 200, "x: 1"),
            (
                "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 0\r\nContent-Length: 0",
                200,
                "0",
            ),
            (
                "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 000",
                200,
                "0",
            ),
        ] {
            let said = answer(&host, &format!("{request}\r\nConnection: close"));
            let said = said.replacen("HTTP/1.0", "HTTP/1.1", 1);
            expect(&said, status, has, &format!("{guest}: {request}"));
            assert!(!said.contains("host: other"), "{request}: {said}");
        }
        // 9112, 6.1: of two lengths that of the chunks counts, and the connection ends.
        let both = "POST /count HTTP/1.1\r\nHost: one\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n\
                    5\r\nfive!\r\n0\r\n\r\nGET /teapot HTTP/1.1\r\nHost: one\r\n\r\n";
        let said = send(&host, both);
        expect(&said, 200, "5", both);
        assert!(!said.contains("418"), "{said}");
        host.stop();
    }
}

/// Only functions without a host, or for an address, have requests that name none.
#[test]
fn a_request_that_names_no_host_goes_to_functions_of_all_hosts() {
    let function = |name: &str, hosts: &str| {
        format!(
            "[[function]]\nname = \"{name}\"\ncomponent = \"guest:http-probe\"\non = {{ http = \"/...\"{hosts} }}\n"
        )
    };
    let all = function("all", "").replace("/...", "/all");
    let named = function("named", ", hosts = \"one.example\"");
    let app = crate::harness::App::new(&[all, named].concat());
    let host = up(&app);
    expect(
        &answer(&host, "GET /show HTTP/1.0").replacen("/1.0", "/1.1", 1),
        404,
        "no function",
        "",
    );
    let all = answer(&host, "GET /all HTTP/1.0").replacen("/1.0", "/1.1", 1);
    expect(&all, 200, "/all", "");
    let named = "GET http://one.example/show HTTP/1.1\r\nHost: two.example\r\nConnection: close";
    expect(&answer(&host, named), 200, "host: one.example", named);
    let other = "GET http://two.example/show HTTP/1.1\r\nHost: one.example\r\nConnection: close";
    expect(&answer(&host, other), 404, "no function", other);
    host.stop();
}

/// As many bytes as these, in one field.
fn field(bytes: usize) -> String {
    format!("X: {}", "x".repeat(bytes))
}

/// As many fields as these.
fn fields(count: usize) -> String {
    let fields: Vec<String> = (0..count).map(|at| format!("X-{at}: {at}")).collect();
    fields.join("\r\n")
}

/// 64 KiB and 100 fields, however the head comes: in one piece, or byte by byte.
#[test]
fn a_head_has_the_size_that_is_promised() {
    for guest in PROBES {
        let app = probe_within(guest, r#"memory = "64MiB""#);
        let host = up(&app);
        let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\n{CLOSE}", "x".repeat(bytes));
        let with = |fields: &str| format!("GET /teapot HTTP/1.1\r\n{CLOSE}\r\n{fields}");
        let (size, count) = ("more than 65536 bytes", "more than 100 fields");
        for (request, status, has) in [
            (with(&field(65_000)), 418, "short"),
            (with(&field(66_000)), 431, size),
            (with(&field(100_000)), 431, size),
            (with(&field(1_000_000)), 431, size),
            (with(&fields(98)), 418, "short"),
            (with(&fields(99)), 431, count),
            (with(&fields(1_000)), 431, count),
            // Many fields are too many bytes as well.
            (with(&fields(10_000)), 431, "more than"),
            (target(65_000), 200, "/xxx"),
            (target(66_000), 414, size),
            (target(100_000), 414, size),
            (
                format!("{} /teapot HTTP/1.1\r\n{CLOSE}", "X".repeat(66_000)),
                414,
                size,
            ),
        ] {
            expect(&answer(&host, &request), status, has, &request);
            // The same in pieces, whose last is small.
            let mut stream = connect(&host);
            let whole = format!("{request}\r\n\r\n");
            for piece in whole.as_bytes().chunks(9_000) {
                if stream.write_all(piece).is_err() {
                    break;
                }
                thread::yield_now();
            }
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            expect(&said, status, has, &request);
        }
        // Trailers have the same bounds.
        let trailers = |trailers: &str| {
            let head = "POST /count HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked";
            send(
                &host,
                &format!("{head}\r\n\r\n4\r\nfour\r\n0\r\n{trailers}\r\n\r\n"),
            )
        };
        expect(&trailers(&field(60_000)), 200, "4", "trailers");
        for too_many in [field(66_000), field(100_000), fields(101)] {
            let said = trailers(&too_many);
            assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
        }
        // A refused head takes its own connection alone, also where others were answered before.
        let said = send(
            &host,
            &format!(
                "GET /teapot HTTP/1.1\r\nHost: here\r\n\r\nGET /teapot HTTP/1.1\r\n{}\r\n\r\n",
                field(70_000)
            ),
        );
        expect(&said, 418, "", "two requests");
        assert!(said.contains(" 431 "), "{said}");
        assert!(get(&host, "/teapot").contains("418"));
        host.stop();
    }
}

#[test]
fn a_head_over_tls_and_http_2_has_the_size_that_is_promised() {
    let app = secure("http-probe");
    let host = up(&app);
    let trusted = app.path("cert.pem");
    let trusted = trusted.to_str().unwrap();
    let asked = |version: &str, fields: &[String]| {
        let mut args = vec!["--cacert", trusted, version, "-i"];
        args.extend(fields.iter().flat_map(|field| ["-H", field]));
        let said = curl(&host, &args, "/teapot");
        let status = said.split(' ').nth(1).unwrap().to_owned();
        (status, said)
    };
    let many = |count: usize| {
        let fields = (0..count).map(|at| format!("X-{at}: {at}"));
        fields.collect::<Vec<_>>()
    };
    for version in ["--http1.1", "--http2"] {
        assert_eq!(asked(version, &[field(60_000)]).0, "418", "{version}");
        assert_eq!(asked(version, &many(90)).0, "418", "{version}");
        let (status, said) = asked(version, &many(101));
        assert_eq!(status, "431", "{version}: {said}");
        assert!(said.contains("more than 100 fields"), "{version}: {said}");
    }
    // curl itself sends no larger one over HTTP/2.
    let (status, said) = asked("--http1.1", &[field(100_000)]);
    assert_eq!(status, "431", "{said}");
    assert!(said.contains("more than 65536 bytes"), "{said}");
    host.stop();
}

#[test]
fn heads_of_http_2_are_understood_as_those_of_http_1() {
    for guest in PROBES {
        let app = probe_within(guest, LIMITS);
        let host = up(&app);
        let asked = |args: &[&str], path: &str| {
            curl(
                &host,
                &[&["--http2-prior-knowledge", "-i"], args].concat(),
                path,
            )
        };
        let shown = asked(&["-H", "Host: one:81"], "/show");
        assert!(shown.contains("http://one:81/show\n"), "{guest}: {shown}");
        assert!(shown.contains("\nhost: one:81"), "{guest}: {shown}");
        // RFC 9113, 8.2.3: a function sees one field.
        let cookies = ["-H", "Cookie: a=1", "-H", "Cookie: b=2"];
        let shown = asked(&cookies, "/show");
        assert!(shown.contains("\ncookie: a=1; b=2\n"), "{guest}: {shown}");
        let whole = ["-X", "OPTIONS", "--request-target", "*"];
        let said = asked(&whole, "/");
        assert!(said.starts_with("HTTP/2 204"), "{guest}: {said}");
        // A client that still sends has its answer.
        app.put("large", vec![b'x'; 8 << 20]);
        let large = app.path("large");
        let said = asked(&["-T", large.to_str().unwrap()], "/count");
        assert!(said.starts_with("HTTP/2 413"), "{guest}: {said}");
        assert!(said.contains("more than 1000 bytes"), "{guest}: {said}");
        host.stop();
    }
}

/// A client that sends all of its body before it reads has its answer all the same: the host reads on for a while.
#[test]
fn a_client_that_sends_all_before_it_reads_has_its_answer() {
    const BODY: usize = 8 << 20;
    let app = crate::harness::App::new(&format!(
        r#"
        [[function]]
        name = "probe"
        component = "guest:http-probe"
        on = {{ http = ["/count", "/teapot"], methods = "POST" }}
        limits = {{ {LIMITS} }}
        [[ingress]]
        path = "/orders"
        format = "cloudevents"
        topic = "orders"
        max-body = "1KiB"
        auth = {{ bearer = "token" }}
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = {{ message = "orders" }}
        "#
    ));
    app.put("token", "secret-of-sixteen-bytes-and-more");
    let host = up(&app);
    let length = format!("Content-Length: {BODY}");
    let chunked = "Transfer-Encoding: chunked";
    let chunks = format!("{BODY:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(BODY));
    let plain = "x".repeat(BODY);
    for (line, fields, body, status) in [
        ("POST /count", &*length, &plain, 413),
        ("POST /count", chunked, &chunks, 413),
        ("POST /nowhere", &*length, &plain, 404),
        ("GET /count", &*length, &plain, 405),
        ("GET /orders", &*length, &plain, 405),
        ("POST /orders", &*length, &plain, 401),
        ("POST /orders", chunked, &chunks, 401),
        (
            "POST /orders",
            &*format!("{length}\r\nAuthorization: Bearer secret-of-sixteen-bytes-and-more"),
            &plain,
            413,
        ),
        (
            "POST /count",
            "Transfer-Encoding: gzip, chunked",
            &chunks,
            501,
        ),
        ("CONNECT one:80", &*length, &plain, 501),
        (
            "POST /count",
            "Content-Length: 18446744073709551615",
            &plain,
            413,
        ),
        ("POST /count", "no colon", &plain, 400),
        ("POST /count", &*fields(101), &plain, 431),
    ] {
        let mut stream = connect(&host);
        let request = format!("{line} HTTP/1.1\r\nHost: here\r\n{fields}\r\n\r\n{body}");
        stream
            .write_all(request.as_bytes())
            .unwrap_or_else(|error| panic!("{line} {fields}: {error}"));
        let mut said = String::new();
        stream
            .read_to_string(&mut said)
            .unwrap_or_else(|error| panic!("{line} {fields}: {error}"));
        expect(&said, status, "", &format!("{line} {fields}"));
    }
    host.stop();
}

fn wait_for(stream: &mut TcpStream, text: &str) -> String {
    let mut said = Vec::new();
    let mut piece = [0; 1_024];
    while !String::from_utf8_lossy(&said).contains(text) {
        let read = stream.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "{text:?} doesn't come, but {}",
            String::from_utf8_lossy(&said)
        );
        said.extend(&piece[..read]);
    }
    String::from_utf8(said).unwrap()
}

/// `Expect: 100-continue`: a client is asked for its body before the function reads it, and not where it is refused.
#[test]
fn a_client_that_waits_is_asked_for_its_body_at_once() {
    for guest in PROBES {
        let app = probe_within(guest, r#"memory = "64MiB", request = 1000, timeout = "5s""#);
        let host = up(&app);
        let head = |path: &str, length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        // It reads nothing.
        let mut waiting = connect(&host);
        waiting.write_all(head("/sleep", 4).as_bytes()).unwrap();
        let said = wait_for(&mut waiting, "\r\n\r\n");
        assert_eq!(said, "HTTP/1.1 100 Continue\r\n\r\n", "{guest}");
        // One that reads has all of it.
        let mut reading = connect(&host);
        reading.write_all(head("/count", 4).as_bytes()).unwrap();
        wait_for(&mut reading, "100 Continue\r\n\r\n");
        reading.write_all(b"four").unwrap();
        let mut said = String::new();
        reading.read_to_string(&mut said).unwrap();
        expect(&said, 200, "4", "it reads");
        // A client that doesn't wait for it.
        let said = send(&host, &format!("{}four", head("/count", 4)));
        assert!(
            said.contains("HTTP/1.1 200") && said.ends_with('4'),
            "{said}"
        );
        let said = send(&host, &head("/count", 1_001));
        expect(&said, 413, "", "too long");
        let said = send(
            &host,
            &head("/count", 4).replace("Host: here", "Host: he@re"),
        );
        expect(&said, 400, "", "no host");
        drop(waiting);
        host.stop();
    }
}
