//! Has effects, by a request's path.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here is a trap, which the tests see"
)]

mod work;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::{OutputStream, StreamError};

wasip2::http::proxy::export!(Effects);

struct Effects;

impl wasip2::exports::http::incoming_handler::Guest for Effects {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        if path == "/answer-first" {
            let (body, stream) = start(out, 200);
            stream
                .blocking_write_and_flush(work::late().as_bytes())
                .unwrap();
            drop(stream);
            OutgoingBody::finish(body, None).unwrap();
            return;
        }
        let worked = work::work(&read(&request));
        if path == "/try" {
            match worked {
                Ok(text) => answer(out, 201, &text),
                Err(error) => answer(out, 422, &error.to_string()),
            }
            return;
        }
        let text = worked.unwrap();
        match path.as_str() {
            "/work" => answer(out, 201, &text),
            "/refuse" => answer(out, 422, &text),
            "/discard" => answer(out, 400, &text),
            "/fail" => answer(out, 503, &text),
            "/trap" => panic!("before the answer"),
            "/trap-late" => {
                answer(out, 201, &text);
                panic!("after the answer");
            }
            "/move-late" => {
                answer(out, 303, &text);
                panic!("after the answer");
            }
            "/large" => answer(out, 201, &"x".repeat(2 << 20)),
            "/none" => answer(out, 204, ""),
            "/unchanged" => answer(out, 304, ""),
            "/trailers" => {
                let announced = Fields::new();
                announced.append("trailer", b"x-last").unwrap();
                let (body, stream) = begin(out, announced, 201);
                stream.blocking_write_and_flush(text.as_bytes()).unwrap();
                drop(stream);
                let trailers = Fields::new();
                trailers.append("x-last", b"word").unwrap();
                OutgoingBody::finish(body, Some(trailers)).unwrap();
            }
            "/same" => answer(out, 201, &work::same().unwrap()),
            "/held" => {
                println!("held");
                wait();
                answer(out, 201, &text);
            }
            "/held-midway" => {
                let (body, stream) = start(out, 201);
                stream.blocking_write_and_flush(text.as_bytes()).unwrap();
                wait();
                drop(stream);
                OutgoingBody::finish(body, None).unwrap();
            }
            path => panic!("{path}"),
        }
    }
}

fn wait() {
    while !work::may_go_on().unwrap() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn start(out: ResponseOutparam, status: u16) -> (OutgoingBody, OutputStream) {
    let headers = Fields::new();
    headers.append("x-own", b"one").unwrap();
    headers.append("x-own", b"two").unwrap();
    if status == 400 {
        headers.append("kinglet-effects", b"none").unwrap();
    }
    begin(out, headers, status)
}

fn begin(out: ResponseOutparam, headers: Fields, status: u16) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().unwrap();
    (body, stream)
}

fn answer(out: ResponseOutparam, status: u16, text: &str) {
    let (body, stream) = start(out, status);
    for piece in text.as_bytes().chunks(4_096) {
        stream.blocking_write_and_flush(piece).unwrap();
    }
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

fn read(request: &IncomingRequest) -> Vec<u8> {
    let incoming = request.consume().unwrap();
    let input = incoming.stream().unwrap();
    let mut bytes = Vec::new();
    loop {
        match input.blocking_read(1 << 16) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}
