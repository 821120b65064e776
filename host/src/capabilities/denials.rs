//! Denials: the function's log names what isn't granted, and the line of the manifest that grants
//! it.

use std::sync::Arc;

use http::Uri;

use super::{Context, GuestLog};
use crate::config::{GrantKind, Grants};
use crate::ports::Level;

/// Characters of a guest's text that a line shows.
const SHOWN: usize = 200;

/// The log of one attempt's denials, each thing once.
#[derive(Clone)]
pub struct DenialLog {
    log: GuestLog,
    grants: Arc<Grants>,
}

impl DenialLog {
    /// Logs that `what` isn't granted, and the line that grants `value`. Returns the same sentence
    /// for the guest.
    pub fn note(&self, what: &str, kind: GrantKind, value: &str) -> String {
        let line = self.grants.line_for(kind, &cut(value));
        let sentence = format!("{what} isn't granted to this function; {line}");
        self.log
            .once(Level::Warn, line, || format!("denied: {sentence}"));
        sentence
    }

    /// Logs that a request isn't granted. Its path and query may be secret.
    pub fn note_request(&self, uri: &Uri) {
        let origin = origin(uri);
        self.note(&format!("a request to {origin}"), GrantKind::Http, &origin);
    }

    /// Logs that a name stands only for addresses that a `*` doesn't cover.
    pub fn note_own_network(&self, uri: &Uri) {
        let origin = origin(uri);
        let what = format!(
            "a request to {origin}, whose addresses are all of this machine's own network, where \
             no `*` reaches,"
        );
        self.note(&what, GrantKind::Http, &origin);
    }
}

impl Context {
    /// Returns the log of denials.
    pub fn denials(&self) -> DenialLog {
        DenialLog {
            log: self.log.clone(),
            grants: Arc::clone(&self.reach.grants),
        }
    }
}

/// The scheme, host and port, as `grants.http` has them.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let port = uri
        .port_u16()
        .filter(|port| !matches!((scheme, port), ("https", 443) | ("http", 80)));
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    cut(&format!("{scheme}://{host}{port}"))
}

/// A guest's text, as much of it as a line shows.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
