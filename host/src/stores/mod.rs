//! The ports in plain async Rust: objects, the queue of events, the journal. No WebAssembly here.

pub mod folders;
pub mod journal;
pub mod keyvalue;
pub mod objects;
pub mod queue;
