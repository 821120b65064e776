//! Which requests a function answers.

use std::fmt;

use http::Method;
pub use kinglet_route::Segment;

/// What stands for everything below a path.
const BELOW: &str = "/...";

/// A route of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    text: String,
    path: kinglet_route::Route,
    /// None for one that isn't Spin's.
    spin: Option<Box<SpinRoute>>,
}

/// A route as Spin writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpinRoute {
    /// Without the path that all routes of the application begin with.
    pub raw: String,
    /// With it.
    pub based: String,
}

/// A host that requests name, without its port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostName {
    /// This one.
    Exact(String),
    /// Every one that ends with a dot and this.
    Below(String),
}

/// The requests of one function.
#[derive(Clone, Copy, Debug)]
pub struct Requests<'a> {
    /// Their paths.
    pub routes: &'a [Route],
    /// Their methods; none for those that no other function names. With `GET` comes `HEAD`.
    pub methods: &'a [Verb],
    /// The hosts that they name; none for those that no other function names.
    pub hosts: &'a [HostName],
    /// Whether the function is told of them in Spin's headers.
    pub spin_headers: bool,
}

/// A request's method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verb(pub Method);

impl TryFrom<String> for Verb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let standard = text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if standard && method != Method::CONNECT => Ok(Self(method)),
            _ => Err(format!(
                "{text:?} isn't a method that a function answers; use \"GET\", \"POST\" and the like"
            )),
        }
    }
}

impl TryFrom<String> for Route {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let path = kinglet_route::Route::parse(&text).map_err(|invalid| invalid.to_string())?;
        Ok(Self {
            text,
            path,
            spin: None,
        })
    }
}

impl Route {
    /// Tells whether some path matches it and one that a component has in its code.
    pub fn overlaps(&self, other: &kinglet_route::Route) -> bool {
        self.path.overlaps(other)
    }

    /// Returns its segments, in order.
    pub fn segments(&self) -> &[Segment] {
        self.path.segments()
    }

    /// Returns the names of its parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.path.parameters()
    }

    /// Tells whether it stands for all paths below its own as well.
    pub fn is_below(&self) -> bool {
        self.path.is_below()
    }

    /// A route of Spin's, which this one is read from. A slash at the end of a path says nothing there.
    pub(super) fn of_spin(self, spin: SpinRoute) -> Self {
        let spin = Some(Box::new(spin));
        Self { spin, ..self }
    }

    /// Whether it stands for its path with a slash at its end as well.
    pub fn takes_slash(&self) -> bool {
        self.spin.is_some() && !self.is_below() && self.text != "/"
    }

    /// As Spin writes it.
    pub fn spin(&self) -> SpinRoute {
        if let Some(spin) = &self.spin {
            return (**spin).clone();
        }
        let mut text = String::new();
        for segment in self.segments() {
            text.push('/');
            match segment {
                Segment::Exact(exact) => text.push_str(exact),
                Segment::Any(name) => text.extend([":", name]),
            }
        }
        if self.is_below() {
            text.push_str(BELOW);
        }
        SpinRoute {
            raw: text.clone(),
            based: text,
        }
    }

    /// Returns a text that all routes for the same paths share.
    pub fn pattern(&self) -> String {
        self.path.pattern()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text.as_str(), false),
        };
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        // An address of version 6 stands in brackets.
        let address = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let good = match address {
            Some(address) => !below && address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain),
        };
        if !good {
            return Err(format!(
                "{text:?} isn't a host; use a name in lower case without its port, as \"api.example.com\", or \
                 \"*.example.com\" for all below it"
            ));
        }
        Ok(match below {
            true => Self::Below(name.to_owned()),
            false => Self::Exact(name.to_owned()),
        })
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl Requests<'_> {
    /// Whether some method is named by both, or none by either.
    pub(super) fn share_a_method(self, other: Self) -> bool {
        match self.methods {
            [] => other.methods.is_empty(),
            methods => methods.iter().any(|method| other.methods.contains(method)),
        }
    }
}

/// As people name them: `GET api.example.com/users/{id}`.
impl fmt::Display for Requests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Verb(method)) in self.methods.iter().enumerate() {
            write!(f, "{}{method}", if at > 0 { "|" } else { "" })?;
        }
        if !self.methods.is_empty() {
            f.write_str(" ")?;
        }
        for (at, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if at > 0 { "|" } else { "" })?;
        }
        for (at, route) in self.routes.iter().enumerate() {
            write!(f, "{}{route}", if at > 0 { "|" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_all_below_one() {
        for good in [
            "localhost",
            "api.example.com",
            "*.example.com",
            "127.0.0.1",
            "[::1]",
        ] {
            assert_eq!(
                HostName::try_from(good.to_owned()).unwrap().to_string(),
                good
            );
        }
        for bad in [
            "",
            "*",
            "*.",
            "Example.com",
            "a:80",
            "a/b",
            "[::1",
            "*.[::1]",
            "http://a",
        ] {
            assert!(HostName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_method_is_in_capitals() {
        assert_eq!(Verb::try_from("GET".to_owned()).unwrap().0, Method::GET);
        for bad in ["", "get", "CONNECT", "GET POST", "G\u{c4}T"] {
            assert!(Verb::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
