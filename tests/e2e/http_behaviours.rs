//! What `wasi:http` promises to a function beyond the ordinary, in 0.2 and 0.3: fields, requests and handles that are
//! used wrongly, heads and bodies that are large, servers and clients that stop.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::App;
use crate::host::{Host, PATIENCE};
use crate::http::{PROBES, address, connect, get, probe_within, send, up};
use crate::http_server::WIDE;

/// A guest, and in what its version differs from the other.
struct Version {
    guest: &'static str,
    /// What it takes of a request or an answer, and looks at later: a port where it connects to it.
    takes: &'static [&'static str],
    /// What it says besides of handles that go early: without the end of a body its bytes are there, and a request that
    /// nobody has takes none.
    dropped: &'static [&'static str],
    /// What it says of headers that are more than may be: in 0.2 the call would end.
    more: &'static [&'static str],
    /// The ways in which it has a body pass.
    passes: &'static [&'static str],
}

const VERSIONS: [Version; 2] = [
    Version {
        guest: "http-behaviours",
        takes: &["with a port", "too high"],
        dropped: &[],
        more: &[],
        passes: &["/through"],
    },
    Version {
        guest: "http-behaviours-p3",
        takes: &[],
        dropped: &["read without its end: 15", "left for nobody: 10"],
        more: &["more: Err(HeaderError::SizeExceeded)"],
        passes: &["/through", "/proxy"],
    },
];

/// What the function says, line by line.
pub fn said(host: &Host, path: &str) -> Vec<String> {
    lines(&get(host, path))
}

/// The lines of an answer.
pub fn lines(response: &str) -> Vec<String> {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{response}");
    body.lines().map(str::to_owned).collect()
}

/// The guest, which may send requests to where it is granted.
pub fn app(guest: &str, grants: &str, limits: &str) -> App {
    App::new(&format!(
        r#"
        [[function]]
        name = "behaviours"
        component = "guest:{guest}"
        on = {{ http = "/..." }}
        grants = {{ http = {grants} }}
        limits = {{ {limits} }}
        "#
    ))
}

/// A host of it, which may send requests to one address.
pub fn up_to(guest: &str, to: SocketAddr) -> (App, Host) {
    let app = app(guest, &format!("\"http://{to}\""), WIDE);
    let host = up(&app);
    (app, host)
}

/// Another host, with what answers requests.
pub fn target() -> (App, Host, SocketAddr) {
    let app = probe_within("http-probe", &format!("{WIDE}, concurrency = 8"));
    let host = up(&app);
    let to = address(&host);
    (app, host, to)
}

/// A server of one connection: reads until what came ends so, answers, and waits for the other side to close. Gives
/// what came.
pub fn server(end: &'static str, answer: impl Into<String>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let answer = answer.into();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut came = Vec::new();
        let mut piece = [0; 4_096];
        while !came.ends_with(end.as_bytes()) {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&came));
            came.extend(&piece[..read]);
        }
        // Who has heard enough closes before all of it; a connection that is reset had its end as well.
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
        String::from_utf8(came).unwrap()
    });
    (to, serving)
}

#[test]
fn headers_that_would_break_a_message_are_refused() {
    for version in &VERSIONS {
        let app = app(version.guest, "[]", WIDE);
        let host = up(&app);
        let said = said(&host, "/fields");
        for line in &said {
            let late = ["set:", "delete:", "append:"];
            // `host` may be copied with the other fields of a request, and isn't sent.
            let fine = line.contains("\"x-fine\"") || line.starts_with("append \"Host\"");
            let expected = if fine {
                ": Ok(())"
            } else if late.iter().any(|late| line.starts_with(late)) {
                "HeaderError::Immutable"
            } else if ["Connection", "Keep-Alive", "Transfer-Encoding"]
                .iter()
                .chain(&["Upgrade", "Proxy-Connection", "HTTP2-Settings"])
                .any(|name| line.starts_with(&format!("append {name:?}")))
            {
                "HeaderError::Forbidden"
            } else {
                "HeaderError::InvalidSyntax"
            };
            assert!(line.contains(expected), "{}: {line}", version.guest);
        }
        assert_eq!(said.len(), 17, "{}: {said:?}", version.guest);
        host.stop();
    }
}

#[test]
fn requests_that_no_server_would_take_are_refused() {
    const FINE: [&str; 5] = ["PURGE", "[::1]", "wss", "path: ", "299"];
    for version in &VERSIONS {
        let app = app(version.guest, "[]", WIDE);
        let host = up(&app);
        let said = said(&host, "/requests");
        for line in &said {
            let mut fine = FINE.iter().chain(version.takes);
            let fine = fine.any(|part| line.contains(part));
            let expected = if fine { ": Ok(())" } else { ": Err(())" };
            assert!(line.ends_with(expected), "{}: {line}", version.guest);
        }
        assert_eq!(said.len(), 17, "{}: {said:?}", version.guest);
        host.stop();
    }
}

