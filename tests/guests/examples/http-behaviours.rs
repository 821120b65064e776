//! Uses `wasi:http` 0.2 in the ways that its path names, and answers with what it saw, a line for each.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingRequest, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme, http_error_code,
};
use wasip2::io::streams::StreamError;

wasip2::http::proxy::export!(Behaviours);

struct Behaviours;

impl wasip2::exports::http::incoming_handler::Guest for Behaviours {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, authority) = path.split_once("?to=").unwrap_or((&path, ""));
        let lines = match path {
            "/fields" => fields(),
            "/requests" => requests(),
            "/lengths" => lengths(authority),
            "/timeouts" => timeouts(authority),
            "/schemes" => schemes(authority),
            "/dropped" => dropped(authority),
            "/at-once" => at_once(authority),
            "/large" => large(authority),
            other => vec![format!("nothing at {other}")],
        };
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        stream
            .blocking_write_and_flush(lines.join("\n").as_bytes())
            .unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}

/// What headers may be.
fn fields() -> Vec<String> {
    let mut said = Vec::new();
    let fields = Fields::new();
    for (name, value) in [
        ("x-fine", "a value"),
        ("malformed name", "x"),
        ("", "x"),
        ("x-bad", "two\nlines"),
        ("x-bad", "two\r\nx-other: lines"),
        ("x-bad", "\0"),
        ("Connection", "close"),
        ("Keep-Alive", "x"),
        ("Host", "example.com"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "x"),
        ("Proxy-Connection", "x"),
        ("HTTP2-Settings", "x"),
    ] {
        let appended = fields.append(name, value.as_bytes());
        said.push(format!("append {name:?} {value:?}: {appended:?}"));
    }
    let listed = Fields::from_list(&[("bad name".to_owned(), b"x".to_vec())]);
    said.push(format!("from-list: {:?}", listed.err()));
    let request = OutgoingRequest::new(fields);
    let fields = request.headers();
    said.push(format!("set: {:?}", fields.set("x-late", &[b"x".to_vec()])));
    said.push(format!("delete: {:?}", fields.delete("x-fine")));
    said
}

/// What a request may be made of.
fn requests() -> Vec<String> {
    let request = OutgoingRequest::new(Fields::new());
    let method = |name: &str| request.set_method(&Method::Other(name.to_owned()));
    let authority = |text| request.set_authority(Some(text));
    let path = |text| request.set_path_with_query(Some(text));
    vec![
        format!("method PURGE: {:?}", method("PURGE")),
        format!("method with a space: {:?}", method("two words")),
        format!("method with a line: {:?}", method("GET\r\nx: y")),
        format!("authority [::1]:80: {:?}", authority("[::1]:80")),
        format!("authority with a line: {:?}", authority("a\r\nb")),
        format!("authority with a port: {:?}", authority("localhost:99999")),
        format!("path: {:?}", path("/a?b=c")),
        format!("path with a line: {:?}", path("/a\r\nx: y")),
        format!("path with a space: {:?}", path("/a b")),
    ]
}

fn request(authority: &str, path: Option<&str>, fields: Fields) -> OutgoingRequest {
    let request = OutgoingRequest::new(fields);
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(path).unwrap();
    request
}

/// What comes of a request: its status and how many bytes, or an error.
fn outcome(sent: Result<FutureIncomingResponse, ErrorCode>) -> String {
    let waiting = match sent {
        Ok(waiting) => waiting,
        Err(code) => return format!("{code:?}"),
    };
    waiting.subscribe().block();
    let response = match waiting.get().unwrap().unwrap() {
        Ok(response) => response,
        Err(code) => return format!("{code:?}"),
    };
    let status = response.status();
    let body = response.consume().unwrap();
    let stream = body.stream().unwrap();
    let mut bytes = 0;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(piece) => bytes += piece.len(),
            Err(StreamError::Closed) => return format!("{status}, {bytes} bytes"),
            Err(error) => return failed(error),
        }
    }
}

