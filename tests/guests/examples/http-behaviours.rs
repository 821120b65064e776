//! Uses `wasi:http` 0.2 in the ways that its path names, and answers with what it saw, a line for each.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme, http_error_code,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

wasip2::http::proxy::export!(Behaviours);

struct Behaviours;

impl wasip2::exports::http::incoming_handler::Guest for Behaviours {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, authority) = path.split_once("?to=").unwrap_or((&path, ""));
        if let Some(onwards) = path.strip_prefix("/through") {
            return through(&request, authority, onwards, out);
        }
        let headers = Fields::new();
        let lines = match path {
            "/fields" => fields(),
            "/requests" => requests(),
            "/lengths" => lengths(authority),
            "/timeouts" => timeouts(authority),
            "/pauses" => pauses(authority),
            "/connects" => connects(authority),
            "/schemes" => schemes(authority),
            "/dropped" => dropped(authority),
            "/at-once" => at_once(authority),
            "/large" => large(authority),
            "/trailers" => trailers(authority),
            "/get" => vec![outcome(send(authority, "/"))],
            "/head" => head(&request),
            "/field-limit" => field_limit(authority),
            "/large-head" => {
                headers.append("x-large", &[b'x'; 60_000]).unwrap();
                Vec::new()
            }
            other => vec![format!("nothing at {other}")],
        };
        let response = OutgoingResponse::new(headers);
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
    said.push(format!("append: {:?}", fields.append("x-late", b"x")));
    said
}

/// What a request and an answer may be made of.
fn requests() -> Vec<String> {
    let request = OutgoingRequest::new(Fields::new());
    let method = |name: &str| request.set_method(&Method::Other(name.to_owned()));
    let scheme = |name: &str| request.set_scheme(Some(&Scheme::Other(name.to_owned())));
    let authority = |text| request.set_authority(Some(text));
    let path = |text| request.set_path_with_query(Some(text));
    let response = OutgoingResponse::new(Fields::new());
    let status = |code| response.set_status_code(code);
    vec![
        format!("method PURGE: {:?}", method("PURGE")),
        format!("method with a space: {:?}", method("two words")),
        format!("method with a line: {:?}", method("GET\r\nx: y")),
        format!("authority [::1]:80: {:?}", authority("[::1]:80")),
        format!("authority [::1]: {:?}", authority("[::1]")),
        format!("authority with a line: {:?}", authority("a\r\nb")),
        format!("authority with ports: {:?}", authority("a:1:2")),
        format!("authority with a port: {:?}", authority("localhost:99999")),
        format!("authority with a port of none: {:?}", authority("a:")),
        format!("scheme wss: {:?}", scheme("wss")),
        format!("scheme with a line: {:?}", scheme("a\r\nb")),
        format!("path: {:?}", path("/a?b=c")),
        format!("path with a line: {:?}", path("/a\r\nx: y")),
        format!("path with a space: {:?}", path("/a b")),
        format!("status 299: {:?}", status(299)),
        format!("status too low: {:?}", status(99)),
        format!("status too high: {:?}", status(600)),
    ]
}

fn request(authority: &str, path: Option<&str>, fields: Fields) -> OutgoingRequest {
    let request = OutgoingRequest::new(fields);
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(path).unwrap();
    request
}

