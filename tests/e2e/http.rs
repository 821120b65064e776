//! Functions that answer requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::App;
use crate::host::{Host, PATIENCE, settled, text};

/// The fixtures that do what a request's path says, on any path: of `wasi:http` 0.2 and of 0.3.
pub const PROBES: [&str; 2] = ["http-probe", "http-probe-p3"];

pub fn probe(guest: &str) -> App {
    probe_within(
        guest,
        r#"memory = "64MiB", fuel = 2_000_000_000, timeout = "700ms", concurrency = 2"#,
    )
}

/// The same with other limits; beside it `hello`.
pub fn probe_within(guest: &str, limits: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "probe"
        component = "guest:{guest}"
        on = {{ http = "/..." }}
        limits = {{ {limits} }}
        {HELLO}
        "#
    ))
}

const HELLO: &str = r#"
    [[function]]
    name = "hello"
    component = "guest:hello-http"
    on = { http = "/hello" }
"#;

pub fn up(app: &App) -> Host {
    up_without(app, None)
}

/// The same, of which a guard may be off.
pub fn up_without(app: &App, guard: Option<&str>) -> Host {
    let arguments = ["up", "--json", "--listen", "127.0.0.1:0"];
    let mut host = Host::start(app.command_without(&arguments, guard));
    host.said("ready");
    host
}

