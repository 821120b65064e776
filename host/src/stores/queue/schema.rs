//! The store's file: how it is opened, its tables, and their version.

use std::path::Path;

use rusqlite::Connection;

use crate::ports::QueueError;

/// Goes up with every change of the tables; an older store is migrated, a newer one refused.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE delivery (
        seq INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        due INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX delivery_due ON delivery (function, due, seq);

    CREATE TABLE dead (
        seq INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX dead_function ON dead (function);

    -- Decided and not yet applied.
    CREATE TABLE intent (
        seq INTEGER PRIMARY KEY,
        record BLOB NOT NULL
    ) STRICT;

    -- Ids that sources gave, to recognise duplicates by.
    CREATE TABLE seen (
        source TEXT NOT NULL,
        id TEXT NOT NULL,
        accepted INTEGER NOT NULL,
        PRIMARY KEY (source, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX seen_accepted ON seen (accepted);

    -- The version of each object that was last accepted.
    CREATE TABLE sighting (
        bucket TEXT NOT NULL,
        key TEXT NOT NULL,
        etag TEXT NOT NULL,
        PRIMARY KEY (bucket, key)
    ) STRICT, WITHOUT ROWID;
";

/// Opens the store, makes its tables where it is new, and migrates them where it is old.
pub(super) fn open(path: &Path) -> Result<Connection, QueueError> {
    let connection = Connection::open(path).map_err(|error| failed(&error))?;
    set_up(&connection).map_err(|error| failed(&error))?;
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| failed(&error))?;
    match version {
        VERSION => {}
        0 => connection
            .execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            ))
            .map_err(|error| failed(&error))?,
        newer => {
            return Err(QueueError::Failed {
                reason: format!(
                    "{} has version {newer}, which a newer Kinglet wrote; this one knows \
                     {VERSION}: run that one",
                    path.display()
                ),
            });
        }
    }
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // One process, one connection: no locks between commits, and no shared-memory file.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The log is overwritten in place: a file that doesn't grow is cheaper to sync.
    connection.pragma_update(None, "journal_size_limit", -1)?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// What SQLite's error means for the person who runs the host.
pub(super) fn failed(error: &rusqlite::Error) -> QueueError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly};
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => QueueError::Damaged { reason },
        Some(DiskFull) => QueueError::Failed {
            reason: format!("{reason}; free some space"),
        },
        Some(ReadOnly) => QueueError::Failed {
            reason: format!("{reason}; make its folder writable"),
        },
        _ => QueueError::Failed { reason },
    }
}
