//! The thread of one connection: does its statements one after the other.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, ToSql, params_from_iter};
use tokio::sync::oneshot;

use super::rows::{Giver, Stop, WAITING, handover};
use super::{DatabaseFile, Figures, rules};
use crate::clock::Stopwatch;
use crate::ports::{Cell, DatabaseError, Results, Row, Statement, size_of_row};

/// How long a statement waits for another connection that writes.
pub const BUSY: Duration = Duration::from_secs(5);
/// After so many steps of SQLite's machine it is looked whether a statement is to go on: a step can write, or copy, as much
/// as a value may have.
const STEPS: i32 = 100;
/// What a row may have that is read, in bytes: two of the largest values.
const ROW_BYTES: usize = 2 << 20;
/// The log of a small database may have this, so that it needn't be emptied for each transaction.
const LOG_BYTES: u64 = 16 << 20;

/// A statement to do.
pub struct Job {
    pub statement: Statement,
    pub stop: Stop,
    pub answer: oneshot::Sender<Result<Results, DatabaseError>>,
}

pub struct Worker {
    connection: rusqlite::Connection,
    file: Arc<DatabaseFile>,
    figures: Arc<Figures>,
}

/// What comes up while one statement is done.
#[derive(Clone)]
struct Watch {
    stop: Stop,
    /// Whether it writes.
    writes: Arc<AtomicBool>,
    /// Why SQLite was told not to go on.
    why: Arc<Mutex<Option<DatabaseError>>>,
    log: PathBuf,
    max_log: u64,
}

impl Watch {
    fn because(&self, error: DatabaseError) {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.get_or_insert(error);
    }

    fn why(&self) -> Option<DatabaseError> {
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.take()
    }

    /// Whether the log is larger than it may get: a transaction can write a page again and again, and a reader that
    /// stays keeps it from being emptied.
    fn log_is_full(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|log| log.len() > self.max_log)
    }

    fn is_over(&self) -> bool {
        if self.writes.load(Ordering::Relaxed) && self.log_is_full() {
            self.because(DatabaseError::Full);
            return true;
        }
        self.stop.is_set()
    }

    fn allows(&self, context: &AuthContext<'_>) -> bool {
        let refusal = rules::refusal(context);
        let allows = refusal.is_none();
        if let Some(refusal) = refusal {
            self.because(DatabaseError::Statement(format!(
                "not authorized: {refusal}"
            )));
        }
        allows
    }
}

impl Worker {
    pub fn open(file: &Arc<DatabaseFile>, figures: Arc<Figures>) -> Result<Self, DatabaseError> {
        Ok(Self {
            connection: file.open()?,
            file: Arc::clone(file),
            figures,
        })
    }

    /// Does what comes, until nobody is there who could ask for more.
    pub fn serve(mut self, jobs: &mpsc::Receiver<Job>) {
        while let Ok(Job {
            statement,
            stop,
            answer,
        }) = jobs.recv()
        {
            let watch = Watch {
                stop,
                writes: Arc::default(),
                why: Arc::default(),
                log: self.file.log(),
                max_log: self.file.limits.max_bytes.saturating_add(LOG_BYTES),
            };
            if let Err(error) = self.watch(&watch) {
                let _ = answer.send(Err(self.told(error, &watch)));
                continue;
            }
            let mut begun = Begun::Not(answer);
            let done = self.execute(&statement, &watch, &mut begun);
            self.note();
            let done = done.map_err(|error| self.told(error, &watch));
            begun.end(done);
        }
    }

