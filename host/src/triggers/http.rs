//! Requests: what comes over a TCP port goes to the function of its path.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::{Manifest, Source};
use crate::events::{Stop, stopped};
use crate::ports::{Afterwards, HttpHandler, ResponseBody, plain};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 1_024;
/// How long a client may take to send a request's head, and may be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request's head may be, in bytes.
const HEAD_BYTES: usize = 64 << 10;
/// How long to wait where the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a port can't be listened at.
#[derive(Debug, Error)]
#[error("can't listen for requests at {address}: {error}; choose another address with `--listen`")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

/// A port, and whose requests come to it.
pub struct HttpTrigger {
    listener: TcpListener,
    routes: Arc<Routes>,
}

/// Which function answers which paths.
#[derive(Default)]
struct Routes {
    exact: HashMap<String, Arc<str>>,
    /// By the path that all they answer is below of.
    below: HashMap<String, Arc<str>>,
}

impl Routes {
    fn new(manifest: &Manifest) -> Self {
        let mut routes = Self::default();
        for function in &manifest.functions {
            if let Source::Http(route) = function.on.source() {
                let routes = match route.is_below() {
                    true => &mut routes.below,
                    false => &mut routes.exact,
                };
                routes.insert(route.path().to_owned(), Arc::from(function.name.as_str()));
            }
        }
        routes
    }

    /// The one that says most of the path.
    fn find(&self, path: &str) -> Option<Arc<str>> {
        let ends = path.rmatch_indices('/').map(|(end, _)| end);
        let mut above = std::iter::once(path.len())
            .chain(ends)
            .filter_map(|end| self.below.get(path.get(..end)?));
        self.exact
            .get(path)
            .or_else(|| above.next())
            .map(Arc::clone)
    }
}

impl HttpTrigger {
    /// Listens at an address.
    ///
    /// # Errors
    /// Where it is taken, or isn't this machine's.
    pub async fn listen(manifest: &Manifest, address: SocketAddr) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(address);
        let listener = listener
            .await
            .map_err(|error| ListenError { address, error })?;
        Ok(Self {
            listener,
            routes: Arc::new(Routes::new(manifest)),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system doesn't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop, and then until the requests that came are answered.
    pub async fn serve<H: HttpHandler>(self, handler: Arc<H>, mut stop: Stop) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let routes = Arc::clone(&self.routes);
                    let (handler, stop) = (Arc::clone(&handler), stop.clone());
                    connections.spawn(async move {
                        connection(stream, routes, handler, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await;
    let permit = permit.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // A response is written whole; waiting for more would only delay it.
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn connection<H: HttpHandler>(
    stream: TcpStream,
    routes: Arc<Routes>,
    handler: Arc<H>,
    mut stop: Stop,
) {
    let afterwards = Arc::<Afterwards>::default();
    // Over HTTP/1.0 the end of a connection is the end of a body: one that breaks off must end it otherwise.
    let socket = stream.as_fd().try_clone_to_owned();
    let by_end = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        by_end.store(request.version() < Version::HTTP_11, Ordering::Relaxed);
        let (routes, handler) = (Arc::clone(&routes), Arc::clone(&handler));
        let afterwards = Arc::clone(&afterwards);
        async move {
            Ok::<_, std::convert::Infallible>(respond(&routes, handler, request, afterwards).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut stopping = std::pin::pin!(stopped(&mut stop));
    let mut told = false;
    let ended = poll_fn(|context| {
        if !told && stopping.as_mut().poll(context).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        let polled = connection.as_mut().poll(context);
        // By now what there was to send is sent, or as much of it as goes.
        let _ = afterwards.poll(context);
        polled
    })
    .await;
    if ended.is_ok() {
        // All was answered; what goes on after that does so without its client.
        poll_fn(|context| afterwards.poll(context)).await;
    }
    if let Err(error) = ended {
        // The client's doing, or a function that failed in the middle, which is told in the log.
        tracing::debug!(%error, "a connection broke off");
        if let (true, Ok(socket)) = (by_end.load(Ordering::Relaxed), &socket) {
            // A reset, in place of the end that a whole body has.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}

async fn respond<H: HttpHandler>(
    routes: &Routes,
    handler: Arc<H>,
    request: Request<Incoming>,
    afterwards: Arc<Afterwards>,
) -> Response<ResponseBody> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host_is_good = match (hosts.next(), hosts.next()) {
        (None, _) => request.uri().authority().is_some(),
        (Some(host), None) => Authority::try_from(host.as_bytes()).is_ok(),
        _ => false,
    };
    if !host_is_good {
        let text = "a request names its host, in one header `Host` as `name` or `name:port`";
        return plain(StatusCode::BAD_REQUEST, text.to_owned());
    }
    match routes.find(request.uri().path()) {
        Some(function) => handler.respond(function, request, afterwards).await,
        None => {
            let path: String = request.uri().path().chars().take(200).collect();
            plain(StatusCode::NOT_FOUND, format!("no function answers {path}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_route_that_says_most_answers() {
        let mut text = "[app]\nname = \"a\"\n".to_owned();
        for (name, route) in [
            ("all", "/..."),
            ("tree", "/a/..."),
            ("leaf", "/a"),
            ("deep", "/a/b"),
        ] {
            text += &format!(
                "[[function]]\nname = \"{name}\"\ncomponent = \"c.wasm\"\non = {{ http = \"{route}\" }}\n"
            );
        }
        let manifest = Manifest::parse(&text, Path::new("."), "kinglet.toml").unwrap();
        let routes = Routes::new(&manifest);
        for (path, name) in [
            ("/", "all"),
            ("/b", "all"),
            ("/ab", "all"),
            ("/a", "leaf"),
            ("/a/", "tree"),
            ("/a/b", "deep"),
            ("/a/b/", "tree"),
            ("/a/c/d", "tree"),
        ] {
            assert_eq!(routes.find(path).as_deref(), Some(name), "{path}");
        }
        assert_eq!(Routes::default().find("/"), None);
    }
}
