//! `fermyon:spin/key-value` and `fermyon:spin/sqlite` 2, as components import them that older versions of Spin's SDK make.

use wasmtime::component::Resource;

use super::View;
use crate::bindings::keyvalue::store as newer;
use crate::bindings::spin::sqlite::sqlite as newer_sqlite;
use crate::bindings::spin_two::key_value::{Error, Host, HostStore};
use crate::bindings::spin_two::sqlite;
use crate::bindings::{OpenConnection, OpenKeys};
use crate::ports::Cell;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl Host for View<'_> {}

impl HostStore for View<'_> {
    async fn open(&mut self, label: String) -> Answer<Resource<OpenKeys>> {
        Ok(newer::Host::open(self, label).await?.map_err(spin))
    }

    async fn get(&mut self, store: Resource<OpenKeys>, key: String) -> Answer<Option<Vec<u8>>> {
        let value = newer::HostBucket::get(self, store, key).await?;
        Ok(value.map_err(spin))
    }

    async fn set(&mut self, store: Resource<OpenKeys>, key: String, value: Vec<u8>) -> Answer<()> {
        let set = newer::HostBucket::set(self, store, key, value).await?;
        Ok(set.map_err(spin))
    }

    async fn delete(&mut self, store: Resource<OpenKeys>, key: String) -> Answer<()> {
        let deleted = newer::HostBucket::delete(self, store, key).await?;
        Ok(deleted.map_err(spin))
    }

    async fn exists(&mut self, store: Resource<OpenKeys>, key: String) -> Answer<bool> {
        let there = newer::HostBucket::exists(self, store, key).await?;
        Ok(there.map_err(spin))
    }

    async fn get_keys(&mut self, store: Resource<OpenKeys>) -> Answer<Vec<String>> {
        let bucket = self.keys(&store)?;
        Ok(self.all_keys(&bucket).await?.map_err(spin))
    }

    async fn drop(&mut self, store: Resource<OpenKeys>) -> wasmtime::Result<()> {
        newer::HostBucket::drop(self, store).await
    }
}

fn spin(error: newer::Error) -> Error {
    match error {
        newer::Error::NoSuchStore => Error::NoSuchStore,
        newer::Error::AccessDenied => Error::AccessDenied,
        newer::Error::Other(text) => Error::Other(text),
    }
}

impl sqlite::Host for View<'_> {}

impl sqlite::HostConnection for View<'_> {
    async fn open(
        &mut self,
        database: String,
    ) -> wasmtime::Result<Result<Resource<OpenConnection>, sqlite::Error>> {
        Ok(self.open_database(&database).await?.map_err(sql_error))
    }

    async fn execute(
        &mut self,
        connection: Resource<OpenConnection>,
        statement: String,
        parameters: Vec<sqlite::Value>,
    ) -> wasmtime::Result<Result<sqlite::QueryResult, sqlite::Error>> {
        let parameters = parameters.into_iter().map(cell).collect();
        let result = self.query(&connection, statement, parameters).await?;
        let row = |row: Vec<Cell>| sqlite::RowResult {
            values: row.into_iter().map(value).collect(),
        };
        Ok(result
            .map(|(columns, rows)| sqlite::QueryResult {
                columns,
                rows: rows.into_iter().map(row).collect(),
            })
            .map_err(sql_error))
    }

    async fn drop(&mut self, connection: Resource<OpenConnection>) -> wasmtime::Result<()> {
        self.close_database(connection)
    }
}

fn cell(value: sqlite::Value) -> Cell {
    match value {
        sqlite::Value::Integer(number) => Cell::Integer(number),
        sqlite::Value::Real(number) => Cell::Real(number),
        sqlite::Value::Text(text) => Cell::Text(text),
        sqlite::Value::Blob(bytes) => Cell::Blob(bytes),
        sqlite::Value::Null => Cell::Null,
    }
}

fn value(cell: Cell) -> sqlite::Value {
    match cell {
        Cell::Integer(number) => sqlite::Value::Integer(number),
        Cell::Real(number) => sqlite::Value::Real(number),
        Cell::Text(text) => sqlite::Value::Text(text),
        Cell::Blob(bytes) => sqlite::Value::Blob(bytes),
        Cell::Null => sqlite::Value::Null,
    }
}

fn sql_error(error: newer_sqlite::Error) -> sqlite::Error {
    match error {
        newer_sqlite::Error::NoSuchDatabase => sqlite::Error::NoSuchDatabase,
        newer_sqlite::Error::AccessDenied => sqlite::Error::AccessDenied,
        newer_sqlite::Error::InvalidConnection => sqlite::Error::InvalidConnection,
        newer_sqlite::Error::DatabaseFull => sqlite::Error::DatabaseFull,
        newer_sqlite::Error::Io(text) => sqlite::Error::Io(text),
    }
}
