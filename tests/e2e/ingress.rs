//! Events that others post over HTTP: by curl, byte by byte, and by a stand-in of AWS.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{App, echo};
use crate::host::{Host, settled, text};
use crate::http::{address, connect, up};

const SECRET: &str = "0123456789abcdef";
const STRUCTURED: &str = "content-type: application/cloudevents+json";
const BATCH: &str = "content-type: application/cloudevents-batch+json";
const BINARY: [&str; 4] = [
    "ce-specversion: 1.0",
    "ce-source: /shop",
    "ce-type: order",
    "content-type: text/plain",
];

/// `echo` logs what is posted to `/orders`.
fn orders(auth: &str) -> App {
    let app = App::new(&format!(
        "{}\n[[ingress]]\npath = \"/orders\"\nformat = \"cloudevents\"\ntopic = \"orders\"\nauth = {auth}\n",
        echo("orders")
    ));
    fs::write(app.path("secret"), format!("{SECRET}\n")).unwrap();
    app
}

/// `hello` logs the keys of objects that are told to `/photos`.
const PHOTOS: &str = r#"
    [buckets.photos]
    [[function]]
    name = "hello"
    component = "guest:hello-object"
    on = { object-created = "photos", suffix = ".jpg" }
    grants = { read = ["photos"] }
    [[ingress]]
    path = "/photos"
    format = "s3"
    auth = "none"
"#;

/// What the host answers to curl.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

impl Answer {
    /// How many events were accepted, known and ignored.
    #[track_caller]
    fn counts(&self) -> [u64; 3] {
        assert_eq!(self.status, 202, "{self:?}");
        let body: Value = serde_json::from_str(&self.body).unwrap();
        ["accepted", "known", "ignored"].map(|name| body[name].as_u64().unwrap())
    }

    /// That it is refused in these words.
    #[track_caller]
    fn refused(&self, status: u16, says: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(says), "{self:?}");
    }
}

fn curl(host: &Host, path: &str, args: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "100"])
        .args(["--noproxy", "*"])
        .args(args)
        .arg(format!("http://{}{path}", address(host)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let (heads, body) = said.rsplit_once("\r\n\r\n").unwrap();
    // An interim answer may stand before it.
    let head = heads.rsplit("\r\n\r\n").next().unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn post(host: &Host, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut args = vec!["--data-binary", body];
    // Without it curl takes a body for a form.
    if !headers
        .iter()
        .any(|header| header.starts_with("content-type"))
    {
        args.extend(["-H", "content-type: application/json"]);
    }
    for header in headers {
        args.extend(["-H", header]);
    }
    curl(host, path, &args)
}

fn event(id: &str, data: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "order", "data": data})
}

fn post_event(host: &Host, id: &str) -> Answer {
    post(host, "/orders", &[STRUCTURED], &event(id, id).to_string())
}

fn logs(host: &mut Host, line: &str) -> Value {
    host.until(|record| record["kind"] == "log" && record["text"] == line)
}

#[test]
fn cloud_events_come_in_each_mode_and_once() {
    let app = orders("\"none\"");
    let mut host = up(&app);
    let structured = event("1", "by structure").to_string();
    let binary = [&BINARY[..], &["ce-id: 2"]].concat();
    let batch = json!([event("3", "first"), event("4", "second")]).to_string();
    for (known, repeat) in [(0, false), (1, true)] {
        let new = 1 - known;
        let answer = post(&host, "/orders", &[STRUCTURED], &structured);
        assert_eq!(answer.counts(), [new, known, 0], "{repeat}");
        let answer = post(&host, "/orders", &binary, "by headers");
        assert_eq!(answer.counts(), [new, known, 0], "{repeat}");
        let answer = post(&host, "/orders", &[BATCH], &batch);
        assert_eq!(answer.counts(), [2 * new, 2 * known, 0], "{repeat}");
    }
    // Another's event of the same id.
    let other = event("1", "of another")
        .to_string()
        .replace("/shop", "/other");
    assert_eq!(
        post(&host, "/orders", &[STRUCTURED], &other).counts(),
        [1, 0, 0]
    );
    for line in [
        "\"by structure\"",
        "by headers",
        "\"first\"",
        "\"second\"",
        "\"of another\"",
    ] {
        logs(&mut host, line);
    }
    host.outcomes(5, "echo");
    let ended = host.stop();
    let outcomes = ended.outcomes("echo");
    assert_eq!(outcomes.len(), 5);
    assert_eq!(
        (text(outcomes[0], "event"), text(outcomes[0], "source")),
        ("1", "/shop")
    );
}

