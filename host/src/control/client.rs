//! The command line's side.

use std::io::ErrorKind;
use std::path::Path;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::{ControlError, Request, Response, SocketPath, receive, send};

/// A connection to a running host.
#[derive(Debug)]
pub struct Client(UnixStream);

impl Client {
    /// Connects to the host that has the application in `state`; none where no host runs.
    ///
    /// # Errors
    /// Where there is a host that can't be reached.
    pub async fn connect(state: &Path) -> Result<Option<Self>, ControlError> {
        let Ok(socket) = SocketPath::new(state) else {
            return Ok(None);
        };
        match UnixStream::connect(&socket.path).await {
            Ok(stream) => Ok(Some(Self(stream))),
            // A socket that nobody listens on is what an ended host left.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(ControlError::Broken {
                reason: error.to_string(),
            }),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Where the host goes away.
    pub async fn ask(&mut self, request: &Request) -> Result<Response, ControlError> {
        let broken = |error: std::io::Error| ControlError::Broken {
            reason: error.to_string(),
        };
        send(&mut self.0, request).await.map_err(broken)?;
        receive(&mut self.0).await.map_err(broken)
    }

    /// Ends once the host closes the connection, as it does when it stops.
    pub async fn ended(&mut self) {
        let mut byte = [0];
        let _ = self.0.read(&mut byte).await;
    }
}
