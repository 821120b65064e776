//! Uses `wasi:http` 0.3 in the ways that its path names, and answers with what it saw, a line for each.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use wasip3::clocks::monotonic_clock;
use wasip3::http::client;
use wasip3::http::types::{
    ErrorCode, Fields, HeaderError, Method, Request, RequestOptions, Response, Scheme, Trailers,
};
use wasip3::wit_bindgen::rt::async_support::{
    FutureReader, FutureWriter, StreamReader, StreamWriter,
};
use wasip3::wit_bindgen::{StreamResult, spawn_local};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Behaviours);

struct Behaviours;

const MS: u64 = 1_000_000;

/// What ends a body: its trailers, or what broke it.
type End = Result<Option<Trailers>, ErrorCode>;

impl wasip3::exports::http::handler::Guest for Behaviours {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (path, authority) = path.split_once("?to=").unwrap_or((&path, ""));
        let lines = match path {
            "/fields" => fields(),
            "/copies" => copies(),
            "/field-limit" => field_limit(authority).await,
            "/full" => full(authority).await,
            "/requests" => requests(),
            "/options" => options(),
            "/lengths" => lengths(authority).await,
            "/timeouts" => timeouts(authority).await,
            "/pauses" => pauses(authority).await,
            "/connects" => connects(authority).await,
            "/schemes" => schemes(authority).await,
            "/dropped" => dropped(authority).await,
            "/at-once" => at_once(authority).await,
            "/large" => large(authority).await,
            "/large-both" => large_both(authority).await,
            "/growing" => growing(authority).await,
            "/trailers" => trailers(authority).await,
            "/no-trailers" => no_trailers(authority).await,
            "/get" => vec![outcome(client::send(get(authority, "/")).await).await],
            "/refused" => refused(authority).await,
            "/head" => head(&request),
            "/pieces" => pieces(request).await,
            "/twice" => twice(request).await,
            "/own" => own().await,
            "/rest" => return Ok(rest(request).await),
            "/large-head" => return Ok(large_head()),
            "/bodyless" => return Ok(bodyless()),
            "/broken" => return Ok(broken()),
            "/told" => return Ok(told(1, Some(8 << 10))),
            "/told-short" => return Ok(told(1, Some(10_000))),
            "/told-large" => return Ok(told(4_096, None)),
            "/told-all" => return Ok(told(4_096, Some(32 << 20))),
            "/chained" => return Ok(chained(request)),
            other => {
                if let Some(onwards) = other.strip_prefix("/proxy") {
                    return client::send(forwarded(request, authority, onwards)).await;
                }
                if let Some(onwards) = other.strip_prefix("/through") {
                    return through(request, authority, onwards).await;
                }
                vec![format!("nothing at {other}")]
            }
        };
        let (response, mut body, _) = start(Fields::new());
        spawn_local(async move {
            body.write_all(lines.join("\n").into_bytes()).await;
        });
        Ok(response)
    }
}

/// An answer whose trailers are none.
fn start(
    headers: Fields,
) -> (
    Response,
    StreamWriter<u8>,
    FutureReader<Result<(), ErrorCode>>,
) {
    let (body, contents) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, sent) = Response::new(headers, Some(contents), trailers);
    (response, body, sent)
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
    let request = plain(fields);
    let fields = request.get_headers();
    said.push(format!("set: {:?}", fields.set("x-late", &[b"x".to_vec()])));
    said.push(format!("delete: {:?}", fields.delete("x-fine")));
    said.push(format!("append: {:?}", fields.append("x-late", b"x")));
    said
}

/// Headers that are copied, taken out, and outlive what they are of.
fn copies() -> Vec<String> {
    let fields = Fields::new();
    fields.append("x-fine", b"a value").unwrap();
    let request = plain(fields);
    let fields = request.get_headers();
    let copy = fields.clone();
    let taken = copy.get_and_delete("x-fine").unwrap();
    drop(request);
    vec![
        format!("immutable: {:?}", fields.get_and_delete("x-fine")),
        format!("taken: {}", text(&taken.concat())),
        format!("copy: {}", copy.has("x-fine")),
        format!("kept: {}", text(&fields.get("x-fine").concat())),
        format!("bad name: {}", fields.has("two words")),
    ]
}

