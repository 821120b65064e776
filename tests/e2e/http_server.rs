//! The server that requests come to, asked by curl: routes, TLS, HTTP/2, large bodies, what is told of requests.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};

use crate::harness::App;
use crate::host::{Host, text};
use crate::http::{PROBES, address, connect, expect, get, probe_within, send, up};

/// Limits for much to do.
pub const WIDE: &str = r#"memory = "64MiB", timeout = "5min", fuel = 100_000_000_000, host-calls = "8GiB", request = "4GiB", response = "4GiB""#;

/// What curl says, without a word of its own; its exit status is as it is to be.
fn curl_ends(code: i32, host: &Host, args: &[&str], path: &str) -> String {
    let secure = host.lines.iter().any(|line| line.contains("https://"));
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}{path}", address(host).port());
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "300",
            "--noproxy",
            "*",
        ])
        .args(args)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?} {path}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn curl(host: &Host, args: &[&str], path: &str) -> String {
    curl_ends(0, host, args, path)
}

/// A certificate for `localhost`, signed by itself.
pub fn certify(app: &App, serial: u32) {
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            // Else it would be an authority, which is no server.
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-set_serial",
            &serial.to_string(),
        ])
        .args(["-keyout", "new.pem", "-out", "cert.pem"])
        .current_dir(app.path("."))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    fs::rename(app.path("new.pem"), app.path("key.pem")).unwrap();
}

pub fn secure(guest: &str) -> App {
    let app = App::bare();
    app.manifest(&format!(
        r#"
        [http]
        tls = {{ certificate = "cert.pem", key = "key.pem" }}
        [[function]]
        name = "probe"
        component = "guest:{guest}"
        on = {{ http = "/..." }}
        limits = {{ {WIDE} }}
        "#
    ));
    certify(&app, 1);
    app
}

#[test]
fn a_request_goes_where_its_host_path_and_method_say() {
    let function = |name: &str, on: &str| {
        format!(
            "[[function]]\nname = \"{name}\"\ncomponent = \"guest:http-probe\"\non = {{ {on} }}\n"
        )
    };
    let app = App::new(
        &[
            function(
                "user",
                r#"http = ["/show/users/{id}", "/show/{kind}/of/{id}/..."], methods = "GET""#,
            ),
            function(
                "make",
                r#"http = "/show/users/{id}", methods = ["PUT", "DELETE"]"#,
            ),
            function(
                "other",
                r#"http = "/...", hosts = ["other.example.com", "*.example.org"]"#,
            ),
        ]
        .concat(),
    );
    let host = up(&app);
    let shown = curl(
        &host,
        &["-H", "spin-path-match-id: forged"],
        "/show/users/a%20b",
    );
    assert!(shown.contains("spin-path-match-id: a%20b"), "{shown}");
    assert!(!shown.contains("forged"), "{shown}");
    let shown = curl(&host, &[], "/show/files/of/7/x/y?z");
    assert!(
        shown.contains("spin-path-match-kind: files\nspin-path-match-id: 7")
            || shown.contains("spin-path-match-id: 7\nspin-path-match-kind: files"),
        "{shown}"
    );
    assert!(curl(&host, &["-X", "PUT", "-d", "x"], "/show/users/7").contains("Method::Put"));
    assert!(curl(&host, &["-I"], "/show/users/7").contains("200 OK"));
    let refused = curl(&host, &["-i", "-X", "PATCH"], "/show/users/7");
    assert!(refused.starts_with("HTTP/1.1 405"), "{refused}");
    assert!(
        refused.contains("allow: DELETE, GET, HEAD, PUT\r\n"),
        "{refused}"
    );
    assert!(curl(&host, &["-i"], "/elsewhere").starts_with("HTTP/1.1 404"));
    for name in [
        "other.example.com",
        "OTHER.example.com:80",
        "a.b.example.org",
    ] {
        let header = format!("Host: {name}");
        assert_eq!(
            curl(&host, &["-H", &header], "/elsewhere"),
            "/elsewhere",
            "{name}"
        );
    }
    host.stop();
}