#[test]
fn a_body_of_another_length_than_was_told_is_no_whole_request() {
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        let said = said(&host, &format!("/lengths?to={to}"));
        let [exact, short, long] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!(exact, "eleven long: written, Ok(()), 200, 2 bytes");
        assert!(short.contains("HttpRequestBodySize(Some(5))"), "{short}");
        assert!(long.contains("HttpRequestBodySize(Some(18))"), "{long}");
        for line in [short, long] {
            assert!(!line.contains("200, "), "{}: {line}", version.guest);
        }
        host.stop();
    }
    target_host.stop();
}

#[test]
fn a_function_waits_no_longer_for_a_server_than_it_wants() {
    for version in &VERSIONS {
        for (path, answer, error) in [
            ("/timeouts", "", "ErrorCode::ConnectionReadTimeout"),
            (
                "/pauses",
                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                "ErrorCode::HttpResponseTimeout",
            ),
        ] {
            let (to, serving) = server("\r\n\r\n", answer);
            let (_app, host) = up_to(version.guest, to);
            let said = said(&host, &format!("{path}?to={to}"));
            assert!(said[0].contains(error), "{}: {said:?}", version.guest);
            host.stop();
            serving.join().unwrap();
        }
    }
}

/// Two requests wait for a connection, and the one that came later has less patience than the host has for the other.
#[test]
fn a_function_waits_no_longer_for_a_connection_than_it_wants() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    // The system lets one wait here, and doesn't answer the next.
    rustix::net::listen(&listener, 0).unwrap();
    let waiting = TcpStream::connect(to).unwrap();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        let said = said(&host, &format!("/connects?to={to}"));
        let expected = ["hasty: ErrorCode::ConnectionTimeout"];
        assert_eq!(said, expected, "{}", version.guest);
        host.stop();
    }
    drop(waiting);
}

#[test]
fn a_request_without_a_path_or_a_host_or_for_another_scheme_isnt_sent() {
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        let said = said(&host, &format!("/schemes?to={to}"));
        assert_eq!(said.len(), 3, "{}: {said:?}", version.guest);
        for line in said {
            assert!(line.contains("ErrorCode::"), "{}: {line}", version.guest);
        }
        host.stop();
    }
    target_host.stop();
}

/// Neither the function nor the host is the worse for it, and the next request goes out.
#[test]
fn handles_may_go_before_what_they_are_of() {
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        for _ in 0..3 {
            let said = said(&host, &format!("/dropped?to={to}"));
            let whole = said[0].contains("200");
            assert!(!whole, "{}: taken for whole: {said:?}", version.guest);
            assert_eq!(said[1], "after: 418, 15 bytes", "{}", version.guest);
            assert_eq!(said[2..], *version.dropped, "{}", version.guest);
        }
        host.stop();
    }
    target_host.stop();
}

#[test]
fn several_requests_go_out_at_once_and_large_ones_too() {
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        let at_once = said(&host, &format!("/at-once?to={to}"));
        assert_eq!(at_once, vec!["200, 8 bytes"; 8], "{}", version.guest);
        let large = said(&host, &format!("/large?to={to}"));
        assert_eq!(large, ["200, 7 bytes"], "{}: 4096000", version.guest);
        host.stop();
    }
    target_host.stop();
}

#[test]
fn trailers_go_with_requests_and_come_with_their_answers() {
    const ANSWER: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nback\r\n0\r\nx-sum: 43\r\n\r\n";
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        let said_so = said(&host, &format!("/trailers?to={to}"));
        let expected = ["body: behind this", "came: x-sum: 42", "sent: Ok(())"];
        assert_eq!(said_so, expected, "{}", version.guest);
        host.stop();

        // As they are on their way.
        let (to, serving) = server("0\r\nx-sum: 42\r\n\r\n", ANSWER);
        let (_app, host) = up_to(version.guest, to);
        let said = said(&host, &format!("/trailers?to={to}"));
        let expected = ["body: back", "came: x-sum: 43", "sent: Ok(())"];
        assert_eq!(said, expected, "{}", version.guest);
        host.stop();
        let came = serving.join().unwrap();
        let whole = "\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n";
        assert!(came.ends_with(whole), "{}: {came}", version.guest);
    }
    target_host.stop();
}

#[test]
fn heads_of_sixty_kilobytes_go_both_ways_and_larger_ones_are_refused() {
    let with = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let guest = version.guest;
        let (_app, host) = up_to(guest, to);
        let ask = |bytes: usize| {
            let head = "GET /head HTTP/1.1\r\nHost: here\r\nConnection: close\r\n";
            send(&host, &format!("{head}{}\r\n", with(bytes)))
        };
        let came = lines(&ask(60_000));
        assert!(came.contains(&"x-large: 60000".to_owned()), "{guest}");
        let refused = ask(100_000);
        assert!(
            refused.starts_with("HTTP/1.1 431"),
            "{guest}: {refused:.99}"
        );
        let answer = get(&host, "/large-head");
        assert!(answer.starts_with("HTTP/1.1 200"), "{guest}: {answer:.99}");
        assert!(answer.contains(&with(60_000)), "{guest}");
        let sent = said(&host, &format!("/field-limit?to={to}"));
        assert!(sent[0].starts_with("large: 200, 60"), "{guest}: {sent:?}");
        assert_eq!(sent[1..], *version.more, "{guest}");
        host.stop();

        for (bytes, expected) in [
            (60_000, "200, 0 bytes"),
            (
                100_000,
                "ErrorCode::HttpResponseHeaderSectionSize(Some(65536))",
            ),
        ] {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
            let (to, serving) = server("\r\n\r\n", format!("{head}{}\r\n", with(bytes)));
            let (_app, host) = up_to(guest, to);
            let said = said(&host, &format!("/get?to={to}"));
            assert_eq!(said, [expected], "{guest}");
            host.stop();
            serving.join().unwrap();
        }
    }
    target_host.stop();
}

