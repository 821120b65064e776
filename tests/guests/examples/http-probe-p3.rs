//! Does with each request what its path says, through `wasi:http` 0.3.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use std::sync::atomic::{AtomicU32, Ordering};

use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use wasip3::wit_bindgen::rt::async_support::StreamWriter;
use wasip3::wit_bindgen::{StreamResult, spawn_local};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Probe);

struct Probe;

/// What an instance that is used twice would show.
static REQUESTS: AtomicU32 = AtomicU32::new(0);

const MS: u64 = 1_000_000;

impl wasip3::exports::http::handler::Guest for Probe {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        Ok(match path.as_str() {
            "/seen" => {
                let seen = REQUESTS.fetch_add(1, Ordering::SeqCst);
                answer(200, seen.to_string())
            }
            "/keep" => {
                std::mem::forget(request);
                let seen = REQUESTS.fetch_add(1, Ordering::SeqCst);
                answer(200, seen.to_string())
            }
            "/teapot" => answer(418, "short and stout".to_owned()),
            printed if printed.starts_with("/print/") => {
                println!("{printed}");
                answer(200, path)
            }
            "/empty" => {
                let (_, trailers) = wit_future::new(|| Ok(None));
                let (response, _) = Response::new(Fields::new(), None, trailers);
                let _ = response.set_status_code(204);
                response
            }
            "/echo" => echo(request),
            "/count" => answer(200, count(request).await.to_string()),
            "/trailers" => trailers(request).await,
            shown if shown.starts_with("/show") => answer(200, show(&request, shown)),
            download if download.starts_with("/download/") => {
                let left = download["/download/".len()..].parse().unwrap_or(0);
                send_bytes(left)
            }
            "/error" => return Err(ErrorCode::ConfigurationError),
            "/panic" => panic!("before the answer"),
            "/panic-midway" => midway(async || panic!("in the middle")),
            "/spin" => spin(),
            "/spin-midway" => midway(async || spin()),
            "/sleep" => {
                println!("sleeping");
                monotonic_clock::wait_for(3_600_000 * MS).await;
                answer(200, String::new())
            }
            "/sleep-midway" => midway(async || monotonic_clock::wait_for(3_600_000 * MS).await),
            "/allocate" => {
                let pages = vec![1_u8; 1 << 30];
                answer(200, pages[0].to_string())
            }
            "/headers" => {
                let headers = Fields::new();
                for field in 0_u32.. {
                    if let Err(error) = headers.append(&format!("x-{field}"), b"x") {
                        panic!("{error:?}");
                    }
                }
                answer(200, path)
            }
            "/large" => {
                let (response, mut body) = start(200, Fields::new());
                spawn_local(async move {
                    for _ in 0..2_560 {
                        body.write_all(vec![b'x'; 4_096]).await;
                    }
                });
                response
            }
            // It goes on when all of its answer is written.
            "/after" | "/after-panic" => {
                let (response, mut body) = start(200, Fields::new());
                spawn_local(async move {
                    body.write_all(b"answered".to_vec()).await;
                    drop(body);
                    monotonic_clock::wait_for(50 * MS).await;
                    assert!(path == "/after", "when all was said");
                    println!("and went on");
                });
                response
            }
            "/short" | "/exact" => {
                let headers = Fields::new();
                let length = if path == "/short" { "100" } else { "4" };
                let _ = headers.append("content-length", length.as_bytes());
                let (response, mut body) = start(200, headers);
                spawn_local(async move {
                    body.write_all(b"four".to_vec()).await;
                });
                response
            }
            fetch if fetch.starts_with("/fetch/") => {
                answer(200, fetched(&fetch["/fetch/".len()..]).await)
            }
            "/abroad" => {
                let (_, trailers) = wit_future::new(|| Ok(None));
                let (request, _) = Request::new(Fields::new(), None, trailers, None);
                let _ = request.set_scheme(Some(&Scheme::Http));
                let _ = request.set_authority(Some("example.com"));
                let _ = request.set_path_with_query(Some("/"));
                answer(200, format!("{:?}", client::send(request).await.err()))
            }
            _ => answer(200, path),
        })
    }
}

fn spin() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn start(status: u16, headers: Fields) -> (Response, StreamWriter<u8>) {
    let (body, reader) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(headers, Some(reader), trailers);
    let _ = response.set_status_code(status);
    (response, body)
}

