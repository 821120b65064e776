//! Does with each request what its path says.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use std::sync::atomic::{AtomicU32, Ordering};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{OutputStream, StreamError};

wasip2::http::proxy::export!(Probe);

struct Probe;

/// What an instance that is used twice would show.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

impl wasip2::exports::http::incoming_handler::Guest for Probe {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/seen" => {
                let seen = REQUESTS.fetch_add(1, Ordering::SeqCst);
                answer(out, 200, seen.to_string().as_bytes());
            }
            "/keep" => {
                std::mem::forget(request);
                let seen = REQUESTS.fetch_add(1, Ordering::SeqCst);
                answer(out, 200, seen.to_string().as_bytes());
            }
            "/teapot" => answer(out, 418, b"short and stout"),
            printed if printed.starts_with("/print/") => {
                println!("{printed}");
                answer(out, 200, printed.as_bytes());
            }
            "/empty" => {
                let response = OutgoingResponse::new(Fields::new());
                response.set_status_code(204).unwrap();
                ResponseOutparam::set(out, Ok(response));
            }
            "/echo" => echo(request, out),
            "/count" => answer(out, 200, count(&request).to_string().as_bytes()),
            "/trailers" => trailers(&request, out),
            shown if shown.starts_with("/show") => {
                answer(out, 200, show(&request, shown).as_bytes());
            }
            download if download.starts_with("/download/") => {
                send_bytes(out, download["/download/".len()..].parse().unwrap());
            }
            "/none" => {}
            "/panic" => panic!("before the answer"),
            "/panic-midway" => {
                let (_body, stream) = start(out, 200);
                stream.blocking_write_and_flush(b"half of it").unwrap();
                // Sent by now, or soon.
                std::thread::sleep(std::time::Duration::from_millis(100));
                panic!("in the middle");
            }
            "/spin" => loop {
                std::hint::spin_loop();
            },
            "/sleep" => {
                println!("sleeping");
                std::thread::sleep(std::time::Duration::from_secs(3_600));
            }
            "/spin-midway" => {
                let (_body, stream) = start(out, 200);
                stream.blocking_write_and_flush(b"half of it").unwrap();
                loop {
                    std::hint::spin_loop();
                }
            }
            "/allocate" => {
                let pages = vec![1_u8; 1 << 30];
                answer(out, 200, &pages[..1]);
            }
            "/large" => {
                let (body, stream) = start(out, 200);
                let piece = vec![b'x'; 4_096];
                for _ in 0..2_560 {
                    stream.blocking_write_and_flush(&piece).unwrap();
                }
                drop(stream);
                OutgoingBody::finish(body, None).unwrap();
            }
            "/headers" => {
                let headers = Fields::new();
                for field in 0_u32.. {
                    headers.append(&format!("x-{field}"), b"x").unwrap();
                }
            }
            "/endless" => {
                let (_body, stream) = start(out, 200);
                let piece = vec![b'x'; 4_096];
                while stream.blocking_write_and_flush(&piece).is_ok() {}
            }
            "/leaked" => std::mem::forget(start(out, 200)),
            "/leaked-error" => {
                eprintln!("no cat");
                std::mem::forget(start(out, 503));
            }
            "/error-early" => {
                ResponseOutparam::set(out, Err(ErrorCode::ConfigurationError));
                // The error is answered by then.
                std::thread::sleep(std::time::Duration::from_millis(50));
                println!("and ended");
            }
            "/dropped" => {
                let (body, stream) = start(out, 200);
                drop(stream);
                drop(body);
            }
            "/leaked-late" => {
                let (body, stream) = start(out, 200);
                let piece = vec![b'x'; 4_096];
                for _ in 0..100 {
                    stream.blocking_write_and_flush(&piece).unwrap();
                }
                std::mem::forget((body, stream));
            }
            "/short" | "/exact" => {
                let headers = Fields::new();
                let length = if path == "/short" { "100" } else { "4" };
                headers.append("content-length", length.as_bytes()).unwrap();
                let response = OutgoingResponse::new(headers);
                let body = response.body().unwrap();
                ResponseOutparam::set(out, Ok(response));
                let stream = body.write().unwrap();
                stream.blocking_write_and_flush(b"four").unwrap();
                drop(stream);
                // An error where it is too short.
                let _ = OutgoingBody::finish(body, None);
            }
            fetch if fetch.starts_with("/fetch/") => {
                answer(out, 200, fetched(&fetch["/fetch/".len()..]).as_bytes());
            }
            "/abroad" => {
                let request = OutgoingRequest::new(Fields::new());
                request.set_scheme(Some(&Scheme::Http)).unwrap();
                request.set_authority(Some("example.com")).unwrap();
                request.set_path_with_query(Some("/")).unwrap();
                let said = match outgoing_handler::handle(request, None) {
                    Err(code) => format!("{code:?}"),
                    Ok(response) => {
                        response.subscribe().block();
                        format!("{:?}", response.get().unwrap().unwrap().err())
                    }
                };
                answer(out, 200, said.as_bytes());
            }
            _ => answer(out, 200, path.as_bytes()),
        }
    }
}

