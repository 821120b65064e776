//! Requests that come again with their `Idempotency-Key`: once in effect, and answered the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::harness::Output;
use crate::host::text;
use crate::http::{address, expect, get, up};
use crate::http_effects::{
    GUESTS, app, app_within, begin, committed, keyed, post, request, rest, set_mode,
    up_without_privileges,
};

/// The lines of an answer, but for its date.
fn undated(response: &str) -> Vec<String> {
    let lines = response.lines().filter(|line| !line.starts_with("date: "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_request_that_comes_again_has_the_same_answer_and_no_other_effects() {
    for guest in GUESTS {
        let app = app(guest, "");
        let host = up(&app);
        let first = keyed(&host, "\"k-1\"", "/work", "body");
        expect(&first, "201", "1");
        assert_eq!(first.matches("x-own: ").count(), 2, "{first}");
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
            let moved = keyed(&host, "moves-late", "/move-late", "body");
            assert!(moved.starts_with("HTTP/1.1 500"), "{moved}");
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
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up(&app);
        let key = "Idempotency-Key: held\r\n";
        let mut first = begin(&host, &request("/held", key, "body"));
        host.until(|record| record["kind"] == "output");
        let second = keyed(&host, "held", "/held", "body");
        assert!(second.starts_with("HTTP/1.1 409"), "{second}");
        assert!(second.contains("retry-after: 1"), "{second}");
        app.put("gate/open", "");
        expect(&rest(&mut first), "201", "1");
        expect(&keyed(&host, "held", "/held", "body"), "201", "1");
        host.stop();
    }
}

/// An answer without a body, and one that has more than that.
#[test]
fn whatever_the_answer_is_it_comes_again() {
    for guest in GUESTS {
        let app = app(guest, "");
        let host = up(&app);
        for (number, path, status, end) in [
            (1, "/none", "204", "\r\n\r\n"),
            (2, "/unchanged", "304", "\r\n\r\n"),
            (
                3,
                "/trailers",
                "201",
                "\r\n1\r\n3\r\n0\r\nx-last: word\r\n\r\n",
            ),
        ] {
            let send = || {
                let own = format!("TE: trailers\r\nIdempotency-Key: {path}\r\n");
                post(&host, path, &own, "body")
            };
            let first = send();
            assert!(first.starts_with(&format!("HTTP/1.1 {status}")), "{first}");
            assert!(first.ends_with(end), "{first}");
            assert_eq!(undated(&send()), undated(&first));
            assert_eq!(app.objects("out").len(), number);
        }
        host.stop();
    }
}

#[test]
fn a_key_counts_over_http_2_as_well() {
    for guest in GUESTS {
        let app = app(guest, "");
        let host = up(&app);
        let url = format!("http://{}/work", address(&host));
        let send = || {
            let mut curl = Command::new("curl");
            curl.stdout(Stdio::piped()).stderr(Stdio::piped());
            curl.args(["--silent", "--http2-prior-knowledge", "--max-time", "60"])
                .args(["--write-out", " %{http_code} %{http_version}"])
                .args(["--header", "Idempotency-Key: k", "--data", "body", &url]);
            Output::of(curl).expect(0).stdout
        };
        assert_eq!(send(), "1 201 2");
        assert_eq!(send(), "1 201 2");
        // And over another protocol.
        let own = "Content-Type: application/x-www-form-urlencoded\r\nIdempotency-Key: k\r\n";
        expect(&post(&host, "/work", own, "body"), "201", "1");
        assert_eq!(app.keys("out"), ["1.txt"]);
        host.stop();
    }
}

/// A function that is failed by a store and calls the request wrong: that isn't the last word on it.
#[test]
fn what_a_store_failed_isnt_remembered() {
    for guest in GUESTS {
        let app = app(guest, "");
        let mut host = up_without_privileges(&app);
        let staging = format!("out/.kinglet-staging/{}", app.read(".kinglet/id"));
        set_mode(&app, &staging, 0o500);
        let refused = keyed(&host, "k", "/try", "body");
        assert!(refused.starts_with("HTTP/1.1 422"), "{refused}");
        assert!(refused.contains("unavailable"), "{refused}");
        let told = host.until(|record| record["outcome"] == "fault");
        assert!(text(&told, "text").contains("out"), "{told}");
        set_mode(&app, &staging, 0o700);
        expect(&keyed(&host, "k", "/try", "body"), "201", "1");
        assert_eq!(committed(&app, &mut host, "hits", "after"), "1");
        assert_eq!(app.keys("out"), ["1.txt"]);
        host.stop();
    }
}

/// The bodies of requests with a key are held until all of them came.
#[test]
fn bodies_that_are_held_have_their_bounds() {
    let limits = r#"concurrency = 8, request = "64MiB", timeout = "5min""#;
    let app = app_within(GUESTS[0], limits, "");
    let host = up(&app);
    let large = keyed(&host, "large", "/work", &"x".repeat((16 << 20) + 1));
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    assert!(large.contains("at most 16777216 bytes"), "{large}");

    // Nine times as much as eight may have.
    let address = address(&host);
    let body = "x".repeat(15 << 20);
    let (refused, told) = mpsc::channel();
    let go_on = AtomicBool::new(false);
    let answers: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..9)
            .map(|number| {
                let (refused, go_on, body) = (refused.clone(), &go_on, &body);
                scope.spawn(move || {
                    let key = format!("Idempotency-Key: {number}\r\n");
                    let whole = request("/work", &key, body);
                    let (last, most) = (&whole[whole.len() - 1..], &whole[..whole.len() - 1]);
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream
                        .set_read_timeout(Some(Duration::from_millis(20)))
                        .unwrap();
                    let sent = stream.write_all(most.as_bytes()).is_ok();
                    let mut begin = [0];
                    while sent && stream.peek(&mut begin).is_err() {
                        if go_on.load(Ordering::SeqCst) {
                            stream.write_all(last.as_bytes()).unwrap();
                            break;
                        }
                    }
                    stream.set_read_timeout(None).unwrap();
                    // Who is refused amid its body may see the connection reset behind the answer.
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    let _ = refused.send(());
                    String::from_utf8(answer).unwrap()
                })
            })
            .collect();
        told.recv().unwrap();
        go_on.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let busy =
        |answer: &&String| answer.starts_with("HTTP/1.1 503") && answer.contains("come at once");
    let count = answers.iter().filter(busy).count();
    assert!((1..=8).contains(&count), "{count}");
    let done = answers
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 201"));
    assert_eq!(done.count() + count, 9);
    assert_eq!(app.objects("out").len(), 9 - count);
    // What was held is free again.
    let again = keyed(&host, "again", "/work", &body);
    assert!(again.starts_with("HTTP/1.1 201"), "{again}");
    host.stop();
}

/// The first answer that doesn't begin and end so.
fn another(ask: impl Fn() -> String, begin: &str, end: &str) -> String {
    const TRIES: usize = 100_000;
    let same = |answer: &String| answer.starts_with(begin) && answer.ends_with(end);
    let mut answers = (0..TRIES).map(|_| ask()).skip_while(same);
    answers.next().expect("the answer stays the same")
}

#[test]
fn answers_are_forgotten_after_their_time_and_refused_past_their_room() {
    let window = app(GUESTS[0], "[queue]\nduplicate-window = \"1s\"");
    let host = up(&window);
    expect(&keyed(&host, "k", "/work", "body"), "201", "1");
    let again = another(
        || keyed(&host, "k", "/work", "body"),
        "HTTP/1.1 201 Created",
        "\r\n\r\n1",
    );
    expect(&again, "201", "2");
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
    let other = another(
        || keyed(&host, "other", "/work", "body"),
        "HTTP/1.1 503",
        "\n",
    );
    expect(&other, "201", "2");
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
    for round in 0..8 {
        let host = up(&app);
        let ended = AtomicBool::new(false);
        let (told, heard) = mpsc::channel();
        let address = address(&host);
        // Of the last round's keys some are known, and some may be.
        let keys: Vec<String> = (number.max(8) - 8..number + 40)
            .map(|key| format!("key-{key}"))
            .collect();
        let answered: Vec<(String, u32)> = thread::scope(|scope| {
            let senders: Vec<_> = keys
                .chunks(12)
                .map(|keys| {
                    let (ended, told) = (&ended, told.clone());
                    scope.spawn(move || {
                        let sent = keys.iter().map_while(|key| {
                            if ended.load(Ordering::SeqCst) {
                                return None;
                            }
                            let answer = try_work(address, key)?;
                            told.send(()).unwrap();
                            Some((key.clone(), answer))
                        });
                        sent.collect::<Vec<_>>()
                    })
                })
                .collect();
            // Others are on their way then.
            heard.iter().take(1 + round * 4).for_each(drop);
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