#[test]
fn who_asks_otherwise_is_told_how() {
    let app = orders("\"none\"");
    let host = up(&app);
    let hello = [
        "-X",
        "OPTIONS",
        "-H",
        "WebHook-Request-Origin: sender.example.com",
    ];
    let answer = curl(&host, "/orders", &hello);
    assert_eq!(answer.status, 200);
    for header in [
        "webhook-allowed-origin: sender.example.com",
        "webhook-allowed-rate: *",
        "allow: options, post",
    ] {
        assert!(answer.head.contains(header), "{answer:?}");
    }
    let answer = curl(&host, "/orders", &[]);
    answer.refused(405, "GET");
    assert!(answer.head.contains("allow: options, post"), "{answer:?}");
    curl(&host, "/order", &[]).refused(404, "/order");
    post(&host, "/orders", &[], "{}").refused(415, "application/cloudevents+json");
    post(
        &host,
        "/orders",
        &["content-type: application/cloudevents+avro"],
        "x",
    )
    .refused(415, "avro");
    post(
        &host,
        "/orders",
        &[STRUCTURED, "content-encoding: gzip"],
        "x",
    )
    .refused(415, "Content-Encoding");
    host.stop();
}

#[test]
fn a_batch_is_accepted_whole_or_not_at_all() {
    let app = orders("\"none\"");
    let mut host = up(&app);
    let mut bad = event("2", "second");
    bad["specversion"] = json!("0.3");
    let batch = json!([event("1", "first"), bad]).to_string();
    post(&host, "/orders", &[BATCH], &batch)
        .refused(400, "event 1 isn't taken: `specversion` is \"0.3\"");
    let told = host.until(|r| r["kind"] == "host" && text(r, "text").contains("refused with 400"));
    assert!(text(&told, "text").contains("ingress /orders"), "{told}");
    for (body, says) in [
        ("{\"id\":", "isn't JSON"),
        ("[]", "a list"),
        ("", "isn't JSON"),
    ] {
        post(&host, "/orders", &[STRUCTURED], body).refused(400, says);
    }
    // What was refused is new.
    let batch = json!([event("1", "first"), event("2", "second")]).to_string();
    assert_eq!(post(&host, "/orders", &[BATCH], &batch).counts(), [2, 0, 0]);
    host.outcomes(2, "echo");
    assert_eq!(host.stop().outcomes("echo").len(), 2);
}

