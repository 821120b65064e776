//! Guests for the end-to-end tests, hostile ones among them. Each is an example of its own, whose header
//! says what it is for.
//!
//! `cargo build -p kinglet-test-guests --examples --release --target wasm32-wasip2` builds all of them as
//! components: `log-flood` becomes `wasm32-wasip2/release/examples/log_flood.wasm` in the target folder.