/// A request whose head is nearly as large as it may be, and one field more.
async fn field_limit(authority: &str) -> Vec<String> {
    let large = Fields::new();
    large.append("x-large", &[b'x'; 60_000]).unwrap();
    let more = large.append("x-more", &[b'x'; 6_000]);
    vec![
        format!("large: {}", shown(authority, large).await),
        format!("more: {more:?}"),
    ]
}

/// A request that has as many fields as may be.
async fn full(authority: &str) -> Vec<String> {
    let full = Fields::new();
    full.append("x-large", &[b'x'; 64_000]).unwrap();
    while full.append("x", b"").is_ok() {}
    vec![shown(authority, full).await]
}

/// What comes of a request with these.
async fn shown(authority: &str, headers: Fields) -> String {
    let request = plain(headers);
    aim(&request, authority, Some("/show"));
    outcome(client::send(request).await).await
}

/// What a request and an answer may be made of.
fn requests() -> Vec<String> {
    let request = plain(Fields::new());
    let method = |name: &str| request.set_method(&Method::Other(name.to_owned()));
    let scheme = |name: &str| request.set_scheme(Some(&Scheme::Other(name.to_owned())));
    let authority = |text| request.set_authority(Some(text));
    let path = |text| request.set_path_with_query(Some(text));
    let (response, ..) = start(Fields::new());
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

/// What options keep, and who may change them.
fn options() -> Vec<String> {
    let options = RequestOptions::new();
    let mut said = vec![
        format!("connect: {:?}", options.set_connect_timeout(Some(1))),
        format!("first: {:?}", options.set_first_byte_timeout(Some(2))),
        format!("between: {:?}", options.set_between_bytes_timeout(Some(3))),
        format!("kept: {:?}", kept(&options)),
    ];
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, trailers, Some(options));
    let options = request.get_options().unwrap();
    let changed = [
        options.set_connect_timeout(None),
        options.set_first_byte_timeout(None),
        options.set_between_bytes_timeout(None),
    ];
    said.push(format!("of a request: {:?}", kept(&options)));
    said.extend(changed.map(|changed| format!("changed: {changed:?}")));
    let copy = options.clone();
    copy.set_first_byte_timeout(None).unwrap();
    said.push(format!("copy: {:?}, {:?}", kept(&copy), kept(&options)));
    let without = plain(Fields::new()).get_options();
    said.push(format!("none: {}", without.is_none()));
    said
}

fn kept(options: &RequestOptions) -> [Option<u64>; 3] {
    [
        options.get_connect_timeout(),
        options.get_first_byte_timeout(),
        options.get_between_bytes_timeout(),
    ]
}

/// A request without a body.
fn plain(headers: Fields) -> Request {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Request::new(headers, None, trailers, None).0
}

fn aim(request: &Request, authority: &str, path: Option<&str>) {
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(path).unwrap();
}

fn get(authority: &str, path: &str) -> Request {
    let request = plain(Fields::new());
    aim(&request, authority, Some(path));
    request
}

fn get_with(authority: &str, options: RequestOptions) -> Request {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, trailers, Some(options));
    aim(&request, authority, Some("/"));
    request
}

/// A request whose body is written while it is sent.
struct Post {
    request: Request,
    body: StreamWriter<u8>,
    trailers: FutureWriter<End>,
    sent: FutureReader<Result<(), ErrorCode>>,
}

fn post(authority: &str, path: &str, headers: Fields) -> Post {
    let (body, contents) = wit_stream::new();
    let (trailers, ended) = wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(headers, Some(contents), ended, None);
    aim(&request, authority, Some(path));
    request.set_method(&Method::Post).unwrap();
    Post {
        request,
        body,
        trailers,
        sent,
    }
}

