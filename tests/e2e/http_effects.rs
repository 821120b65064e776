//! What functions change that answer requests: committed before their answers.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{App, echo};
use crate::host::{Host, text};
use crate::http::{address, expect, send_to, up};

pub const GUESTS: [&str; 2] = ["http-effects", "http-effects-p3"];

pub fn app(guest: &str, more: &str) -> App {
    app_within(guest, "concurrency = 8", more)
}

/// The same with other limits.
pub fn app_within(guest: &str, limits: &str, more: &str) -> App {
    let app = App::bare();
    let echo = echo("done");
    app.manifest(&format!(
        r#"
        {more}
        [buckets.out]
        [buckets.gate]
        [[function]]
        name = "effects"
        component = "guest:{guest}"
        on = {{ http = "/..." }}
        limits = {{ {limits} }}
        grants = {{ keyvalue = "counters", read = "gate", write = "out", publish = "done" }}
        [[function]]
        name = "look"
        component = "guest:kv-probe"
        on = {{ message = "look" }}
        grants = {{ keyvalue = ["counters", "other"] }}
        {echo}
        "#
    ));
    app
}

pub fn request(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn post(host: &Host, path: &str, headers: &str, body: &str) -> String {
    send_to(address(host), &request(path, headers, body))
}

pub fn keyed(host: &Host, key: &str, path: &str, body: &str) -> String {
    post(host, path, &format!("Idempotency-Key: {key}\r\n"), body)
}

/// What is committed of a key.
pub fn committed(app: &App, host: &mut Host, key: &str, round: &str) -> String {
    app.ok(&[
        "publish",
        "look",
        "--id",
        round,
        "--body",
        &format!("get {key}"),
    ]);
    host.until(|record| record["kind"] == "outcome" && record["event"] == round);
    let said = |record: &&Value| record["kind"] == "log" && record["event"] == round;
    let line = host.records.iter().find(said).unwrap();
    text(line, "text").rsplit(": ").next().unwrap().to_owned()
}

/// Sends a request whose answer is for later.
pub fn begin(host: &Host, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(host)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// What comes until the connection is closed.
pub fn rest(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// By a user whom a folder's mode holds back.
pub fn up_without_privileges(app: &App) -> Host {
    let arguments = ["up", "--json", "--listen", "127.0.0.1:0"];
    let mut host = Host::start(app.command_without_privileges(&arguments));
    host.said("ready");
    host
}

pub fn set_mode(app: &App, name: &str, mode: u32) {
    fs::set_permissions(app.path(name), Permissions::from_mode(mode)).unwrap();
}

pub fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn effects_are_there_when_the_answer_is() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        expect(&post(&host, "/work", "", "one"), "201", "1");
        assert_eq!(app.read("out/1.txt"), "one");
        let outcome =
            host.until(|record| record["kind"] == "outcome" && record["subject"] == "POST /work");
        assert_eq!(outcome["outcome"], "done", "{outcome}");
        assert_eq!(outcome["outputs"], serde_json::json!(["out/1.txt"]));
        assert_eq!(outcome["published"], serde_json::json!(["done"]));
        host.until(|record| record["kind"] == "outcome" && record["function"] == "echo");

        // The function's own word that the request is wrong is an answer like others.
        expect(&post(&host, "/refuse", "", "two"), "422", "2");
        // One that the request failed has no effects, nor has one that never came.
        expect(&post(&host, "/fail", "", "three"), "503", "3");
        let discarded = post(&host, "/discard", "", "three");
        expect(&discarded, "400", "3");
        assert!(!discarded.contains("kinglet-effects"), "{discarded}");
        assert!(post(&host, "/trap", "", "three").starts_with("HTTP/1.1 500"));
        expect(&post(&host, "/work", "", "three"), "201", "3");
        assert_eq!(app.keys("out"), ["1.txt", "2.txt", "3.txt"]);
        // What was committed stays, whatever the function does then.
        let late = post(&host, "/trap-late", "", "four");
        let told = late.starts_with("HTTP/1.1 500") && late.contains("were committed");
        assert!(told || late.starts_with("HTTP/1.1 201"), "{late}");
        assert_eq!(committed(&app, &mut host, "hits", "after"), "4");
        assert_eq!(app.staged("out"), 0);
        host.stop();
    }
}

#[test]
fn nothing_is_staged_once_the_answer_has_begun() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        let response = post(&host, "/answer-first", "", "");
        assert_eq!(
            response.matches("stage before that").count(),
            3,
            "{response}"
        );
        assert_eq!(committed(&app, &mut host, "late", "after"), "none");
        assert_eq!(app.objects("out").len(), 0);
        host.stop();
    }
}