/// A head that the host takes can be handed on: what its fields take in memory is more than what they take in a message.
#[test]
fn a_head_that_came_can_go_on() {
    let (_target, target_host, to) = target();
    let many: String = (0..90)
        .map(|field| format!("x-{field}: {}\r\n", "x".repeat(705)))
        .collect();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        for passing in version.passes {
            let path = format!("{passing}/count?to={to}");
            let head = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n");
            let answer = send(&host, &format!("{head}{many}\r\n"));
            // What the function is told of as an error isn't the end of it.
            let trapped = answer.starts_with("HTTP/1.1 500");
            assert!(!trapped, "{} {passing}: {answer:.99}", version.guest);
        }
        host.stop();
    }
    target_host.stop();
}

/// Whose host the client named, and how it wants its connection, is no matter of the next server.
#[test]
fn headers_of_a_connection_stay_with_it() {
    for version in &VERSIONS {
        for passing in version.passes {
            let (to, serving) = server("\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n");
            let (_app, host) = up_to(version.guest, to);
            let answer = send(
                &host,
                &format!(
                    "GET {passing}/?to={to} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\
                     Proxy-Connection: keep-alive\r\nHTTP2-Settings: x\r\nx-own: one\r\nx-own: two\r\n\r\n"
                ),
            );
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
            host.stop();
            let came = serving.join().unwrap().to_lowercase();
            let (asked, fields) = came.split_once("\r\n").unwrap();
            assert_eq!(asked, "get / http/1.1", "{}", version.guest);
            let mut fields: Vec<_> = fields
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with("x-request-id: "))
                .collect();
            fields.sort_unstable();
            let named = format!("host: {to}");
            let expected = [named.as_str(), "x-own: one", "x-own: two"];
            assert_eq!(fields, expected, "{} {passing}", version.guest);
        }
    }
}

/// What a client sends that doesn't read its answer stays where it is, but for what the system and a few pieces hold.
/// Once it reads, all of it comes.
#[test]
fn a_client_that_stops_reading_stops_all_before_it() {
    for guest in PROBES {
        let app = probe_within(guest, WIDE);
        let host = up(&app);
        stops_and_goes_on(&host, guest, "/echo");
        host.stop();
    }
    let (_target, target_host, to) = target();
    for version in &VERSIONS {
        let (_app, host) = up_to(version.guest, to);
        for passing in version.passes {
            let path = format!("{passing}/echo?to={to}");
            stops_and_goes_on(&host, version.guest, &path);
        }
        host.stop();
    }
    target_host.stop();
}

const PIECE: usize = 64 << 10;
/// More than all connections on the way may hold.
const BYTES: usize = 256 << 20;

/// No two look the same.
fn piece(number: usize) -> Vec<u8> {
    number.to_le_bytes().repeat(PIECE / size_of::<usize>())
}

#[track_caller]
fn stops_and_goes_on(host: &Host, guest: &str, path: &str) {
    let mut stream = connect(host);
    // Before 1.1 an answer's body has nothing in between.
    let head = format!("POST {path} HTTP/1.0\r\nHost: here\r\nContent-Length: {BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let before = host.peak_memory();
    // On a busy machine it is taken for stopped too early, and the rest holds all the same.
    let pause = Some(Duration::from_secs(3));
    stream.set_write_timeout(pause).unwrap();
    let mut sent = 0;
    while sent < BYTES {
        match stream.write(&piece(sent / PIECE)[sent % PIECE..]) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{guest} {path}: {error}"),
        }
    }
    assert!(sent < BYTES, "{guest} {path}: all is taken, and none read");
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        while sent < BYTES {
            let left = &piece(sent / PIECE)[sent % PIECE..];
            sent += writing.write(left).unwrap();
        }
    });
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        let read = answer.read_line(&mut line).unwrap();
        assert!(read > 0, "{guest} {path}: no head");
    }
    let mut came = vec![0; PIECE];
    for number in 0..BYTES / PIECE {
        answer.read_exact(&mut came).unwrap();
        assert!(came == piece(number), "{guest} {path}: piece {number}");
    }
    let more = answer.read(&mut came).unwrap();
    assert_eq!(more, 0, "{guest} {path}");
    writer.join().unwrap();
    let grown = host.peak_memory() - before;
    assert!(grown < 48 << 20, "{guest} {path}: {grown} bytes more");
}
