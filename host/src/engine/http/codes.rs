//! What can go wrong with a body on its way, as guests are told. wasmtime keeps its own tables of these to itself.

use wasmtime_wasi_http::Error as HttpError;
use wasmtime_wasi_http::{p2, p3};

macro_rules! code {
    ($name:ident, $types:path) => {
        pub fn $name(error: &HttpError) -> $types {
            use $types as ErrorCode;
            match error {
                HttpError::HttpRequestBodySize(bytes) => ErrorCode::HttpRequestBodySize(*bytes),
                HttpError::HttpResponseBodySize(bytes) => ErrorCode::HttpResponseBodySize(*bytes),
                HttpError::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
                HttpError::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
                HttpError::ConnectionTerminated => ErrorCode::ConnectionTerminated,
                HttpError::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
                HttpError::Hyper(_) | HttpError::HttpProtocolError => ErrorCode::HttpProtocolError,
                HttpError::InternalError(text) => ErrorCode::InternalError(text.clone()),
                other => ErrorCode::InternalError(Some(format!("{other:?}"))),
            }
        }
    };
}

code!(two, p2::bindings::http::types::ErrorCode);
code!(three, p3::bindings::http::types::ErrorCode);