#[test]
fn who_may_not_post_is_refused() {
    // Of `{}` under SECRET, by OpenSSL.
    let signed = |body: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256", "-hmac", SECRET]);
        let child = openssl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = crate::harness::finish(child, body.as_bytes());
        let digest = output.stdout.trim().rsplit(' ').next().unwrap().to_owned();
        format!("x-signature: sha256={digest}")
    };
    let body = event("1", "1").to_string();
    let (signature, of_other) = (signed(&body), signed("other"));
    let basic = |pair: &str| format!("authorization: Basic {pair}");
    // `sns:0123456789abcdef`, and with another name.
    let (pair, other_pair) = (
        basic("c25zOjAxMjM0NTY3ODlhYmNkZWY="),
        basic("c25uOjAxMjM0NTY3ODlhYmNkZWY="),
    );
    let bearer = format!("authorization: Bearer {SECRET}");
    for (auth, good, bad, challenge) in [
        (
            r#"{ bearer = "secret" }"#,
            bearer.as_str(),
            "authorization: Bearer 0123456789abcdeF",
            "bearer",
        ),
        (
            r#"{ bearer = "secret", header = "x-key" }"#,
            "x-key: 0123456789abcdef",
            bearer.as_str(),
            "token header",
        ),
        (
            r#"{ hmac = "secret", header = "x-signature" }"#,
            signature.as_str(),
            of_other.as_str(),
            "hmac-sha256",
        ),
        (
            r#"{ basic = "pair" }"#,
            pair.as_str(),
            other_pair.as_str(),
            "basic realm=",
        ),
    ] {
        let app = orders(auth);
        fs::write(app.path("pair"), format!("sns:{SECRET}")).unwrap();
        let host = up(&app);
        for headers in [&[STRUCTURED][..], &[STRUCTURED, bad]] {
            let answer = post(&host, "/orders", headers, &body);
            answer.refused(401, "missing or unknown credentials; expected");
            assert!(
                answer
                    .head
                    .contains(&format!("www-authenticate: {challenge}")),
                "{answer:?}"
            );
            assert!(!answer.body.contains(SECRET), "{answer:?}");
        }
        assert_eq!(
            post(&host, "/orders", &[STRUCTURED, good], &body).counts(),
            [1, 0, 0],
            "{auth}"
        );
        host.stop();
    }
}

#[test]
fn a_secret_that_is_none_is_refused_at_load() {
    for (content, says) in [
        (None, "can't read"),
        (Some(""), "is empty"),
        (Some("hunter2"), "7 bytes on line 1"),
    ] {
        let app = orders(r#"{ bearer = "token" }"#);
        if let Some(content) = content {
            fs::write(app.path("token"), content).unwrap();
        }
        for command in [&["check"][..], &["up", "--listen", "127.0.0.1:0"]] {
            app.kinglet(command)
                .expect(2)
                .says(&["ingress /orders", says]);
        }
    }
}

#[test]
fn a_new_secret_is_used_without_a_restart() {
    let app = orders(r#"{ bearer = "secret" }"#);
    let mut host = up(&app);
    let old = format!("authorization: Bearer {SECRET}");
    let new = "authorization: Bearer another-0123456789";
    let try_with = |host: &Host, secret: &str| {
        post(
            host,
            "/orders",
            &[STRUCTURED, secret],
            &event("1", "1").to_string(),
        )
        .status
    };
    assert_eq!((try_with(&host, &old), try_with(&host, new)), (202, 401));
    // No secret: the old one stays.
    fs::write(app.path("secret"), "short").unwrap();
    host.warned("the secrets before it stay in use");
    assert_eq!(try_with(&host, &old), 202);
    fs::write(app.path("secret"), "another-0123456789\n").unwrap();
    // Each a curl, of some milliseconds.
    const LOOKS: u32 = 5_000;
    let used = (0..LOOKS).any(|_| try_with(&host, new) == 202);
    assert!(used, "the new secret isn't used");
    assert_eq!(try_with(&host, &old), 401);
    host.stop();
}

#[test]
fn a_body_that_is_too_long_or_too_slow_is_refused() {
    let app = App::new(&format!(
        "{}\n[[ingress]]\npath = \"/orders\"\nformat = \"cloudevents\"\ntopic = \"orders\"\nauth = \"none\"\nmax-body = \"1KiB\"\n",
        echo("orders")
    ));
    let mut host = up(&app);
    let fits = event("1", &"x".repeat(800)).to_string();
    assert_eq!(
        post(&host, "/orders", &[STRUCTURED], &fits).counts(),
        [1, 0, 0]
    );
    let long = event("2", &"x".repeat(1_000)).to_string();
    post(&host, "/orders", &[STRUCTURED], &long).refused(413, "longer than \"1KiB\"");
    let chunked = [STRUCTURED, "transfer-encoding: chunked"];
    post(&host, "/orders", &chunked, &long).refused(413, "longer than \"1KiB\"");
    let mut slow = connect(&host);
    let head = "POST /orders HTTP/1.1\r\nHost: here\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).unwrap();
    let mut broken = connect(&host);
    broken.write_all(head.as_bytes()).unwrap();
    drop(broken);
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    host.outcomes(1, "echo");
    assert_eq!(host.stop().outcomes("echo").len(), 1);
}

#[test]
fn a_full_store_has_senders_come_again() {
    let app = App::new(&format!(
        "[queue]\nmax-events = 1\n{}\n[[ingress]]\npath = \"/orders\"\nformat = \"cloudevents\"\ntopic = \"orders\"\nauth = \"none\"\n",
        echo("orders")
    ));
    let mut host = up(&app);
    app.ok(&["pause", "echo"]);
    assert_eq!(post_event(&host, "1").counts(), [1, 0, 0]);
    let answer = post_event(&host, "2");
    answer.refused(503, "the store of events is full");
    assert!(answer.head.contains("retry-after: "), "{answer:?}");
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("queue.max-events"));
    app.ok(&["resume", "echo"]);
    host.outcomes(1, "echo");
    assert_eq!(post_event(&host, "2").counts(), [1, 0, 0]);
    host.outcomes(2, "echo");
    host.stop();
}

/// The host is killed as soon as its answer is there, again and again.
#[test]
fn what_was_answered_with_202_survives_the_end_of_the_host() {
    const ROUNDS: usize = 6;
    let app = orders("\"none\"");
    app.ok(&["pause", "echo"]);
    for round in 0..ROUNDS {
        let host = up(&app);
        let batch = json!([
            event(&format!("{round}a"), "a"),
            event(&format!("{round}b"), "b")
        ]);
        let answer = post(&host, "/orders", &[BATCH], &batch.to_string());
        host.kill();
        assert_eq!(answer.counts(), [2, 0, 0]);
    }
    app.ok(&["resume", "echo"]);
    let mut host = up(&app);
    for round in 0..ROUNDS {
        assert_eq!(post_event(&host, &format!("{round}a")).counts(), [0, 1, 0]);
    }
    host.outcomes(2 * ROUNDS, "echo");
    assert_eq!(host.stop().outcomes("echo").len(), 2 * ROUNDS);
}

/// A record as Amazon S3 sends it.
fn record(key: &str, size: usize, sequencer: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "photos"}, "object": {"key": key, "size": size, "eTag": "e1", "sequencer": sequencer}},
    })
}

