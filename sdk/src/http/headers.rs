/// Of a connection, not of a message: whoever speaks HTTP sets them, and hosts refuse them from a function.
const OF_CONNECTION: [&str; 10] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a request or a response, in order. Their names don't tell upper case from lower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// As a host gives them.
    #[cfg(target_family = "wasm")]
    pub(crate) fn new(entries: Vec<(String, Vec<u8>)>) -> Self {
        Self(entries)
    }

    #[cfg(target_family = "wasm")]
    pub(crate) fn into_entries(self) -> Vec<(String, Vec<u8>)> {
        self.0
    }

    /// A header's value, the first where there are several. None also where it isn't UTF-8, which
    /// [`bytes`](Self::bytes) gives.
    pub fn get(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.bytes(name)?).ok()
    }

    /// A header's value as it came, the first where there are several.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Gives a header a value, in place of any that it had.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    /// Gives a header one more value.
    pub(crate) fn append(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_owned()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    /// Why they can't be sent, where they can't: natively as in a component.
    pub(crate) fn fault(&self) -> Option<String> {
        self.iter().find_map(|(name, value)| {
            let fault = if name.is_empty() || !name.bytes().all(is_of_name) {
                "isn't the name of a header"
            } else if OF_CONNECTION.contains(&name) {
                "is of the connection, which isn't the function's"
            } else if value.iter().any(|byte| is_control(*byte)) {
                "has a line break or another control character in its value"
            } else {
                return None;
            };
            Some(format!("header {name:?} {fault}"))
        })
    }
}

/// RFC 9110, 5.6.2: a token.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, 5.5: a tab is none that matters.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case() {
        let mut headers = Headers::default();
        headers.append("Set-Cookie", b"a=1");
        headers.append("set-cookie", b"b=\xff");
        assert_eq!(headers.get("SET-COOKIE"), Some("a=1"));
        assert_eq!(headers.all("Set-cookie").count(), 2);
        headers.set("SET-cookie", b"\xff");
        assert_eq!(headers.get("set-cookie"), None);
        assert_eq!(headers.bytes("set-cookie"), Some(&b"\xff"[..]));
        headers.remove("Set-Cookie");
        assert_eq!(headers, Headers::default());
    }

    #[test]
    fn what_would_break_a_message_is_found() {
        for (name, value, fault) in [
            ("x-name", "a value\tof two words", None),
            ("x-name", "wrén", None),
            ("x-name", "", None),
            ("", "x", Some("isn't the name")),
            ("x name", "x", Some("isn't the name")),
            ("x:name", "x", Some("isn't the name")),
            ("x-name", "one\r\nset-cookie: two", Some("line break")),
            ("x-name", "\0", Some("control character")),
            ("Transfer-Encoding", "chunked", Some("of the connection")),
        ] {
            let mut headers = Headers::default();
            headers.append(name, value.as_bytes());
            let found = headers.fault();
            let matches = match (&found, fault) {
                (None, None) => true,
                (Some(found), Some(fault)) => found.contains(fault),
                _ => false,
            };
            assert!(matches, "{name:?} {value:?}: {found:?}");
        }
    }
}
