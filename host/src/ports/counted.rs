//! A body whose bytes are counted as they come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// It breaks off with the error of the count, where that refuses what came.
pub struct Counted<B, C> {
    /// Where they come from.
    pub body: B,
    /// Called with the length of each piece.
    pub count: C,
}

impl<B, C> Body for Counted<B, C>
where
    B: Body<Data = Bytes> + Unpin,
    C: FnMut(usize) -> Result<(), B::Error> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        Poll::Ready(match (self.count)(bytes) {
            Ok(()) => frame,
            Err(refused) => Some(Err(refused)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
