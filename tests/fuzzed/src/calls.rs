//! Calls of the host by a guest that keeps to none of the contract's rules.

use crate::app::{App, KINDS};
use crate::{choice, in_time};

/// Components whose handler reads a program from the event's body: which of the host's functions to call, and with
/// which numbers. `fuzz/examples/guests.rs` makes them and says how programs are read.
const GUESTS: [(&str, &[u8]); 2] = [
    (KINDS[1], include_bytes!("../guests/message.wasm")),
    (KINDS[2], include_bytes!("../guests/batch.wasm")),
];

/// Whatever a guest calls, with whatever pointers, handles and lengths, what must hold of `component`s holds.
///
/// The first byte chooses the world, the rest is the program.
pub fn calls(data: &[u8]) {
    let Some((which, program)) = choice(data, 2) else {
        return;
    };
    thread_local! {
        static APP: App = app();
    }
    let (kind, _) = GUESTS[usize::from(which)];
    APP.with(|app| in_time(|| app.call(kind, program)));
}

fn app() -> App {
    let mut app = App::new();
    for (kind, wasm) in GUESTS {
        app.load(kind, wasm).unwrap();
    }
    app
}
