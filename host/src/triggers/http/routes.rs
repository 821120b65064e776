//! Which function answers a request: the one whose host, path and method say most.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::spin::SpinHeaders;
use crate::config::{HostName, Manifest, Requests, Segment, Source, Verb};

/// What headers begin with that only a host says. Spin has them so.
pub(super) const SPIN: &str = "spin-";
/// What the function's request says of a parameter of its route: this, and the parameter's name.
const PARAMETER: &str = "spin-path-match-";

/// All functions that answer requests.
#[derive(Default)]
pub(super) struct Routes {
    hosts: HashMap<String, Node>,
    /// By the name that theirs end with, after a dot.
    below: HashMap<String, Node>,
    others: Node,
}

/// What has been found of a path.
#[derive(Default)]
struct Node {
    exact: HashMap<String, Node>,
    any: Option<Box<Node>>,
    /// Of those whose route ends here.
    here: Vec<Leaf>,
    /// Of those that answer all below.
    below: Vec<Leaf>,
}

struct Leaf {
    function: Arc<str>,
    /// None for those that no other has.
    methods: Vec<Method>,
    /// The headers of its route's parameters, in order.
    parameters: Arc<[HeaderName]>,
    /// None where the function isn't told.
    spin: Option<Arc<SpinHeaders>>,
}

/// Who answers.
pub(super) struct Found {
    pub function: Arc<str>,
    /// The route's parameters, as headers of the request.
    pub parameters: Vec<(HeaderName, HeaderValue)>,
    /// What else the function is told of its route.
    pub spin: Option<Arc<SpinHeaders>>,
}

/// Why nobody does.
pub(super) enum NotFound {
    /// There is no such path.
    Path,
    /// There is, for these methods.
    Method(Vec<Method>),
}

/// A path's segments that were any, and the methods that there would be.
#[derive(Default)]
struct Walk<'a> {
    values: Vec<&'a str>,
    methods: Vec<Method>,
}

impl Routes {
    pub fn new(manifest: &Manifest) -> Self {
        let mut routes = Self::default();
        for function in &manifest.functions {
            if let Source::Http(requests) = function.on.source() {
                routes.add(&Arc::from(function.name.as_str()), requests);
            }
        }
        routes
    }

    fn add(&mut self, function: &Arc<str>, requests: Requests<'_>) {
        for route in requests.routes {
            let name = |name: &str| HeaderName::try_from(format!("{PARAMETER}{name}")).ok();
            let parameters: Arc<[_]> = route.parameters().filter_map(name).collect();
            let spin = requests.spin_headers.then(|| SpinHeaders::new(route));
            let spin = spin.map(Arc::new);
            let leaf = || Leaf {
                function: Arc::clone(function),
                spin: spin.clone(),
                methods: requests
                    .methods
                    .iter()
                    .map(|Verb(method)| method.clone())
                    .collect(),
                parameters: Arc::clone(&parameters),
            };
            let add = |node: &mut Node| {
                node.add(route.segments(), route.is_below(), leaf());
                if route.takes_slash() {
                    let mut segments = route.segments().to_vec();
                    segments.push(Segment::Exact(String::new()));
                    node.add(&segments, false, leaf());
                }
            };
            if requests.hosts.is_empty() {
                add(&mut self.others);
            }
            for host in requests.hosts {
                let (hosts, name) = match host {
                    HostName::Exact(name) => (&mut self.hosts, name),
                    HostName::Below(name) => (&mut self.below, name),
                };
                add(hosts.entry(canonical(name)).or_default());
            }
        }
    }

    /// The one that says most of the host, which is canonical, then of the path, then of the method.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Result<Found, NotFound> {
        let mut walk = Walk::default();
        let path = path.strip_prefix('/').unwrap_or(path);
        for node in self.of_host(host) {
            walk.values.clear();
            if let Some(leaf) = node.find(Some(path), method, &mut walk) {
                let values = walk.values.iter().map(|value| HeaderValue::from_str(value));
                let parameters = leaf.parameters.iter().cloned().zip(values);
                return Ok(Found {
                    function: Arc::clone(&leaf.function),
                    parameters: parameters
                        .filter_map(|(name, value)| Some((name, value.ok()?)))
                        .collect(),
                    spin: leaf.spin.clone(),
                });
            }
        }
        Err(match walk.methods.is_empty() {
            true => NotFound::Path,
            false => NotFound::Method(walk.methods),
        })
    }

    /// Where to look, in turn.
    fn of_host(&self, host: &str) -> impl Iterator<Item = &Node> {
        let mut nodes = Vec::with_capacity(2);
        if !(self.hosts.is_empty() && self.below.is_empty()) {
            nodes.extend(self.hosts.get(host));
            let above = host
                .match_indices('.')
                .filter_map(|(dot, _)| host.get(dot + 1..));
            nodes.extend(above.filter_map(|above| self.below.get(above)));
        }
        nodes.into_iter().chain(std::iter::once(&self.others))
    }
}