/// What comes of a request: its status and how many bytes, or an error.
async fn outcome(sent: Result<Response, ErrorCode>) -> String {
    let response = match sent {
        Ok(response) => response,
        Err(code) => return format!("{code:?}"),
    };
    let status = response.get_status_code();
    let (body, end) = consume(response);
    let bytes = read(body).await.len();
    // How it ended is only said here.
    match end.await {
        Ok(_) => format!("{status}, {bytes} bytes"),
        Err(code) => format!("{code:?}"),
    }
}

fn consume(response: Response) -> (StreamReader<u8>, FutureReader<End>) {
    let (_, taken) = wit_future::new(|| Ok(()));
    Response::consume_body(response, taken)
}

fn take(request: Request) -> (StreamReader<u8>, FutureReader<End>) {
    let (_, taken) = wit_future::new(|| Ok(()));
    Request::consume_body(request, taken)
}

async fn read(mut body: StreamReader<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let (more, piece) = body.read(Vec::with_capacity(1 << 16)).await;
        bytes.extend(piece);
        if !matches!(more, StreamResult::Complete(_)) {
            return bytes;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How a body ended, with its trailers.
fn ended(end: End) -> String {
    let trailers = match end {
        Err(code) => return format!("{code:?}"),
        Ok(trailers) => trailers.map(|trailers| trailers.copy_all()),
    };
    let Some(trailers) = trailers else {
        return "no trailers".to_owned();
    };
    let lines = trailers.iter();
    let lines = lines.map(|(name, value)| format!("{name}: {}", text(value)));
    lines.collect::<Vec<_>>().join(", ")
}

/// Bodies that are as long as was told, shorter and longer.
async fn lengths(authority: &str) -> Vec<String> {
    let mut said = Vec::new();
    for text in ["eleven long", "short", "longer than eleven"] {
        let headers = Fields::new();
        headers.append("content-length", b"11").unwrap();
        let mut post = post(authority, "/count", headers);
        let sending = spawn_local(client::send(post.request));
        let left = post.body.write_all(text.into()).await;
        let wrote = match left.len() {
            0 => "written".to_owned(),
            left => format!("{left} bytes left"),
        };
        drop(post.body);
        drop(post.trailers);
        let outcome = outcome(sending.await.unwrap()).await;
        let sent = post.sent.await;
        said.push(format!("{text}: {wrote}, {sent:?}, {outcome}"));
    }
    said
}

/// A server that says nothing.
async fn timeouts(authority: &str) -> Vec<String> {
    let options = RequestOptions::new();
    options.set_first_byte_timeout(Some(200 * MS)).unwrap();
    let sent = client::send(get_with(authority, options)).await;
    vec![outcome(sent).await]
}

/// A server that stops in the middle of what it says.
async fn pauses(authority: &str) -> Vec<String> {
    let options = RequestOptions::new();
    options.set_between_bytes_timeout(Some(200 * MS)).unwrap();
    let sent = client::send(get_with(authority, options)).await;
    vec![outcome(sent).await]
}

/// A server that takes no connection: who has little patience is to be told before who has the host's.
async fn connects(authority: &str) -> Vec<String> {
    let mut patient = spawn_local(client::send(get(authority, "/")));
    // It begins here, and ends before one of the same patience.
    monotonic_clock::wait_for(10 * MS).await;
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(200 * MS)).unwrap();
    let hasty = client::send(get_with(authority, options));
    let hasty = outcome(hasty.await).await;
    patient.cancel();
    let first = match patient.await {
        None => "hasty",
        Some(_) => "patient",
    };
    vec![format!("{first}: {hasty}")]
}

/// What has no path, no host or no scheme, and other schemes.
async fn schemes(authority: &str) -> Vec<String> {
    let without_path = plain(Fields::new());
    aim(&without_path, authority, None);
    let other = get(authority, "/");
    let taken = other.set_scheme(Some(&Scheme::Other("wss".to_owned())));
    let nowhere = plain(Fields::new());
    nowhere.set_scheme(Some(&Scheme::Http)).unwrap();
    vec![
        outcome(client::send(without_path).await).await,
        format!("{taken:?} {}", outcome(client::send(other).await).await),
        outcome(client::send(nowhere).await).await,
    ]
}

/// Handles that go before what they are of has ended.
async fn dropped(authority: &str) -> Vec<String> {
    let send = |path: &str| client::send(get(authority, path));
    // Before it is sent, and before the head.
    drop(get(authority, "/"));
    let mut waiting = spawn_local(send("/download/1000000"));
    waiting.cancel();
    let _ = waiting.await;
    // Before the body, and in the middle of it.
    drop(send("/download/100000000").await.unwrap());
    for reads in [0, 1] {
        let (mut body, end) = consume(send("/download/100000000").await.unwrap());
        for _ in 0..reads {
            let (more, _) = body.read(Vec::with_capacity(1 << 16)).await;
            assert!(matches!(more, StreamResult::Complete(_)));
        }
        drop(body);
        drop(end);
    }
    // How it ends, before it has.
    let (body, end) = consume(send("/teapot").await.unwrap());
    drop(end);
    let read = read(body).await.len();
    // A body that is never written, without a request of its own any more.
    let mut unsent = post(authority, "/count", Fields::new());
    drop(unsent.request);
    let left = unsent.body.write_all(b"for nobody".to_vec()).await.len();
    // A body that isn't finished.
    let mut broken = post(authority, "/count", Fields::new());
    let sending = spawn_local(client::send(broken.request));
    broken.body.write_all(b"half of it".to_vec()).await;
    drop(broken.body);
    let error = ErrorCode::InternalError(Some("no more".to_owned()));
    let _ = broken.trailers.write(Err(error)).await;
    let unfinished = outcome(sending.await.unwrap()).await;
    vec![
        format!("unfinished: {unfinished}"),
        format!("after: {}", outcome(send("/teapot").await).await),
        format!("read without its end: {read}"),
        format!("left for nobody: {left}"),
    ]
}

/// Several requests under way at once.
async fn at_once(authority: &str) -> Vec<String> {
    let begun: Vec<_> = (0..8)
        .map(|number| {
            let request = get(authority, &format!("/print/{number}"));
            spawn_local(client::send(request))
        })
        .collect();
    let mut said = Vec::new();
    for sending in begun.into_iter().rev() {
        said.push(outcome(sending.await.unwrap()).await);
    }
    said
}

/// A request of some megabytes, whose body its server reads while it comes.
async fn large(authority: &str) -> Vec<String> {
    let mut post = post(authority, "/count", Fields::new());
    let sending = spawn_local(client::send(post.request));
    for _ in 0..1_000 {
        post.body.write_all(vec![b'x'; 4_096]).await;
    }
    drop(post.body);
    drop(post.trailers);
    vec![outcome(sending.await.unwrap()).await]
}

/// The same, which comes back while it is written.
async fn large_both(authority: &str) -> Vec<String> {
    const PIECES: usize = 1_000;
    let mut post = post(authority, "/echo", Fields::new());
    let sending = spawn_local(client::send(post.request));
    spawn_local(async move {
        for number in 0..PIECES {
            post.body.write_all(piece(number)).await;
        }
        drop(post.body);
        drop(post.trailers);
    });
    let (body, end) = consume(sending.await.unwrap().unwrap());
    let came = read(body).await;
    let whole = came == (0..PIECES).flat_map(piece).collect::<Vec<_>>();
    vec![format!("{} {whole} {}", came.len(), ended(end.await))]
}

/// Pieces that grow until one isn't taken whole: what was taken comes back.
async fn growing(authority: &str) -> Vec<String> {
    let mut post = post(authority, "/echo", Fields::new());
    let sending = spawn_local(client::send(post.request));
    let (mut taken, mut size) = (Vec::new(), 1);
    loop {
        let piece: Vec<u8> = (0..).flat_map(piece).skip(taken.len()).take(size).collect();
        let (_, left) = post.body.write(piece.clone()).await;
        let left = left.remaining();
        taken.extend(piece.into_iter().take(size - left));
        if left > 0 {
            break;
        }
        size *= 2;
        assert!(size < 32 << 20, "there is no end to what it takes");
    }
    drop((post.body, post.trailers));
    let (body, end) = consume(sending.await.unwrap().unwrap());
    let whole = read(body).await == taken;
    vec![format!("{whole} {}", ended(end.await))]
}

/// No two look the same.
fn piece(number: usize) -> Vec<u8> {
    format!("{number:08}").repeat(512).into_bytes()
}

/// Trailers that are sent, and those that come back.
async fn trailers(authority: &str) -> Vec<String> {
    let headers = Fields::new();
    headers.append("trailer", b"x-sum").unwrap();
    headers.append("te", b"trailers").unwrap();
    let mut post = post(authority, "/trailers", headers);
    let sending = spawn_local(client::send(post.request));
    post.body.write_all(b"body".to_vec()).await;
    drop(post.body);
    let trailers = Fields::new();
    trailers.append("x-sum", b"42").unwrap();
    post.trailers.write(Ok(Some(trailers))).await.unwrap();
    let (body, end) = consume(sending.await.unwrap().unwrap());
    vec![
        format!("body: {}", text(&read(body).await)),
        format!("came: {}", ended(end.await)),
        format!("sent: {:?}", post.sent.await),
    ]
}

/// A body of which only the trailers are there.
async fn no_trailers(authority: &str) -> Vec<String> {
    let headers = Fields::new();
    headers.append("trailer", b"x-sum").unwrap();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (request, sent) = Request::new(headers, None, end, None);
    aim(&request, authority, Some("/"));
    request.set_method(&Method::Post).unwrap();
    let sending = spawn_local(client::send(request));
    let sum = Fields::new();
    sum.append("x-sum", b"42").unwrap();
    let _ = trailers.write(Ok(Some(sum))).await;
    let outcome = outcome(sending.await.unwrap()).await;
    vec![outcome, format!("{:?}", sent.await)]
}

/// What it is told of a request that no server takes, in both ways.
async fn refused(authority: &str) -> Vec<String> {
    let Post {
        request,
        body,
        trailers,
        sent,
    } = post(authority, "/", Fields::new());
    let sending = spawn_local(client::send(request));
    drop((body, trailers));
    let outcome = outcome(sending.await.unwrap()).await;
    vec![outcome, format!("{:?}", sent.await)]
}

/// How large its headers are, by name.
fn head(request: &Request) -> Vec<String> {
    let headers = request.get_headers().copy_all();
    let headers = headers.iter();
    let lines = headers.map(|(name, value)| format!("{name}: {}", value.len()));
    lines.collect()
}

/// A body in pieces, of which none is larger than asked for.
async fn pieces(request: Request) -> Vec<String> {
    let headers = request.get_headers();
    let (mut body, end) = take(request);
    let mut bytes = Vec::new();
    let mut largest = 0;
    loop {
        let (more, piece) = body.read(Vec::with_capacity(4)).await;
        largest = largest.max(piece.len());
        bytes.extend(piece);
        if !matches!(more, StreamResult::Complete(_)) {
            break;
        }
    }
    vec![
        format!("at most {largest}: {}", text(&bytes)),
        format!("end: {}", ended(end.await)),
        format!("headers: {}", text(&headers.get("x-kept").concat())),
    ]
}

/// A body that is made that of another request, and read there.
async fn twice(request: Request) -> Vec<String> {
    let (body, end) = take(request);
    let (request, _) = Request::new(Fields::new(), Some(body), end, None);
    let (body, end) = take(request);
    vec![
        text(&read(body).await),
        format!("end: {}", ended(end.await)),
    ]
}

/// A body that it writes and reads itself.
async fn own() -> Vec<String> {
    let Post {
        request,
        mut body,
        trailers,
        ..
    } = post("here", "/", Fields::new());
    let (contents, end) = take(request);
    drop(end);
    let writing = spawn_local(async move {
        let left = body.write_all(b"to itself".to_vec()).await.len();
        drop(trailers);
        left
    });
    let came = read(contents).await;
    vec![text(&came), format!("left: {:?}", writing.await)]
}

/// What is left of a body of which it read the first bytes.
async fn rest(request: Request) -> Response {
    let (mut body, end) = take(request);
    let (_, first) = body.read(Vec::with_capacity(4)).await;
    let headers = Fields::new();
    headers.append("x-first", &first).unwrap();
    Response::new(headers, Some(body), end).0
}

/// The same request to another server, whose body is handed on as it is.
fn forwarded(request: Request, authority: &str, path: &str) -> Request {
    let (method, headers) = (request.get_method(), request.get_headers());
    let (body, end) = take(request);
    let (onwards, _) = Request::new(headers, Some(body), end, None);
    onwards.set_method(&method).unwrap();
    aim(&onwards, authority, Some(path));
    onwards
}

/// The same, whose body passes through it both ways.
async fn through(request: Request, authority: &str, path: &str) -> Result<Response, ErrorCode> {
    let (method, headers) = (request.get_method(), request.get_headers());
    let (contents, end) = take(request);
    let (contents, end) = passed(contents, end);
    let (onwards, _) = Request::new(headers, Some(contents), end, None);
    onwards.set_method(&method).unwrap();
    aim(&onwards, authority, Some(path));
    let answer = client::send(onwards).await?;
    let (status, headers) = (answer.get_status_code(), answer.get_headers());
    let (contents, end) = consume(answer);
    let (contents, end) = passed(contents, end);
    let (response, _) = Response::new(headers, Some(contents), end);
    response.set_status_code(status).unwrap();
    Ok(response)
}

/// A body that is read and written while it comes.
fn passed(
    mut from: StreamReader<u8>,
    end: FutureReader<End>,
) -> (StreamReader<u8>, FutureReader<End>) {
    let (mut to, contents) = wit_stream::new();
    let (trailers, ended) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        loop {
            let (more, piece) = from.read(Vec::with_capacity(1 << 16)).await;
            let left = to.write_all(piece).await;
            if !left.is_empty() || !matches!(more, StreamResult::Complete(_)) {
                break;
            }
        }
        drop(to);
        let _ = trailers.write(end.await).await;
    });
    (contents, ended)
}

