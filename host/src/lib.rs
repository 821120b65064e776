//! Kinglet runs small functions on events. A function is a WebAssembly component; an event wakes it;
//! it gets a fresh instance, hard limits, and only what it was granted, and is gone when it returns.
//!
//! This library is the host. `ARCHITECTURE.md` maps its rooms and which may use which.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
pub mod bindings;
pub mod capabilities;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod engine;
pub mod events;
pub mod files;
pub mod guard;
pub mod ports;
pub mod scheduling;
pub mod stores;
pub mod triggers;
