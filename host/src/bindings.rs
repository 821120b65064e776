//! The only `bindgen!` calls: the contract in `wit/` as Rust types and traits.

#![expect(missing_docs, reason = "generated from the WIT, where the docs are")]

use std::sync::Arc;

/// What stands behind a guest's `bucket` handle.
#[derive(Clone, Debug)]
pub struct OpenBucket {
    /// The bucket's name, which was granted.
    pub name: Arc<str>,
}

/// What stands behind a guest's `writer` handle.
#[derive(Debug)]
pub struct OpenWriter {
    /// Which of the writers that are open.
    pub id: u32,
}

/// What stands behind a guest's `topic` handle.
#[derive(Clone, Debug)]
pub struct OpenTopic {
    /// The topic's name, which was granted.
    pub name: Arc<str>,
}

/// The world of a function that objects wake, and the capabilities that all worlds share.
pub mod object_function {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "object-function",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "kinglet:events/objects.bucket": crate::bindings::OpenBucket,
            "kinglet:events/objects.writer": crate::bindings::OpenWriter,
            "kinglet:events/topics.topic": crate::bindings::OpenTopic,
        },
    });
}

/// The world of a function that messages wake.
pub mod message_function {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "message-function",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "kinglet:events/types": crate::bindings::object_function::kinglet::events::types,
            "kinglet:events/objects": crate::bindings::object_function::kinglet::events::objects,
            "kinglet:events/topics": crate::bindings::object_function::kinglet::events::topics,
            "wasi:config/store": crate::bindings::object_function::wasi::config::store,
            "wasi:logging/logging": crate::bindings::object_function::wasi::logging::logging,
        },
    });
}

/// The world of a function that takes messages in batches.
pub mod batch_function {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "batch-function",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
        with: {
            "kinglet:events/types": crate::bindings::object_function::kinglet::events::types,
            "kinglet:events/objects": crate::bindings::object_function::kinglet::events::objects,
            "kinglet:events/topics": crate::bindings::object_function::kinglet::events::topics,
            "wasi:config/store": crate::bindings::object_function::wasi::config::store,
            "wasi:logging/logging": crate::bindings::object_function::wasi::logging::logging,
        },
    });
}

pub use batch_function::kinglet::events::batch_scope;
pub use object_function::kinglet::events::{objects, topics, types};
pub use object_function::wasi::config::store as config;
pub use object_function::wasi::logging::logging;
