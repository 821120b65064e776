//! Connections to where a function may reach, and nowhere else: what a name stands for is looked up, and each address is
//! checked before anything is sent there.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use wasmtime_wasi_http::Error as HttpError;

use super::addresses::is_public;
use crate::config::Destination;
use crate::guard::{self, Guard};

/// How long a connection may take to be there, with TLS.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a connection isn't made.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("it isn't granted")]
    Denied,
    #[error(
        "all its addresses are of this machine's own network; grant it by its name, without `*`"
    )]
    Prohibited,
    #[error("its name isn't found: {0}")]
    Name(io::Error),
    #[error("it took longer than {}s", CONNECT.as_secs())]
    Late,
    #[error("{0}")]
    Unreachable(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error(
        "this machine has no root certificates; install them, or name a file of them in `SSL_CERT_FILE`"
    )]
    NoRoots,
}

impl ConnectError {
    /// As the guest is told.
    pub fn code(&self) -> HttpError {
        match self {
            Self::Denied => HttpError::HttpRequestDenied,
            Self::Prohibited => HttpError::DestinationIpProhibited,
            Self::Name(_) => HttpError::DnsError {
                rcode: None,
                info_code: None,
            },
            Self::Late => HttpError::ConnectionTimeout,
            Self::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                HttpError::ConnectionRefused
            }
            Self::Unreachable(_) => HttpError::DestinationUnavailable,
            Self::Tls(error) if is_of_certificate(error) => HttpError::TlsCertificateError,
            Self::Tls(_) => HttpError::TlsProtocolError,
            Self::NoRoots => HttpError::TlsCertificateError,
        }
    }
}

fn is_of_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// TLS with who this machine trusts, read at the first need.
async fn trusting() -> Option<&'static TlsConnector> {
    static CONNECTOR: OnceCell<Option<TlsConnector>> = OnceCell::const_new();
    let read = async || {
        let config = tokio::task::spawn_blocking(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in found.errors {
                tracing::warn!(%error, "a root certificate can't be read");
            }
            let mut roots = RootCertStore::empty();
            let (good, _) = roots.add_parsable_certificates(found.certs);
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let versions = builder.with_safe_default_protocol_versions().ok()?;
            let mut config = versions.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            (good > 0).then_some(config)
        });
        let config = config.await.ok().flatten()?;
        Some(TlsConnector::from(Arc::new(config)))
    };
    CONNECTOR.get_or_init(read).await.as_ref()
}

/// Makes one function's connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub granted: Arc<Vec<Destination>>,
}

/// A scheme, host and port.
pub(super) struct Origin<'a> {
    pub secure: bool,
    /// An address of version 6 stands in brackets.
    pub host: &'a str,
    pub port: u16,
}

impl<'a> Origin<'a> {
    /// Of an absolute URI.
    pub fn of(uri: &'a Uri) -> Option<Self> {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // What stands before the host is for no server to see.
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let default = if secure { 443 } else { 80 };
        Some(Self {
            secure,
            host: authority.host(),
            port: authority.port_u16().unwrap_or(default),
        })
    }

    /// What covers it; that it is named goes before that it is one of many.
    pub fn granted<'d>(&self, granted: &'d [Destination]) -> Option<&'d Destination> {
        let covering = granted
            .iter()
            .filter(|destination| destination.covers(self.secure, self.host, self.port));
        covering.max_by_key(|destination| destination.is_named())
    }
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let origin = Origin::of(&uri).ok_or(ConnectError::Denied)?;
        let named = origin
            .granted(&self.granted)
            .ok_or(ConnectError::Denied)?
            .is_named();
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, origin.port)],
            Err(_) => lookup_host((host, origin.port))
                .await
                .map_err(ConnectError::Name)?
                .collect(),
        };
        let stream = reach(found, named).await?;
        let _ = stream.set_nodelay(true);
        if !origin.secure {
            return Ok(Stream::new(stream, false));
        }
        let connector = trusting().await.ok_or(ConnectError::NoRoots)?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(ConnectError::Tls)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Stream::new(stream, is_http2))
    }
}

/// Connects to the first address that can be; to one of the own network only where it is `named`.
async fn reach(found: Vec<SocketAddr>, named: bool) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::Prohibited;
    for address in found
        .into_iter()
        .filter(|address| named || is_public(address.ip()) || !guard::holds(Guard::OwnNetworks))
    {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = ConnectError::Unreachable(error),
        }
    }
    Err(last)
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async move {
            timeout(CONNECT, connecting)
                .await
                .unwrap_or(Err(ConnectError::Late))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, with TLS or without.
pub(super) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    is_http2: bool,
}

impl Stream {
    fn new(io: impl Io + 'static, is_http2: bool) -> Self {
        Self {
            io: TokioIo::new(Box::new(io)),
            is_http2,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.is_http2 {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
