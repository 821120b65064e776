//! What can go wrong with a body on its way, as guests are told. wasmtime keeps its own tables of these to itself.

use wasmtime_wasi_http::Error as HttpError;
use wasmtime_wasi_http::{p2, p3};

use crate::ports::{format_short, is_within};

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

/// Cuts the text that a guest gave an error.
pub fn shorten(
    code: p3::bindings::http::types::ErrorCode,
    most: usize,
) -> p3::bindings::http::types::ErrorCode {
    if is_within(format_args!("{code:?}"), most) {
        return code;
    }
    let text = format_short(format_args!("{code:?}"), most);
    p3::bindings::http::types::ErrorCode::InternalError(Some(text))
}