/// An answer whose head is nearly as large as it may be.
fn large_head() -> Response {
    let headers = Fields::new();
    headers.append("x-large", &[b'x'; 60_000]).unwrap();
    let more = headers.append("x-more", &[b'x'; 6_000]);
    assert!(matches!(more, Err(HeaderError::SizeExceeded)), "{more:?}");
    let (_, trailers) = wit_future::new(|| Ok(None));
    Response::new(headers, None, trailers).0
}

/// An answer that never had a body.
fn bodyless() -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), None, trailers);
    response.set_status_code(202).unwrap();
    response
}

/// An answer that the function calls broken once some of it is written.
fn broken() -> Response {
    let (mut body, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), end);
    spawn_local(async move {
        body.write_all(vec![b'x'; 1 << 20]).await;
        drop(body);
        let error = ErrorCode::InternalError(Some("no more".to_owned()));
        let _ = trailers.write(Err(error)).await;
    });
    response
}

/// Prints when it has written so many pieces of an answer, and what it is told of how that was sent.
fn told(pieces: usize, length: Option<usize>) -> Response {
    let headers = Fields::new();
    if let Some(length) = length.map(|length| length.to_string()) {
        headers.append("content-length", length.as_bytes()).unwrap();
    }
    let (response, mut body, sent) = start(headers);
    spawn_local(async move {
        for _ in 0..pieces {
            body.write_all(b"answered".repeat(1_024)).await;
        }
        println!("written");
        drop(body);
    });
    spawn_local(async move { println!("told: {:?}", sent.await) });
    response
}

/// Tells its client what it is told of its own answer, as one that stands between two others does.
fn chained(request: Request) -> Response {
    let (tell, told) = wit_future::new(|| Ok(()));
    let (contents, end) = Request::consume_body(request, told);
    let (response, sent) = Response::new(Fields::new(), Some(contents), end);
    spawn_local(async move {
        let sent = sent.await;
        println!("told: {sent:?}");
        let _ = tell.write(sent).await;
    });
    response
}