fn start(out: ResponseOutparam, status: u16) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().unwrap();
    (body, stream)
}

fn answer(out: ResponseOutparam, status: u16, text: &[u8]) {
    let (body, stream) = start(out, status);
    for piece in text.chunks(4_096) {
        stream.blocking_write_and_flush(piece).unwrap();
    }
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// What it was asked for, a line for each header.
fn show(request: &IncomingRequest, path: &str) -> String {
    let scheme = match request.scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    let authority = request.authority().unwrap_or_default();
    let mut lines: Vec<_> = request
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(&value)))
        .collect();
    lines.sort();
    lines.insert(
        0,
        format!("{:?} {scheme}://{authority}{path}", request.method()),
    );
    lines.join("\n")
}

/// What a URL answers: its status and body, or an error.
fn fetched(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    request.set_scheme(Some(&scheme)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    let waiting = match outgoing_handler::handle(request, None) {
        Err(code) => return format!("{code:?}"),
        Ok(waiting) => waiting,
    };
    waiting.subscribe().block();
    let response = match waiting.get().unwrap().unwrap() {
        Err(code) => return format!("{code:?}"),
        Ok(response) => response,
    };
    let incoming = response.consume().unwrap();
    let input = incoming.stream().unwrap();
    let mut body = Vec::new();
    loop {
        match input.blocking_read(1 << 16) {
            Ok(piece) => body.extend(piece),
            Err(StreamError::Closed) => break,
            Err(error) => return format!("{error}"),
        }
    }
    format!("{} {}", response.status(), String::from_utf8_lossy(&body))
}

/// How many bytes its body has.
fn count(request: &IncomingRequest) -> u64 {
    let incoming = request.consume().unwrap();
    let input = incoming.stream().unwrap();
    let mut bytes = 0;
    loop {
        match input.blocking_read(1 << 16) {
            Ok(piece) => bytes += piece.len() as u64,
            Err(StreamError::Closed) => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

/// So many bytes, as fast as they go.
fn send_bytes(out: ResponseOutparam, mut left: u64) {
    let (body, stream) = start(out, 200);
    let piece = vec![b'x'; 1 << 16];
    let ready = stream.subscribe();
    while left > 0 {
        let room = stream.check_write().unwrap();
        if room == 0 {
            ready.block();
            continue;
        }
        let next = left.min(room).min(piece.len() as u64);
        stream
            .write(&piece[..usize::try_from(next).unwrap()])
            .unwrap();
        left -= next;
    }
    stream.blocking_flush().unwrap();
    drop(ready);
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// The trailers that came become those of the answer.
fn trailers(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let input = incoming.stream().unwrap();
    while input.blocking_read(1 << 16).is_ok() {}
    drop(input);
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let came = trailers.get().unwrap().unwrap().unwrap();
    let headers = Fields::new();
    headers.append("trailer", b"x-sum").unwrap();
    let response = OutgoingResponse::new(headers);
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().unwrap();
    stream.blocking_write_and_flush(b"behind this").unwrap();
    drop(stream);
    let back = Fields::new();
    for (name, value) in came.map(|came| came.entries()).unwrap_or_default() {
        back.append(&name, &value).unwrap();
    }
    OutgoingBody::finish(body, Some(back)).unwrap();
}

/// Sends back what comes, as it comes.
fn echo(request: IncomingRequest, out: ResponseOutparam) {
    let (body, stream) = start(out, 200);
    let incoming = request.consume().unwrap();
    let input = incoming.stream().unwrap();
    loop {
        match input.blocking_read(4_096) {
            Ok(piece) => stream.blocking_write_and_flush(&piece).unwrap(),
            Err(StreamError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}
