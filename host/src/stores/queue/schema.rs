//! The store's file: how it is opened, its tables, their version, and the way from older ones.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use rusqlite::{Connection, params};

use super::record::decode;
use crate::files::{self, FileError};
use crate::ports::{DeadLetter, QueueError};

/// Goes up with every change of the tables; an older store is migrated, a newer one refused.
const VERSION: i64 = 4;

/// The log is taken into the store's file once it has so many pages.
pub(super) const LOG_PAGES: i64 = 4_000;
/// What a page of 4 KiB takes in the log, with room for the last commit before it is used anew.
const LOG_BYTES: u64 = (LOG_PAGES as u64 + 200) * (4_096 + 24);

const TABLES: &str = "
    CREATE TABLE delivery (
        seq INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        -- Null while it waits behind another of its lane; `later` has it then.
        due INTEGER,
        later INTEGER,
        -- The ordering key, where order counts.
        lane TEXT,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX delivery_due ON delivery (function, due, seq);
    CREATE INDEX delivery_lane ON delivery (function, lane, seq) WHERE lane IS NOT NULL;

    CREATE TABLE dead (
        seq INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        time INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX dead_function ON dead (function, seq);
    CREATE INDEX dead_time ON dead (time);

    -- What the store holds for each function, kept by the triggers below: counting ten million rows would
    -- hold up everybody.
    CREATE TABLE tally (
        function TEXT PRIMARY KEY,
        pending INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        paused INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER delivery_comes AFTER INSERT ON delivery BEGIN
        INSERT INTO tally (function, pending, bytes) VALUES (new.function, 1, length(new.record))
        ON CONFLICT DO UPDATE SET pending = pending + 1, bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER delivery_grows AFTER UPDATE OF record ON delivery BEGIN
        UPDATE tally SET bytes = bytes - length(old.record) + length(new.record)
        WHERE function = new.function;
    END;
    CREATE TRIGGER delivery_goes AFTER DELETE ON delivery BEGIN
        UPDATE tally SET pending = pending - 1, bytes = bytes - length(old.record)
        WHERE function = old.function;
    END;
    CREATE TRIGGER dead_comes AFTER INSERT ON dead BEGIN
        INSERT INTO tally (function, dead) VALUES (new.function, 1)
        ON CONFLICT DO UPDATE SET dead = dead + 1;
    END;
    CREATE TRIGGER dead_goes AFTER DELETE ON dead BEGIN
        UPDATE tally SET dead = dead - 1 WHERE function = old.function;
    END;

    -- Deliveries that can't be read: kept for whoever mends them.
    CREATE TABLE damaged (
        seq INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        lane TEXT,
        record BLOB NOT NULL
    ) STRICT;

    -- Decided and not yet applied.
    CREATE TABLE intent (
        seq INTEGER PRIMARY KEY,
        record BLOB NOT NULL
    ) STRICT;

    -- Ids that sources gave, to recognise duplicates by; of long ones the digest, which stands
    -- without a source.
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

    -- Keyvalue buckets.
    CREATE TABLE value (
        bucket TEXT NOT NULL,
        key TEXT NOT NULL,
        revision INTEGER NOT NULL,
        bytes BLOB NOT NULL,
        PRIMARY KEY (bucket, key)
    ) STRICT, WITHOUT ROWID;

    -- Single figures: `time`, when the store last looked at the clock; `answers` and `seen`, what
    -- those take.
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Came with version 3.
const ANSWERS: &str = "
    -- Answers to requests that had a key, for those who send them again.
    CREATE TABLE answer (
        key BLOB NOT NULL UNIQUE,
        time INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX answer_time ON answer (time);
    INSERT OR REPLACE INTO meta (name, value) VALUES ('answers', 0);
    CREATE TRIGGER answer_comes AFTER INSERT ON answer BEGIN
        UPDATE meta SET value = value + length(new.record) WHERE name = 'answers';
    END;
    CREATE TRIGGER answer_goes AFTER DELETE ON answer BEGIN
        UPDATE meta SET value = value - length(old.record) WHERE name = 'answers';
    END;
";

/// Came with version 4.
const FOLLOWERS: &str = "
    -- Events that follow from an intent that has many: written in steps before it is decided, and
    -- accepted in steps after it is applied. Without their intent they are of a decision that
    -- wasn't made.
    CREATE TABLE follower (
        number INTEGER PRIMARY KEY,
        intent INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX follower_intent ON follower (intent, number);
";

/// What an id that is remembered takes beside its texts, in two indexes, in bytes.
pub(super) const SEEN_ROW: usize = 64;
/// The longest source and id that are remembered as they are, together, in bytes.
const REMEMBERED: usize = 128;

/// Returns the source and the id under which an event is remembered: where they are long, no source
/// and a digest of both. No event has an empty source.
pub(super) fn remembered<'a>(source: &'a str, id: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
    if source.len() + id.len() <= REMEMBERED {
        return (source.into(), id.into());
    }
    let mut hasher = blake3::Hasher::new();
    // Its length tells where the source ends.
    hasher.update(&(source.len() as u64).to_le_bytes());
    hasher.update(source.as_bytes());
    hasher.update(id.as_bytes());
    ("".into(), hasher.finalize().to_hex().to_string().into())
}

/// Counts what is remembered, also of what was there before version 4.
fn count_seen() -> String {
    // Figures that were damaged mustn't keep rows from being removed.
    let row = |row: &str| {
        format!("coalesce(octet_length({row}.source) + octet_length({row}.id), 0) + {SEEN_ROW}")
    };
    format!(
        "INSERT OR REPLACE INTO meta (name, value)
            SELECT 'seen', coalesce(sum({}), 0) FROM seen;
         CREATE TRIGGER seen_comes AFTER INSERT ON seen BEGIN
            UPDATE meta SET value = value + {} WHERE name = 'seen';
         END;
         CREATE TRIGGER seen_goes AFTER DELETE ON seen BEGIN
            UPDATE meta SET value = value - ({}) WHERE name = 'seen';
         END;",
        row("seen"),
        row("new"),
        row("old")
    )
}

/// Opens the store, makes its tables where it is new, and migrates them where it is old.
pub(super) fn open(path: &Path) -> Result<Connection, QueueError> {
    check_files(path)?;
    let connection = Connection::open(path).map_err(|error| failed(&error))?;
    set_up(&connection).map_err(|error| failed(&error))?;
    match version(&connection)? {
        VERSION => {}
        0 => connection
            .execute_batch(&format!(
                "BEGIN; {TABLES} {ANSWERS} {FOLLOWERS} {} PRAGMA user_version = {VERSION}; COMMIT;",
                count_seen()
            ))
            .map_err(|error| failed(&error))?,
        1 => migrate_from_1(&connection)?,
        2 => migrate_to_4(&connection, ANSWERS)?,
        3 => migrate_to_4(&connection, "")?,
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
    sync_names(path)?;
    Ok(connection)
}

/// Refuses a store or a log that is no regular file: SQLite would wait for a pipe's other end.
fn check_files(path: &Path) -> Result<(), QueueError> {
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        match files::open(Path::new(&file)) {
            // Closed again at once, before SQLite has locks that this would end.
            Ok(_) => {}
            Err(error @ FileError::NotRegular { .. }) => {
                return Err(QueueError::Failed {
                    reason: format!("{error}; or move it away"),
                });
            }
            // SQLite's own words are as good.
            Err(_) => {}
        }
    }
    Ok(())
}

/// The log is there by now, and is worth what its name is. SQLite syncs the folder as well, and takes a sync
/// that failed for a good one (`unixSync` ignores its result): what was committed until the next start would be
/// lost with the power.
fn sync_names(path: &Path) -> Result<(), QueueError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| QueueError::Failed {
        reason: format!("can't sync folder {}: {error}", folder.display()),
    })
}

/// Whether a file has tables of ours, of whatever version.
pub(super) fn is_store(path: &Path) -> Result<bool, QueueError> {
    let connection = Connection::open(path).map_err(|error| failed(&error))?;
    Ok(version(&connection)? > 0)
}

fn version(connection: &Connection) -> Result<i64, QueueError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| failed(&error))
}