fn send(authority: &str, path: &str) -> Result<FutureIncomingResponse, ErrorCode> {
    outgoing_handler::handle(request(authority, Some(path), Fields::new()), None)
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

/// A server that stops in the middle of what it says.
fn pauses(authority: &str) -> Vec<String> {
    let options = RequestOptions::new();
    options
        .set_between_bytes_timeout(Some(200_000_000))
        .unwrap();
    let sent = request(authority, Some("/"), Fields::new());
    vec![outcome(outgoing_handler::handle(sent, Some(options)))]
}

/// A server that takes no connection: who has little patience is to be told before who has the host's.
fn connects(authority: &str) -> Vec<String> {
    let patient = send(authority, "/").unwrap();
    // So that it ends before one of the same patience.
    monotonic_clock::subscribe_duration(10_000_000).block();
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(200_000_000)).unwrap();
    let hasty = request(authority, Some("/"), Fields::new());
    let hasty = outcome(outgoing_handler::handle(hasty, Some(options)));
    let first = match patient.subscribe().ready() {
        false => "hasty",
        true => "patient",
    };
    vec![format!("{first}: {hasty}")]
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
    let send = |path| send(authority, path).unwrap();
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
            send(authority, &path)
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

/// A request whose head is nearly as large as it may be.
fn field_limit(authority: &str) -> Vec<String> {
    let large = Fields::new();
    large.append("x-large", &[b'x'; 60_000]).unwrap();
    let request = request(authority, Some("/show"), large);
    let sent = outgoing_handler::handle(request, None);
    vec![format!("large: {}", outcome(sent))]
}

/// How large its headers are, by name.
fn head(request: &IncomingRequest) -> Vec<String> {
    let headers = request.headers().entries();
    let headers = headers.iter();
    let lines = headers.map(|(name, value)| format!("{name}: {}", value.len()));
    lines.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Trailers that are sent, and those that come back.
fn trailers(authority: &str) -> Vec<String> {
    let headers = Fields::new();
    headers.append("trailer", b"x-sum").unwrap();
    headers.append("te", b"trailers").unwrap();
    let post = request(authority, Some("/trailers"), headers);
    post.set_method(&Method::Post).unwrap();
    let body = post.body().unwrap();
    let waiting = outgoing_handler::handle(post, None).unwrap();
    let stream = body.write().unwrap();
    stream.blocking_write_and_flush(b"body").unwrap();
    drop(stream);
    let trailers = Fields::new();
    trailers.append("x-sum", b"42").unwrap();
    let sent = OutgoingBody::finish(body, Some(trailers));
    waiting.subscribe().block();
    let response = waiting.get().unwrap().unwrap().unwrap();
    let body = response.consume().unwrap();
    let stream = body.stream().unwrap();
    let mut came = Vec::new();
    while let Ok(piece) = stream.blocking_read(1 << 16) {
        came.extend(piece);
    }
    drop(stream);
    let ended = IncomingBody::finish(body);
    ended.subscribe().block();
    let trailers = ended.get().unwrap().unwrap().unwrap();
    let trailers = trailers.map(|trailers| trailers.entries());
    let trailers = trailers.unwrap_or_default();
    let trailers: Vec<_> = trailers
        .iter()
        .map(|(name, value)| format!("{name}: {}", text(value)))
        .collect();
    vec![
        format!("body: {}", text(&came)),
        format!("came: {}", trailers.join(", ")),
        format!("sent: {sent:?}"),
    ]
}

/// A body on its way from one side to the other.
struct Pipe {
    from: InputStream,
    to: OutputStream,
}

impl Pipe {
    /// Passes on what there is, and gives what to wait for; none at the end.
    fn pass(&self) -> Option<Pollable> {
        loop {
            let room = self.to.check_write().ok()?;
            if room == 0 {
                return Some(self.to.subscribe());
            }
            let piece = self.from.read(room.min(1 << 16)).ok()?;
            if piece.is_empty() {
                return Some(self.from.subscribe());
            }
            self.to.write(&piece).ok()?;
        }
    }
}

/// Passes a request on to another server, and its answer back, both while they come.
fn through(incoming: &IncomingRequest, authority: &str, path: &str, out: ResponseOutparam) {
    let onwards = request(authority, Some(path), incoming.headers().clone());
    onwards.set_method(&incoming.method()).unwrap();
    let (from, to) = (incoming.consume().unwrap(), onwards.body().unwrap());
    let waiting = outgoing_handler::handle(onwards, None).unwrap();
    let up = Pipe {
        from: from.stream().unwrap(),
        to: to.write().unwrap(),
    };
    let (mut up, mut out, mut down) = (Some((up, to)), Some(out), None);
    while up.is_some() || out.is_some() || down.is_some() {
        let mut waits = Vec::new();
        if let Some((pipe, to)) = up.take() {
            match pipe.pass() {
                Some(wait) => {
                    waits.push(wait);
                    up = Some((pipe, to));
                }
                None => {
                    drop(pipe);
                    OutgoingBody::finish(to, None).unwrap();
                }
            }
        }
        if let Some(sender) = out.take() {
            match waiting.get() {
                None => {
                    waits.push(waiting.subscribe());
                    out = Some(sender);
                }
                Some(answer) => {
                    let answer = answer.unwrap().unwrap();
                    let response = OutgoingResponse::new(answer.headers().clone());
                    response.set_status_code(answer.status()).unwrap();
                    let (from, to) = (answer.consume().unwrap(), response.body().unwrap());
                    ResponseOutparam::set(sender, Ok(response));
                    let pipe = Pipe {
                        from: from.stream().unwrap(),
                        to: to.write().unwrap(),
                    };
                    down = Some((pipe, to, from, answer));
                }
            }
        }
        if let Some((pipe, to, from, answer)) = down.take() {
            match pipe.pass() {
                Some(wait) => {
                    waits.push(wait);
                    down = Some((pipe, to, from, answer));
                }
                None => {
                    drop(pipe);
                    OutgoingBody::finish(to, None).unwrap();
                }
            }
        }
        if !waits.is_empty() {
            poll(&waits.iter().collect::<Vec<_>>());
        }
    }
}