#[test]
fn one_route_has_one_function() {
    let function = |name: &str, on: &str| {
        format!(
            "[[function]]\nname = \"{name}\"\ncomponent = \"guest:http-probe\"\non = {{ {on} }}\n"
        )
    };
    for (one, other, says) in [
        (
            r#"http = "/a/{x}""#,
            r#"http = ["/b", "/a/{y}"]"#,
            "the same route /a/{y}",
        ),
        (
            r#"http = "/a", methods = ["GET", "PUT"]"#,
            r#"http = "/a", methods = "PUT""#,
            "`methods`",
        ),
        (
            r#"http = "/a", hosts = ["x.org", "y.org"]"#,
            r#"http = "/a", hosts = "y.org""#,
            "of host y.org",
        ),
        (r#"http = ["/a", "/a"]"#, r#"http = "/b""#, "twice"),
        (
            r#"message = "t", methods = "GET""#,
            r#"http = "/b""#,
            "go with `http`",
        ),
    ] {
        let app = App::new(&[function("one", one), function("other", other)].concat());
        app.kinglet(&["check"]).expect(2).says(&[says]);
    }
}

#[test]
fn requests_come_over_tls_and_http_2() {
    for guest in PROBES {
        let app = secure(guest);
        let host = up(&app);
        let trusted = app.path("cert.pem");
        let trusted = ["--cacert", trusted.to_str().unwrap()];
        for version in ["--http1.1", "--http2"] {
            let args = [&trusted[..], &[version]].concat();
            let shown = curl(&host, &args, "/show");
            let port = address(&host).port();
            assert!(
                shown.contains(&format!("https://localhost:{port}/show")),
                "{shown}"
            );
            let head = curl(&host, &[&args[..], &["-I"]].concat(), "/exact");
            let status = if version == "--http2" {
                "HTTP/2 200"
            } else {
                "HTTP/1.1 200"
            };
            assert!(head.starts_with(status), "{head}");
            assert!(head.contains("content-length: 4"), "{head}");
            assert_eq!(
                curl(&host, &[&args[..], &["-d", "back"]].concat(), "/echo"),
                "back"
            );
            assert!(curl(&host, &[&args[..], &["-i"]].concat(), "/empty").contains(" 204"));
        }
        // 60: not trusted. 35: no TLS spoken.
        curl_ends(60, &host, &[], "/show");
        // Many at once, over one connection.
        let many = [
            &trusted[..],
            &["--http2", "--parallel", "--parallel-max", "20"],
        ]
        .concat();
        let said = curl(&host, &many, "/print/[1-40]");
        assert_eq!(said.matches("/print/").count(), 40, "{said}");
        host.stop();
    }
}

/// Over cleartext a client begins with HTTP/2 at once, or not at all.
#[test]
fn http_2_is_spoken_without_tls_as_well() {
    for guest in PROBES {
        let app = probe_within(guest, WIDE);
        let mut host = up(&app);
        let args = ["--http2-prior-knowledge"];
        let shown = curl(&host, &args, "/show");
        assert!(
            shown.contains(&format!("http://localhost:{}/show", address(&host).port())),
            "{shown}"
        );
        for (path, status) in [("/teapot", "418"), ("/panic", "500"), ("/none", "502")] {
            if guest == "http-probe-p3" && path == "/none" {
                continue;
            }
            let said = curl(&host, &["--http2-prior-knowledge", "-i"], path);
            assert!(said.starts_with(&format!("HTTP/2 {status}")), "{said}");
        }
        // 92: the stream was ended with an error. Never taken for whole.
        curl_ends(92, &host, &args, "/panic-midway");
        // The stream ends before its connection does.
        assert_eq!(
            curl(&host, &["--http2-prior-knowledge", "-d", "x"], "/count"),
            "1"
        );
        // Bytes at a time, as a slow client sends them.
        let mut slow = connect(&host);
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
            slow.write_all(&[*byte]).unwrap();
        }
        slow.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let mut frame = [0; 9];
        slow.read_exact(&mut frame).unwrap();
        assert_eq!(frame[3], 4, "its settings come first: {frame:?}");
        drop(slow);
        // What goes on is ended with its stream.
        let gone = ["--http2-prior-knowledge", "--max-time", "1"];
        if guest == "http-probe" {
            curl_ends(28, &host, &gone, "/endless");
            let seen = curl(&host, &args, "/seen");
            assert_eq!(seen, "0");
        }
        host.until(|record| record["outcome"] == "trap");
        host.stop();
    }
}