/// All or nothing: a host that is killed here finds the old store.
fn migrate_from_1(connection: &Connection) -> Result<(), QueueError> {
    let batch = |sql: &str| {
        connection
            .execute_batch(sql)
            .map_err(|error| failed(&error))
    };
    batch(
        "BEGIN IMMEDIATE;
         ALTER TABLE delivery RENAME TO delivery_1;
         ALTER TABLE dead RENAME TO dead_1;
         ALTER TABLE intent RENAME TO intent_1;
         ALTER TABLE seen RENAME TO seen_1;
         ALTER TABLE sighting RENAME TO sighting_1;
         DROP INDEX delivery_due; DROP INDEX dead_function; DROP INDEX seen_accepted;",
    )?;
    let moved = batch(TABLES)
        .and_then(|()| batch(ANSWERS))
        .and_then(|()| batch(FOLLOWERS))
        .and_then(|()| {
            batch(
                "INSERT INTO delivery (seq, function, due, record)
                    SELECT seq, coalesce(CAST(function AS TEXT), ''), CAST(due AS INTEGER),
                        coalesce(CAST(record AS BLOB), x'') FROM delivery_1;
                 INSERT INTO intent SELECT seq, coalesce(CAST(record AS BLOB), x'') FROM intent_1;
                 INSERT INTO seen SELECT source, id, accepted FROM seen_1;
                 INSERT INTO sighting SELECT bucket, key, etag FROM sighting_1;",
            )
        })
        .and_then(|()| migrate_dead_from_1(connection))
        .and_then(|()| shorten_seen(connection))
        .and_then(|()| {
            batch(&format!(
                "DROP TABLE delivery_1; DROP TABLE dead_1; DROP TABLE intent_1; DROP TABLE seen_1;
                 DROP TABLE sighting_1; PRAGMA user_version = {VERSION}; COMMIT;"
            ))
        });
    moved.inspect_err(|_| {
        // The error that came first is the one to tell.
        let _ = batch("ROLLBACK");
    })
}