fn answer(status: u16, text: String) -> Response {
    let (response, mut body) = start(status, Fields::new());
    spawn_local(async move {
        body.write_all(text.into_bytes()).await;
    });
    response
}

/// Half of an answer, and then something else.
fn midway<F: Future<Output = ()>>(then: impl FnOnce() -> F + 'static) -> Response {
    let (response, mut body) = start(200, Fields::new());
    spawn_local(async move {
        body.write_all(b"half of it".to_vec()).await;
        // Sent by now, or soon.
        monotonic_clock::wait_for(100 * MS).await;
        then().await;
    });
    response
}

/// What it was asked for, a line for each header.
fn show(request: &Request, path: &str) -> String {
    let scheme = match request.get_scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    let authority = request.get_authority().unwrap_or_default();
    let mut lines: Vec<_> = request
        .get_headers()
        .copy_all()
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(&value)))
        .collect();
    lines.sort();
    lines.insert(
        0,
        format!("{:?} {scheme}://{authority}{path}", request.get_method()),
    );
    lines.join("\n")
}

/// What a URL answers: its status and body, or an error.
async fn fetched(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, trailers, None);
    let scheme = if scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let _ = request.set_scheme(Some(&scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    let response = match client::send(request).await {
        Err(code) => return format!("{code:?}"),
        Ok(response) => response,
    };
    let status = response.get_status_code();
    let (_, read) = wit_future::new(|| Ok(()));
    let (mut incoming, ended) = Response::consume_body(response, read);
    let mut body = Vec::new();
    loop {
        let (more, piece) = incoming.read(Vec::with_capacity(1 << 16)).await;
        body.extend(piece);
        if !matches!(more, StreamResult::Complete(_)) {
            break;
        }
    }
    // How it ended is only said here.
    match ended.await {
        Err(code) => format!("{code:?}"),
        Ok(_) => format!("{status} {}", String::from_utf8_lossy(&body)),
    }
}

/// How many bytes its body has.
async fn count(request: Request) -> u64 {
    let (_, sent) = wit_future::new(|| Ok(()));
    let (mut incoming, _) = Request::consume_body(request, sent);
    let mut bytes = 0;
    loop {
        let (status, piece) = incoming.read(Vec::with_capacity(1 << 16)).await;
        bytes += piece.len() as u64;
        if !matches!(status, StreamResult::Complete(_)) {
            return bytes;
        }
    }
}

/// So many bytes, as fast as they go.
fn send_bytes(mut left: u64) -> Response {
    let (response, mut body) = start(200, Fields::new());
    spawn_local(async move {
        while left > 0 {
            let next = left.min(1 << 16);
            body.write_all(vec![b'x'; usize::try_from(next).unwrap_or(0)])
                .await;
            left -= next;
        }
    });
    response
}

/// The trailers that came become those of the answer.
async fn trailers(request: Request) -> Response {
    let (_, sent) = wit_future::new(|| Ok(()));
    let (mut incoming, came) = Request::consume_body(request, sent);
    while let (StreamResult::Complete(_), _) = incoming.read(Vec::with_capacity(1 << 16)).await {}
    let came = came.await.ok().flatten();
    let back = Fields::new();
    for (name, value) in came.map(|came| came.copy_all()).unwrap_or_default() {
        let _ = back.append(&name, &value);
    }
    let headers = Fields::new();
    let _ = headers.append("trailer", b"x-sum");
    let (mut body, reader) = wit_stream::new();
    let (sender, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(headers, Some(reader), trailers);
    spawn_local(async move {
        body.write_all(b"behind this".to_vec()).await;
        drop(body);
        let _ = sender.write(Ok(Some(back))).await;
    });
    response
}

/// Sends back what comes, as it comes.
fn echo(request: Request) -> Response {
    let (_, sent) = wit_future::new(|| Ok(()));
    let (mut incoming, _) = Request::consume_body(request, sent);
    let (response, mut body) = start(200, Fields::new());
    spawn_local(async move {
        loop {
            let (status, piece) = incoming.read(Vec::with_capacity(4_096)).await;
            body.write_all(piece).await;
            if !matches!(status, StreamResult::Complete(_)) {
                break;
            }
        }
    });
    response
}
