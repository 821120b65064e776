//! The server's certificate, read again when its files change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::files::{self, FileError};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How a certificate can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file that can't be read.
    #[error("`http.tls`: {0}")]
    Read(FileError),
    /// A file that isn't what it is to be.
    #[error("`http.tls`: {} {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The library's own word.
    #[error("`http.tls`: {0}")]
    Other(#[from] rustls::Error),
}

/// What TLS connections are accepted with.
pub(super) struct Tls {
    pub acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    files: TlsConfig,
    provider: CryptoProvider,
    current: RwLock<Arc<CertifiedKey>>,
    /// Of the files that were read.
    read: Mutex<[Version; 2]>,
}

/// What tells one state of a file from another.
pub(super) type Version = Option<[i64; 7]>;

impl Tls {
    /// `files` are relative to `root`.
    pub fn new(root: &Path, files: &TlsConfig) -> Result<Self, TlsError> {
        let files = TlsConfig {
            certificate: root.join(&files.certificate),
            key: root.join(&files.key),
        };
        let provider = ring::default_provider();
        let seen = versions(&files);
        let current = read(&files, &provider)?;
        let certificate = Arc::new(Certificate {
            files,
            provider: provider.clone(),
            current: RwLock::new(Arc::new(current)),
            read: Mutex::new(seen),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    /// Reads the files again whenever they change, for ever. What can't be used is told, and the last good one stays.
    pub fn keep_current(&self) -> impl Future<Output = ()> + Send + use<> {
        let certificate = Arc::clone(&self.certificate);
        async move {
            let mut told = None;
            loop {
                tokio::time::sleep(LOOK).await;
                let looking = Arc::clone(&certificate);
                let looked = spawn_blocking(move || looking.look()).await;
                // Once for each state of the files, which are looked at again all the same: one may become readable.
                if let Ok(Err(unusable)) = looked
                    && told.replace(unusable.seen) != Some(unusable.seen)
                {
                    let error = unusable.error;
                    tracing::warn!("{error}; the certificate before it stays in use");
                }
            }
        }
    }
}

/// Files that changed, and can't be used.
struct Unusable {
    error: TlsError,
    seen: [Version; 2],
}

impl Certificate {
    /// Reads the files where they aren't those that were read before.
    fn look(&self) -> Result<(), Box<Unusable>> {
        let seen = versions(&self.files);
        let mut before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == seen {
            return Ok(());
        }
        let new = read(&self.files, &self.provider).map_err(|error| Unusable { error, seen })?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        *before = seen;
        tracing::info!("the certificate was read again");
        Ok(())
    }
}

fn versions(files: &TlsConfig) -> [Version; 2] {
    [&files.certificate, &files.key].map(|path| version(path))
}

/// What a file is by now; none where it can't be looked at.
pub(super) fn version(path: &Path) -> Version {
    let found = fs::metadata(path).ok()?;
    let of_file = [found.dev(), found.ino(), found.size()].map(u64::cast_signed);
    let [device, inode, size] = of_file;
    Some([
        device,
        inode,
        size,
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ])
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

fn read(files: &TlsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let text = |path: &PathBuf| files::read(path, files::TEXT).map_err(TlsError::Read);
    let wrong = |path: &PathBuf, problem: String| TlsError::Content {
        path: path.clone(),
        problem,
    };
    let chain = CertificateDer::pem_slice_iter(&text(&files.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&files.certificate, format!("isn't PEM: {error}")))?;
    if chain.is_empty() {
        let problem = "has no certificate in it; it begins with `-----BEGIN CERTIFICATE-----`";
        return Err(wrong(&files.certificate, problem.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?).map_err(|error| {
        let problem = format!(
            "has no private key in it that can be read: {error}; it needs one in PEM, not encrypted"
        );
        wrong(&files.key, problem)
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let certificate = files.certificate.display();
        wrong(
            &files.key,
            format!("can't be used with {certificate}: {error}"),
        )
    })
}