fn tell(host: &Host, records: &[Value]) -> Answer {
    post(
        host,
        "/photos",
        &[],
        &json!({"Records": records}).to_string(),
    )
}

#[test]
fn an_object_that_another_store_tells_of_wakes_its_functions() {
    let app = App::new(PHOTOS);
    let mut host = up(&app);
    let first = record("a+b/c%2B1.jpg", 7, "0A");
    assert_eq!(
        tell(&host, std::slice::from_ref(&first)).counts(),
        [1, 0, 0]
    );
    logs(&mut host, "hello a b/c+1.jpg");
    let outcome = host.outcome_of("hello", "a b/c+1.jpg");
    assert_eq!(text(&outcome, "source"), "s3/photos");
    // A multipart upload that announces itself twice, in one request and over several.
    let twice = [
        first.clone(),
        record("d.jpg", 7, "0B"),
        record("d.jpg", 7, "0B"),
    ];
    assert_eq!(tell(&host, &twice).counts(), [1, 2, 0]);
    // The same bytes, uploaded once more.
    assert_eq!(tell(&host, &[record("d.jpg", 7, "0C")]).counts(), [1, 0, 0]);
    let mut removed = record("d.jpg", 0, "0D");
    removed["eventName"] = json!("ObjectRemoved:Delete");
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"});
    let answer = tell(
        &host,
        &[
            removed,
            record("folder/", 0, "0E"),
            record("e.jpg", 7, "0F"),
        ],
    );
    assert_eq!(answer.counts(), [1, 0, 2]);
    assert!(answer.body.contains("ObjectRemoved:Delete"), "{answer:?}");
    assert_eq!(
        post(&host, "/photos", &[], &test.to_string()).counts(),
        [0, 0, 1]
    );
    // Its suffix wakes nobody.
    assert_eq!(tell(&host, &[record("f.png", 7, "0G")]).counts(), [1, 0, 0]);
    let mut elsewhere = record("g.jpg", 7, "0H");
    elsewhere["s3"]["bucket"]["name"] = json!("films");
    tell(&host, &[record("h.jpg", 7, "0I"), elsewhere])
        .refused(400, "event 1 isn't taken: `s3.bucket.name` is \"films\"");
    host.outcomes(4, "hello");
    assert_eq!(host.stop().outcomes("hello").len(), 4);
}

