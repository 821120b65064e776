use std::cell::OnceCell;

use super::body::{Message, text};
use super::text::{decode, pairs};
use super::{Body, Headers, Method};
use crate::{Attributes, Error, Failure, Response, backend};

/// How a host tells the parameters of a route.
const PARAMETER: &str = "spin-path-match-";

/// A request that came, for a handler with [`#[kinglet_sdk::http]`](macro@crate::http) to answer. The
/// [module](super) has an example.
#[derive(Debug)]
pub struct Request {
    method: Method,
    target: String,
    query: OnceCell<Attributes>,
    parameters: OnceCell<Attributes>,
    message: Message,
}

impl Request {
    pub(crate) fn new(method: Method, target: String, source: backend::Incoming) -> Self {
        Self {
            method,
            target,
            query: OnceCell::new(),
            parameters: OnceCell::new(),
            message: Message::new(source),
        }
    }

    /// Returns it with the parameters of the most specific route that matches its path; a 404 where
    /// none does.
    pub(crate) fn routed(mut self, routes: &'static [&'static str]) -> Result<Self, Response> {
        let Some(parameters) = kinglet_route::find(routes, self.path()) else {
            return Err(Response::text("not found\n").status(404));
        };
        let parameters = parameters.into_iter();
        let parameters = parameters.map(|(name, value)| (name.to_owned(), decode(value)));
        self.parameters = OnceCell::from(Attributes(parameters.collect()));
        Ok(self)
    }

    /// What it asks for.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its path as it came, with `%20` for a space, and without the query.
    pub fn path(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        if path.is_empty() { "/" } else { path }
    }

    /// Returns a parameter of its route: `7` for `id`, where the route is `/users/{id}` and the
    /// path `/users/7`. `%20` and the like are decoded, so that a parameter may have a `/` in it;
    /// what isn't UTF-8 has U+FFFD in its place.
    ///
    /// Routes in the attribute, `#[kinglet_sdk::http("/users/{id}")]`, say it on every host, and
    /// they alone. A handler without them has the parameters that the host names in headers:
    /// Kinglet and Spin do, and take care that nobody else does. On a host without routes a client
    /// can say of them what it likes.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.parameters.get_or_init(|| {
            let parameter = |(name, value): (&str, &[u8])| {
                let name = name.strip_prefix(PARAMETER)?;
                Some((name.to_owned(), decode(&String::from_utf8_lossy(value))))
            };
            Attributes(self.headers().iter().filter_map(parameter).collect())
        });
        parameters
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The pairs of its query, decoded: `page` is `2` where the path ends with `?page=2`.
    pub fn query(&self) -> &Attributes {
        self.query
            .get_or_init(|| pairs(self.query_text().unwrap_or_default()))
    }

    /// Its query as it came: what stands behind the `?`, where there is one.
    pub fn query_text(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The value of a header, the first where there are several. None also where it isn't UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)
    }

    /// All headers, in order.
    pub fn headers(&self) -> &Headers {
        self.message.headers()
    }

    /// Its header `x-request-id`, under which the logs have what came of it. Kinglet gives it to each request that has
    /// none.
    pub fn id(&self) -> Option<&str> {
        self.header("x-request-id")
    }

    /// `http` or `https`, as it came to the host.
    pub fn scheme(&self) -> String {
        self.message.source().scheme()
    }

    /// The name and port that it was sent to, `api.example.com` or `localhost:3000`.
    pub fn authority(&self) -> Option<String> {
        self.message.source().authority()
    }

    /// Its body. It takes room in the function's memory; `limits.request` bounds it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it was taken before; [`Error::Unavailable`] where it breaks off.
    pub fn body(&self) -> Result<Vec<u8>, Error> {
        self.message.body()
    }

    /// Its body as text.
    ///
    /// # Errors
    /// A rejection, and so a 400, where it isn't UTF-8; else as [`body`](Self::body).
    pub fn text(&self) -> Result<String, Failure> {
        text(self.body()?).map_err(Failure::reject)
    }

    /// Its body as JSON.
    ///
    /// # Errors
    /// A rejection, and so a 400 with the reason, where it isn't JSON for a `T`; else as [`body`](Self::body).
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body()?)
            .map_err(|error| Failure::reject(format!("the body: {error}")))
    }

    /// Its body piece by piece, as it comes.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it was taken before.
    ///
    /// ```
    /// use std::io;
    ///
    /// use kinglet_sdk::{Error, Request, Response};
    ///
    /// #[kinglet_sdk::http]
    /// fn echo(request: Request) -> Result<Response, Error> {
    ///     let mut body = request.reader()?;
    ///     Ok(Response::stream(move |writer| {
    ///         io::copy(&mut body, writer)?;
    ///         Ok(())
    ///     }))
    /// }
    ///
    /// let host = kinglet_sdk::testing::Host::new();
    /// let response = host.respond(echo, host.request("POST", "/echo").body("back"));
    /// assert_eq!(response.text(), "back");
    /// ```
    pub fn reader(&self) -> Result<Body, Error> {
        self.message.reader()
    }
}
