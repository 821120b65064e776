//! What guests of `wasi:http` 0.3 read of a body. In the place of wasmtime's `consume-body`: its stream is taken apart
//! again where a guest hands it on as another body, and what had come of a piece larger than the guest's last read is gone.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method};
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, FutureConsumer, FutureProducer, FutureReader, Linker, Resource, Source,
    StreamProducer, StreamReader, StreamResult,
};
use wasmtime_wasi_http::p3::bindings::http::types::{ErrorCode, Trailers};
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{Error as HttpError, FieldMap, WasiBody, WasiHttpView};

use super::codes;
use crate::engine::limiter::{Buffered, MemoryFull};
use crate::engine::state::{BODY_CHUNK, State};
use crate::ports::REASON_BYTES;

/// Memory that the host may need for a body that is read, in bytes: two pieces, the rest of one,
/// and an end, which has as much as one call is given.
const READ_BYTES: u64 = 6 * BODY_CHUNK as u64;

/// Puts ours in their place.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    types.func_wrap("[static]request.consume-body", consume_request)?;
    types.func_wrap("[static]response.consume-body", consume_response)
}

/// What a guest says of how it got on with a body.
type Said = Result<(), ErrorCode>;
type Ending = Result<Option<Resource<Trailers>>, ErrorCode>;
type Consumed = wasmtime::Result<((StreamReader<u8>, FutureReader<Ending>),)>;

fn consume_request(
    mut store: StoreContextMut<'_, State>,
    (request, said): (Resource<Request>, FutureReader<Said>),
) -> Consumed {
    let mut request = store.data_mut().http().table.delete(request)?;
    // Its body alone is wanted, so the rest needn't be what could be sent.
    request.method = Method::GET;
    request.scheme = Some(Scheme::HTTP);
    request.authority = Some(Authority::from_static("localhost"));
    request.path_with_query = Some(PathAndQuery::from_static("/"));
    request.headers = FieldMap::default();
    let said = heard(&mut store, said)?;
    let (request, _) = request.into_http(&mut store, said).map_err(|error| {
        error
            .downcast()
            .map_or_else(|trap| trap, wasmtime::Error::from)
    })?;
    streamed(store, request.into_body())
}

fn consume_response(
    mut store: StoreContextMut<'_, State>,
    (response, said): (Resource<Response>, FutureReader<Said>),
) -> Consumed {
    let mut response = store.data_mut().http().table.delete(response)?;
    response.headers = FieldMap::default();
    let said = heard(&mut store, said)?;
    let response = response.into_http(&mut store, said)?;
    streamed(store, response.into_body())
}

/// For whoever sent the body.
fn heard(
    store: &mut StoreContextMut<'_, State>,
    said: FutureReader<Said>,
) -> wasmtime::Result<impl Future<Output = Result<(), HttpError>> + Send + use<>> {
    let (sender, heard) = oneshot::channel();
    said.pipe(store, Hearing(Some(sender)))?;
    // One that says nothing any more has nothing against it.
    Ok(async { heard.await.unwrap_or(Ok(())).map_err(HttpError::from) })
}

fn streamed(mut store: StoreContextMut<'_, State>, body: WasiBody) -> Consumed {
    let buffers = store.data().limiter.buffers();
    let held = buffers.hold_body(READ_BYTES).map_err(MemoryFull::trap)?;
    let (end, ended) = oneshot::channel();
    let contents = Contents {
        body,
        end: Some(end),
        _held: held,
    };
    let contents = StreamReader::new(&mut store, contents)?;
    Ok(((contents, FutureReader::new(&mut store, Ended(ended))?),))
}

struct Hearing(Option<oneshot::Sender<Said>>);

impl FutureConsumer<State> for Hearing {
    type Item = Said;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, State>,
        mut source: Source<'_, Said>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut said = None;
        source.read(store, &mut said)?;
        if let (Some(sender), Some(said)) = (self.0.take(), said) {
            // Nobody may ever ask for it.
            let _ = sender.send(said.map_err(|code| codes::shorten(code, REASON_BYTES)));
        }
        Poll::Ready(Ok(()))
    }
}

/// A body's end: its trailers, or why it has none.
type End = Result<Option<HeaderMap>, HttpError>;

/// A body, piece by piece.
struct Contents {
    body: WasiBody,
    end: Option<oneshot::Sender<End>>,
    _held: Buffered,
}

impl Contents {
    /// The next piece, or the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
        loop {
            let piece = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => Err(Ok(None)),
                Some(Err(error)) => Err(Err(error)),
                Some(Ok(frame)) => match frame.into_data().map_err(Frame::into_trailers) {
                    Ok(piece) if piece.is_empty() => continue,
                    Ok(piece) => Ok(piece),
                    Err(Ok(trailers)) => Err(Ok(Some(trailers))),
                    Err(Err(_)) => Err(Err(HttpError::HttpProtocolError)),
                },
            };
            return Poll::Ready(piece);
        }
    }
}

impl StreamProducer<State> for Contents {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let room = destination.remaining(&mut store);
        if room == Some(0) && self.body.is_end_stream() {
            let _ = self.end.take().map(|end| end.send(Ok(None)));
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        let mut piece = match self.poll_piece(context) {
            Poll::Ready(Ok(piece)) => piece,
            Poll::Ready(Err(ended)) => {
                let _ = self.end.take().map(|end| end.send(ended));
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let Some(room) = room.filter(|room| *room > 0) else {
            destination.set_buffer(piece);
            return Poll::Ready(Ok(StreamResult::Completed));
        };
        let later = piece.split_off(room.min(piece.len()));
        if !later.is_empty() {
            destination.set_buffer(later);
        }
        let mut direct = destination.as_direct(store, piece.len());
        if let Some(into) = direct.remaining().get_mut(..piece.len()) {
            into.copy_from_slice(&piece);
        }
        direct.mark_written(piece.len());
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// The end as the guest hears of it; none of trailers where the stream was dropped before.
struct Ended(oneshot::Receiver<End>);

impl FutureProducer<State> for Ended {
    type Item = Ending;

    fn poll_produce(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut store: StoreContextMut<'_, State>,
        finish: bool,
    ) -> Poll<wasmtime::Result<Option<Ending>>> {
        let end = match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(end) => end.unwrap_or(Ok(None)),
            Poll::Pending if finish => return Poll::Ready(Ok(None)),
            Poll::Pending => return Poll::Pending,
        };
        let http = store.data_mut().http();
        Poll::Ready(Ok(Some(match end {
            Ok(None) => Ok(None),
            Ok(Some(trailers)) => {
                let trailers = FieldMap::new_immutable(http.hooks, trailers);
                Ok(Some(http.table.push(trailers)?))
            }
            Err(error) => Err(codes::three(&error)),
        })))
    }
}
