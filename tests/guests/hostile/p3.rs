//! Hostile: holds what it can in the host by way of `wasi:http` 0.3, in the way that its path
//! names.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use std::mem::forget;

use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Hostile);

struct Hostile;

/// Leaves room for the handles that are needed beside these.
const HANDLES: usize = 4_000;
/// Requests have futures, and bodies streams, which take several handles each.
const REQUESTS: usize = 1_000;
const BODIES: usize = 200;
/// As much as the fields of one handle may have, but for what they take beside their text.
const LONG: usize = 60_000;

impl wasip3::exports::http::handler::Guest for Hostile {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match request.get_path_with_query().unwrap_or_default().as_str() {
            "/hold-methods" => hold_methods(),
            "/long-method" => {
                let method = Method::Other("M".repeat(200_000));
                plain(Fields::new()).set_method(&method).unwrap();
            }
            "/hold-paths" => hold_paths(),
            "/hold-fields" => hold_fields(),
            "/hold-bodies" => hold_bodies().await,
            "/tell" => return Err(ErrorCode::InternalError(Some("told ".repeat(40_000)))),
            other => panic!("no attack {other:?}"),
        }
        let (_, trailers) = wit_future::new(|| Ok(None));
        Ok(Response::new(Fields::new(), None, trailers).0)
    }
}

fn plain(headers: Fields) -> Request {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Request::new(headers, None, trailers, None).0
}

fn hold_methods() {
    let method = Method::Other("M".repeat(250_000));
    for _ in 0..REQUESTS {
        let request = plain(Fields::new());
        request.set_method(&method).unwrap();
        forget(request);
    }
}

fn hold_paths() {
    let path = format!("/{}", "p".repeat(LONG));
    for _ in 0..REQUESTS {
        let request = plain(Fields::new());
        request.set_path_with_query(Some(&path)).unwrap();
        forget(request);
    }
}

fn hold_fields() {
    for _ in 0..HANDLES {
        let fields = Fields::new();
        fields.append("x-long", &vec![b'x'; LONG]).unwrap();
        forget(fields);
    }
}

/// Its own bodies, which the host takes as soon as they are to be read.
async fn hold_bodies() {
    for _ in 0..BODIES {
        let (mut body, contents) = wit_stream::new();
        let (trailers, ended) = wit_future::new(|| Ok(None));
        let (request, sent) = Request::new(Fields::new(), Some(contents), ended, None);
        let (_, consumed) = wit_future::new(|| Ok(()));
        let (contents, end) = Request::consume_body(request, consumed);
        body.write_all(vec![b'x'; 64 << 10]).await;
        forget((contents, body, trailers, sent, end));
    }
}