fn failed(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => format!("{:?}", http_error_code(&error)),
    }
}

/// Bodies that are as long as was told, shorter and longer.
fn lengths(authority: &str) -> Vec<String> {
    ["eleven long", "short", "longer than eleven"]
        .map(|text| {
            let fields = Fields::new();
            fields.append("content-length", b"11").unwrap();
            let request = request(authority, Some("/count"), fields);
            request.set_method(&Method::Post).unwrap();
            let body = request.body().unwrap();
            let sent = outgoing_handler::handle(request, None);
            let stream = body.write().unwrap();
            let wrote = stream.blocking_write_and_flush(text.as_bytes());
            let wrote = wrote.map_or_else(failed, |()| "written".to_owned());
            drop(stream);
            let finished = OutgoingBody::finish(body, None);
            format!("{text}: {wrote}, {finished:?}, {}", outcome(sent))
        })
        .to_vec()
}

/// A server that says nothing.
fn timeouts(authority: &str) -> Vec<String> {
    let options = RequestOptions::new();
    options.set_first_byte_timeout(Some(200_000_000)).unwrap();
    let sent = request(authority, Some("/"), Fields::new());
    vec![outcome(outgoing_handler::handle(sent, Some(options)))]
}

/// What has no path, and schemes.
fn schemes(authority: &str) -> Vec<String> {
    let without_path = request(authority, None, Fields::new());
    let other = request(authority, Some("/"), Fields::new());
    let scheme = Scheme::Other("wss".to_owned());
    let taken = other.set_scheme(Some(&scheme));
    let nowhere = OutgoingRequest::new(Fields::new());
    nowhere.set_scheme(Some(&Scheme::Http)).unwrap();
    vec![
        outcome(outgoing_handler::handle(without_path, None)),
        format!(
            "{taken:?} {}",
            outcome(outgoing_handler::handle(other, None))
        ),
        outcome(outgoing_handler::handle(nowhere, None)),
    ]
}

/// Handles that go before what they are of has ended.
fn dropped(authority: &str) -> Vec<String> {
    let send = |path| {
        let sent = request(authority, Some(path), Fields::new());
        outgoing_handler::handle(sent, None).unwrap()
    };
    // Before the head.
    drop(send("/download/1000000"));
    // Before the body, and in the middle of it.
    for reads in [0, 1] {
        let waiting = send("/download/100000000");
        waiting.subscribe().block();
        let response = waiting.get().unwrap().unwrap().unwrap();
        let body = response.consume().unwrap();
        let stream = body.stream().unwrap();
        for _ in 0..reads {
            stream.blocking_read(1 << 16).unwrap();
        }
    }
    // A body that isn't finished.
    let post = request(authority, Some("/count"), Fields::new());
    post.set_method(&Method::Post).unwrap();
    let body = post.body().unwrap();
    let sent = outgoing_handler::handle(post, None);
    drop(body);
    vec![
        format!("unfinished: {}", outcome(sent)),
        format!("after: {}", outcome(Ok(send("/teapot")))),
    ]
}

/// Several requests under way at once.
fn at_once(authority: &str) -> Vec<String> {
    let begun: Vec<_> = (0..8)
        .map(|number| {
            let path = format!("/print/{number}");
            let sent = request(authority, Some(&path), Fields::new());
            outgoing_handler::handle(sent, None)
        })
        .collect();
    begun.into_iter().rev().map(outcome).collect()
}

/// A request of some megabytes, whose body its server reads while it comes.
fn large(authority: &str) -> Vec<String> {
    let post = request(authority, Some("/count"), Fields::new());
    post.set_method(&Method::Post).unwrap();
    let body = post.body().unwrap();
    let sent = outgoing_handler::handle(post, None);
    let stream = body.write().unwrap();
    let piece = [b'x'; 4_096];
    for _ in 0..1_000 {
        stream.blocking_write_and_flush(&piece).unwrap();
    }
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
    vec![outcome(sent)]
}
