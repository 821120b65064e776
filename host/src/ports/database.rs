//! SQL databases. What a statement changes is committed as the statements say, then and there: it is no effect of the
//! event whose handler has it done.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::oneshot;

/// The databases of an application.
#[async_trait]
pub trait Databases: Send + Sync + 'static {
    /// Another connection to a database, which is made where it is missing.
    async fn connect(&self, name: &str) -> Result<Arc<dyn Connection>, DatabaseError>;
}

/// A connection, with a transaction of its own. One that is open when the connection is dropped is rolled back.
#[async_trait]
pub trait Connection: Send + Sync + 'static {
    /// Has a statement done, after those before it; returns once it has its first row, or is done where it has none.
    /// Where this is dropped before, or the rows of one that only reads are, the statement is interrupted.
    async fn execute(&self, statement: Statement) -> Result<Results, DatabaseError>;

    /// The id of the row that was inserted last; zero where there is none yet.
    fn last_insert_rowid(&self) -> i64;

    /// How many rows the last statement that inserts, updates or deletes has changed.
    fn changes(&self) -> u64;
}

/// A statement of SQL, and the values of its parameters, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// One statement.
    pub sql: String,
    /// As many as it has parameters.
    pub parameters: Vec<Cell>,
}

/// A value of a row, or of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A signed number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// None.
    Null,
}

impl Cell {
    /// What it takes in memory, in bytes.
    pub fn size(&self) -> usize {
        let own = size_of::<Self>();
        match self {
            Self::Text(text) => own + text.len(),
            Self::Blob(bytes) => own + bytes.len(),
            Self::Integer(_) | Self::Real(_) | Self::Null => own,
        }
    }
}

/// A value for each column.
pub type Row = Vec<Cell>;

/// What a row takes in memory, in bytes.
pub fn size_of_row(row: &[Cell]) -> usize {
    size_of::<Row>() + row.iter().map(Cell::size).sum::<usize>()
}

/// What a statement comes to.
pub struct Results {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, as they are found.
    pub rows: Box<dyn Rows>,
    /// How the statement ended. Told when all rows were found, of which some may not have been read yet.
    pub ended: oneshot::Receiver<Result<(), DatabaseError>>,
}

/// Rows as they are found: no more are looked for than a few that wait to be read.
pub trait Rows: Send + 'static {
    /// Those that were found since; none where there are no more, or the statement failed.
    fn poll_some(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<Row>>>;
}

/// How a database fails.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseError {
    /// There is none of that name.
    #[error("there is no such database")]
    NoSuchDatabase,
    /// It is as large as it may be, or its disk is full.
    #[error("the database is full")]
    Full,
    /// Of the statement's own doing, in words for who wrote it.
    #[error("{0}")]
    Statement(String),
    /// Of the host's doing, in words for who runs it.
    #[error("database {name:?}: {reason}")]
    Unavailable {
        /// The database's name.
        name: String,
        /// What failed.
        reason: String,
    },
}
