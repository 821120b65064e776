//! Requests: what comes over a TCP port goes to the function of its host, path and method, or is taken for an event.

mod connection;
mod head;
mod ingress;
mod place;
mod respond;
mod routes;
mod spin;
mod streams;
mod tls;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Manifest;
use crate::events::{Events, Stop, stopped};
use crate::ports::{Fetch, HttpHandler};
use ingress::Ingresses;
pub use ingress::SecretError;
use respond::{Access, Client, Ids, Site};
use routes::Routes;
use tls::Tls;
pub use tls::TlsError;

/// How long to wait where the system has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take to its client once the host stops and its function has ended.
const DRAIN: Duration = Duration::from_secs(10);

/// How requests can't be listened for.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The port.
    #[error(
        "can't listen for requests at {address}: {error}; choose another address with `--listen`"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Who may post events.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Reads the files that the manifest names for requests: a certificate, and secrets of those who post events.
///
/// # Errors
/// Where one can't be used.
pub fn check_files(manifest: &Manifest) -> Result<(), ListenError> {
    certificate(manifest)?;
    Ok(ingress::check_secrets(manifest)?)
}

fn certificate(manifest: &Manifest) -> Result<Option<Tls>, TlsError> {
    let tls = manifest.http.tls.as_ref();
    tls.map(|tls| Tls::new(&manifest.root, tls)).transpose()
}

/// A port, and whose requests come to it.
pub struct HttpTrigger {
    listener: TcpListener,
    routes: Routes,
    ingresses: Ingresses,
    tls: Option<Tls>,
    ids: Ids,
    access: Option<Access>,
    connections: usize,
    /// What a request may take, waiting included.
    longest: Duration,
}

impl HttpTrigger {
    /// Listens at an address. Events that are posted go to `events`; what these ask for is sent by `fetch`.
    ///
    /// # Errors
    /// Where it is taken, or isn't this machine's; where the certificate or a secret can't be used.
    pub async fn listen(
        events: &Arc<Events>,
        address: SocketAddr,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Self, ListenError> {
        let manifest = events.manifest();
        let (journal, clock) = (Arc::clone(events.journal()), events.clock().clone());
        let tls = certificate(manifest)?;
        let ingresses = Ingresses::new(Arc::clone(events), fetch)?;
        let listener = TcpListener::bind(address);
        let listener = listener
            .await
            .map_err(|error| ListenError::Address { address, error })?;
        // Once each for its body, its turn, itself, and what it commits.
        let longest = manifest.functions.iter();
        let longest = longest.map(|function| function.limits.timeout.0.saturating_mul(4));
        let longest = longest.chain((!ingresses.is_empty()).then_some(ingress::BODY));
        let ids = Ids::new(&clock);
        let access = Access { journal, clock };
        Ok(Self {
            listener,
            routes: Routes::new(manifest),
            ingresses,
            tls,
            ids,
            access: manifest.http.access_log.then_some(access),
            connections: manifest.http.max_connections,
            longest: longest.max().unwrap_or_default(),
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
        // Ends with this.
        let mut beside = JoinSet::new();
        if let Some(tls) = &self.tls {
            beside.spawn(tls.keep_current());
        }
        if !self.ingresses.is_empty() {
            beside.spawn(self.ingresses.keep_current());
        }
        let room = Arc::new(Semaphore::new(self.connections));
        let site = Arc::new(Site {
            routes: self.routes,
            ingresses: self.ingresses,
            handler,
            tls: self.tls,
            access: self.access,
            ids: self.ids,
        });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            match accepted {
                Ok((stream, client, permit)) => {
                    let serving =
                        connection::serve(stream, client, Arc::clone(&site), stop.clone());
                    connections.spawn(async move {
                        serving.await;
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
        let answered = async { while connections.join_next().await.is_some() {} };
        // No guest takes longer; a client that doesn't read what is left of its answer isn't waited for.
        if timeout(self.longest.saturating_add(DRAIN), answered)
            .await
            .is_err()
        {
            let left = connections.len();
            tracing::warn!(
                connections = left,
                "clients that don't read their answers are left"
            );
            connections.shutdown().await;
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Client, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await;
    let permit = permit.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    let server = stream.local_addr()?;
    // A response is written whole; waiting for more would only delay it.
    stream.set_nodelay(true)?;
    Ok((stream, Client { address, server }, permit))
}
