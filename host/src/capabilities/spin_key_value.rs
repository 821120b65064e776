//! `spin:key-value` 3: the keyvalue buckets under Spin's names for them. Its functions are asynchronous, so that tasks
//! of one instance may wait side by side: nothing of the instance is held while the store is asked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;
use tokio::task::yield_now;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, Destination, FutureReader, Resource, StreamProducer, StreamReader, StreamResult,
    VecBuffer,
};

use super::host_calls::{HostCallsExceeded, bytes_of};
use super::keyvalue::{PAGE, check_key, too_many_keys};
use super::side_by_side::Listed;
use super::{CapabilitiesView, HasCapabilities, View};
use crate::bindings::keyvalue::store::Error as KeyError;
use crate::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use crate::bindings::{OpenKeys, Seen};
use crate::config::keyvalue_bucket;
use crate::ports::{KeyValue, QueueError};

type Answer<T> = wasmtime::Result<Result<T, Error>>;
type Ending = Result<(), Error>;

impl Host for View<'_> {}

impl HostStore for View<'_> {
    async fn drop(&mut self, store: Resource<OpenKeys>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        self.context.side_by_side.close_store();
        Ok(())
    }
}

impl<T: CapabilitiesView + 'static> HostStoreWithStore<T> for HasCapabilities {
    async fn open(accessor: &Accessor<T, Self>, label: String) -> Answer<Resource<OpenKeys>> {
        carry(accessor, label.len()).await?;
        accessor.with(|mut access| {
            let view = access.get();
            if !view.context.may_open(&label) {
                return Ok(Err(Error::AccessDenied));
            }
            if !view.context.side_by_side.open_store() {
                return Ok(Err(Error::StoreTableFull));
            }
            let bucket = Arc::from(keyvalue_bucket(&label));
            Ok(Ok(view.table.push(OpenKeys { bucket })?))
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenKeys>,
        key: String,
    ) -> Answer<Option<Vec<u8>>> {
        let seen = seen(accessor, &store, key).await?;
        let value = accessor.with(|mut access| access.get().context.fitting(seen?));
        Ok(value.map_err(spin))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenKeys>,
        key: String,
        value: Vec<u8>,
    ) -> Answer<()> {
        stage(accessor, &store, key, Some(value)).await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenKeys>,
        key: String,
    ) -> Answer<()> {
        stage(accessor, &store, key, None).await
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenKeys>,
        key: String,
    ) -> Answer<bool> {
        let seen = seen(accessor, &store, key).await?;
        Ok(seen.map(|seen| seen.value.is_some()).map_err(spin))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenKeys>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Ending>)> {
        accessor.with(|mut access| {
            let view = access.get();
            let (ended, ending) = oneshot::channel();
            let keys = Keys {
                bucket: view.keys(&store)?,
                keyvalue: Arc::clone(&view.context.reach.keyvalue),
                listed: Listed::new(&view.context.side_by_side),
                cursor: None,
                page: None,
                last: false,
                ended: Some(ended),
            };
            let stream = StreamReader::new(&mut access, keys)?;
            Ok((stream, FutureReader::new(&mut access, ending)?))
        })
    }
}

/// Counts bytes that a call is given or gives, and gives way where they are many.
pub(super) async fn carry<T: CapabilitiesView + 'static>(
    accessor: &Accessor<T, HasCapabilities>,
    bytes: usize,
) -> Result<(), HostCallsExceeded> {
    if accessor.with(|mut access| access.get().context.calls.count(bytes))? {
        yield_now().await;
    }
    Ok(())
}

async fn stage<T: CapabilitiesView + 'static>(
    accessor: &Accessor<T, HasCapabilities>,
    store: &Resource<OpenKeys>,
    key: String,
    value: Option<Vec<u8>>,
) -> Answer<()> {
    let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
    let (many, staged) = accessor.with(|mut access| -> wasmtime::Result<_> {
        let view = access.get();
        let many = view.context.calls.count(bytes)?;
        let bucket = view.keys(store)?;
        Ok((many, view.context.set(&bucket, &key, value)))
    })?;
    // Only now, or others would bring as much before any of it counts as staged.
    if many {
        yield_now().await;
    }
    Ok(staged.map_err(spin))
}