/// A folder that mirrors the other store: what is told and what is seen there are one event.
#[test]
fn what_is_told_and_what_is_in_the_folder_is_one_event() {
    let app = App::new(PHOTOS);
    app.put_old("photos/here.jpg", "1234567");
    let mut host = up(&app);
    host.outcome_of("hello", "here.jpg");
    assert_eq!(
        tell(&host, &[record("here.jpg", 7, "0A")]).counts(),
        [0, 1, 0]
    );
    // Another size: the folder's is older, and the new one isn't there yet.
    assert_eq!(
        tell(&host, &[record("here.jpg", 8, "0B")]).counts(),
        [1, 0, 0]
    );
    host.outcomes(2, "hello");
    host.stop();
}

/// The notification comes first. A function that reads the object fails until it is there, and then it has an event of
/// its own.
#[test]
fn a_notification_may_come_before_its_object() {
    let app = App::new(
        r#"
        [buckets.photos]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "photos" }
        grants = { read = ["photos"], write = ["out"] }
        retry = { attempts = 1000, backoff = "10ms..50ms" }
        [[ingress]]
        path = "/photos"
        format = "s3"
        auth = "none"
        "#,
    );
    let mut host = up(&app);
    assert_eq!(
        tell(&host, &[record("late.jpg", 7, "0A")]).counts(),
        [1, 0, 0]
    );
    host.until(|r| r["kind"] == "outcome" && r["settled"] == false);
    app.put(".late", "1234567");
    fs::rename(app.path(".late"), app.path("photos/late.jpg")).unwrap();
    let outcomes = host.outcomes(2, "copy");
    let ended = |source: &str| {
        let found = outcomes.iter().find(|outcome| outcome["source"] == source);
        text(
            found.unwrap_or_else(|| panic!("{source}: {outcomes:?}")),
            "outcome",
        )
        .to_owned()
    };
    assert_eq!(ended("bucket/photos"), "done");
    assert_eq!(ended("s3/photos"), "superseded");
    assert_eq!(app.read("out/late.jpg"), "1234567");
    assert_eq!(
        tell(&host, &[record("late.jpg", 7, "0A")]).counts(),
        [0, 1, 0]
    );
    host.stop();
}

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:photos";

/// The same by SNS, whose subscriptions are confirmed at this port.
fn by_sns(port: u16) -> App {
    let app = App::new(&format!(
        "{}\nsns = {{ topics = \"{TOPIC}\", confirm = \"http://localhost:{port}\" }}",
        PHOTOS.replace("auth = \"none\"", "auth = { basic = \"pair\" }")
    ));
    fs::write(app.path("pair"), format!("sns:{SECRET}")).unwrap();
    app
}

const PAIR: &str = "authorization: Basic c25zOjAxMjM0NTY3ODlhYmNkZWY=";

/// Answers one request with this status, and gives what was asked for.
fn answer_one(listener: &TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(stream.try_clone().unwrap())
        .read_line(&mut line)
        .unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).unwrap();
    line
}

