//! The same functions under `wasmtime serve`: status, headers that the function sets, and bytes are the same.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{App, guest};
use crate::host::{Host, PATIENCE};
use crate::http::{address, up};

/// `wasmtime serve`, where the set-up has it.
fn wasmtime() -> Option<PathBuf> {
    let program = std::env::var_os("KINGLET_TEST_WASMTIME").map(PathBuf::from);
    if program.is_none() {
        assert!(
            std::env::var_os("KINGLET_TEST_FULL").is_none(),
            "wasmtime is missing; run `cargo xtask test --full`, which installs it"
        );
        eprintln!("skipped: wasmtime isn't installed; `cargo xtask test --full` does it");
    }
    program
}

fn serve(program: PathBuf, guest_name: &str) -> Host {
    // What guests print is no record.
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$0\" \"$@\" >/dev/null"])
        .arg(program)
        .args(["serve", "-S", "cli,p3", "-W", "component-model-async"])
        // Each request with a fresh instance, as here.
        .args(["--max-instance-reuse-count=1", "--addr", "127.0.0.1:0"])
        .arg(guest(guest_name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut host = Host::start(command);
    host.warned("http://");
    host
}

/// What a client makes of a response.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// 0 where the connection was closed without a head.
    status: u16,
    /// Without those that the server sets.
    headers: BTreeMap<String, Vec<String>>,
    /// None where it has no good end.
    body: Option<Vec<u8>>,
    trailers: Vec<String>,
}

/// Of a connection, or of the server; `kinglet-effects` is for ours, and isn't sent on by it.
const OF_SERVER: [&str; 5] = [
    "connection",
    "content-length",
    "date",
    "kinglet-effects",
    "transfer-encoding",
];

fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // One that answers before it has all closes, maybe.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer::default();
    };
    let head = String::from_utf8(response[..end].to_vec()).unwrap();
    let rest = &response[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        let values = headers.entry(name.to_lowercase()).or_default();
        values.push(value.trim().to_owned());
    }
    let (body, trailers) = if headers.contains_key("transfer-encoding") {
        match unchunked(rest) {
            Some((body, trailers)) => (Some(body), trailers),
            None => (None, Vec::new()),
        }
    } else {
        let told = headers.get("content-length");
        let told = told.map_or(0, |told| told[0].parse::<usize>().unwrap());
        let bodyless = request.starts_with(b"HEAD ") || matches!(status, "204" | "304");
        let whole = bodyless || rest.len() == told;
        (whole.then(|| rest.to_vec()), Vec::new())
    };
    headers.retain(|name, _| !OF_SERVER.contains(&name.as_str()));
    Answer {
        status: status.parse().unwrap(),
        headers,
        body,
        trailers,
    }
}

/// The body and trailers; none where the last piece is missing.
fn unchunked(mut rest: &[u8]) -> Option<(Vec<u8>, Vec<String>)> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = std::str::from_utf8(&rest[..end]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            let trailers = std::str::from_utf8(rest).ok()?;
            let trailers = trailers.split("\r\n").filter(|line| !line.is_empty());
            return Some((body, trailers.map(str::to_owned).collect()));
        }
        body.extend(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// A request line and headers, and a body.
fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

/// What both are asked, of each guest.
fn requests(guest: &str) -> Vec<Vec<u8>> {
    let mut random = vec![0; 1 << 20];
    random
        .iter_mut()
        .zip(0_u32..)
        .for_each(|(byte, at)| *byte = (at.wrapping_mul(2_654_435_761) >> 24) as u8);
    let get = |path: &str| request(&format!("GET {path}"), "", b"");
    let head = |path: &str| request(&format!("HEAD {path}"), "", b"");
    let chunked = |path: &str, rest: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTE: trailers\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n{rest}"
        )
        .into_bytes()
    };
    if guest == "sdk-http" {
        return vec![
            get("/hello"),
            get("/show?a=1&b=x+%26&c"),
            request("PURGE /show", "X-Test-A: 1\r\nx-test-a: 2\r\n", b"body"),
            request("POST /json", "", b"[1, 2, 39]"),
            request("POST /json", "", b"[1, x]"),
            request("POST /upper", "", "wren é".as_bytes()),
            request("POST /upper", "", b"\xff"),
            request("POST /echo", "", &random),
            chunked("/echo", "4\r\nfour\r\n3\r\nsix\r\n0\r\nx-sum: 42\r\n\r\n"),
            get("/large"),
            get("/headers"),
            get("/none"),
            get("/none-with-body"),
            get("/unchanged"),
            get("/teapot"),
            get("/reject"),
            get("/retry"),
            get("/other"),
            get("/bad-header"),
            get("/bad-status"),
            get("/stream"),
            get("/missing"),
            head("/hello"),
            head("/large"),
            head("/stream"),
            head("/none"),
        ];
    }
    vec![
        get("/teapot"),
        get("/empty"),
        get("/any/path?with=query"),
        request("POST /echo", "", &random),
        chunked("/echo", "4\r\nfour\r\n0\r\n\r\n"),
        request("POST /count", "", &random),
        chunked("/trailers", "4\r\nfour\r\n0\r\nx-sum: 42\r\n\r\n"),
        get("/large"),
        get("/download/3000000"),
        get("/exact"),
        head("/exact"),
        head("/large"),
    ]
}

#[test]
fn functions_answer_the_same_under_wasmtime_serve() {
    let Some(program) = wasmtime() else { return };
    for guest in ["sdk-http", "http-probe", "http-probe-p3"] {
        let app = App::new(&format!(
            r#"
            [[function]]
            name = "probe"
            component = "guest:{guest}"
            on = {{ http = "/..." }}
            limits = {{ memory = "64MiB", timeout = "60s" }}
            "#
        ));
        let ours = up(&app);
        let theirs = serve(program.clone(), guest);
        for request in requests(guest) {
            let line = request.split(|byte| *byte == b'\r').next().unwrap();
            let line = String::from_utf8_lossy(line).into_owned();
            let own = ask(address(&ours), &request);
            assert!(own.body.is_some(), "{guest} {line}: {own:?}");
            let other = ask(address(&theirs), &request);
            assert_eq!(own, other, "{guest} {line}");
        }
        // Failures are never success, wherever it runs.
        let failing = match guest {
            "sdk-http" => ["/panic", "/stream-fails"],
            _ => ["/panic-midway", "/short"],
        };
        for path in failing {
            let request = request(&format!("GET {path}"), "", b"");
            for host in [&ours, &theirs] {
                let answer = ask(address(host), &request);
                let taken = answer.status < 400 && answer.body.is_some();
                // Wasmtime itself takes what there is for all of it, where a guest of 0.2 or 0.3 panics.
                let known = std::ptr::eq(host, &theirs) && guest != "sdk-http";
                assert!(known || !taken, "{guest} {path}: {answer:?}");
            }
        }
        ours.stop();
        theirs.kill();
    }
}
