//! Which paths a function answers.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer};

/// What stands for everything below a path.
const BELOW: &str = "/...";

/// A path, or with `/...` at its end that path and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    path: String,
    below: bool,
}

impl Route {
    fn parse(text: &str) -> Result<Self, String> {
        let (path, below) = match text.strip_suffix(BELOW) {
            Some(path) => (path, true),
            None => (text, false),
        };
        let good = (below && path.is_empty()) || path.starts_with('/');
        let odd = path.contains(['?', '#', '*', ':', ' ']) || path.contains("...");
        if !good || odd {
            return Err(format!(
                "{text:?} isn't a route; it begins with `/`, as \"/hello\", and may end with `/...` for all \
                 below it"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            below,
        })
    }

    /// Whether the function answers requests to `path`.
    pub fn matches(&self, path: &str) -> bool {
        match path.strip_prefix(&self.path) {
            Some("") => true,
            Some(rest) => self.below && rest.starts_with('/'),
            None => false,
        }
    }

    /// The one that fits fewer paths is the greater.
    pub fn cmp_by_length(&self, other: &Self) -> Ordering {
        (self.path.len(), !self.below).cmp(&(other.path.len(), !other.below))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.below {
            f.write_str(BELOW)
        } else {
            Ok(())
        }
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_fits_its_path_and_with_dots_what_is_below() {
        for (route, fits, misses) in [
            (
                "/hello",
                vec!["/hello"],
                vec!["/hello/", "/hellos", "/", "/hello/x"],
            ),
            (
                "/api/...",
                vec!["/api", "/api/", "/api/a/b"],
                vec!["/apis", "/", "/ap"],
            ),
            ("/...", vec!["/", "/a", "/a/b"], vec![]),
            ("/", vec!["/"], vec!["/a"]),
        ] {
            let parsed = Route::parse(route).unwrap();
            assert_eq!(parsed.to_string(), route);
            for path in fits {
                assert!(parsed.matches(path), "{route} {path}");
            }
            for path in misses {
                assert!(!parsed.matches(path), "{route} {path}");
            }
        }
        for bad in ["", "hello", "/a/.../b", "/a?b", "/:id", "/*", "..."] {
            let error = Route::parse(bad).unwrap_err();
            assert!(error.contains("begins with `/`"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_route_that_says_most_comes_first() {
        let mut routes = ["/...", "/a/...", "/a", "/a/b"].map(|text| Route::parse(text).unwrap());
        routes.sort_by(|one, other| other.cmp_by_length(one));
        assert_eq!(
            routes.map(|route| route.to_string()),
            ["/a/b", "/a", "/a/...", "/..."]
        );
    }
}
