//! Routes as Spin writes them: `/users/:id`, `/static/...`.

use crate::config::{Route, SpinRoute};

/// A route below the path that all routes of the application begin with.
pub(super) fn route(base: &str, raw: &str) -> Result<Route, String> {
    let absolute = match raw.starts_with('/') {
        true => raw.to_owned(),
        false => format!("/{raw}"),
    };
    let based = [base, &absolute].map(without_slash).concat();
    // Both stand for all below.
    let (path, below) = match based.strip_suffix("/...").or(based.strip_suffix("/*")) {
        Some(path) => (path, "/..."),
        None => (based.as_str(), ""),
    };
    let segments = path
        .split('/')
        .map(|segment| match segment.strip_prefix(':') {
            // As it is in the header that tells its value.
            Some(name) => format!("{{{}}}", name.to_ascii_lowercase().replace('_', "-")),
            None => segment.to_owned(),
        });
    let segments: Vec<String> = segments.collect();
    let mut ours = segments.join("/") + below;
    if ours.is_empty() {
        ours.push('/');
    }
    let spin = SpinRoute {
        raw: raw.to_owned(),
        based,
    };
    Ok(Route::try_from(ours)
        .map_err(|problem| format!("{raw:?} isn't served: {problem}"))?
        .of_spin(spin))
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_spin_become_ours() {
        for (base, raw, ours, based) in [
            ("/", "/", "/", ""),
            ("/", "/hello", "/hello", "/hello"),
            ("/", "hello/", "/hello", "/hello"),
            ("/", "/...", "/...", "/..."),
            ("/", "/a/*", "/a/...", "/a/*"),
            (
                "/v1",
                "/users/:user_ID/...",
                "/v1/users/{user-id}/...",
                "/v1/users/:user_ID/...",
            ),
            ("/v1/", "/", "/v1", "/v1"),
        ] {
            let route = route(base, raw).unwrap();
            assert_eq!(route.to_string(), ours, "{base} {raw}");
            let spin = route.spin();
            assert_eq!((spin.raw.as_str(), spin.based.as_str()), (raw, based));
            assert_eq!(
                route.takes_slash(),
                !["/", "/...", "/a/..."].contains(&ours) && !route.is_below()
            );
        }
        for bad in ["/a/*/b", "/a b", "/:", "/a/.../b", "/:id/:id"] {
            let error = route("/", bad).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
