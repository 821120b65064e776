//! Where capabilities come from: the component's imports, or natively the testing host of this thread.
//! Both sides have the same items, in the SDK's own types.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
pub(crate) use component::*;
/// What a component's exports convert, in its handler's crate.
#[cfg(target_family = "wasm")]
pub use component::{batch, failure, message, object_created, respond};

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