/// All of them count up the same key.
#[test]
fn requests_in_conflict_are_tried_again() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        let address = address(&host);
        let numbers: BTreeSet<u32> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..10).map(|_| worked(address)).collect::<Vec<_>>()))
                .collect();
            let numbers = senders
                .into_iter()
                .flat_map(|sender| sender.join().unwrap());
            numbers.collect()
        });
        assert_eq!(numbers, (1..=80).collect());
        assert_eq!(committed(&app, &mut host, "hits", "after"), "80");
        assert_eq!(app.objects("out").len(), 80);
        host.stop();
    }
}

fn worked(address: SocketAddr) -> u32 {
    let response = send_to(address, &request("/work", "", "body"));
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    body(&response).parse().unwrap()
}

/// A body of which too much is gone can't be sent to the function again: its client hears that it may.
#[test]
fn a_large_request_in_conflict_is_the_clients_to_repeat() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        let large = request("/held", "", &"x".repeat(3 << 20));
        let mut held = begin(&host, &large);
        host.until(|record| record["kind"] == "output");
        // It has counted on from a number that changes meanwhile.
        expect(&post(&host, "/work", "", "small"), "201", "1");
        app.put("gate/open", "");
        let refused = rest(&mut held);
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(refused.contains("retry-after: 1"), "{refused}");
        assert_eq!((app.objects("out").len(), app.staged("out")), (1, 0));
        expect(&send_to(address(&host), &large), "201", "2");
        assert_eq!(committed(&app, &mut host, "hits", "after"), "2");
        host.stop();
    }
}

/// What a client that went away has done is in the logs all the same.
#[test]
fn effects_are_told_whether_or_not_their_client_stays() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        let mut client = begin(&host, &request("/held-midway", "", "body"));
        let mut head = [0; 12];
        client.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 201");
        drop(client);
        let outcome = host.until(|record| {
            record["kind"] == "outcome" && record["subject"] == "POST /held-midway"
        });
        assert_eq!(outcome["outcome"], "done", "{outcome}");
        assert_eq!(outcome["outputs"], serde_json::json!(["out/1.txt"]));
        assert!(
            text(&outcome, "text").contains("nobody waited"),
            "{outcome}"
        );
        assert_eq!(app.read("out/1.txt"), "body");
        host.stop();
    }
}

/// A request whose bucket can't be written doesn't wait for ever, and isn't lost.
#[test]
fn a_bucket_that_cannot_be_written_holds_no_client() {
    let app = app_within(GUESTS[0], "concurrency = 8, timeout = \"3s\"", "");
    let mut host = up_without_privileges(&app);
    let set_mode = |mode| set_mode(&app, "out", mode);
    set_mode(0o500);
    let refused = keyed(&host, "k", "/same", "one");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        refused.contains("with the same Idempotency-Key"),
        "{refused}"
    );
    host.until(|record| text(record, "text").contains("weren't committed within"));
    // One that changes something else is decided as well; one that changes the same has to wait for it.
    let late = post(&host, "/work", "", "two");
    assert!(late.starts_with("HTTP/1.1 504"), "{late}");
    assert!(late.contains("were committed"), "{late}");
    let late = post(&host, "/same", "", "three");
    assert!(late.starts_with("HTTP/1.1 504"), "{late}");
    assert!(late.contains("may come about still"), "{late}");
    set_mode(0o700);
    let told = host.until(|record| text(record, "text").contains("nobody waited"));
    assert_eq!(
        told["outputs"],
        serde_json::json!(["out/1.txt", "out/same.txt"])
    );
    expect(&keyed(&host, "k", "/same", "one"), "201", "same");
    expect(&post(&host, "/same", "", "three"), "201", "same");
    assert_eq!(committed(&app, &mut host, "hits", "after"), "3");
    // What was decided before comes when it can, with its message.
    host.until(|record| record["function"] == "echo" && record["text"] == "2");
    assert_eq!(app.keys("out"), ["1.txt", "2.txt", "3.txt", "same.txt"]);
    assert_eq!(app.staged("out"), 0);
    host.stop();
}