#[test]
fn a_subscription_is_confirmed_only_where_it_may_be() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = by_sns(port);
    let mut host = up(&app);
    let ask = |address: &str, topic: &str| {
        let body =
            json!({"Type": "SubscriptionConfirmation", "TopicArn": topic, "SubscribeURL": address});
        post(
            &host,
            "/photos",
            &[PAIR, "x-amz-sns-message-type: SubscriptionConfirmation"],
            &body.to_string(),
        )
    };
    let good = format!("http://localhost:{port}/?Action=ConfirmSubscription&Token=t");
    for (status, answered, says) in [
        ("500 No", 502, "500"),
        ("302 Elsewhere", 502, "302"),
        ("200 OK", 200, "is confirmed"),
    ] {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| answer_one(&listener, status));
            ask(&good, TOPIC).refused(answered, says);
            assert!(
                asked
                    .join()
                    .unwrap()
                    .starts_with("GET /?Action=ConfirmSubscription&Token=t ")
            );
        });
    }
    // None of these is asked: nobody answers.
    ask(&good, "arn:aws:sns:us-east-1:666:photos").refused(403, "may not send here");
    for elsewhere in [
        format!("http://127.0.0.1:{port}/"),
        "http://169.254.169.254/latest".to_owned(),
    ] {
        ask(&elsewhere, TOPIC).refused(403, "`sns.confirm`");
    }
    let unsigned = post(&host, "/photos", &[], "{}");
    unsigned.refused(401, "a name and a password");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody came");
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("is confirmed"));
    let gone = json!({"Type": "UnsubscribeConfirmation", "TopicArn": TOPIC}).to_string();
    assert_eq!(post(&host, "/photos", &[PAIR], &gone).status, 200);
    host.until(|r| r["kind"] == "host" && text(r, "text").contains("has ended"));
    host.stop();
}

/// Moto, which stands in for AWS, killed when dropped.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start() -> Option<Self> {
        let program = std::env::var_os("KINGLET_TEST_MOTO").unwrap_or_else(|| "moto_server".into());
        let mut moto = Command::new(program);
        moto.args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null());
        let mut child = moto
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let said = child.stderr.take().unwrap();
        let mut lines = BufReader::new(said).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, port) = line.split_once("Running on http://127.0.0.1:")?;
            port.trim().parse().ok()
        });
        // What it says later is read as well, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let Some(port) = port else {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        };
        Some(Self { child, port })
    }

    fn ask(&self, service: &str, path: &str, args: &[&str]) {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--max-time",
                "100",
                "--noproxy",
                "*",
            ])
            .args([
                "--user",
                "test:test",
                "--aws-sigv4",
                &format!("aws:amz:us-east-1:{service}"),
            ])
            .args(args)
            .arg(format!("http://127.0.0.1:{}{path}", self.port))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{path}: {output:?}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bucket of S3 tells a topic of SNS, which tells the host.
#[test]
fn an_upload_to_s3_comes_here_by_way_of_sns() {
    let Some(moto) = Moto::start() else {
        assert!(
            std::env::var_os("KINGLET_TEST_FULL").is_none(),
            "moto is missing; run `cargo xtask test --full`, which installs it"
        );
        eprintln!("skipped: moto isn't installed; `cargo xtask test --full` does it");
        return;
    };
    let app = by_sns(moto.port);
    let mut host = up(&app);
    moto.ask("sns", "/", &["-d", "Action=CreateTopic&Name=photos"]);
    moto.ask("s3", "/photos", &["-X", "PUT"]);
    let endpoint = format!("Endpoint=http://sns:{SECRET}@{}/photos", address(&host));
    let subscribe = [
        "Action=Subscribe",
        &format!("TopicArn={TOPIC}"),
        "Protocol=http",
        &endpoint,
    ];
    let subscribe = subscribe.map(|pair| ["--data-urlencode", pair]).concat();
    moto.ask("sns", "/", &subscribe);
    let notify = format!(
        "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TopicConfiguration>\
         <Id>kinglet</Id><Topic>{TOPIC}</Topic><Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>\
         </TopicConfiguration></NotificationConfiguration>"
    );
    let xml = "content-type: application/xml";
    moto.ask(
        "s3",
        "/photos?notification",
        &["-X", "PUT", "-H", xml, "-d", &notify],
    );
    let test = host.until(|r| r["kind"] == "host" && text(r, "text").contains("s3:TestEvent"));
    assert!(
        text(&test, "text").contains("ingress /photos: ignored"),
        "{test}"
    );
    let jpeg = "content-type: image/jpeg";
    for key in ["a%20b/c%2B%E7%8C%AB.jpg", "d.jpg"] {
        let path = format!("/photos/{key}");
        moto.ask("s3", &path, &["-X", "PUT", "-H", jpeg, "-d", "hello"]);
    }
    logs(&mut host, "hello a b/c+\u{732b}.jpg");
    logs(&mut host, "hello d.jpg");
    moto.ask("s3", "/photos/d.jpg", &["-X", "DELETE"]);
    host.outcomes(2, "hello");
    let ended = host.stop();
    assert_eq!(ended.records.iter().filter(|r| settled(r)).count(), 2);
}

