//! Requests of the host's own, for those who send it events: by the same connections that guests have, to what the
//! manifest and this host allow.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::HEAD_BYTES;
use super::connect::Connector;
use crate::config::Destination;
use crate::ports::{Fetch, FetchError};

/// How long an answer may take, with its connection.
const ANSWER: Duration = Duration::from_secs(15);

/// Sends requests to some destinations.
pub struct Fetcher {
    client: Client<Connector, Empty<Bytes>>,
}

impl Fetcher {
    /// To these and nowhere else.
    pub fn new(granted: Vec<Destination>) -> Self {
        let connector = Connector {
            granted: Arc::new(granted),
        };
        let client = Client::builder(TokioExecutor::new())
            // They are few and far between.
            .pool_max_idle_per_host(0)
            .timer(TokioTimer::new())
            .http1_max_buf_size(HEAD_BYTES as usize)
            .http2_max_header_list_size(HEAD_BYTES)
            .build(connector);
        Self { client }
    }
}

#[async_trait]
impl Fetch for Fetcher {
    async fn get(&self, address: Uri) -> Result<StatusCode, FetchError> {
        let failed = |reason: String| FetchError { reason };
        match timeout(ANSWER, self.client.get(address)).await {
            Ok(Ok(response)) => Ok(response.status()),
            Ok(Err(error)) => {
                // The last of the causes says most.
                let mut cause: &dyn Error = &error;
                while let Some(next) = cause.source() {
                    cause = next;
                }
                Err(failed(format!("no answer came: {cause}")))
            }
            Err(_) => Err(failed(format!(
                "no answer came within {}s",
                ANSWER.as_secs()
            ))),
        }
    }
}
