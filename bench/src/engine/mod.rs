//! The engine against wasmtime itself, in this process.

mod bare;
mod cold_start;
mod ours;

pub use cold_start::ColdStartArgs;
