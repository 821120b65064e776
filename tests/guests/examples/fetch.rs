//! Sends a request to the URL that its message is, and logs the status of the response.

// Natively its imports have no names that a linker takes.
#![cfg(target_family = "wasm")]

use kinglet_sdk::{Failure, Message};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};

#[kinglet_sdk::message]
fn fetch(event: Message) -> Result<(), Failure> {
    let url = event.text()?;
    let status = status(url).map_err(|code| Failure::retry(format!("{url}: {code:?}")))?;
    kinglet_sdk::info!("{status}");
    Ok(())
}

fn status(url: &str) -> Result<u16, ErrorCode> {
    let rest = url.trim_start_matches("http://");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let said = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    said.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let response = outgoing_handler::handle(request, None)?;
    response.subscribe().block();
    match response.get() {
        Some(Ok(answered)) => Ok(answered?.status()),
        _ => Err(ErrorCode::ConnectionTerminated),
    }
}
