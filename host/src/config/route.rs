//! Which paths a function answers.

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
        let problem = if !(path.starts_with('/') || (below && path.is_empty())) {
            "it doesn't begin with `/`".to_owned()
        } else if path.contains("...") {
            "`...` stands at its end alone, after a `/`".to_owned()
        } else if let Some(odd) = path.chars().find(|odd| !is_plain(*odd)) {
            format!("{odd:?} can't be in it; requests have what isn't plain encoded, as `%20`")
        } else {
            String::new()
        };
        if !problem.is_empty() {
            return Err(format!(
                "{text:?} isn't a route: {problem}; use a path, as \"/hello\", with `/...` at its end for all \
                 below it"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            below,
        })
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it stands for what is below the path as well.
    pub fn is_below(&self) -> bool {
        self.below
    }
}

/// What a path has as it is. `*` and `:` would be taken for a pattern's.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-._~%!$&'()+,;=@".contains(c)
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
    fn what_is_no_route_is_told_why() {
        for good in ["/hello", "/api/...", "/...", "/", "/a%20b"] {
            assert_eq!(Route::parse(good).unwrap().to_string(), good);
        }
        for (bad, says) in [
            ("", "doesn't begin"),
            ("hello", "doesn't begin"),
            ("...", "doesn't begin"),
            ("/a/.../b", "at its end alone"),
            ("/a?b", "'?'"),
            ("/:id", "':'"),
            ("/*", "'*'"),
            ("/a b", "' '"),
            ("/\u{e4}", "'\u{e4}'"),
        ] {
            let error = Route::parse(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