#[test]
fn a_new_certificate_is_used_without_a_restart() {
    let app = secure("http-probe");
    let mut host = up(&app);
    let old = app.path("old.pem");
    fs::copy(app.path("cert.pem"), &old).unwrap();
    let old = ["--cacert", old.to_str().unwrap()];
    curl(&host, &old, "/show");
    // A key that isn't the certificate's: the old ones stay.
    fs::write(app.path("key.pem"), "nothing").unwrap();
    host.warned("stays in use");
    curl(&host, &old, "/show");
    certify(&app, 2);
    let new = app.path("cert.pem");
    let new = ["--cacert", new.to_str().unwrap()];
    // Each a curl, of some milliseconds.
    const LOOKS: u32 = 5_000;
    let mut looks = 0;
    let of_new = || {
        let url = format!("https://localhost:{}/show", address(&host).port());
        let asked = Command::new("curl")
            .args(["--silent", "--noproxy", "*"])
            .args(new)
            .arg(url)
            .output();
        asked.unwrap().status.success()
    };
    while !of_new() {
        looks += 1;
        assert!(looks < LOOKS, "it isn't used");
    }
    curl_ends(60, &host, &old, "/show");
    host.stop();
}

#[test]
fn a_certificate_that_cant_be_used_is_named() {
    let app = secure("http-probe");
    let listen = ["up", "--listen", "127.0.0.1:0"];
    let key = fs::read(app.path("key.pem")).unwrap();
    fs::write(app.path("key.pem"), "no key").unwrap();
    app.kinglet(&listen)
        .expect(2)
        .says(&["http.tls", "key.pem", "PEM"]);
    app.kinglet(&["check"])
        .expect(2)
        .says(&["http.tls", "key.pem"]);
    fs::write(app.path("key.pem"), &key).unwrap();
    fs::copy(app.path("cert.pem"), app.path("first.pem")).unwrap();
    certify(&app, 2);
    fs::write(app.path("key.pem"), &key).unwrap();
    app.kinglet(&listen)
        .expect(2)
        .says(&["key.pem", "can't be used with", "cert.pem"]);
    fs::write(app.path("cert.pem"), "").unwrap();
    app.kinglet(&listen)
        .expect(2)
        .says(&["cert.pem", "no certificate"]);
    fs::remove_file(app.path("cert.pem")).unwrap();
    app.kinglet(&listen)
        .expect(2)
        .says(&["can't read", "cert.pem"]);
}

