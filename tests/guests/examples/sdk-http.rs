//! Does with each request what its path says, by way of the SDK: without an import that `wasmtime serve` hasn't.

use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinglet_sdk::http::{self, Method};
use kinglet_sdk::{Error, Failure, Request, Response};

/// The path that this instance answered before.
static LAST: Mutex<String> = Mutex::new(String::new());

#[expect(clippy::panic, reason = "a trap, which the tests see")]
#[kinglet_sdk::http]
fn api(request: Request) -> Result<Response, Failure> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::mem::replace(&mut *last, request.path().to_owned());
    drop(last);
    match (request.method(), request.path()) {
        (_, "/hello") => Ok(Response::text("Hello, world!\n")),
        (_, "/last") => Ok(Response::text(before)),
        (_, "/show") => Ok(Response::text(show(&request))),
        (_, "/json") => {
            let numbers: Vec<i64> = request.json()?;
            Ok(Response::json(&numbers.iter().sum::<i64>())?)
        }
        (Method::Post, "/echo") => {
            let mut body = request.reader()?;
            Ok(Response::stream(move |writer| {
                let mut piece = vec![0; 64 << 10];
                loop {
                    let count = body.read(&mut piece)?;
                    if count == 0 {
                        return Ok(());
                    }
                    writer.write_all(piece.get(..count).unwrap_or_default())?;
                    writer.flush()?;
                }
            }))
        }
        (Method::Post, "/upper") => Ok(Response::text(request.text()?.to_uppercase())),
        (_, "/large") => Ok(Response::bytes(vec![b'x'; 3 << 20], "text/plain")),
        (_, "/headers") => Ok(Response::new(207)
            .append("set-cookie", "a=1")
            .append("set-cookie", "b=2")
            .header("x-name", "wren")
            .body("cookies")),
        (_, "/none") => Ok(Response::new(204)),
        (_, "/none-with-body") => Ok(Response::text("unseen").status(204)),
        (_, "/unchanged") => Ok(Response::new(304).header("etag", "\"1\"")),
        (_, "/teapot") => Ok(Response::text("short and stout").status(418)),
        (_, "/reject") => Err(Failure::reject("the request has no bird in it")),
        (_, "/retry") => Err(Failure::retry_after(
            "the vault is busy",
            Duration::from_millis(1_500),
        )),
        (_, "/other") => Err("the password is hunter2")?,
        (_, "/bad-header") => Ok(Response::new(200).header("x-bad", "one\r\nx-other: two")),
        (_, "/bad-status") => Ok(Response::new(101)),
        (_, "/panic") => panic!("before the answer"),
        (_, "/stream") => Ok(Response::stream(|writer| {
            for line in 0..10_000 {
                writeln!(writer, "line {line}")?;
            }
            Ok(())
        })),
        (_, "/stream-fails") => Ok(Response::stream(|writer| {
            writer.write_all(b"half of it")?;
            writer.flush()?;
            Err(io::Error::other("the disk is full"))?;
            Ok(())
        })),
        (_, download) if download.starts_with("/download/") => {
            let bytes: usize = download
                .trim_start_matches("/download/")
                .parse()
                .map_err(Failure::reject)?;
            Ok(Response::stream(move |writer| {
                let piece = vec![b'x'; 64 << 10];
                let mut left = bytes;
                while left > 0 {
                    let next = left.min(piece.len());
                    writer.write_all(piece.get(..next).unwrap_or_default())?;
                    left -= next;
                }
                Ok(())
            }))
        }
        (_, "/events") => Ok(events()),
        (_, "/fetch") => fetch(&request),
        (_, path) => Ok(Response::text(format!("nothing at {path}\n")).status(404)),
    }
}

/// What the request says of itself, without what differs from host to host.
fn show(request: &Request) -> String {
    let mut lines = vec![format!("{} {}", request.method(), request.path())];
    let pairs = request.query().iter();
    lines.extend(pairs.map(|(name, value)| format!("?{name}={value}")));
    let own = request
        .headers()
        .iter()
        .filter(|(name, _)| name.starts_with("x-test"));
    lines.extend(own.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))));
    if let Some(id) = request.parameter("id") {
        lines.push(format!("id {id}"));
    }
    lines.push(format!(
        "{} bytes",
        request.body().map_or(0, |body| body.len())
    ));
    lines.join("\n")
}

/// Server-sent events: for ever.
fn events() -> Response {
    let stream = Response::stream(|writer| {
        for event in 0_u64.. {
            write!(writer, "data: {event}\n\n")?;
            writer.flush()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    stream
        .header("content-type", "text/event-stream")
        .header("cache-control", "no-store")
}

/// What a server answers to the method and body of the request.
fn fetch(request: &Request) -> Result<Response, Failure> {
    let url = request.query().get("url").ok_or("no `url`")?;
    let sent = http::request(request.method().clone(), url)
        .header("x-test-sent", "yes")
        .timeout(Duration::from_secs(20))
        .body(request.body()?)
        .send();
    let answer = match sent {
        Ok(answer) => answer,
        Err(Error::Denied(text)) => return Ok(Response::text(text).status(403)),
        Err(Error::Invalid(text)) => return Ok(Response::text(text).status(422)),
        Err(error) => return Ok(Response::text(error.to_string()).status(502)),
    };
    let mut response = Response::new(answer.status_code());
    if let Some(kind) = answer.header("content-type") {
        response = response.header("content-type", kind);
    }
    match answer.body() {
        Ok(body) => Ok(response.body(body)),
        Err(error) => Ok(Response::text(error.to_string()).status(502)),
    }
}
