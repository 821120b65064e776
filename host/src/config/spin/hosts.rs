//! `allowed_outbound_hosts`, as far as grants can say the same.

use crate::config::Destination;

/// Names under which Spin finds components of the same application.
const CHAINING: &str = "spin.internal";

/// What an entry allows. A `*` in the place of the scheme stands for both that are spoken.
pub(super) fn destinations(text: &str) -> Result<Vec<Destination>, String> {
    let Some((scheme, rest)) = text.trim().split_once("://") else {
        return Err("it has no scheme; write `https://` or `http://` before it".to_owned());
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // An address of version 6 has colons of its own.
    let behind = rest.rfind(']').unwrap_or(0);
    let colon = rest.get(behind..).and_then(|rest| rest.rfind(':'));
    let (host, port) = match colon.and_then(|colon| rest.split_at_checked(behind + colon)) {
        Some((host, port)) => (host, port.get(1..).filter(|port| !port.is_empty())),
        None => (rest, None),
    };
    let host = host.trim().to_ascii_lowercase();
    if host == "self" || host == "self.alt" {
        return Err("functions send no requests to their own application by that name here; name its address".to_owned());
    }
    if host == CHAINING
        || host
            .strip_suffix(CHAINING)
            .is_some_and(|host| host.ends_with('.'))
    {
        return Err(
            "functions reach no other components of their application by name here; give those routes, and name their \
             address"
                .to_owned(),
        );
    }
    if host.contains('/') {
        return Err("ranges of addresses and paths can't be allowed; name hosts".to_owned());
    }
    if port.is_some_and(|port| port.contains("..")) {
        return Err(
            "ranges of ports can't be allowed; name each port, or all with `:*`".to_owned(),
        );
    }
    let schemes = match (scheme, port) {
        ("http" | "https", _) => &[scheme][..],
        ("*", Some(_)) => &["http", "https"],
        ("*", None) => return Err("it needs a port, as `*://example.com:443`".to_owned()),
        _ => {
            return Err(format!(
                "requests of the scheme {scheme:?} aren't served; only `https` and `http` are"
            ));
        }
    };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let schemes = schemes.iter();
    schemes
        .map(|scheme| Destination::try_from(format!("{scheme}://{host}{port}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grants_can_say_is_granted() {
        for (text, granted) in [
            ("https://api.example.com", "https://api.example.com"),
            ("https://API.example.com/", "https://api.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:*", "http://127.0.0.1:*"),
            ("https://*.example.com", "https://*.example.com"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("https://*", "https://*"),
            ("https://a:", "https://a"),
            ("*://*:*", "http://*:* https://*:*"),
            ("*://a:8443", "http://a:8443 https://a:8443"),
        ] {
            let found = destinations(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found: Vec<_> = found.iter().map(Destination::to_string).collect();
            assert_eq!(found.join(" "), granted, "{text}");
        }
    }

    #[test]
    fn what_they_cannot_say_is_refused_by_its_name() {
        for (text, says) in [
            ("example.com", "no scheme"),
            ("*", "no scheme"),
            ("http://self", "own application"),
            ("http://b.spin.internal", "other components"),
            ("http://*.spin.internal", "other components"),
            ("http://10.0.0.0/8", "ranges of addresses"),
            ("http://a/b", "paths"),
            ("http://a:80..90", "ranges of ports"),
            ("*://a", "needs a port"),
            ("redis://a:6379", "\"redis\""),
            ("postgres://a", "\"postgres\""),
            ("http://a:x", "http://a:x"),
            ("http://a b", "http://a b"),
            ("http://", "isn't where requests go"),
        ] {
            let error = destinations(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