/// Two gigabytes in and out, while the host holds no more than it would of two kilobytes.
#[test]
fn bodies_of_two_gigabytes_take_no_memory() {
    const BYTES: u64 = 2 << 30;
    for (guest, version) in [
        ("http-probe", "--http1.1"),
        ("http-probe-p3", "--http2-prior-knowledge"),
    ] {
        let app = probe_within(guest, WIDE);
        fs::File::create(app.path("large"))
            .unwrap()
            .set_len(BYTES)
            .unwrap();
        let host = up(&app);
        curl(&host, &[version], "/download/1000");
        let before = host.peak_memory();
        let large = app.path("large");
        let upload = ["-T", large.to_str().unwrap(), version];
        assert_eq!(curl(&host, &upload, "/count"), BYTES.to_string());
        let download = ["-o", "/dev/null", "-w", "%{size_download}", version];
        assert_eq!(
            curl(&host, &download, &format!("/download/{BYTES}")),
            BYTES.to_string()
        );
        let grown = host.peak_memory() - before;
        assert!(grown < 48 << 20, "{guest}: {grown} bytes more");
        host.stop();
    }
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    for guest in PROBES {
        let app = probe_within(guest, "memory = \"64MiB\", request = 1000");
        fs::write(app.path("large"), [b'x'; 1_001]).unwrap();
        let host = up(&app);
        let large = format!("@{}", app.path("large").display());
        let told = curl(&host, &["-i", "--data-binary", &large], "/count");
        assert!(told.starts_with("HTTP/1.1 413"), "{told}");
        assert!(told.contains("more than 1000 bytes"), "{told}");
        assert_eq!(curl(&host, &["-d", &"x".repeat(1_000)], "/count"), "1000");
        // Without a length it is seen as it comes.
        let told = curl(
            &host,
            &[
                "-i",
                "--data-binary",
                &large,
                "-H",
                "Transfer-Encoding: chunked",
            ],
            "/count",
        );
        assert!(!told.contains("200 OK"), "{told}");
        // An answer that doesn't wait for the body.
        let told = curl(
            &host,
            &["-i", "--data-binary", &large, "-H", "Expect: 100-continue"],
            "/teapot",
        );
        assert!(told.contains("413"), "{told}");
        host.stop();
    }
}

#[test]
fn an_answer_may_come_before_its_request_has_ended() {
    let app = probe_within("http-probe", WIDE);
    let host = up(&app);
    let mut stream = connect(&host);
    stream
        .write_all(b"POST /teapot HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000\r\n\r\nsome")
        .unwrap();
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said);
    expect(&said, "418", "short and stout");
    host.stop();
}

#[test]
fn trailers_go_both_ways() {
    for guest in PROBES {
        let app = probe_within(guest, WIDE);
        let host = up(&app);
        let said = send(
            &host,
            "POST /trailers HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTE: trailers\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n",
        );
        assert!(
            said.ends_with("behind this\r\n0\r\nx-sum: 42\r\n\r\n"),
            "{guest}: {said}"
        );
        host.stop();
    }
}

#[test]
fn each_request_has_an_id_and_the_access_log_tells_it() {
    for guest in PROBES {
        let app = App::new(&format!(
            r#"
            [http]
            access-log = true
            [[function]]
            name = "probe"
            component = "guest:{guest}"
            on = {{ http = "/..." }}
            limits = {{ memory = "64MiB" }}
            "#
        ));
        let mut host = up(&app);
        let shown = curl(
            &host,
            &["-H", "X-Request-Id: of-mine", "-A", "tester"],
            "/show",
        );
        assert!(shown.contains("x-request-id: of-mine"), "{shown}");
        let told = host.until(|record| record["kind"] == "request" && record["event"] == "of-mine");
        assert_eq!(told["status"], 200, "{told}");
        assert_eq!(told["bytes"], shown.len(), "{told}");
        assert_eq!(told["whole"], true, "{told}");
        assert_eq!(told["function"], "probe", "{told}");
        assert_eq!(told["subject"], "GET /show", "{told}");
        assert_eq!(told["client"], "127.0.0.1", "{told}");
        assert_eq!(told["user_agent"], "tester", "{told}");
        assert_eq!(told["version"], "HTTP/1.1", "{told}");
        // Without one, or with one that is none, it gets one of the host's.
        let long = format!("X-Request-Id: {}", "x".repeat(200));
        let mut ids = Vec::new();
        for header in ["X-Request-Id;", &long, "X-Other: x"] {
            let shown = curl(&host, &["-H", header], "/show");
            let id = shown
                .lines()
                .find_map(|line| line.strip_prefix("x-request-id: "));
            ids.push(id.unwrap().to_owned());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3, "{ids:?}");
        assert!(ids.iter().all(|id| id.len() < 64), "{ids:?}");
        // What failed and what it printed has the same id.
        curl(&host, &["-H", "X-Request-Id: bad"], "/panic");
        let failed = host.until(|record| record["kind"] == "outcome" && record["event"] == "bad");
        assert_eq!(failed["outcome"], "trap", "{failed}");
        host.until(|record| record["kind"] == "output" && record["event"] == "bad");
        let told = host.until(|record| record["kind"] == "request" && record["event"] == "bad");
        assert_eq!(told["status"], 500, "{told}");
        curl(&host, &["-I"], "/teapot");
        let told =
            host.until(|record| record["kind"] == "request" && record["subject"] == "HEAD /teapot");
        assert_eq!(
            (&told["status"], &told["whole"]),
            (&418.into(), &true.into()),
            "{told}"
        );
        curl_ends(18, &host, &[], "/panic-midway");
        let told = host.until(|record| {
            record["kind"] == "request" && record["subject"] == "GET /panic-midway"
        });
        assert_eq!(
            (&told["status"], &told["whole"]),
            (&200.into(), &false.into()),
            "{told}"
        );
        let logs = app.ok(&["logs"]);
        assert!(logs.contains("GET /show: 200, "), "{logs}");
        assert!(logs.contains("cut off"), "{logs}");
        assert!(!text(&told, "client").is_empty());
        host.stop();
    }
}