    fn watch(&mut self, watch: &Watch) -> rusqlite::Result<()> {
        let own = watch.clone();
        self.connection
            .authorizer(Some(move |context: AuthContext<'_>| {
                match own.allows(&context) {
                    true => Authorization::Allow,
                    false => Authorization::Deny,
                }
            }))?;
        let own = watch.clone();
        self.connection
            .progress_handler(STEPS, Some(move || own.is_over()))?;
        let own = watch.clone();
        let mut since = Stopwatch::of_host();
        self.connection.busy_handler(Some(move |before: i32| {
            if before == 0 {
                since = Stopwatch::of_host();
            }
            // Two that write by turns wait for a sync of the disk, at least.
            thread::sleep(Duration::from_millis(
                u64::try_from(before).unwrap_or(0).clamp(1, 10),
            ));
            !own.stop.is_set() && since.elapsed() < BUSY
        }))
    }

    fn execute(
        &self,
        statement: &Statement,
        watch: &Watch,
        begun: &mut Begun,
    ) -> rusqlite::Result<()> {
        let mut prepared = self.connection.prepare(&statement.sql)?;
        let reads = prepared.readonly();
        watch.writes.store(!reads, Ordering::Relaxed);
        if !reads && self.connection.is_autocommit() && watch.log_is_full() {
            self.file.empty_log();
        }
        let columns = prepared.column_names().map(str::to_owned).collect();
        let parameters = statement.parameters.iter().map(Parameter);
        let mut rows = prepared.query(params_from_iter(parameters))?;
        let mut found = VecDeque::new();
        let mut bytes = 0;
        let mut more = true;
        // One that writes is done, and committed, before anybody hears of it, but for rows that are many: who doesn't
        // read them needn't wait.
        while more && (found.is_empty() || !reads && bytes < WAITING) {
            let next = rows.next()?.map(read).transpose()?;
            more = next.is_some();
            bytes += next.as_ref().map_or(0, |row| size_of_row(row));
            found.extend(next);
        }
        self.note();
        let giver = begun.begin(columns, reads, &watch.stop);
        let mut wanted = giver.is_some();
        loop {
            for row in found.drain(..) {
                wanted = wanted && giver.as_ref().is_some_and(|giver| giver.give(row));
            }
            // What is to be changed is changed by the first row; the rest is to hear how it ended.
            if !more || !wanted && reads {
                return Ok(());
            }
            found.extend(rows.next()?.map(read).transpose()?);
            more = !found.is_empty();
        }
    }

    /// Tells of the last statement what may be asked for.
    fn note(&self) {
        let figures = &self.figures;
        let rowid = self.connection.last_insert_rowid();
        figures.last_insert_rowid.store(rowid, Ordering::Relaxed);
        let changes = self.connection.changes();
        figures.changes.store(changes, Ordering::Relaxed);
    }

    /// An error in words for whoever it is for.
    fn told(&self, error: rusqlite::Error, watch: &Watch) -> DatabaseError {
        if let Some(why) = watch.why() {
            return why;
        }
        let said = match &error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                format!("{msg} (at byte {offset} of the statement)")
            }
            rusqlite::Error::MultipleStatement => {
                "there is more than one statement; execute one after the other".to_owned()
            }
            error => error.to_string(),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => DatabaseError::Full,
            Some(ErrorCode::OutOfMemory) => DatabaseError::Statement(format!(
                "out of memory: a connection has {} bytes; have it sort or change less at once, or raise \
                 `memory` of this database",
                self.file.limits.memory
            )),
            Some(ErrorCode::DatabaseBusy) => DatabaseError::Statement(format!(
                "{said}: another connection is writing; try again"
            )),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::NotADatabase
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::InternalMalfunction,
            ) => self.file.unavailable(&said),
            _ => DatabaseError::Statement(said),
        }
    }
}

/// How far a statement has come.
enum Begun {
    /// Whoever asked for it waits.
    Not(oneshot::Sender<Result<Results, DatabaseError>>),
    /// Its rows are being read, and how it ends is waited for.
    Yes(oneshot::Sender<Result<(), DatabaseError>>),
    Told,
}

impl Begun {
    /// Says that the first row is there, or that there is none. None where nobody wants to know.
    fn begin(&mut self, columns: Vec<String>, reads: bool, stop: &Stop) -> Option<Giver> {
        let mut stop = stop.on_drop();
        if !reads {
            stop.disarm();
        }
        let (giver, taker) = handover(stop);
        let (ended, ending) = oneshot::channel();
        let results = Results {
            columns,
            rows: Box::new(taker),
            ended: ending,
        };
        match std::mem::replace(self, Self::Yes(ended)) {
            Self::Not(answer) => answer.send(Ok(results)).ok().map(|()| giver),
            Self::Yes(_) | Self::Told => None,
        }
    }

    fn end(&mut self, done: Result<(), DatabaseError>) {
        // Who went away doesn't want to know.
        match (std::mem::replace(self, Self::Told), done) {
            (Self::Not(answer), Err(error)) => drop(answer.send(Err(error))),
            (Self::Yes(ended), done) => drop(ended.send(done)),
            (Self::Not(_), Ok(())) | (Self::Told, _) => {}
        }
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let columns = row.as_ref().column_count();
    let mut cells = Row::with_capacity(columns);
    let mut bytes = 0;
    for column in 0..columns {
        let cell = match row.get_ref(column)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Integer(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Text(text) => Cell::Text(std::str::from_utf8(text)?.to_owned()),
            ValueRef::Blob(blob) => Cell::Blob(blob.to_vec()),
        };
        bytes += cell.size();
        if bytes > ROW_BYTES {
            return Err(rusqlite::Error::ToSqlConversionFailure(
                format!("a row has more than {ROW_BYTES} bytes; select fewer columns").into(),
            ));
        }
        cells.push(cell);
    }
    debug_assert!(size_of_row(&cells) <= ROW_BYTES + size_of::<Row>());
    Ok(cells)
}

struct Parameter<'a>(&'a Cell);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Cell::Integer(number) => ValueRef::Integer(*number),
            Cell::Real(number) => ValueRef::Real(*number),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
            Cell::Blob(blob) => ValueRef::Blob(blob),
            Cell::Null => ValueRef::Null,
        }))
    }
}