/// What a key has, which counts as moved whether the guest is given it or not.
async fn seen<T: CapabilitiesView + 'static>(
    accessor: &Accessor<T, HasCapabilities>,
    store: &Resource<OpenKeys>,
    key: String,
) -> wasmtime::Result<Result<Seen, KeyError>> {
    carry(accessor, key.len()).await?;
    // Who waits for its turn holds no more than a key.
    if let Err(error) = check_key(&key) {
        return Ok(Err(error));
    }
    let (bucket, reach, side_by_side) = accessor.with(|mut access| {
        let view = access.get();
        let bucket = view.keys(store);
        let context = view.context;
        let (reach, side_by_side) = (&context.reach, &context.side_by_side);
        (bucket, Arc::clone(reach), Arc::clone(side_by_side))
    });
    let bucket = bucket?;
    let _turn = side_by_side.turn.lock().await;
    let staged = accessor.with(|mut access| access.get().context.staged_key(&bucket, &key));
    let seen = match staged.transpose() {
        Some(staged) => staged,
        None => {
            let found = reach.keyvalue.get(&bucket, &[key]).await;
            accessor.with(|mut access| access.get().context.committed_key(found))
        }
    };
    let bytes = seen.as_ref().map_or(0, Seen::size);
    carry(accessor, usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
    Ok(seen)
}

fn spin(error: KeyError) -> Error {
    match error {
        KeyError::NoSuchStore => Error::NoSuchStore,
        KeyError::AccessDenied => Error::AccessDenied,
        KeyError::Other(text) => Error::Other(text),
    }
}

/// Lists keys as they are asked for, a page at a time.
struct Keys {
    bucket: Arc<str>,
    keyvalue: Arc<dyn KeyValue>,
    listed: Listed,
    /// The last key that was looked at.
    cursor: Option<String>,
    /// The committed keys behind it, being read.
    page: Option<Page>,
    /// Whether no page is left.
    last: bool,
    /// Told how it ended.
    ended: Option<oneshot::Sender<Ending>>,
}

type Page = Pin<Box<dyn Future<Output = Result<Vec<String>, QueueError>> + Send>>;

impl Keys {
    fn poll_page(&mut self, task: &mut Context<'_>) -> Poll<Result<Vec<String>, QueueError>> {
        let page = self.page.get_or_insert_with(|| {
            let keyvalue = Arc::clone(&self.keyvalue);
            let (bucket, after) = (Arc::clone(&self.bucket), self.cursor.clone());
            Box::pin(async move { keyvalue.keys(&bucket, after.as_deref(), PAGE).await })
        });
        let committed = ready!(page.as_mut().poll(task));
        self.page = None;
        Poll::Ready(committed)
    }

    fn tell(&mut self, ending: Ending) {
        if let Some(ended) = self.ended.take() {
            // The guest may not want to know.
            let _ = ended.send(ending);
        }
    }

    fn end(&mut self, ending: Ending) -> Poll<wasmtime::Result<StreamResult>> {
        self.tell(ending);
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

/// Who stops reading early isn't told of an error.
impl Drop for Keys {
    fn drop(&mut self) {
        self.tell(Ok(()));
    }
}

impl<T: CapabilitiesView + 'static> StreamProducer<T> for Keys {
    type Item = String;
    type Buffer = VecBuffer<String>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, String, VecBuffer<String>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        // All keys of the page before were taken.
        this.listed.hold(0);
        while !this.last {
            let committed = match this.poll_page(task) {
                Poll::Ready(committed) => committed,
                Poll::Pending if finish => {
                    this.page = None;
                    return Poll::Ready(Ok(StreamResult::Cancelled));
                }
                Poll::Pending => return Poll::Pending,
            };
            let context = store.data_mut().capabilities().context;
            let cursor = this.cursor.as_deref();
            let (keys, next) = match context.merged_page(&this.bucket, cursor, committed) {
                Ok(page) => page,
                Err(error) => return this.end(Err(spin(error))),
            };
            let bytes = bytes_of(&keys);
            context.calls.count(bytes)?;
            let listed = this.listed.hold(bytes as u64);
            if !context.fits(listed.saturating_add(context.held)) {
                return this.end(Err(spin(too_many_keys())));
            }
            this.last = next.is_none();
            this.cursor = next;
            if this.last {
                // The guest may ask for it before it has read all, as with Spin.
                this.tell(Ok(()));
            }
            if !keys.is_empty() {
                destination.set_buffer(VecBuffer::from(keys));
                return Poll::Ready(Ok(StreamResult::Completed));
            }
        }
        this.end(Ok(()))
    }
}
