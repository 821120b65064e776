//! Requests without a network: what hyper and the engine take of a request, and the system's part not.

use std::convert::Infallible;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kinglet::app::App;
use kinglet::clock::Clock;
use kinglet::config::Manifest;
use kinglet::engine::{Cache, Compiler, Engine};
use kinglet::ports::{Afterwards, HttpHandler, IncomingBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// How the answer ends.
const END: &[u8] = b"Hello, world!\n";

/// Microseconds of a request.
#[derive(Clone, Copy)]
pub struct InProcess {
    pub ours: f64,
    pub plain: f64,
}

/// Measures both for a while each, on one thread, with one connection.
pub async fn in_process(dir: &Path, span: Duration) -> Result<InProcess> {
    let manifest = Manifest::load(&dir.join("kinglet.toml"))?;
    let app = App::open(Arc::new(manifest), Clock::system()).await?;
    let cache = Cache::new(dir.join("cache"), dir.join("cache-key"), Compiler::Here);
    let engine = Arc::new(app.load(cache)?);
    let mut best = InProcess {
        ours: f64::MAX,
        plain: f64::MAX,
    };
    for _ in 0..4 {
        best.ours = best.ours.min(ours(&engine, span / 4).await?);
        best.plain = best.plain.min(plain(span / 4).await?);
    }
    Ok(best)
}

async fn ours(engine: &Arc<Engine>, span: Duration) -> Result<f64> {
    let (client, server) = duplex(4_096);
    let afterwards = Arc::<Afterwards>::default();
    let function: Arc<str> = Arc::from("hello_http-1");
    let service = service_fn(|request: Request<Incoming>| {
        let (engine, function) = (Arc::clone(engine), Arc::clone(&function));
        let afterwards = Arc::clone(&afterwards);
        let request = request.map(IncomingBody::from);
        async move { Ok::<_, Infallible>(engine.respond(function, request, afterwards).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let mut connection = pin!(connection);
    let serving = poll_fn(|context| {
        let polled = connection.as_mut().poll(context);
        let _ = afterwards.poll(context);
        polled
    });
    beside(client, serving, span).await
}

async fn plain(span: Duration) -> Result<f64> {
    let (client, server) = duplex(4_096);
    let service = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(END))))
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    beside(client, serving, span).await
}

async fn beside(
    client: DuplexStream,
    serving: impl Future<Output = hyper::Result<()>>,
    span: Duration,
) -> Result<f64> {
    let mut serving = pin!(serving);
    let mut load = pin!(load(client, span));
    poll_fn(|context| {
        let _ = serving.as_mut().poll(context);
        match load.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
async fn load(mut client: DuplexStream, span: Duration) -> Result<f64> {
    let mut answer = Vec::with_capacity(1_024);
    let start = Instant::now();
    let mut requests = 0_u64;
    while start.elapsed() < span {
        client.write_all(REQUEST).await?;
        answer.clear();
        while !answer.ends_with(END) {
            let read = client.read_buf(&mut answer).await?;
            ensure!(read > 0, "the server hung up");
        }
        requests += 1;
    }
    let head = answer.get(..12).context("a short answer")?;
    ensure!(head == b"HTTP/1.1 200", "not a good answer");
    Ok(start.elapsed().as_secs_f64() * 1e6 / requests as f64)
}
