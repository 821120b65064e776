//! Servers that functions send requests to.

use super::State;
use crate::Error;
use crate::http::Url;
use crate::testing::http::Server;

impl State {
    /// # Panics
    /// Where `origin` isn't a scheme, host and port.
    #[expect(
        clippy::panic,
        reason = "a test whose server has no address is wrong itself"
    )]
    pub fn add_server(&mut self, origin: &str, server: Server) {
        match Url::parse(origin) {
            Ok(url) if url.target == "/" => {
                self.servers.insert(url.origin(), server);
            }
            Ok(_) => panic!("server {origin:?} has a path in it; leave it to the requests"),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn server(&self, url: &Url) -> Result<Server, Error> {
        let origin = url.origin();
        self.servers.get(&origin).cloned().ok_or_else(|| {
            Error::Denied(format!(
                "request to {url}: {origin} isn't granted; grant it with `host.server({origin:?}, ..)`"
            ))
        })
    }

    pub fn request_id(&mut self) -> String {
        let (tick, _) = self.tick();
        format!("request-{tick}")
    }
}
