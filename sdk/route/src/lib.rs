//! The routes of HTTP functions: their syntax, and the paths that they match.
//!
//! The host reads a manifest's routes with it, the attribute `http` of `kinglet-sdk` checks its
//! own, and the SDK matches paths where a host has no routes.

use std::collections::BTreeSet;
use std::fmt;

/// The end of a route that stands for everything below a path.
const BELOW: &str = "/...";

/// A path; with `/...` at its end that path and everything below it. A segment `{name}` is any one
/// segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    segments: Vec<Segment>,
    below: bool,
}

/// The text between two slashes of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These characters, as requests have them: what isn't plain is encoded, as `%20`.
    Exact(String),
    /// Any text but none, as a parameter of this name.
    Any(String),
}

/// The reason why a text isn't a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRoute(String);

impl fmt::Display for InvalidRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidRoute {}

impl Route {
    /// Reads a route.
    ///
    /// # Errors
    /// Fails if the text isn't one, with the reason.
    pub fn parse(text: &str) -> Result<Self, InvalidRoute> {
        Self::read(text).map_err(|problem| {
            InvalidRoute(format!(
                "{text:?} isn't a route: {problem}; use a path, as \"/hello\" or \
                 \"/users/{{id}}\", with `/...` at its end for all below it"
            ))
        })
    }

    fn read(text: &str) -> Result<Self, String> {
        let (path, below) = split_below(text);
        if path.contains("...") {
            return Err("`...` stands at its end alone, after a `/`".to_owned());
        }
        let segments = match path.strip_prefix('/') {
            Some(path) => path
                .split('/')
                .map(Segment::parse)
                .collect::<Result<_, _>>()?,
            None if below && path.is_empty() => Vec::new(),
            None => return Err("it doesn't begin with `/`".to_owned()),
        };
        let route = Self { segments, below };
        let mut seen = BTreeSet::new();
        if let Some(name) = route.parameters().find(|name| !seen.insert(*name)) {
            return Err(format!("it has {{{name}}} twice"));
        }
        Ok(route)
    }

    /// Returns its segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the names of its parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Exact(_) => None,
            Segment::Any(name) => Some(name.as_str()),
        })
    }

    /// Tells whether it stands for all paths below its own as well.
    pub fn is_below(&self) -> bool {
        self.below
    }

    /// Tells whether some path matches both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut own = self.segments.iter();
        let mut others = other.segments.iter();
        loop {
            match (own.next(), others.next()) {
                (None, None) => return true,
                (None, Some(_)) => return self.below,
                (Some(_), None) => return other.below,
                (Some(Segment::Exact(one)), Some(Segment::Exact(two))) if one != two => {
                    return false;
                }
                (Some(Segment::Exact(text)), Some(Segment::Any(_)))
                | (Some(Segment::Any(_)), Some(Segment::Exact(text)))
                    if text.is_empty() =>
                {
                    return false;
                }
                _ => {}
            }
        }
    }

    /// Returns a text that all routes for the same paths share.
    pub fn pattern(&self) -> String {
        let mut pattern = String::new();
        for segment in &self.segments {
            pattern.push('/');
            pattern.push_str(match segment {
                Segment::Exact(text) => text,
                Segment::Any(_) => "{}",
            });
        }
        if self.below {
            pattern.push_str(BELOW);
        }
        pattern
    }
}

/// As it is written.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Exact(text) => write!(f, "/{text}")?,
                Segment::Any(name) => write!(f, "/{{{name}}}")?,
            }
        }
        f.write_str(if self.below { BELOW } else { "" })
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = parameter(text) {
            // It becomes a part of a header's name.
            let good = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            return match good {
                true => Ok(Self::Any(name.to_owned())),
                false => Err(format!(
                    "{text:?} isn't a parameter; its name has lower-case letters, digits and \
                     hyphens"
                )),
            };
        }
        match text.chars().find(|odd| !is_plain(*odd)) {
            Some('{' | '}') => Err(format!(
                "{text:?} has braces; a parameter is all of a segment, as \"/users/{{id}}\""
            )),
            Some(odd) => Err(format!(
                "{odd:?} can't be in it; requests have what isn't plain encoded, as `%20`"
            )),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }
}

/// Returns the name in a segment `{name}`.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn split_below(route: &str) -> (&str, bool) {
    match route.strip_suffix(BELOW) {
        Some(path) => (path, true),
        None => (route, false),
    }
}

