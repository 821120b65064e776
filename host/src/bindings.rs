//! The only `bindgen!` calls: the contract in `wit/` as Rust types and traits.

#![expect(missing_docs, reason = "generated from the WIT, where the docs are")]

use std::sync::Arc;

use crate::ports::Expected;

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

/// What stands behind a guest's handle to a keyvalue bucket.
#[derive(Clone, Debug)]
pub struct OpenKeys {
    /// The bucket's name, which was granted.
    pub bucket: Arc<str>,
}

/// What a handler sees of a key: its own staged value, else the committed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// None where there is no value.
    pub value: Option<Vec<u8>>,
    /// What a change that relies on it expects of the committed value.
    pub expected: Expected,
}

/// What stands behind a guest's handle to a compare-and-swap.
#[derive(Debug)]
pub struct OpenCas {
    /// The bucket's name, which was granted.
    pub bucket: Arc<str>,
    /// The key.
    pub key: String,
    /// What the guest saw.
    pub seen: Seen,
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
            "wasi:keyvalue/store.bucket": crate::bindings::OpenKeys,
            "wasi:keyvalue/atomics.cas": crate::bindings::OpenCas,
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
            "wasi:keyvalue/store": crate::bindings::object_function::wasi::keyvalue0_2_0_draft2::store,
            "wasi:keyvalue/atomics": crate::bindings::object_function::wasi::keyvalue0_2_0_draft2::atomics,
            "wasi:keyvalue/batch": crate::bindings::object_function::wasi::keyvalue0_2_0_draft2::batch,
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
            "wasi:keyvalue/store": crate::bindings::object_function::wasi::keyvalue0_2_0_draft2::store,
            "wasi:keyvalue/atomics": crate::bindings::object_function::wasi::keyvalue0_2_0_draft2::atomics,
            "wasi:keyvalue/batch": crate::bindings::object_function::wasi::keyvalue0_2_0_draft2::batch,
            "wasi:logging/logging": crate::bindings::object_function::wasi::logging::logging,
        },
    });
}

/// The older draft of keyvalue: hosts disagree on which one components should have.
pub mod keyvalue_draft_imports {
    wasmtime::component::bindgen!({
        path: "wit",
        inline: "
            package kinglet:drafts;
            world keyvalue-draft {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }
        ",
        world: "kinglet:drafts/keyvalue-draft",
        imports: { default: async | trappable },
        require_store_data_send: true,
        with: {
            "wasi:keyvalue/store.bucket": crate::bindings::OpenKeys,
        },
    });
}

/// What components import that Spin's SDK makes. Its functions are asynchronous: only an engine for concurrent tasks
/// runs them.
pub mod spin_imports {
    wasmtime::component::bindgen!({
        path: "wit/other-hosts",
        world: "spin",
        imports: { default: async | trappable },
        require_store_data_send: true,
        with: {
            "spin:key-value/key-value.store": crate::bindings::OpenKeys,
        },
    });
}

/// The same of its older versions, whose functions are plain ones.
pub mod spin_two_imports {
    wasmtime::component::bindgen!({
        path: "wit/other-hosts",
        world: "spin-two",
        imports: { default: async | trappable },
        require_store_data_send: true,
        with: {
            "fermyon:spin/key-value.store": crate::bindings::OpenKeys,
        },
    });
}

/// Versions of `wasi:config` that other hosts have.
pub mod config_imports {
    wasmtime::component::bindgen!({
        path: "wit/other-hosts",
        world: "configs",
        imports: { default: async | trappable },
        require_store_data_send: true,
    });
}

pub use batch_function::kinglet::events::batch_scope;
pub use config_imports::wasi::config0_2_0_draft as config_draft;
pub use config_imports::wasi::config0_2_0_draft_2024_09_27 as config_spin;
pub use keyvalue_draft_imports::wasi::keyvalue0_2_0_draft as keyvalue_draft;
pub use object_function::kinglet::events::{objects, topics, types};
pub use object_function::wasi::config::store as config;
pub use object_function::wasi::keyvalue0_2_0_draft2 as keyvalue;
pub use object_function::wasi::logging::logging;
pub use spin_imports::spin;
pub use spin_two_imports::fermyon::spin as spin_two;