/// A host as all ways to write it are: in lower case, without a dot at its end, an address of version 6 at its shortest.
pub(super) fn canonical(host: &str) -> String {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(Ok(address)) = address.map(str::parse::<Ipv6Addr>) {
        return format!("[{address}]");
    }
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

impl Node {
    fn add(&mut self, segments: &[Segment], below: bool, leaf: Leaf) {
        match segments.split_first() {
            Some((Segment::Exact(text), rest)) => {
                self.exact
                    .entry(text.clone())
                    .or_default()
                    .add(rest, below, leaf);
            }
            Some((Segment::Any(_), rest)) => {
                self.any.get_or_insert_default().add(rest, below, leaf)
            }
            None if below => self.below.push(leaf),
            None => self.here.push(leaf),
        }
    }

    /// `path` is what is left of it behind a slash; none where nothing is.
    fn find<'a>(
        &self,
        path: Option<&'a str>,
        method: &Method,
        walk: &mut Walk<'a>,
    ) -> Option<&Leaf> {
        let Some(path) = path else {
            return choose(&self.here, method, walk).or_else(|| choose(&self.below, method, walk));
        };
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        if let Some(found) = self
            .exact
            .get(segment)
            .and_then(|node| node.find(rest, method, walk))
        {
            return Some(found);
        }
        // No parameter is empty: `/users/` isn't a user's.
        if let Some(any) = self.any.as_ref().filter(|_| !segment.is_empty()) {
            walk.values.push(segment);
            if let Some(found) = any.find(rest, method, walk) {
                return Some(found);
            }
            walk.values.pop();
        }
        choose(&self.below, method, walk)
    }
}

/// Who names the method comes before who takes what is left, and who names `HEAD` before who names `GET`.
fn choose<'a>(leaves: &'a [Leaf], method: &Method, walk: &mut Walk<'_>) -> Option<&'a Leaf> {
    let naming = |method: &Method| leaves.iter().find(|leaf| leaf.methods.contains(method));
    let found = naming(method)
        .or_else(|| naming(&Method::GET).filter(|_| method == Method::HEAD))
        .or_else(|| leaves.iter().find(|leaf| leaf.methods.is_empty()));
    if found.is_none() {
        let methods = leaves.iter().flat_map(|leaf| &leaf.methods);
        walk.methods.extend(methods.cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn routes(functions: &[(&str, &str)]) -> Routes {
        let mut text = "[app]\nname = \"a\"\n".to_owned();
        for (name, on) in functions {
            text += &format!(
                "[[function]]\nname = \"{name}\"\ncomponent = \"c.wasm\"\non = {{ {on} }}\n"
            );
        }
        Routes::new(&Manifest::parse(&text, Path::new("."), "kinglet.toml").unwrap())
    }

    fn found(routes: &Routes, request: &str) -> Option<(String, String)> {
        let (method, rest) = request.split_once(' ').unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let host = canonical(host);
        let found = routes.find(&method.parse().unwrap(), &host, path).ok()?;
        let parameters = found.parameters.iter().map(|(name, value)| {
            let name = name.as_str().strip_prefix(PARAMETER).unwrap();
            format!("{name}={}", value.to_str().unwrap())
        });
        let parameters: Vec<_> = parameters.collect();
        Some((found.function.to_string(), parameters.join(" ")))
    }

    #[test]
    fn the_route_that_says_most_answers() {
        let routes = routes(&[
            ("all", r#"http = "/...""#),
            ("tree", r#"http = "/a/...""#),
            ("leaf", r#"http = "/a""#),
            ("deep", r#"http = "/a/b""#),
            ("user", r#"http = ["/users/{id}", "/people/{name}"]"#),
            ("me", r#"http = "/users/me""#),
            ("file", r#"http = "/users/{user}/files/{file}/...""#),
        ]);
        for (path, function, parameters) in [
            ("/", "all", ""),
            ("/b", "all", ""),
            ("/ab", "all", ""),
            ("/a", "leaf", ""),
            ("/a/", "tree", ""),
            ("/a/b", "deep", ""),
            ("/a/b/", "tree", ""),
            ("/a/c/d", "tree", ""),
            ("/users/7", "user", "id=7"),
            ("/people/a%20b", "user", "name=a%20b"),
            ("/users/me", "me", ""),
            ("/users/", "all", ""),
            ("/users/7/files", "all", ""),
            ("/users/7/files/8", "file", "user=7 file=8"),
            ("/users/me/files/8/x/y", "file", "user=me file=8"),
        ] {
            let expected = Some((function.to_owned(), parameters.to_owned()));
            assert_eq!(found(&routes, &format!("GET {path}")), expected, "{path}");
        }
        assert_eq!(found(&Routes::default(), "GET /"), None);
    }

    #[test]
    fn a_host_and_a_method_are_chosen_as_well() {
        let routes = routes(&[
            ("one", r#"http = "/x", hosts = "api.example.com""#),
            ("below", r#"http = "/x", hosts = ["*.example.com"]"#),
            ("reads", r#"http = "/x", methods = "GET""#),
            ("rest", r#"http = "/x""#),
            ("posts", r#"http = "/y", methods = ["POST", "PUT"]"#),
            ("tree", r#"http = "/y/...", methods = "GET""#),
        ]);
        for (request, function) in [
            ("GET api.example.com./x", "one"),
            ("GET API.Example.com/x", "one"),
            ("GET www.example.com/x", "below"),
            ("GET a.b.example.com/x", "below"),
            ("GET example.com/x", "reads"),
            ("HEAD elsewhere/x", "reads"),
            ("DELETE elsewhere/x", "rest"),
            ("POST api.example.com/y", "posts"),
            ("GET here/y", "tree"),
        ] {
            assert_eq!(found(&routes, request).unwrap().0, function, "{request}");
        }
        assert!(matches!(
            routes.find(&Method::GET, "a", "/z"),
            Err(NotFound::Path)
        ));
        let Err(NotFound::Method(methods)) = routes.find(&Method::DELETE, "a", "/y") else {
            panic!("it was found");
        };
        assert_eq!(methods, [Method::POST, Method::PUT, Method::GET]);
    }
}
