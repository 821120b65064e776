//! Answers every request with a text that its init made.

// Natively its exports have no names that a linker takes.
#![cfg(target_family = "wasm")]
#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong here is a trap, which the tests see"
)]

use std::cell::RefCell;

use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

thread_local! {
    /// Unlike a `LazyLock` that an init forces, this tells whether there was one.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

#[kinglet_sdk::init]
fn prepare() {
    TEXT.set("made at the build\n".to_owned());
}

wasip2::http::proxy::export!(Told);

struct Told;

impl wasip2::exports::http::incoming_handler::Guest for Told {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        stream
            .blocking_write_and_flush(TEXT.take().as_bytes())
            .unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