/// 338 events with ids of 1 MB left a store of 653 MB, and 120 posts replaced the whole journal.
#[test]
fn what_a_sender_names_is_bounded() {
    let app = App::new(&format!(
        "{}\n[[ingress]]\npath = \"/orders\"\nformat = \"cloudevents\"\ntopic = \"orders\"\nauth = \"none\"\n\
         max-body = \"8MiB\"\n{PHOTOS}",
        echo("orders")
    ));
    let host = up(&app);
    let long = "x".repeat(1 << 20);
    let post_file = |path: &str, content_type: &str, body: &Value| {
        app.put("body", body.to_string());
        let body = format!("@{}", app.path("body").display());
        post(&host, path, &[content_type], &body)
    };
    for name in [
        "id",
        "source",
        "type",
        "partitionkey",
        "datacontenttype",
        "subject",
    ] {
        let mut event = event("1", "x");
        event[name] = long.as_str().into();
        let most = if name == "subject" { 8_192 } else { 1_024 };
        let says = format!("`{name}` has 1048576 bytes, and at most {most} are taken");
        post_file("/orders", STRUCTURED, &event).refused(400, &says);
    }
    let mut named = event("1", "x");
    named[&long] = "x".into();
    post_file("/orders", STRUCTURED, &named).refused(400, "has 1048576 bytes, and at most 1024");
    let mut many = event("1", "x");
    for number in 0..100 {
        many[format!("a{number}")] = "x".repeat(1_000).into();
    }
    post_file("/orders", STRUCTURED, &many).refused(400, "the list of attributes has");
    for (name, member) in [
        ("eTag", "s3.object.eTag"),
        ("versionId", "s3.object.versionId"),
    ] {
        let mut record = json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2026-01-31T12:00:00.123Z",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "photos"}, "object": {"key": "a.jpg", "size": 1, "eTag": "e"}},
        });
        record["s3"]["object"][name] = "x".repeat(2_000).into();
        let says = format!("`{member}` has 2000 bytes");
        post_file(
            "/photos",
            "content-type: application/json",
            &json!({"Records": [record]}),
        )
        .refused(400, &says);
    }
    // What can't be taken for another reason is told, and not at length.
    for event in [
        json!({"specversion": long}),
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": long}),
        json!({"specversion": "1.0", long.as_str(): [1]}),
    ] {
        let answer = post_file("/orders", STRUCTURED, &event);
        assert_eq!(answer.status, 400, "{}", answer.head);
        assert!(answer.body.len() < 2_000, "{} bytes", answer.body.len());
    }
    // What is as long as it may be is taken, once.
    let mut longest = event(&"i".repeat(1_024), "x");
    longest["source"] = "s".repeat(1_024).into();
    longest["subject"] = "y".repeat(8_192).into();
    assert_eq!(
        post_file("/orders", STRUCTURED, &longest).counts(),
        [1, 0, 0]
    );
    assert_eq!(
        post_file("/orders", STRUCTURED, &longest).counts(),
        [0, 1, 0]
    );
    host.stop();
    let journal = fs::metadata(app.path(".kinglet/logs/journal.jsonl")).unwrap();
    assert!(journal.len() < 64 << 10, "{} bytes", journal.len());
    let refused = app.kinglet(&[
        "publish",
        "orders",
        "--body",
        "x",
        "--id",
        &"i".repeat(1_025),
    ]);
    refused
        .expect(2)
        .says(&["`id` has 1025 bytes", "at most 1024"]);
}
