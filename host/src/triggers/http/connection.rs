//! One connection: over TLS where the server has a certificate, and of HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::head::HEAD_BYTES;
use super::place::serve_at;
use super::respond::{Client, Site};
use super::streams::Streams;
use super::wire::{AnsweringBody, Phase, Wire};
use crate::events::{Stop, stopped};
use crate::ports::{Afterwards, HttpHandler, IncomingBody};

/// How long a client may take to send a request's head, and may be silent between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How many requests may come over one connection at once.
const STREAMS: u32 = 128;
/// How a connection of HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Before what came of a preface is looked at again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a connection that has nothing more to do may take to end.
const LINGER: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(super) async fn serve<H: HttpHandler>(
    stream: TcpStream,
    client: Client,
    site: Arc<Site<H>>,
    mut stop: Stop,
) {
    let socket = stream.as_fd().try_clone_to_owned();
    let beginning = async {
        match &site.tls {
            None => {
                let is_http2 = has_preface(&stream).await?;
                Ok((Either::Plain(stream), is_http2))
            }
            Some(tls) => {
                let stream = tls.acceptor.accept(stream).await?;
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                Ok((Either::Tls(Box::new(stream)), is_http2))
            }
        }
    };
    let begun = tokio::select! {
        // Nothing was asked for yet.
        () = stopped(&mut stop) => return,
        begun = timeout(HEAD_TIMEOUT, beginning) => begun,
    };
    let begun: io::Result<_> = begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match begun {
        Ok((Either::Plain(stream), false)) => {
            at_place(TokioIo::new(stream), socket, client, site, stop).await
        }
        Ok((Either::Plain(stream), true)) => {
            over_http2(TokioIo::new(stream), client, site, stop).await
        }
        Ok((Either::Tls(stream), false)) => {
            at_place(TokioIo::new(stream), socket, client, site, stop).await
        }
        Ok((Either::Tls(stream), true)) => {
            over_http2(TokioIo::new(stream), client, site, stop).await
        }
        Err(error) => tracing::debug!(%error, "a connection didn't begin"),
    }
}