/// More than there may be wait for their turn, and nobody is turned away.
#[test]
fn connections_past_their_bound_wait() {
    let app = App::new(
        r#"
        [http]
        max-connections = 2
        [[function]]
        name = "probe"
        component = "guest:http-probe"
        on = { http = "/..." }
        "#,
    );
    let host = up(&app);
    let (one, other) = (connect(&host), connect(&host));
    let mut third = connect(&host);
    third
        .write_all(b"GET /teapot HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .unwrap();
    drop(one);
    let mut said = String::new();
    third.read_to_string(&mut said).unwrap();
    expect(&said, "418", "short and stout");
    drop(other);
    expect(&get(&host, "/teapot"), "418", "short and stout");
    host.stop();
}

/// What came of it must not be taken for all.
#[test]
fn a_request_that_breaks_off_is_never_taken_for_a_whole_one() {
    for guest in PROBES {
        let app = probe_within(guest, r#"memory = "64MiB", concurrency = 1"#);
        let mut host = up(&app);
        let nonsense = "POST /count HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nZZ\r\n";
        let said = send(&host, nonsense);
        assert!(!said.starts_with("HTTP/1.1 200"), "{guest}: {said}");
        let told = host.until(|r| text(r, "kind") == "outcome" && r["subject"] == "POST /count");
        assert!(text(&told, "reason").contains("broke off"), "{told}");
        // Shorter than it said, and no more to come.
        let mut stream = connect(&host);
        stream
            .write_all(b"POST /count HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nfour")
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        assert!(!said.starts_with("HTTP/1.1 200"), "{guest}: {said}");
        // Neither holds the function's only permit.
        assert_eq!(curl(&host, &["-d", "four"], "/count"), "4");
        host.stop();
    }
}

#[test]
fn what_only_the_host_may_say_of_a_request_is_never_forged() {
    let app = probe_within("http-probe", r#"memory = "64MiB""#);
    let host = up(&app);
    let shown = curl(
        &host,
        &[
            "-H",
            "spin-client-addr: 1.1.1.1",
            "-H",
            "Spin-Path-Info: /x",
        ],
        "/show",
    );
    assert!(!shown.contains("spin-"), "{shown}");
    host.stop();
}

/// Whatever a client doesn't do, a host that is told to stop ends.
#[test]
fn silent_clients_hold_up_no_end() {
    let app = App::new(
        r#"
        [[function]]
        name = "probe"
        component = "guest:http-probe"
        on = { http = "/..." }
        limits = { timeout = "1s" }
        "#,
    );
    let host = up(&app);
    let mut begun = Vec::new();
    for silent in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /show HT",
        // It reads nothing of it.
        b"GET /download/100000000 HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST /count HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nfour",
    ] {
        let mut stream = connect(&host);
        stream.write_all(silent).unwrap();
        begun.push(stream);
    }
    assert_eq!(curl(&host, &[], "/teapot"), "short and stout");
    host.stop();
    drop(begun);
}