/// Where the host says that it listens.
pub fn address(host: &Host) -> SocketAddr {
    let line = host.lines.iter().find(|line| line.contains("://"));
    let (_, rest) = line.unwrap().split_once("://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

pub fn connect(host: &Host) -> TcpStream {
    let stream = TcpStream::connect(address(host)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends what is given, and returns all that comes until the host closes.
pub fn send(host: &Host, request: &str) -> String {
    send_to(address(host), request)
}

pub fn send_to(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has had enough may close before it has read all.
    let _ = stream.write_all(request.as_bytes());
    let mut response = Vec::new();
    // A connection that is reset had its end as well.
    let _ = stream.read_to_end(&mut response);
    String::from_utf8(response).unwrap()
}

pub fn get(host: &Host, path: &str) -> String {
    send(
        host,
        &format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"),
    )
}

#[track_caller]
pub fn expect(response: &str, status: &str, body: &str) {
    let (head, rest) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    assert!(
        head.starts_with(&format!("HTTP/1.1 {status}")),
        "{response}"
    );
    assert_eq!(rest, body, "{response}");
}

#[test]
fn each_request_has_an_instance_of_its_own() {
    for guest in PROBES {
        let app = probe(guest);
        let host = up(&app);
        for _ in 0..5 {
            expect(&get(&host, "/seen"), "200", "0");
        }
        expect(&get(&host, "/hello"), "200", "Hello, world!\n");
        expect(&get(&host, "/teapot"), "418", "short and stout");
        expect(&get(&host, "/empty"), "204", "");
        expect(&get(&host, "/a/b?c=d"), "200", "/a/b?c=d");
        let said = get(&host, "/hello");
        assert!(said.to_lowercase().contains("content-length: 14"), "{said}");
        host.stop();
    }
}

#[test]
fn several_requests_come_over_one_connection() {
    let app = probe(PROBES[0]);
    let host = up(&app);
    let mut stream = connect(&host);
    for _ in 0..3 {
        stream
            .write_all(b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        let mut response = Vec::new();
        let mut byte = [0];
        while !response.ends_with(b"world!\n") {
            stream.read_exact(&mut byte).unwrap();
            response.extend(byte);
        }
        assert!(response.starts_with(b"HTTP/1.1 200"));
    }
    // It is idle, and keeps no host from ending.
    host.stop();
}

#[test]
fn bodies_go_both_ways_while_they_come() {
    for guest in PROBES {
        let app = probe(guest);
        let host = up(&app);
        let mut stream = connect(&host);
        stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
        let mut response = String::new();
        let mut buffer = [0; 1_024];
        for word in ["first", "second"] {
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

        let large = get(&host, "/large");
        assert!(large.ends_with("0\r\n\r\n"));
        assert_eq!(large.matches('x').count(), 10 << 20);
        host.stop();
    }
}

/// wasmtime takes what is there for all of the answer, where its guest ends before it.
#[test]
fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    for guest in PROBES {
        let app = probe(guest);
        let mut host = up(&app);
        for (path, reason) in [
            ("/panic-midway", "in the middle"),
            ("/spin-midway", "limit"),
        ] {
            let response = get(&host, path);
            assert!(response.contains("half of it"), "{path}: {response}");
            // The last piece of a whole one is empty.
            assert!(!response.ends_with("0\r\n\r\n"), "{path}: {response}");
            let outcome = host.until(|record| {
                record["kind"] == "outcome" && record["subject"] == format!("GET {path}")
            });
            assert!(outcome.to_string().contains(reason), "{path}: {outcome}");
        }
        host.stop();
    }
}

/// A function that returns and leaves its body open, or drops it, hasn't said all of it.
#[test]
fn a_body_that_isnt_finished_is_broken() {
    let app = probe(PROBES[0]);
    let mut host = up(&app);
    for path in ["/leaked", "/dropped", "/short"] {
        let response = get(&host, path);
        assert!(response.starts_with("HTTP/1.1 502"), "{path}: {response}");
        host.until(|record| {
            record["kind"] == "outcome" && record["subject"] == format!("GET {path}")
        });
    }
    expect(&get(&host, "/exact"), "200", "four");
    // More than fits before its head goes out.
    let response = get(&host, "/leaked-late");
    assert!(response.contains("xxxx") && !response.ends_with("0\r\n\r\n"));
    host.stop();
}

/// hyper asks for no more of a body than its client takes, and the guest waits for that to be asked for.
#[test]
fn an_answer_that_is_too_large_is_broken_off() {
    for guest in PROBES {
        let app = probe_within(guest, "memory = \"64MiB\", response = 1_000_000");
        let mut host = up(&app);
        let said = get(&host, "/large");
        assert!(said.starts_with("HTTP/1.1 200"), "{said:.200}");
        assert!(!said.ends_with("\r\n0\r\n\r\n"), "taken for whole");
        assert!((900_000..1_100_000).contains(&said.len()), "{}", said.len());
        let told = host.until(|r| r["of"] == "response");
        assert_eq!(told["limit"], 1_000_000, "{told}");
        assert!(text(&told, "text").contains("limits.response"), "{told}");
        host.stop();
    }
}

/// 0.2 has no error for it, and ends the call; 0.3 has one, which the guest is told.
#[test]
fn the_fields_of_an_answer_are_bounded() {
    for guest in PROBES {
        let app = probe(guest);
        let mut host = up(&app);
        expect(&get(&host, "/headers"), "500", "the function failed\n");
        let told = host.until(|r| settled(r) && r["subject"] == "GET /headers");
        if guest == "http-probe" {
            assert_eq!(told["of"], "headers", "{told}");
            assert_eq!(told["limit"], 64 << 10, "{told}");
        } else {
            assert!(text(&told, "text").contains("SizeExceeded"), "{told}");
        }
        host.stop();
    }
}

#[test]
fn a_client_that_doesnt_read_holds_no_instance_past_its_deadline() {
    let app = probe_within(PROBES[0], r#"timeout = "1s", concurrency = 1"#);
    let mut host = up(&app);
    let mut stream = connect(&host);
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        .unwrap();
    host.until(|record| record["kind"] == "outcome" && record["subject"] == "GET /endless");
    expect(&get(&host, "/seen"), "200", "0");
    drop(stream);
    host.stop();
}

/// hyper takes no body for these, and the function runs to its end all the same.
#[test]
fn a_function_that_is_asked_for_the_head_alone_runs_to_its_end() {
    for guest in PROBES {
        let app = probe(guest);
        let mut host = up(&app);
        for path in ["/exact", "/short", "/large"] {
            let request =
                format!("HEAD {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
            expect(&send(&host, &request), "200", "");
        }
        let request = "HEAD /panic-midway HTTP/1.1\r\nHost: here\r\n\r\n";
        let mut stream = connect(&host);
        stream.write_all(request.as_bytes()).unwrap();
        let outcome = host.until(|record| {
            record["subject"] == "HEAD /panic-midway" && record["kind"] == "outcome"
        });
        assert!(outcome.to_string().contains("in the middle"), "{outcome}");
        host.stop();
    }
}

#[test]
fn a_busy_function_says_so_and_holds_up_no_other() {
    for guest in PROBES {
        let app = probe_within(guest, r#"timeout = "300ms", concurrency = 1"#);
        let mut host = up(&app);
        let mut streams: Vec<_> = (0..4).map(|_| connect(&host)).collect();
        for stream in &mut streams {
            stream
                .write_all(b"GET /sleep HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                .unwrap();
        }
        expect(&get(&host, "/hello"), "200", "Hello, world!\n");
        let answers = streams.into_iter().map(|mut stream| {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let busy = answers
            .filter(|answer| answer.starts_with("HTTP/1.1 503"))
            .count();
        assert!(busy > 0);
        host.until(|record| record.to_string().contains("limits.concurrency"));
        host.stop();
    }
}

/// Requests wait for memory as long as they may take, and no longer.
#[test]
fn a_host_without_memory_left_says_so_in_time() {
    let app = App::new(
        r#"
        [host]
        memory = "4MiB"
        [[function]]
        name = "probe"
        component = "guest:http-probe"
        on = { http = "/..." }
        limits = { memory = "3MiB", concurrency = 8 }
        [[function]]
        name = "hello"
        component = "guest:hello-http"
        on = { http = "/hello" }
        limits = { memory = "3MiB", timeout = "500ms" }
        "#,
    );
    let mut host = up(&app);
    let sleeping: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = connect(&host);
            stream
                .write_all(b"GET /sleep HTTP/1.1\r\nHost: here\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    host.until(|r| r["text"] == "sleeping");
    let busy = "the function is busy; try again later\n";
    expect(&get(&host, "/hello"), "503", busy);
    let told = host.until(|r| settled(r) && r["function"] == "hello");
    assert!(text(&told, "text").contains("`host.memory`"), "{told}");
    drop(sleeping);
    host.kill();
}

/// A guest that fails before its head, while the host is told to stop.
#[test]
fn a_host_that_stops_answers_for_what_fails_meanwhile() {
    for guest in PROBES {
        let app = probe_within(guest, r#"timeout = "700ms", concurrency = 1"#);
        let mut host = up(&app);
        let mut stream = connect(&host);
        stream
            .write_all(b"GET /sleep HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        host.until(|record| record["text"] == "sleeping");
        host.interrupt();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 504"), "{response}");
        assert_eq!(host.end().code, Some(0));
    }
}

#[test]
fn a_function_that_fails_is_answered_for_and_told() {
    for guest in PROBES {
        let app = probe(guest);
        let mut host = up(&app);
        for (path, status, reason) in [
            ("/panic", "500", "before the answer"),
            ("/allocate", "500", "memory"),
            ("/sleep", "504", "700"),
            ("/spin", "5", "limit"),
        ] {
            let response = get(&host, path);
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status}")),
                "{path}: {response}"
            );
            assert!(!response.contains(reason), "for who runs it: {response}");
            let outcome = host.until(|record| {
                record["kind"] == "outcome" && record["subject"] == format!("GET {path}")
            });
            let said = outcome.to_string();
            assert!(said.contains(reason), "{path}: {said}");
        }
        if guest == PROBES[0] {
            let said = "the function returned without an answer\n";
            expect(&get(&host, "/none"), "502", said);
        }
        // What others do goes on.
        expect(&get(&host, "/hello"), "200", "Hello, world!\n");
        host.stop();
    }
}

/// A response has a fault whether its guest runs on or has returned.
#[test]
fn a_fault_of_an_answer_is_told_with_its_cost() {
    for (guest, faults) in [
        (
            PROBES[0],
            [
                ("/none", "502", "without an answer"),
                ("/error-early", "502", "ConfigurationError"),
                ("/leaked", "502", "didn't finish the body"),
                // The guest's own status, as of a handler in JavaScript that throws.
                ("/leaked-error", "503", "ended with: no cat"),
                ("/leaked-late", "200", "didn't finish the body"),
                ("/short", "502", "HttpProtocolError"),
            ]
            .as_slice(),
        ),
        (
            PROBES[1],
            &[
                ("/error", "502", "ConfigurationError"),
                ("/short", "502", "told a length"),
            ],
        ),
    ] {
        let app = probe_within(guest, "timeout = \"1m\"");
        let mut host = up(&app);
        for (path, status, reason) in faults {
            let response = get(&host, path);
            let head = format!("HTTP/1.1 {status}");
            assert!(response.starts_with(&head), "{path}: {response}");
            let line = format!("GET {path}");
            let outcome = host.until(|r| settled(r) && r["subject"] == line);
            assert!(text(&outcome, "reason").contains(reason), "{outcome}");
            for figure in ["fuel", "peak_memory", "run_us"] {
                assert_ne!(outcome["cost"][figure], 0, "{path}: {outcome}");
            }
        }
        host.stop();
    }
}

#[test]
fn what_no_function_answers_is_said() {
    let app = App::new(HELLO);
    let host = up(&app);
    expect(&get(&host, "/other"), "404", "no function answers /other\n");
    let response = send(&host, "GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    for host_header in ["Host:", "Host: a b", "Host: a:b:c", "Host: a\r\nHost: b"] {
        let request = format!("GET /hello HTTP/1.1\r\n{host_header}\r\nConnection: close\r\n\r\n");
        let response = send(&host, &request);
        assert!(
            response.starts_with("HTTP/1.1 400"),
            "{host_header}: {response}"
        );
    }
    let response = send(&host, "nonsense\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    // Somebody else's port.
    let taken = address(&host).to_string();
    let other = App::new(HELLO);
    other
        .kinglet(&["up", "--listen", &taken])
        .expect(2)
        .says(&[&taken, "--listen"]);
    host.stop();
}

#[test]
fn requests_to_elsewhere_are_denied() {
    for guest in PROBES {
        let app = probe(guest);
        let host = up(&app);
        let said = get(&host, "/abroad");
        assert!(said.contains("HttpRequestDenied"), "{said}");
        host.stop();
    }
}

/// The same when it has the head.
#[test]
fn a_client_that_goes_away_midway_ends_its_instance() {
    for (guest, path) in [
        (PROBES[0], "/endless"),
        (PROBES[1], "/large"),
        (PROBES[1], "/sleep-midway"),
    ] {
        let app = probe_within(guest, r#"timeout = "10m", concurrency = 1"#);
        let host = up(&app);
        let mut stream = connect(&host);
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        drop(stream);
        expect(&get(&host, "/seen"), "200", "0");
        host.stop();
    }
}

/// A client that goes takes its instance with it: the next would else wait for the deadline.
#[test]
fn a_client_that_goes_away_ends_its_instance() {
    for guest in PROBES {
        let app = probe_within(guest, r#"timeout = "10m", concurrency = 1"#);
        let mut host = up(&app);
        let mut stream = connect(&host);
        stream
            .write_all(b"GET /sleep HTTP/1.1\r\nHost: here\r\n\r\n")
            .unwrap();
        host.until(|record| record["text"] == "sleeping");
        drop(stream);
        expect(&get(&host, "/seen"), "200", "0");
        host.stop();
    }
}

#[test]
fn a_host_that_stops_finishes_what_it_answers() {
    for guest in PROBES {
        let app = probe_within(guest, "concurrency = 2");
        let host = up(&app);
        let mut stream = connect(&host);
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nhal")
            .unwrap();
        let mut response = String::new();
        let mut buffer = [0; 1_024];
        while !response.contains("hal") {
            let read = stream.read(&mut buffer).unwrap();
            response.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        host.interrupt();
        stream.write_all(b"f").unwrap();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.ends_with("0\r\n\r\n"), "{response}");
        assert_eq!(host.end().code, Some(0));
    }
}

#[test]
fn a_function_that_answers_requests_is_no_function_of_events() {
    let app = probe(PROBES[0]);
    app.kinglet(&["invoke", "hello"])
        .expect(2)
        .says(&["/hello", "curl"]);
    app.kinglet(&["pause", "hello"])
        .expect(2)
        .says(&["hello", "answers requests"]);
    let check = app.kinglet(&["check", "--json"]).expect(0).json();
    assert!(text(&check[1], "function") == "hello" && check[1]["problem"].is_null());

    for (on, says) in [
        (r#"{ http = "hello" }"#, "doesn't begin with `/`"),
        (r#"{ http = "/hello", batch-size = 2 }"#, "batch-size"),
        (r#"{ http = "/hello", message = "t" }"#, "exactly one"),
    ] {
        app.manifest(&format!(
            "[[function]]\nname = \"hello\"\ncomponent = \"guest:hello-http\"\non = {on}\n"
        ));
        app.kinglet(&["check"]).expect(2).says(&[says]);
    }
    app.manifest(
        "[[function]]\nname = \"hello\"\ncomponent = \"guest:noop-message\"\non = { http = \"/\" }\n",
    );
    let output = app.kinglet(&["check"]);
    assert!(
        output.stdout.contains("wasi:http/incoming-handler"),
        "{output:?}"
    );
}

/// Of 0.3 alone: what a handler still does after its answer.
#[test]
fn a_function_goes_on_after_its_answer() {
    let app = probe(PROBES[1]);
    let mut host = up(&app);
    for path in ["/after", "/after-panic"] {
        let response = get(&host, path);
        expect(&response, "200", "answered");
        assert!(response.contains("content-length: 8"), "{response}");
    }
    host.until(|record| record["text"] == "and went on");
    host.until(|record| record.to_string().contains("when all was said"));
    expect(
        &get(&host, "/error"),
        "502",
        "the function answered with the error ErrorCode::ConfigurationError\n",
    );
    expect(&get(&host, "/exact"), "200", "four");
    let response = get(&host, "/short");
    assert!(response.starts_with("HTTP/1.1 502"), "{response}");
    // An instance that waits has its deadline as well.
    let response = get(&host, "/sleep-midway");
    assert!(response.contains("half of it") && !response.ends_with("0\r\n\r\n"));
    host.stop();
}

/// A component of 0.3 runs in an engine of its own, which a start from the cache makes as well.
#[test]
fn a_function_of_wasi_03_comes_from_the_cache() {
    let app = probe(PROBES[1]);
    up(&app).stop();
    let host = up(&app);
    let said = host
        .lines
        .iter()
        .filter(|line| line.contains("from the cache"));
    assert_eq!(said.count(), 2, "{:?}", host.lines);
    expect(&get(&host, "/seen"), "200", "0");
    host.stop();
    app.manifest(
        "[[function]]\nname = \"late\"\ncomponent = \"guest:hello-http-p3\"\non = { message = \"t\" }\n",
    );
    let check = app.kinglet(&["check"]).expect(1);
    assert!(check.stdout.contains("WASI 0.2"), "{check:?}");
}

/// The end of the connection is the end of such a body, so one that breaks off must be told from it.
#[test]
fn a_body_that_breaks_off_over_http_10_is_a_reset() {
    let app = probe(PROBES[0]);
    let host = up(&app);
    let ended = |path: &str| {
        let mut stream = connect(&host);
        let request = format!("GET {path} HTTP/1.0\r\nHost: here\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new())
    };
    assert!(ended("/large").is_ok());
    let broken = ended("/panic-midway").unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    host.stop();
}

/// A function that asks for it has its instances answer several requests, each with its own fuel and log.
#[test]
fn an_instance_is_reused_where_its_function_asks_for_that() {
    for guest in PROBES {
        let app = App::new(&format!(
            r#"
            [[function]]
            name = "probe"
            component = "guest:{guest}"
            on = {{ http = "/...", reuse = 3 }}
            limits = {{ fuel = 2_000_000, concurrency = 1 }}
            "#
        ));
        let mut host = up(&app);
        let said = host
            .lines
            .iter()
            .any(|line| line.contains("up to 3 requests"));
        assert!(said, "{:?}", host.lines);
        // Another may be ready beside the one that answers.
        let seen: Vec<_> = (0..9).map(|_| get(&host, "/seen")).collect();
        let times = |number: &str| seen.iter().filter(|said| said.ends_with(number)).count();
        let [first, second, third] = ["\r\n\r\n0", "\r\n\r\n1", "\r\n\r\n2"].map(times);
        assert_eq!(first + second + third, 9, "{seen:?}");
        assert!(first >= second && second >= third && third >= 1, "{seen:?}");
        for path in ["/print/1", "/print/2"] {
            expect(&get(&host, path), "200", path);
            host.until(|record| {
                record["text"] == path && record["subject"] == format!("GET {path}")
            });
        }
        // One that holds on to a request answers no more: that one's connection would wait for it.
        let request = "POST /keep HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf";
        for _ in 0..4 {
            assert!(send(&host, request).starts_with("HTTP/1.1 200"));
        }
        // One that failed answers no more.
        assert!(get(&host, "/panic").starts_with("HTTP/1.1 500"));
        assert!(get(&host, "/seen").starts_with("HTTP/1.1 200"));
        host.stop();
    }
    let app = App::new(HELLO);
    for (on, says) in [
        (r#"{ message = "t", reuse = 2 }"#, "goes with `http`"),
        (r#"{ http = "/", reuse = 0 }"#, "reuse = 0"),
    ] {
        app.manifest(&format!(
            "[[function]]\nname = \"hello\"\ncomponent = \"guest:hello-http\"\non = {on}\n"
        ));
        app.kinglet(&["check"]).expect(2).says(&[says]);
    }
}
