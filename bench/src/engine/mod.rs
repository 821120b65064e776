//! The engine against wasmtime itself, in this process.

mod bare;
mod cold_start;
mod density;
mod init;
mod ours;
mod scale;

pub use cold_start::ColdStartArgs;
pub use density::DensityArgs;
pub use init::InitArgs;
pub use scale::ScaleArgs;