enum Either {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Whether a client begins with HTTP/2: without TLS it does so unasked, or not at all.
async fn has_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut begin = [0; PREFACE.len()];
    let mut pause = FIRST_PAUSE;
    loop {
        let came = stream.peek(&mut begin).await?;
        let begin = begin.get(..came).unwrap_or_default();
        if begin == PREFACE {
            return Ok(true);
        }
        if came == 0 || !PREFACE.starts_with(begin) {
            return Ok(false);
        }
        // What was looked at stays, so that waiting for more would end at once.
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// HTTP/1.1, where its guests are.
async fn at_place<H: HttpHandler>(
    stream: impl Read + Write + Unpin + Send + 'static,
    socket: io::Result<OwnedFd>,
    client: Client,
    site: Arc<Site<H>>,
    stop: Stop,
) {
    let afterwards = Arc::<Afterwards>::default();
    let (place, handler) = (Arc::clone(&afterwards.place), Arc::clone(&site.handler));
    let serving = over_http1(stream, socket, client, site, afterwards, stop);
    serve_at(place, handler, serving).await;
}

async fn over_http1<H: HttpHandler>(
    stream: impl Read + Write + Unpin + Send + 'static,
    socket: io::Result<OwnedFd>,
    client: Client,
    site: Arc<Site<H>>,
    afterwards: Arc<Afterwards>,
    mut stop: Stop,
) {
    // Over HTTP/1.0 the end of a connection is the end of a body: one that breaks off must end it otherwise.
    let by_end = AtomicBool::new(false);
    let (phase, requests) = (Arc::<Phase>::default(), AtomicU64::new(0));
    let service = service_fn(|request: Request<Incoming>| {
        by_end.store(request.version() < Version::HTTP_11, Ordering::Relaxed);
        let answering = phase.begin(requests.fetch_add(1, Ordering::Relaxed));
        let (site, afterwards) = (Arc::clone(&site), Arc::clone(&afterwards));
        async move {
            let request = request.map(IncomingBody::from);
            let response = site.respond(client, request, afterwards).await;
            Ok::<_, Infallible>(response.map(|body| AnsweringBody {
                body,
                _answering: answering,
            }))
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_BYTES as usize)
        .max_buf_size(HEAD_BYTES as usize)
        .serve_connection(Wire::new(stream, &phase), service);
    let mut stopping = pin!(stopped(&mut stop));
    let mut told = false;
    let ended = poll_fn(|context| {
        if !told && stopping.as_mut().poll(context).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        let polled = Pin::new(&mut connection).poll(context);
        // By now what there was to send is sent, or as much of it as goes.
        let _ = afterwards.poll(context);
        polled
    })
    .await;
    let http1::Parts {
        io: mut wire,
        read_buf: unread,
        ..
    } = connection.into_parts();
    let afterwards = poll_fn(|context| afterwards.poll(context));
    match ended {
        // All was answered; what continues after that does so without its client.
        Ok(()) => drop(tokio::join!(end(wire, told, stopping), afterwards)),
        Err(error) => {
            // The client's doing, or a function that failed in the middle, which is logged.
            tracing::debug!(%error, "a connection broke off");
            if wire.is_refused() {
                if wire.refuse(&error, &unread).await.is_ok() {
                    end(wire, told, stopping).await;
                }
            } else if let (true, Ok(socket)) = (by_end.load(Ordering::Relaxed), &socket) {
                // A reset, in place of the end that a whole body has.
                let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
        }
    }
}

/// Closes a connection of HTTP/1, for whose client a host that stops doesn't wait.
async fn end(
    wire: Wire<impl Read + Write + Unpin>,
    is_stopping: bool,
    stopping: impl Future<Output = ()>,
) {
    let stopping = async {
        if !is_stopping {
            stopping.await;
        }
    };
    tokio::select! {
        biased;
        _ = wire.close() => {}
        () = stopping => {}
    }
}

async fn over_http2<H: HttpHandler>(
    stream: impl Read + Write + Unpin + Send + 'static,
    client: Client,
    site: Arc<Site<H>>,
    mut stop: Stop,
) {
    let streams = Streams::new(&site.handler);
    let on_end = Ending(streams.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let (site, streams) = (Arc::clone(&site), streams.clone());
        async move {
            let afterwards = Arc::new(Afterwards::at(&streams.place));
            let method = request.method().clone();
            let request = request.map(|body| streams.incoming(body));
            let response = site.respond(client, request, Arc::clone(&afterwards)).await;
            Ok::<_, Infallible>(streams.response(&method, response, &afterwards))
        }
    });
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES)
        .max_concurrent_streams(STREAMS)
        // A client that is gone without a word holds nothing for long.
        .keep_alive_interval(HEAD_TIMEOUT)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    let leave = AtomicBool::new(false);
    let mut leaving = pin!(async {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = silent(&streams) => {}
        }
        leave.store(true, Ordering::Relaxed);
        // One that hasn't begun, or doesn't close, isn't waited for.
        loop {
            sleep(LINGER).await;
            if streams.count() == 0 {
                return;
            }
        }
    });
    let mut told = false;
    let ended = poll_fn(|context| {
        let left = leaving.as_mut().poll(context);
        if !told && leave.load(Ordering::Relaxed) {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => left.map(|()| None),
        }
    })
    .await;
    match ended {
        // All was answered; what goes on after that does so without its client.
        Some(Ok(())) => streams.finish().await,
        Some(Err(error)) => tracing::debug!(%error, "a connection broke off"),
        None => {}
    }
    drop(on_end);
}

/// Ready once nothing has been asked for so long.
async fn silent<H: HttpHandler>(streams: &Streams<H>) {
    let mut silent = false;
    loop {
        sleep(HEAD_TIMEOUT).await;
        let now = streams.count() == 0;
        if silent && now {
            return;
        }
        silent = now;
    }
}

/// What goes on for a connection ends with it.
struct Ending<H: HttpHandler>(Streams<H>);

impl<H: HttpHandler> Drop for Ending<H> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
