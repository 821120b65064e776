//! What Spin tells a function of a request, in headers of its own (`crates/trigger-http/src/headers.rs` of Spin 4). Only
//! functions have them that ask for it.

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use super::respond::Client;
use crate::config::Route;
use crate::ports::Secure;

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// The headers of one route.
pub(super) struct SpinHeaders {
    /// The same for each of its requests.
    fixed: HeaderMap,
    /// How many segments it has, where it stands for all below.
    below: Option<usize>,
}

impl SpinHeaders {
    pub fn new(route: &Route) -> Self {
        let spin = route.spin();
        let prefix = spin.raw.strip_suffix("/...").unwrap_or(&spin.raw);
        let mut fixed = HeaderMap::new();
        for (name, value) in [
            (MATCHED_ROUTE, spin.based.as_str()),
            // What it is set to says nothing of the routes' own base, which is in the matched one.
            (BASE_PATH, "/"),
            (RAW_COMPONENT_ROUTE, spin.raw.as_str()),
            (COMPONENT_ROUTE, prefix),
        ] {
            add(&mut fixed, name, value);
        }
        Self {
            fixed,
            below: route.is_below().then(|| route.segments().len()),
        }
    }

    /// Tells a request's function.
    pub fn add<B>(&self, request: &mut Request<B>, client: Client) {
        let url = full_url(request);
        let below = self
            .below
            .map(|segments| below(request.uri().path(), segments));
        let below = below.unwrap_or_default().to_owned();
        let headers = request.headers_mut();
        headers.extend(self.fixed.clone());
        add(headers, PATH_INFO, &below);
        add(headers, FULL_URL, &url);
        add(headers, CLIENT_ADDR, &client.address.to_string());
    }
}

/// What comes from a URL or a manifest has no character that a header can't have.
fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What is left of a path behind so many segments, with its slash.
fn below(path: &str, segments: usize) -> &str {
    let slash = path.match_indices('/').nth(segments);
    slash.and_then(|(at, _)| path.get(at..)).unwrap_or_default()
}

fn full_url<B>(request: &Request<B>) -> String {
    let scheme = match request.extensions().get::<Secure>() {
        Some(Secure) => "https",
        None => "http",
    };
    let uri = request.uri();
    let named = request.headers().get(header::HOST);
    let host = uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| named?.to_str().ok()).unwrap_or("localhost");
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(route: &str, uri: &str) -> Vec<(String, String)> {
        let route = Route::try_from(route.to_owned()).unwrap();
        let mut request = Request::get(uri).body(()).unwrap();
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_static("example.com:81"));
        let client = Client {
            address: "127.0.0.1:8777".parse().unwrap(),
            server: "127.0.0.1:3000".parse().unwrap(),
        };
        SpinHeaders::new(&route).add(&mut request, client);
        let headers = request.headers().iter();
        let mut told: Vec<_> = headers
            .filter_map(|(name, value)| {
                let name = name.as_str().strip_prefix("spin-")?;
                Some((name.to_owned(), value.to_str().unwrap().to_owned()))
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn a_function_is_told_what_spin_tells() {
        let expected = [
            ("base-path", "/"),
            ("client-addr", "127.0.0.1:8777"),
            ("component-route", "/users/:id"),
            ("full-url", "http://example.com:81/users/7/a/b/?q=1"),
            ("matched-route", "/users/:id/..."),
            ("path-info", "/a/b/"),
            ("raw-component-route", "/users/:id/..."),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told("/users/{id}/...", "/users/7/a/b/?q=1"), expected);
    }

    #[test]
    fn the_path_below_a_route_has_its_slashes() {
        for (route, path, info) in [
            ("/...", "/", "/"),
            ("/...", "/a/b", "/a/b"),
            ("/foo/...", "/foo", ""),
            ("/foo/...", "/foo/", "/"),
            ("/foo/...", "/foo/bar", "/bar"),
            ("/foo/...", "/foo/bar/", "/bar/"),
            ("/foo", "/foo", ""),
        ] {
            let told = told(route, path);
            let found = told.iter().find(|(name, _)| name == "path-info").unwrap();
            assert_eq!(found.1, info, "{route} {path}");
        }
    }
}