/// Adds what came with version 4, and `missing`, what came between.
fn migrate_to_4(connection: &Connection, missing: &str) -> Result<(), QueueError> {
    let batch = |sql: &str| {
        connection
            .execute_batch(sql)
            .map_err(|error| failed(&error))
    };
    batch("BEGIN IMMEDIATE;")?;
    let moved = batch(missing)
        .and_then(|()| batch(FOLLOWERS))
        .and_then(|()| shorten_seen(connection))
        .and_then(|()| batch(&format!("PRAGMA user_version = {VERSION}; COMMIT;")));
    moved.inspect_err(|_| {
        // The error that came first is the one to tell.
        let _ = batch("ROLLBACK");
    })
}

/// Puts digests in the place of long ids, and counts what is remembered from now on.
fn shorten_seen(connection: &Connection) -> Result<(), QueueError> {
    let error = |error: rusqlite::Error| failed(&error);
    let mut long = connection
        .prepare("SELECT source, id FROM seen WHERE octet_length(source) + octet_length(id) > ?1")
        .map_err(error)?;
    let long: Vec<(String, String)> = long
        .query_map([REMEMBERED as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(error)?;
    for (source, id) in &long {
        let (none, digest) = remembered(source, id);
        connection
            .execute(
                "UPDATE OR REPLACE seen SET source = ?3, id = ?4 WHERE source = ?1 AND id = ?2",
                params![source, id, none, digest],
            )
            .map_err(error)?;
    }
    connection.execute_batch(&count_seen()).map_err(error)
}

/// The time of death was in the record alone.
fn migrate_dead_from_1(connection: &Connection) -> Result<(), QueueError> {
    let error = |error: rusqlite::Error| failed(&error);
    let mut letters = connection
        .prepare("SELECT seq, coalesce(CAST(record AS BLOB), x'') FROM dead_1")
        .map_err(error)?;
    let mut rows = letters.query([]).map_err(error)?;
    while let Some(row) = rows.next().map_err(error)? {
        let (seq, record): (i64, Vec<u8>) =
            (row.get(0).map_err(error)?, row.get(1).map_err(error)?);
        let letter: DeadLetter = match decode(&format!("dead letter {seq}"), &record) {
            Ok(letter) => letter,
            Err(unreadable) => {
                tracing::error!("a dead letter is set aside: {unreadable}");
                let sql = "INSERT INTO damaged (seq, function, record)
                    SELECT seq, coalesce(CAST(function AS TEXT), ''), ?2 FROM dead_1 WHERE seq = ?1";
                connection
                    .execute(sql, params![seq, record])
                    .map_err(error)?;
                continue;
            }
        };
        let time = i64::try_from(letter.time).unwrap_or(i64::MAX);
        connection
            .execute(
                "INSERT INTO dead (seq, function, time, record) VALUES (?1, ?2, ?3, ?4)",
                params![seq, letter.delivery.function, time, record],
            )
            .map_err(error)?;
    }
    Ok(())
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // One process, one connection: no locks between commits, and no shared-memory file.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The log is overwritten in place: a file that doesn't grow is cheaper to sync.
    connection.pragma_update(None, "journal_size_limit", -1)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Adds zeros to the log, which SQLite takes for the end of what is written. Nobody may write it meanwhile.
pub(super) fn lengthen_log(path: &Path) -> Result<(), QueueError> {
    let lengthen = || -> std::io::Result<()> {
        let mut log = File::options().append(true).open(path)?;
        let length = log.metadata()?.len();
        // In pages: written in large pieces it would be cached in such, and each commit be taken for a large
        // write.
        let zeros = [0; 4_096];
        let mut missing = LOG_BYTES.saturating_sub(length);
        while missing > 0 {
            let some = missing.min(zeros.len() as u64);
            let chunk = zeros
                .get(..usize::try_from(some).unwrap_or(0))
                .unwrap_or(&zeros);
            if let Err(error) = log.write_all(chunk) {
                // A full disk needs the room for other things.
                log.set_len(length)?;
                return Err(error);
            }
            missing -= some;
        }
        log.sync_all()
    };
    lengthen().map_err(|error| QueueError::Failed {
        reason: format!("can't lengthen {}: {error}", path.display()),
    })
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
