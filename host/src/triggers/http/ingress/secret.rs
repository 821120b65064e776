//! The secrets of an ingress, read again when their file changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::config::{Auth, Ingress};
use crate::files::{self, FileError};
use crate::triggers::http::tls::{Version, version};
use crate::triggers::ingress::auth::Credentials;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How a secret can't be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// A file that can't be read.
    #[error("ingress {ingress}: {error}; `auth` names a file of secrets, a line for each")]
    Read {
        /// The path of the ingress.
        ingress: String,
        /// Why not.
        error: FileError,
    },
    /// A file that isn't what it is to be.
    #[error("ingress {ingress}: {} {problem}", .path.display())]
    Content {
        /// The path of the ingress.
        ingress: String,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// What a request must have to post at one ingress.
pub(super) struct Secret {
    ingress: String,
    auth: Auth,
    /// None where anybody may post.
    path: Option<PathBuf>,
    current: RwLock<Arc<Credentials>>,
    /// Of the file that was read.
    read: Mutex<Version>,
}

impl Secret {
    /// The file is relative to `root`.
    pub fn new(root: &Path, ingress: &Ingress) -> Result<Self, SecretError> {
        let path = ingress.auth.file().map(|file| root.join(file));
        let seen = path.as_deref().and_then(version);
        let name = ingress.path.as_str().to_owned();
        let current = read(&name, &ingress.auth, path.as_deref())?;
        Ok(Self {
            ingress: name,
            auth: ingress.auth.clone(),
            path,
            current: RwLock::new(Arc::new(current)),
            read: Mutex::new(seen),
        })
    }

    /// Those that hold now.
    pub fn current(&self) -> Arc<Credentials> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Reads the file where it isn't the one that was read before; the error comes with what was seen of it.
    fn look(&self) -> Result<(), Box<(SecretError, Version)>> {
        let seen = self.path.as_deref().and_then(version);
        let mut before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == seen {
            return Ok(());
        }
        let new = read(&self.ingress, &self.auth, self.path.as_deref())
            .map_err(|error| Box::new((error, seen)))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        *before = seen;
        tracing::info!("ingress {}: its secrets were read again", self.ingress);
        Ok(())
    }
}

/// Looks at the files from time to time, for ever. What can't be used is told, and the last good ones stay.
pub(super) async fn keep_current(secrets: Vec<Arc<Secret>>) {
    let mut told = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        for secret in &secrets {
            let looking = Arc::clone(secret);
            if let Ok(Err(unusable)) = spawn_blocking(move || looking.look()).await {
                let (error, seen) = *unusable;
                // Once for each state of the file, which is looked at again all the same: it may become readable.
                if told.insert(secret.ingress.clone(), seen) != Some(seen) {
                    tracing::warn!("{error}; the secrets before it stay in use");
                }
            }
        }
    }
}

fn read(ingress: &str, auth: &Auth, path: Option<&Path>) -> Result<Credentials, SecretError> {
    let text = match path {
        None => String::new(),
        Some(path) => files::read_text(path, files::TEXT).map_err(|error| SecretError::Read {
            ingress: ingress.to_owned(),
            error,
        })?,
    };
    Credentials::parse(auth, &text).map_err(|problem| SecretError::Content {
        ingress: ingress.to_owned(),
        path: path.unwrap_or(Path::new("")).to_owned(),
        problem,
    })
}
