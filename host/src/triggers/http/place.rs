//! Where a connection is served: with all others, or apart from them while a guest of its own computes for long.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::ports::{HttpHandler, Place};

type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves a connection, or a stream of one, to its end.
pub(super) async fn serve_at<H: HttpHandler>(
    place: Arc<Place>,
    handler: Arc<H>,
    serving: impl Future<Output = ()> + Send + 'static,
) {
    let mut serving: Served = Box::pin(serving);
    loop {
        let go = poll_fn(|context| poll_at(&place, false, &mut serving, context));
        if go.await == Ended::Served {
            return;
        }
        let Some(apart) = handler.place_apart() else {
            return serving.await;
        };
        let there = Arc::clone(&place);
        let task = apart.spawn(async move {
            let go = poll_fn(|context| poll_at(&there, true, &mut serving, context));
            (go.await, serving)
        });
        match Task(task).join().await {
            Some((Ended::Elsewhere, back)) => serving = back,
            _ => return,
        }
    }
}

/// Why it isn't polled here any more.
#[derive(PartialEq, Eq)]
enum Ended {
    Served,
    /// It goes on at the other place.
    Elsewhere,
}

fn poll_at(
    place: &Place,
    apart: bool,
    serving: &mut Served,
    context: &mut Context<'_>,
) -> Poll<Ended> {
    if serving.as_mut().poll(context).is_ready() {
        return Poll::Ready(Ended::Served);
    }
    match place.is_apart() == apart {
        true => Poll::Pending,
        false => Poll::Ready(Ended::Elsewhere),
    }
}

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    /// None where it ended before its time: with the host, or by a panic.
    async fn join(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
