//! Has effects, by a request's path, through `wasi:http` 0.3.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here is a trap, which the tests see"
)]

mod work;

use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_bindgen::rt::async_support::StreamWriter;
use wasip3::wit_bindgen::{StreamResult, spawn_local};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Effects);

struct Effects;

const MS: u64 = 1_000_000;

impl wasip3::exports::http::handler::Guest for Effects {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        if path == "/answer-first" {
            let (response, mut body) = start(200);
            spawn_local(async move {
                // The head has left by now, or soon.
                monotonic_clock::wait_for(100 * MS).await;
                body.write_all(work::late().into_bytes()).await;
            });
            return Ok(response);
        }
        let worked = work::work(&read(request).await);
        if path == "/try" {
            return Ok(match worked {
                Ok(text) => answer(201, text),
                Err(error) => answer(422, error.to_string()),
            });
        }
        let text = worked.unwrap();
        Ok(match path.as_str() {
            "/work" => answer(201, text),
            "/refuse" => answer(422, text),
            "/discard" => answer(400, text),
            "/fail" => answer(503, text),
            "/trap" => panic!("before the answer"),
            "/trap-late" | "/move-late" => {
                let (response, mut body) = start(if path == "/trap-late" { 201 } else { 303 });
                spawn_local(async move {
                    body.write_all(text.into_bytes()).await;
                    panic!("after the answer");
                });
                response
            }
            "/large" => answer(201, "x".repeat(2 << 20)),
            "/none" => empty(204),
            "/unchanged" => empty(304),
            "/trailers" => trailers(text),
            "/same" => answer(201, work::same().unwrap()),
            "/held" => {
                println!("held");
                wait().await;
                answer(201, text)
            }
            "/held-midway" => {
                let (response, mut body) = start(201);
                spawn_local(async move {
                    body.write_all(text.into_bytes()).await;
                    wait().await;
                });
                response
            }
            path => panic!("{path}"),
        })
    }
}

async fn wait() {
    while !work::may_go_on().unwrap() {
        monotonic_clock::wait_for(5 * MS).await;
    }
}

fn start(status: u16) -> (Response, StreamWriter<u8>) {
    let headers = Fields::new();
    headers.append("x-own", b"one").unwrap();
    headers.append("x-own", b"two").unwrap();
    if status == 400 {
        headers.append("kinglet-effects", b"none").unwrap();
    }
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (body, contents) = wit_stream::new();
    let (response, _) = Response::new(headers, Some(contents), trailers);
    response.set_status_code(status).unwrap();
    (response, body)
}

fn answer(status: u16, text: String) -> Response {
    let (response, mut body) = start(status);
    spawn_local(async move {
        body.write_all(text.into_bytes()).await;
    });
    response
}

fn empty(status: u16) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), None, trailers);
    response.set_status_code(status).unwrap();
    response
}

fn trailers(text: String) -> Response {
    let (last, trailers) = wit_future::new(|| Ok(None));
    let (mut body, contents) = wit_stream::new();
    let announced = Fields::new();
    announced.append("trailer", b"x-last").unwrap();
    let (response, _) = Response::new(announced, Some(contents), trailers);
    response.set_status_code(201).unwrap();
    spawn_local(async move {
        body.write_all(text.into_bytes()).await;
        drop(body);
        let fields = Fields::new();
        fields.append("x-last", b"word").unwrap();
        let _ = last.write(Ok(Some(fields))).await;
    });
    response
}

async fn read(request: Request) -> Vec<u8> {
    let (_, sent) = wit_future::new(|| Ok(()));
    let (mut incoming, _) = Request::consume_body(request, sent);
    let mut bytes = Vec::new();
    loop {
        let (status, piece) = incoming.read(Vec::with_capacity(1 << 16)).await;
        bytes.extend(piece);
        if !matches!(status, StreamResult::Complete(_)) {
            return bytes;
        }
    }
}
