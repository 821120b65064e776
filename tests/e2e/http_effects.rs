//! What functions change that answer requests: committed before their answers, and once for each `Idempotency-Key`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{App, echo};
use crate::host::{Host, text};
use crate::http::{address, expect, get, send_to, up};

const GUESTS: [&str; 2] = ["http-effects", "http-effects-p3"];

fn app(guest: &str, more: &str) -> App {
    let app = App::bare();
    let echo = echo("done");
    app.manifest(&format!(
        r#"
        {more}
        [buckets.out]
        [[function]]
        name = "effects"
        component = "guest:{guest}"
        on = {{ http = "/..." }}
        limits = {{ concurrency = 8 }}
        grants = {{ keyvalue = "counters", write = "out", publish = "done" }}
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

fn request(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn post(host: &Host, path: &str, headers: &str, body: &str) -> String {
    send_to(address(host), &request(path, headers, body))
}

fn keyed(host: &Host, key: &str, path: &str, body: &str) -> String {
    post(host, path, &format!("Idempotency-Key: {key}\r\n"), body)
}

/// What is committed of a key.
fn committed(app: &App, host: &mut Host, key: &str, round: &str) -> String {
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

fn body(response: &str) -> &str {
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
    let app = app(GUESTS[0], "");
    let mut host = up(&app);
    let address = address(&host);
    let large = "x".repeat(3 << 20);
    let done: usize = std::thread::scope(|scope| {
        let send = || {
            let response = send_to(address, &request("/work", "", &large));
            if response.starts_with("HTTP/1.1 201") {
                return 1;
            }
            assert!(response.starts_with("HTTP/1.1 503"), "{response}");
            assert!(response.contains("retry-after: 1"), "{response}");
            0
        };
        let senders: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .sum()
    });
    assert!(done > 0);
    assert_eq!(
        committed(&app, &mut host, "hits", "after"),
        done.to_string()
    );
    assert_eq!((app.objects("out").len(), app.staged("out")), (done, 0));
    host.stop();
}

#[test]
fn a_request_that_comes_again_has_the_same_answer_and_no_other_effects() {
    for guest in GUESTS {
        let app = app(guest, "");
        let host = up(&app);
        let first = keyed(&host, "\"k-1\"", "/work", "body");
        expect(&first, "201", "1");
        assert_eq!(first.matches("x-own: ").count(), 2, "{first}");
        let undated = |response: &str| {
            let lines = response.lines().filter(|line| !line.starts_with("date: "));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            undated(&keyed(&host, "k-1", "/work", "body")),
            undated(&first)
        );
        expect(&keyed(&host, "k-2", "/work", "body"), "201", "2");
        let mine = "Idempotency-Key: k-1\r\nAuthorization: Bearer mine\r\n";
        expect(&post(&host, "/work", mine, "body"), "201", "3");
        // The function's refusal is its answer as well.
        expect(&keyed(&host, "k-3", "/refuse", "body"), "422", "4");
        expect(&keyed(&host, "k-3", "/refuse", "body"), "422", "4");
        for other in [
            keyed(&host, "k-1", "/work", "another"),
            keyed(&host, "k-1", "/refuse", "body"),
        ] {
            assert!(other.starts_with("HTTP/1.1 422"), "{other}");
            assert!(other.contains("came with another request"), "{other}");
        }
        let wrong = keyed(&host, "two words", "/work", "body");
        assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
        assert!(wrong.contains("two words"), "{wrong}");
        host.stop();

        let mut host = up(&app);
        assert_eq!(
            undated(&keyed(&host, "k-1", "/work", "body")),
            undated(&first)
        );
        assert_eq!(committed(&app, &mut host, "hits", "after"), "4");
        assert_eq!(app.objects("out").len(), 4);
        host.stop();
    }
}

#[test]
fn what_failed_isnt_remembered() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        for _ in 0..2 {
            expect(&keyed(&host, "fails", "/fail", "body"), "503", "1");
            let trapped = keyed(&host, "traps", "/trap", "body");
            assert!(trapped.starts_with("HTTP/1.1 500"), "{trapped}");
            let trapped = keyed(&host, "traps-late", "/trap-late", "body");
            assert!(trapped.starts_with("HTTP/1.1 500"), "{trapped}");
            expect(&keyed(&host, "discards", "/discard", "body"), "400", "1");
            let large = keyed(&host, "large", "/large", "body");
            assert!(large.starts_with("HTTP/1.1 502"), "{large}");
        }
        assert_eq!(committed(&app, &mut host, "hits", "after"), "none");
        assert_eq!((app.objects("out").len(), app.staged("out")), (0, 0));
        // The key is as good as new.
        expect(&keyed(&host, "fails", "/work", "body"), "201", "1");
        host.stop();
    }
}

#[test]
fn a_request_that_is_under_way_isnt_begun_again() {
    let app = app(GUESTS[0], "");
    let mut host = up(&app);
    let mut first = TcpStream::connect(address(&host)).unwrap();
    let key = "Idempotency-Key: slow\r\n";
    first
        .write_all(request("/slow", key, "body").as_bytes())
        .unwrap();
    host.until(|record| record["kind"] == "output");
    let second = keyed(&host, "slow", "/slow", "body");
    assert!(second.starts_with("HTTP/1.1 409"), "{second}");
    assert!(second.contains("retry-after: 1"), "{second}");
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    expect(&answer, "201", "1");
    expect(&keyed(&host, "slow", "/slow", "body"), "201", "1");
    host.stop();
}

#[test]
fn answers_are_forgotten_after_their_time_and_refused_past_their_room() {
    let window = app(GUESTS[0], "[queue]\nduplicate-window = \"1s\"");
    let host = up(&window);
    expect(&keyed(&host, "k", "/work", "body"), "201", "1");
    std::thread::sleep(Duration::from_millis(1_500));
    expect(&keyed(&host, "k", "/work", "body"), "201", "2");
    host.stop();

    let room = app(GUESTS[0], "[queue]\nmax-answers = \"10B\"");
    let mut host = up(&room);
    expect(&keyed(&host, "k", "/work", "body"), "201", "1");
    expect(&keyed(&host, "k", "/work", "body"), "201", "1");
    let refused = keyed(&host, "other", "/work", "body");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    host.until(|record| record.to_string().contains("queue.max-answers"));
    // Those without a key are as before.
    expect(&post(&host, "/work", "", "body"), "201", "2");
    host.stop();

    // They go also where nothing is committed any more.
    let both = app(
        GUESTS[0],
        "[queue]\nmax-answers = \"10B\"\nduplicate-window = \"1s\"",
    );
    let host = up(&both);
    expect(&keyed(&host, "k", "/work", "body"), "201", "1");
    std::thread::sleep(Duration::from_millis(1_500));
    expect(&keyed(&host, "other", "/work", "body"), "201", "2");
    host.stop();

    // A store that is full accepts nothing more from outside, and that is where requests come from.
    let full = app(GUESTS[0], "[queue]\nmax-events = 2");
    full.ok(&["pause", "echo"]);
    let host = up(&full);
    expect(&post(&host, "/work", "", "body"), "201", "1");
    expect(&post(&host, "/work", "", "body"), "201", "2");
    let refused = post(&host, "/work", "", "body");
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after"), "{refused}");
    assert_eq!(full.keys("out"), ["1.txt", "2.txt"]);
    host.stop();
}

/// Clients that repeat a request until they have its answer, and a host that is killed again and again.
#[test]
fn each_key_counts_once_over_any_number_of_crashes() {
    let app = app(GUESTS[0], "");
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut number = 0;
    for round in 0..8_u64 {
        let host = up(&app);
        let ended = AtomicBool::new(false);
        let address = address(&host);
        // Of the last round's keys some are known, and some may be.
        let keys: Vec<String> = (number.max(8) - 8..number + 40)
            .map(|key| format!("key-{key}"))
            .collect();
        let answered: Vec<(String, u32)> = std::thread::scope(|scope| {
            let senders: Vec<_> = keys
                .chunks(12)
                .map(|keys| {
                    let ended = &ended;
                    scope.spawn(move || {
                        let sent = keys.iter().map_while(|key| {
                            if ended.load(Ordering::SeqCst) {
                                return None;
                            }
                            Some((key.clone(), try_work(address, key)?))
                        });
                        sent.collect::<Vec<_>>()
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(20 + round * 15));
            ended.store(true, Ordering::SeqCst);
            host.kill();
            senders
                .into_iter()
                .flat_map(|sender| sender.join().unwrap())
                .collect()
        });
        for (key, answer) in answered {
            let known = numbers.entry(key.clone()).or_insert(answer);
            assert_eq!(*known, answer, "{key}");
        }
        number += 40;
    }
    let mut host = up(&app);
    for key in (0..number).map(|key| format!("key-{key}")) {
        let answer = try_work(address(&host), &key).unwrap();
        let known = numbers.entry(key.clone()).or_insert(answer);
        assert_eq!(*known, answer, "{key}");
    }
    let counted: BTreeSet<u32> = numbers.values().copied().collect();
    assert_eq!(counted, (1..=number).collect());
    assert_eq!(
        committed(&app, &mut host, "hits", "after"),
        number.to_string()
    );
    assert_eq!(app.objects("out").len(), number as usize);
    let response = get(&host, "/work");
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    host.stop();
}

/// The answer to a request with this key, where the host lived so long.
fn try_work(address: SocketAddr, key: &str) -> Option<u32> {
    loop {
        let mut stream = TcpStream::connect(address).ok()?;
        let key = format!("Idempotency-Key: {key}\r\n");
        stream
            .write_all(request("/work", &key, "body").as_bytes())
            .ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        if response.starts_with("HTTP/1.1 503") {
            continue;
        }
        let (head, body) = response.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 201"), "{response}");
        return body.parse().ok();
    }
}
