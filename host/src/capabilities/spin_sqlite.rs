//! `spin:sqlite` 3: the databases that the manifest grants. Its plain functions hold the instance while they wait, the
//! asynchronous ones don't.
//!
//! What a statement changes is committed by the statement itself, and is no effect of the event.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, Destination, FutureProducer, FutureReader, Resource, StreamProducer, StreamReader,
    StreamResult, VecBuffer,
};

use super::side_by_side::{Listed, Opening};
use super::spin_key_value::carry;
use super::{CapabilitiesView, Context, HasCapabilities, View};
use crate::bindings::OpenConnection;
use crate::bindings::spin::sqlite::sqlite::{
    Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value,
};
use crate::guard::{self, Guard};
use crate::ports::{
    Cell, Connection, DatabaseError, Databases, Results, Row, Rows, Statement, size_of_row,
};

type Answer<T> = wasmtime::Result<Result<T, Error>>;
type Ending = Result<(), Error>;
type Streamed = (Vec<String>, StreamReader<RowResult>, FutureReader<Ending>);

/// A statement and where it is to be done, with what it takes until it is.
struct Ready {
    connection: Arc<dyn Connection>,
    statement: Statement,
    waiting: Listed,
}

impl Ready {
    async fn execute(self) -> Result<Results, DatabaseError> {
        let executed = self.connection.execute(self.statement).await;
        drop(self.waiting);
        executed
    }
}

impl Context {
    /// The databases, where one of this name is granted and one more connection may be open.
    fn database(&self, name: &str) -> Result<(Arc<dyn Databases>, Opening), Error> {
        let mut granted = self.reach.grants.sqlite.iter();
        if !granted.any(|granted| granted == name) && guard::holds(Guard::Grants) {
            return Err(Error::AccessDenied);
        }
        let opening = self.side_by_side.open_connection().ok_or_else(|| {
            Error::Io(
                "too many connections are open at once; drop those that aren't used".to_owned(),
            )
        })?;
        Ok((Arc::clone(&self.reach.databases), opening))
    }
}