/// Tells which characters a path has as they are. `*` and `:` would be taken for a pattern's.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()+,;=@".contains(c)
}

/// The parameters of a path, by name, as the path has them.
pub type Parameters<'a> = Vec<(&'a str, &'a str)>;

/// Finds the most specific of the routes that match a path, and returns its parameters. The routes
/// must be valid: they are compared as text, since a component does this for every request.
pub fn find<'a>(routes: &[&'a str], path: &'a str) -> Option<Parameters<'a>> {
    let matches = routes.iter().filter_map(|route| matched(route, path));
    let best = matches.min_by(|(one, _), (other, _)| one.cmp(other));
    best.map(|(_, parameters)| parameters)
}

/// A part of a match. The first part that differs decides, and the least is the most specific.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Exact,
    Any,
    Below,
}

fn matched<'a>(route: &'a str, path: &'a str) -> Option<(Vec<Part>, Parameters<'a>)> {
    let (pattern, below) = split_below(route);
    let mut parts = Vec::new();
    let mut parameters = Vec::new();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        match parameter(wanted) {
            Some(name) if !segment.is_empty() => {
                parameters.push((name, segment));
                parts.push(Part::Any);
            }
            None if wanted == segment => parts.push(Part::Exact),
            _ => return None,
        }
    }
    if below {
        parts.push(Part::Below);
    } else if segments.next().is_some() {
        return None;
    }
    Some((parts, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_route_is_told_why() {
        for good in [
            "/hello",
            "/api/...",
            "/...",
            "/",
            "/a%20b",
            "/users/{id}/files/{file-2}/...",
        ] {
            assert_eq!(Route::parse(good).unwrap().to_string(), good);
        }
        for (bad, says) in [
            ("", "doesn't begin"),
            ("hello", "doesn't begin"),
            ("...", "at its end alone"),
            ("/a/.../b", "at its end alone"),
            ("/a?b", "'?'"),
            ("/:id", "':'"),
            ("/*", "'*'"),
            ("/a b", "' '"),
            ("/\u{e4}", "'\u{e4}'"),
            ("/{}", "lower-case"),
            ("/{Id}", "lower-case"),
            ("/a{id}", "all of a segment"),
            ("/{id}/{no}/{id}", "{id} twice"),
        ] {
            let error = Route::parse(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn routes_overlap_where_a_path_matches_both() {
        for (one, other, expected) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a/{id}", "/a/b", true),
            ("/a/{id}", "/a/", false),
            ("/a/{id}", "/{x}/{y}", true),
            ("/a/{id}", "/a/b/c", false),
            ("/...", "/a/b", true),
            ("/a/...", "/a", true),
            ("/a/...", "/ab", false),
            ("/a/...", "/a/{id}/...", true),
            ("/a/b/...", "/a/c/...", false),
        ] {
            let [first, second] = [one, other].map(|text| Route::parse(text).unwrap());
            assert_eq!(first.overlaps(&second), expected, "{one} {other}");
            assert_eq!(second.overlaps(&first), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_most_specific_route_is_found() {
        let routes = [
            "/a/...",
            "/a",
            "/a/b",
            "/users/{id}",
            "/people/{name}",
            "/users/me",
            "/users/{user}/files/{file}/...",
            "/x/{any}/z",
            "/x/y/...",
        ];
        for (path, expected) in [
            ("/", None),
            ("/ab", None),
            ("", None),
            ("a", None),
            ("/a", Some("")),
            ("/a/", Some("")),
            ("/a/b/c", Some("")),
            ("/users/7", Some("id=7")),
            ("/users/7/", None),
            ("/users/", None),
            ("/people/a%20b", Some("name=a%20b")),
            ("/users/me", Some("")),
            ("/users/7/files", None),
            ("/users/7/files/8", Some("user=7 file=8")),
            ("/users/me/files/8/x/y", Some("user=me file=8")),
            // A literal segment decides before what comes behind it.
            ("/x/y/z", Some("")),
            ("/x/w/z", Some("any=w")),
        ] {
            let found = find(&routes, path).map(|parameters| {
                let pairs = parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        assert_eq!(find(&["/..."], "/"), Some(Vec::new()));
        assert_eq!(find(&["/"], "/"), Some(Vec::new()));
        assert_eq!(find(&["/"], "/a"), None);
        assert_eq!(find(&[], "/"), None);
    }
}
