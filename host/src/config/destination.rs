//! Where a function may send requests.

use std::fmt;

/// An origin, or many: `https://api.example.com`, `http://localhost:8080`, `https://*.example.com`, `https://*`,
/// `http://10.0.0.7:*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    secure: bool,
    host: Hosts,
    /// None for all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// Those that end with a dot and this.
    Below(String),
    Named(String),
}

impl Destination {
    /// Whether it covers a host, in whatever case; an address of version 6 stands in brackets.
    pub fn covers(&self, secure: bool, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let named = match &self.host {
            Hosts::All => true,
            Hosts::Below(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            Hosts::Named(name) => host == *name,
        };
        named && secure == self.secure && self.port.is_none_or(|own| own == port)
    }

    /// Whether it names one host: then that may be one of the own network.
    pub fn is_named(&self) -> bool {
        matches!(self.host, Hosts::Named(_))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let behind = rest.rfind(']').unwrap_or(0);
        let (host, port) = match rest.get(behind..)?.rfind(':') {
            Some(colon) => (rest.get(..behind + colon)?, rest.get(behind + colon + 1..)),
            None => (rest, None),
        };
        let port = match port {
            None if secure => Some(443),
            None => Some(80),
            Some("*") => None,
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        };
        let host = match host.strip_prefix("*.") {
            Some(name) => Hosts::Below(name.to_owned()),
            None if host == "*" => Hosts::All,
            None => Hosts::Named(host.to_owned()),
        };
        let good = match &host {
            Hosts::All => true,
            Hosts::Named(name) if name.starts_with('[') => {
                let address = name.strip_prefix('[')?.strip_suffix(']')?;
                address.parse::<std::net::Ipv6Addr>().is_ok()
            }
            Hosts::Below(name) | Hosts::Named(name) => {
                let is_plain =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
                !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
            }
        };
        good.then_some(Self { secure, host, port })
    }
}

impl TryFrom<String> for Destination {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            format!(
                "{text:?} isn't where requests go; use a scheme and a host in lower case, without a path, as \
                 \"https://api.example.com\", \"http://localhost:8080\" or \"https://*.example.com\""
            )
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "https://" } else { "http://" })?;
        match &self.host {
            Hosts::All => f.write_str("*")?,
            Hosts::Below(name) => write!(f, "*.{name}")?,
            Hosts::Named(name) => f.write_str(name)?,
        }
        match (self.port, self.secure) {
            (Some(443), true) | (Some(80), false) => Ok(()),
            (Some(port), _) => write!(f, ":{port}"),
            (None, _) => f.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_covered_by_scheme_host_and_port() {
        for (text, secure, host, port, covers) in [
            (
                "https://api.example.com",
                true,
                "API.example.com",
                443,
                true,
            ),
            (
                "https://api.example.com",
                false,
                "api.example.com",
                80,
                false,
            ),
            (
                "https://api.example.com",
                true,
                "api.example.com",
                8443,
                false,
            ),
            (
                "https://api.example.com",
                true,
                "api.example.com.evil.org",
                443,
                false,
            ),
            ("http://localhost:8080", false, "localhost", 8080, true),
            ("https://*.example.com", true, "a.b.example.com", 443, true),
            ("https://*.example.com", true, "example.com", 443, false),
            ("https://*.example.com", true, ".example.com", 443, false),
            ("https://*.example.com", true, "badexample.com", 443, false),
            ("https://*", true, "anything", 443, true),
            ("http://10.0.0.7:*", false, "10.0.0.7", 9, true),
            ("http://[::1]:3000", false, "[::1]", 3000, true),
            ("http://[::1]", false, "[::1]", 80, true),
        ] {
            let destination = Destination::try_from(text.to_owned()).unwrap();
            assert_eq!(destination.to_string(), text);
            assert_eq!(
                destination.covers(secure, host, port),
                covers,
                "{text} {host}"
            );
        }
        for bad in [
            "",
            "example.com",
            "ftp://a",
            "https://",
            "https://A.org",
            "https://a/b",
            "https://a:0",
            "https://a:x",
            "https://a:",
            "https://*.",
            "https://a*b",
            "https://user@a",
            "https://[::1",
            "https://.a",
            "*",
        ] {
            assert!(Destination::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