impl View<'_> {
    fn opened(
        &mut self,
        connection: Result<Arc<dyn Connection>, DatabaseError>,
        opening: Opening,
    ) -> Answer<Resource<OpenConnection>> {
        match connection {
            Ok(connection) => {
                let handle = self.table.push(OpenConnection { connection })?;
                opening.opened();
                Ok(Ok(handle))
            }
            Err(error) => Ok(Err(self.context.trouble.database(error))),
        }
    }

    fn connection(
        &self,
        connection: &Resource<OpenConnection>,
    ) -> wasmtime::Result<Arc<dyn Connection>> {
        Ok(Arc::clone(&self.table.get(connection)?.connection))
    }

    /// What is to be done, where all that waits on the instance's connections has room in the function's memory.
    fn ready(
        &self,
        connection: &Resource<OpenConnection>,
        sql: String,
        parameters: Vec<Cell>,
    ) -> Answer<Ready> {
        let bytes = sql.len() + size_of_row(&parameters);
        let mut waiting = Listed::new(&self.context.side_by_side);
        let held = waiting.hold(bytes as u64);
        if !self.context.fits(held.saturating_add(self.context.held)) {
            return Ok(Err(too_much("the statements that wait")));
        }
        let connection = self.connection(connection)?;
        let statement = Statement { sql, parameters };
        Ok(Ok(Ready {
            connection,
            statement,
            waiting,
        }))
    }

    /// What is done by a plain function: all rows at once.
    pub(super) async fn query(
        &mut self,
        connection: &Resource<OpenConnection>,
        sql: String,
        parameters: Vec<Cell>,
    ) -> Answer<(Vec<String>, Vec<Row>)> {
        self.carry(sql.len() + size_of_row(&parameters)).await?;
        let ready = match self.ready(connection, sql, parameters)? {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        let Results {
            columns,
            rows: mut found,
            ended,
        } = match ready.execute().await {
            Ok(results) => results,
            Err(error) => return Ok(Err(self.context.trouble.database(error))),
        };
        let mut listed = Listed::new(&self.context.side_by_side);
        let (mut rows, mut bytes) = (Vec::new(), bytes_of_names(&columns));
        self.carry(bytes).await?;
        while let Some(more) = std::future::poll_fn(|task| found.poll_some(task)).await {
            let size = more.iter().map(|row| size_of_row(row)).sum::<usize>();
            self.carry(size).await?;
            bytes += size;
            let held = listed.hold(bytes as u64);
            if !self.context.fits(held.saturating_add(self.context.held)) {
                return Ok(Err(too_much("the rows")));
            }
            rows.extend(more);
        }
        let ended = ended.await.unwrap_or_else(|_| Err(broken_off()));
        Ok(ended
            .map(|()| (columns, rows))
            .map_err(|error| self.context.trouble.database(error)))
    }

    /// The plain `open`, of all versions.
    pub(super) async fn open_database(&mut self, name: &str) -> Answer<Resource<OpenConnection>> {
        self.carry(name.len()).await?;
        match self.context.database(name) {
            Ok((databases, opening)) => {
                let connection = databases.connect(name).await;
                self.opened(connection, opening)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The same of `drop`.
    pub(super) fn close_database(
        &mut self,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        self.context.side_by_side.close_connection();
        Ok(())
    }
}

impl Host for View<'_> {}

impl HostConnection for View<'_> {
    async fn open(&mut self, database: String) -> Answer<Resource<OpenConnection>> {
        self.open_database(&database).await
    }

    async fn execute(
        &mut self,
        connection: Resource<OpenConnection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answer<QueryResult> {
        let parameters = parameters.into_iter().map(cell).collect();
        let result = self.query(&connection, statement, parameters).await?;
        Ok(result.map(|(columns, rows)| QueryResult {
            columns,
            rows: rows.into_iter().map(told).collect(),
        }))
    }

    async fn last_insert_rowid(
        &mut self,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<i64> {
        Ok(self.connection(&connection)?.last_insert_rowid())
    }

    async fn changes(&mut self, connection: Resource<OpenConnection>) -> wasmtime::Result<u64> {
        Ok(self.connection(&connection)?.changes())
    }

    async fn drop(&mut self, connection: Resource<OpenConnection>) -> wasmtime::Result<()> {
        self.close_database(connection)
    }
}

impl<T: CapabilitiesView + 'static> HostConnectionWithStore<T> for HasCapabilities {
    async fn open_async(
        accessor: &Accessor<T, Self>,
        database: String,
    ) -> Answer<Resource<OpenConnection>> {
        carry(accessor, database.len()).await?;
        let databases = accessor.with(|mut access| access.get().context.database(&database));
        let (databases, opening) = match databases {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let connection = databases.connect(&database).await;
        accessor.with(|mut access| access.get().opened(connection, opening))
    }

    /// As with Spin, a statement that can't be done has no rows, and its error is how they end.
    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<OpenConnection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> Answer<Streamed> {
        let parameters: Vec<Cell> = parameters.into_iter().map(cell).collect();
        carry(accessor, statement.len() + size_of_row(&parameters)).await?;
        let ready =
            accessor.with(|mut access| access.get().ready(&connection, statement, parameters))?;
        let executed = match ready {
            Ok(ready) => ready.execute().await,
            Err(error) => return Ok(Err(error)),
        };
        let Results {
            columns,
            rows,
            ended,
        } = executed.unwrap_or_else(failed);
        carry(accessor, bytes_of_names(&columns)).await?;
        accessor.with(|mut access| {
            let listed = Listed::new(&access.get().context.side_by_side);
            let (tell, too_much) = oneshot::channel();
            let streamed = Streaming {
                rows,
                listed,
                tell: Some(tell),
            };
            let ending = Ends {
                ended,
                too_much: Some(too_much),
            };
            let stream = StreamReader::new(&mut access, streamed)?;
            let ending = FutureReader::new(&mut access, ending)?;
            Ok(Ok((columns, stream, ending)))
        })
    }

    async fn last_insert_rowid_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<i64> {
        accessor.with(|mut access| Ok(access.get().connection(&connection)?.last_insert_rowid()))
    }

    async fn changes_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<OpenConnection>,
    ) -> wasmtime::Result<u64> {
        accessor.with(|mut access| Ok(access.get().connection(&connection)?.changes()))
    }
}

/// What a statement comes to that can't be done.
fn failed(error: DatabaseError) -> Results {
    struct NoRows;

    impl Rows for NoRows {
        fn poll_some(&mut self, _: &mut Task<'_>) -> Poll<Option<Vec<Row>>> {
            Poll::Ready(None)
        }
    }

    let (tell, ended) = oneshot::channel();
    // The other end is here.
    let _ = tell.send(Err(error));
    Results {
        columns: Vec::new(),
        rows: Box::new(NoRows),
        ended,
    }
}

/// Rows as the guest reads them.
struct Streaming {
    rows: Box<dyn Rows>,
    listed: Listed,
    /// Told where the rows have no room.
    tell: Option<oneshot::Sender<Error>>,
}

impl<T: CapabilitiesView + 'static> StreamProducer<T> for Streaming {
    type Item = RowResult;
    type Buffer = VecBuffer<RowResult>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        mut store: StoreContextMut<'a, T>,
        mut destination: Destination<'a, RowResult, VecBuffer<RowResult>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        // All rows before were taken.
        this.listed.hold(0);
        let rows = match this.rows.poll_some(task) {
            Poll::Ready(Some(rows)) => rows,
            Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let context = store.data_mut().capabilities().context;
        let bytes = rows.iter().map(|row| size_of_row(row)).sum::<usize>();
        context.calls.count(bytes)?;
        let listed = this.listed.hold(bytes as u64);
        if !context.fits(listed.saturating_add(context.held)) {
            if let Some(tell) = this.tell.take() {
                // The guest may not want to know.
                let _ = tell.send(too_much("the rows"));
            }
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        let rows: Vec<_> = rows.into_iter().map(told).collect();
        destination.set_buffer(VecBuffer::from(rows));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// How the rows end.
struct Ends {
    ended: oneshot::Receiver<Result<(), DatabaseError>>,
    /// That the guest had no room for them.
    too_much: Option<oneshot::Receiver<Error>>,
}

impl<T: CapabilitiesView + 'static> FutureProducer<T> for Ends {
    type Item = Ending;

    fn poll_produce(
        self: Pin<&mut Self>,
        task: &mut Task<'_>,
        mut store: StoreContextMut<'_, T>,
        finish: bool,
    ) -> Poll<wasmtime::Result<Option<Ending>>> {
        let this = self.get_mut();
        if let Some(too_much) = &mut this.too_much
            && let Poll::Ready(told) = Pin::new(too_much).poll(task)
        {
            this.too_much = None;
            if let Ok(error) = told {
                return Poll::Ready(Ok(Some(Err(error))));
            }
        }
        match Pin::new(&mut this.ended).poll(task) {
            Poll::Ready(ended) => {
                let ended = ended.unwrap_or_else(|_| Err(broken_off()));
                let trouble = &store.data_mut().capabilities().context.trouble;
                let ended = ended.map_err(|error| trouble.database(error));
                Poll::Ready(Ok(Some(ended)))
            }
            Poll::Pending if finish => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Where the thread of a connection ends before its statement.
fn broken_off() -> DatabaseError {
    DatabaseError::Statement("the statement was broken off".to_owned())
}

fn too_much(what: &str) -> Error {
    Error::Io(format!(
        "{what} take more memory than the function may have; ask for fewer at once, or raise `limits.memory`"
    ))
}

fn bytes_of_names(columns: &[String]) -> usize {
    columns.iter().map(String::len).sum()
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Integer(number) => Cell::Integer(number),
        Value::Real(number) => Cell::Real(number),
        Value::Text(text) => Cell::Text(text),
        Value::Blob(bytes) => Cell::Blob(bytes),
        Value::Null => Cell::Null,
    }
}

fn told(row: Row) -> RowResult {
    let value = |cell| match cell {
        Cell::Integer(number) => Value::Integer(number),
        Cell::Real(number) => Value::Real(number),
        Cell::Text(text) => Value::Text(text),
        Cell::Blob(bytes) => Value::Blob(bytes),
        Cell::Null => Value::Null,
    };
    RowResult {
        values: row.into_iter().map(value).collect(),
    }
}
