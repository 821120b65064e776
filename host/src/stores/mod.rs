//! The ports in plain async Rust: objects, the queue of events, the journal, databases. No WebAssembly here.

pub mod databases;
pub mod folders;
pub mod journal;
pub mod keyvalue;
pub mod objects;
pub mod queue;
pub mod sqlite;
