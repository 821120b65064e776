//! What wit-bindgen makes of the contract: one module for what is imported, one for requests, one for each handler, one
//! for the init.
//!
//! Every type comes from `capabilities` or `requests`; the handler worlds refer to it, so that a function with two
//! handlers has one `Bucket` and one `Failure`.

#![allow(
    missing_docs,
    reason = "the WIT documents the contract; the SDK wraps all of it"
)]

pub mod capabilities {
    wit_bindgen::generate!({ world: "capabilities", path: "wit", generate_all });
}

/// Its module is named by its version, as the contract's folder has an older one beside it.
pub use capabilities::wasi::keyvalue0_2_0_draft2 as keyvalue;

/// Spin's version of what differs.
#[cfg(feature = "spin")]
pub mod of_spin {
    wit_bindgen::generate!({
        inline: "package kinglet:sdk;
            world of-spin {
                import wasi:config/store@0.2.0-draft-2024-09-27;
            }",
        path: "wit/other-hosts",
        generate_all,
    });
}

/// The version of Wasmtime and wasmCloud of what differs.
#[cfg(any(feature = "wasmtime", feature = "wasmcloud"))]
pub mod of_others {
    wit_bindgen::generate!({
        inline: "package kinglet:sdk;
            world of-others {
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
            }",
        path: "wit",
        generate_all,
    });
}

pub mod object_function {
    wit_bindgen::generate!({
        world: "object-function",
        path: "wit",
        pub_export_macro: true,
        export_macro_name: "__export_object_created",
        default_bindings_module: "::kinglet_sdk::__private::object_function",
        with: {
            "kinglet:events/types@0.1.0": crate::bindings::capabilities::kinglet::events::types,
            "kinglet:events/objects@0.1.0": crate::bindings::capabilities::kinglet::events::objects,
            "kinglet:events/topics@0.1.0": crate::bindings::capabilities::kinglet::events::topics,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::capabilities::wasi::config::store,
            "wasi:keyvalue/store@0.2.0-draft2": crate::bindings::keyvalue::store,
            "wasi:keyvalue/atomics@0.2.0-draft2": crate::bindings::keyvalue::atomics,
            "wasi:keyvalue/batch@0.2.0-draft2": crate::bindings::keyvalue::batch,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::capabilities::wasi::logging::logging,
        },
    });
}

pub mod message_function {
    wit_bindgen::generate!({
        world: "message-function",
        path: "wit",
        pub_export_macro: true,
        export_macro_name: "__export_message",
        default_bindings_module: "::kinglet_sdk::__private::message_function",
        with: {
            "kinglet:events/types@0.1.0": crate::bindings::capabilities::kinglet::events::types,
            "kinglet:events/objects@0.1.0": crate::bindings::capabilities::kinglet::events::objects,
            "kinglet:events/topics@0.1.0": crate::bindings::capabilities::kinglet::events::topics,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::capabilities::wasi::config::store,
            "wasi:keyvalue/store@0.2.0-draft2": crate::bindings::keyvalue::store,
            "wasi:keyvalue/atomics@0.2.0-draft2": crate::bindings::keyvalue::atomics,
            "wasi:keyvalue/batch@0.2.0-draft2": crate::bindings::keyvalue::batch,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::capabilities::wasi::logging::logging,
        },
    });
}

pub mod batch_function {
    wit_bindgen::generate!({
        world: "batch-function",
        path: "wit",
        pub_export_macro: true,
        export_macro_name: "__export_message_batch",
        default_bindings_module: "::kinglet_sdk::__private::batch_function",
        with: {
            "kinglet:events/batch-scope@0.1.0": generate,
            "kinglet:events/types@0.1.0": crate::bindings::capabilities::kinglet::events::types,
            "kinglet:events/objects@0.1.0": crate::bindings::capabilities::kinglet::events::objects,
            "kinglet:events/topics@0.1.0": crate::bindings::capabilities::kinglet::events::topics,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::capabilities::wasi::config::store,
            "wasi:keyvalue/store@0.2.0-draft2": crate::bindings::keyvalue::store,
            "wasi:keyvalue/atomics@0.2.0-draft2": crate::bindings::keyvalue::atomics,
            "wasi:keyvalue/batch@0.2.0-draft2": crate::bindings::keyvalue::batch,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::capabilities::wasi::logging::logging,
        },
    });
}

pub mod requests {
    wit_bindgen::generate!({ world: "requests", path: "wit", generate_all });
}

pub mod http_function {
    wit_bindgen::generate!({
        world: "http-function",
        path: "wit",
        pub_export_macro: true,
        export_macro_name: "__export_http",
        default_bindings_module: "::kinglet_sdk::__private::http_function",
        with: {
            "kinglet:events/types@0.1.0": crate::bindings::capabilities::kinglet::events::types,
            "kinglet:events/objects@0.1.0": crate::bindings::capabilities::kinglet::events::objects,
            "kinglet:events/topics@0.1.0": crate::bindings::capabilities::kinglet::events::topics,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::capabilities::wasi::config::store,
            "wasi:keyvalue/store@0.2.0-draft2": crate::bindings::keyvalue::store,
            "wasi:keyvalue/atomics@0.2.0-draft2": crate::bindings::keyvalue::atomics,
            "wasi:keyvalue/batch@0.2.0-draft2": crate::bindings::keyvalue::batch,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::capabilities::wasi::logging::logging,
            "wasi:http/types@0.2.0": crate::bindings::requests::wasi::http::types,
            "wasi:http/outgoing-handler@0.2.0": crate::bindings::requests::wasi::http::outgoing_handler,
            "wasi:clocks/monotonic-clock@0.2.0": crate::bindings::requests::wasi::clocks::monotonic_clock,
            "wasi:io/error@0.2.0": crate::bindings::requests::wasi::io::error,
            "wasi:io/poll@0.2.0": crate::bindings::requests::wasi::io::poll,
            "wasi:io/streams@0.2.0": crate::bindings::requests::wasi::io::streams,
        },
    });
}

pub mod init_function {
    wit_bindgen::generate!({
        world: "init-function",
        path: "wit",
        pub_export_macro: true,
        export_macro_name: "__export_init",
        default_bindings_module: "::kinglet_sdk::__private::init_function",
    });
}
