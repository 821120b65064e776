use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::ports::{Cell, Results, Row};

const MEBIBYTE: u64 = 1 << 20;

struct Fixture {
    databases: Arc<SqliteDatabases>,
    budget: Arc<Budget>,
    dir: tempfile::TempDir,
}

fn databases_of(max_bytes: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let budget = Arc::new(Budget::new(256 * MEBIBYTE));
    let limits = DatabaseLimits {
        max_bytes,
        memory: 8 * MEBIBYTE,
    };
    let folder = dir.path().join("sqlite");
    let named = ["one", "other"].map(|name| (name.to_owned(), limits));
    let databases = SqliteDatabases::new(&folder, named, Arc::clone(&budget));
    Fixture {
        databases: Arc::new(databases),
        budget,
        dir,
    }
}

fn databases() -> Fixture {
    databases_of(64 * MEBIBYTE)
}

impl Fixture {
    async fn connect(&self) -> Arc<dyn Connection> {
        self.databases.connect("one").await.unwrap()
    }

    /// Waits for the threads of connections that are gone.
    async fn settled(&self) {
        self.databases.threads.closed().await;
    }
}

fn statement(sql: &str, parameters: &[Cell]) -> Statement {
    Statement {
        sql: sql.to_owned(),
        parameters: parameters.to_vec(),
    }
}

async fn all(results: Results) -> Result<Vec<Row>, DatabaseError> {
    let Results {
        mut rows, ended, ..
    } = results;
    let mut found = Vec::new();
    while let Some(more) = poll_fn(|task| rows.poll_some(task)).await {
        found.extend(more);
    }
    ended.await.unwrap().map(|()| found)
}

async fn execute(connection: &Arc<dyn Connection>, sql: &str) -> Result<Vec<Row>, DatabaseError> {
    all(connection.execute(statement(sql, &[])).await?).await
}

async fn refused(connection: &Arc<dyn Connection>, sql: &str) -> String {
    match execute(connection, sql).await {
        Err(DatabaseError::Statement(text)) => text,
        other => panic!("{sql}: {other:?}"),
    }
}

/// Has it done, and goes away.
fn begin(connection: &Arc<dyn Connection>, sql: &str) {
    let mut waiting = pin!(connection.execute(statement(sql, &[])));
    let mut task = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut task).is_pending());
}

const ENDLESS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";

#[tokio::test]
async fn values_of_every_type_come_back() {
    let all_of_them = databases();
    let connection = all_of_them.connect().await;
    execute(&connection, "CREATE TABLE t (v)").await.unwrap();
    let values = [
        Cell::Integer(i64::MIN),
        Cell::Real(0.5),
        Cell::Text("ein Öl".to_owned()),
        Cell::Blob(vec![0, 255]),
        Cell::Null,
    ];
    for value in &values {
        let insert = statement("INSERT INTO t VALUES (?)", std::slice::from_ref(value));
        let inserted = connection.execute(insert).await.unwrap();
        assert_eq!(all(inserted).await, Ok(Vec::new()));
    }
    assert_eq!(
        (connection.last_insert_rowid(), connection.changes()),
        (5, 1)
    );
    let found = execute(&connection, "SELECT v FROM t ORDER BY rowid").await;
    assert_eq!(found, Ok(values.map(|value| vec![value]).to_vec()));
    execute(&connection, "UPDATE t SET v = 1 WHERE rowid < 4")
        .await
        .unwrap();
    assert_eq!(connection.changes(), 3);
    for (sql, parameters, said) in [
        ("SELECT ?", vec![], "parameter"),
        ("SELECT 1", vec![Cell::Null], "parameter"),
        (
            "SELEC 1",
            vec![],
            "syntax error (at byte 0 of the statement)",
        ),
        ("SELECT 1; SELECT 2", vec![], "more than one statement"),
        ("SELECT CAST(x'ff' AS TEXT)", vec![], "utf-8"),
    ] {
        let executed = connection.execute(statement(sql, &parameters)).await;
        let error = match executed {
            Ok(results) => all(results).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(said), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_statement_reaches_nothing_but_its_database() {
    let all_of_them = databases();
    let connection = all_of_them.connect().await;
    execute(&connection, "CREATE TABLE t (v)").await.unwrap();
    let other = all_of_them.dir.path().join("stolen");
    let other = other.display();
    for sql in [
        format!("ATTACH '{other}' AS o"),
        "ATTACH '' AS o".to_owned(),
        "ATTACH ':memory:' AS o".to_owned(),
        format!("ATTACH 'file:{other}?mode=rwc' AS o"),
        "DETACH main".to_owned(),
        "VACUUM".to_owned(),
        format!("VACUUM INTO '{other}'"),
        format!("SELECT load_extension('{other}')"),
        "SELECT fts3_tokenizer('simple')".to_owned(),
        "CREATE VIRTUAL TABLE s USING dbstat(main)".to_owned(),
        "CREATE VIRTUAL TABLE s USING fts4(x)".to_owned(),
        "PRAGMA writable_schema = 1".to_owned(),
        "PRAGMA database_list".to_owned(),
        "SELECT * FROM pragma_database_list".to_owned(),
        format!("PRAGMA temp_store_directory = '{other}'"),
        "PRAGMA temp_store = 1".to_owned(),
        "PRAGMA journal_mode = OFF".to_owned(),
        "PRAGMA main.journal_mode = DELETE".to_owned(),
        "PRAGMA synchronous = OFF".to_owned(),
        "PRAGMA locking_mode = EXCLUSIVE".to_owned(),
        "PRAGMA max_page_count = 1000000000".to_owned(),
        "PRAGMA cache_size = -1000000".to_owned(),
        "PRAGMA mmap_size = 1000000000".to_owned(),
        "PRAGMA hard_heap_limit = 1".to_owned(),
        "PRAGMA soft_heap_limit = 1".to_owned(),
        "PRAGMA busy_timeout = 1000000".to_owned(),
        "PRAGMA wal_checkpoint".to_owned(),
        "PRAGMA threads = 8".to_owned(),
    ] {
        let said = refused(&connection, &sql).await;
        assert!(said.contains("allowed"), "{sql}: {said}");
    }
    for sql in [
        "UPDATE sqlite_schema SET sql = ''",
        "DELETE FROM sqlite_schema",
    ] {
        let said = refused(&connection, sql).await;
        assert!(said.contains("may not be modified"), "{sql}: {said}");
    }
    let there: Vec<_> = std::fs::read_dir(all_of_them.dir.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "{there:?}");
    for sql in [
        "PRAGMA user_version = 3",
        "PRAGMA user_version",
        "PRAGMA table_info(t)",
        "SELECT * FROM pragma_table_info('t')",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA journal_mode = WAL",
        "PRAGMA integrity_check",
        "ANALYZE",
        "CREATE VIRTUAL TABLE f USING fts5(x)",
        "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
        "CREATE TEMP TABLE h AS SELECT 1",
        "ALTER TABLE t RENAME TO u",
    ] {
        assert!(execute(&connection, sql).await.is_ok(), "{sql}");
    }
    assert!(matches!(
        all_of_them.databases.connect("../one").await,
        Err(DatabaseError::NoSuchDatabase)
    ));
}

#[tokio::test]
async fn a_statement_takes_no_more_than_its_bounds() {
    let all_of_them = databases();
    let connection = all_of_them.connect().await;
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let long = format!("SELECT '{}'", "x".repeat(300_000));
    for (sql, said) in [
        ("SELECT zeroblob(2000000)", "too big"),
        ("SELECT printf('%2000000d', 1)", "too big"),
        (&deep, "Recursion limit"),
        (&long, "statement too long"),
        (
            "SELECT randomblob(900000), randomblob(900000), randomblob(900000)",
            "fewer columns",
        ),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
             SELECT count(*) FROM (SELECT randomblob(1000) AS b FROM c ORDER BY b)",
            "out of memory: a connection has 8388608 bytes",
        ),
        (
            "CREATE TEMP TABLE t AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
             SELECT randomblob(1000) FROM c",
            "out of memory",
        ),
    ] {
        let error = refused(&connection, sql).await;
        assert!(error.contains(said), "{sql:.60}: {error}");
    }
    // What failed has left nothing behind.
    assert!(execute(&connection, "SELECT 1").await.is_ok());
}

#[tokio::test]
async fn a_database_has_its_size() {
    let all_of_them = databases_of(MEBIBYTE);
    let connection = all_of_them.connect().await;
    execute(&connection, "CREATE TABLE t (v)").await.unwrap();
    let insert = "INSERT INTO t VALUES (randomblob(100000))";
    let mut rows = 0;
    let full = loop {
        match execute(&connection, insert).await {
            Ok(_) => rows += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, DatabaseError::Full);
    assert!((5..=10).contains(&rows), "{rows}");
    execute(&connection, "DELETE FROM t").await.unwrap();
    assert!(
        execute(&connection, insert).await.is_ok(),
        "there is room again"
    );
}

/// Beside a reader that stays, which keeps the log from being emptied, and with a transaction that writes the same pages
/// again and again.
#[tokio::test]
async fn a_log_has_its_size() {
    let all_of_them = databases_of(16 * MEBIBYTE);
    let (reader, writer) = (all_of_them.connect().await, all_of_them.connect().await);
    let fill =
        "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 80)
                SELECT randomblob(100000) FROM c";
    execute(&writer, "CREATE TABLE t (v)").await.unwrap();
    execute(&writer, fill).await.unwrap();
    execute(&reader, "BEGIN").await.unwrap();
    execute(&reader, "SELECT count(*) FROM t").await.unwrap();
    let change = "UPDATE t SET v = randomblob(100000)";
    let mut times = 0;
    while times < 100 && execute(&writer, change).await.is_ok() {
        times += 1;
    }
    assert!((1..20).contains(&times), "{times}");
    assert_eq!(execute(&writer, change).await, Err(DatabaseError::Full));
    let log = all_of_them.dir.path().join("sqlite/one.db-wal");
    let bytes = std::fs::metadata(&log).unwrap().len();
    assert!(bytes < 64 * MEBIBYTE, "{bytes}");
    execute(&reader, "COMMIT").await.unwrap();
    execute(&writer, change).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_ends() {
    let all_of_them = databases();
    let connection = all_of_them.connect().await;
    execute(&connection, "CREATE TABLE t (v)").await.unwrap();
    begin(&connection, ENDLESS);
    // The connection goes on, and a writer's statement is undone.
    assert!(execute(&connection, "SELECT 1").await.is_ok());
    let endless = format!("INSERT INTO t {ENDLESS}");
    begin(&connection, &endless);
    let found = execute(&connection, "SELECT count(*) FROM t").await;
    assert_eq!(found, Ok(vec![vec![Cell::Integer(0)]]));
    // One that has rows ends with their reader.
    let rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";
    let results = connection.execute(statement(rows, &[])).await.unwrap();
    drop(results);
    assert!(execute(&connection, "SELECT 1").await.is_ok());
    drop(connection);
    all_of_them.settled().await;
    assert_eq!(all_of_them.budget.memory().taken, 0);
}

/// As with Spin: who inserts and doesn't read what comes back has inserted.
#[tokio::test]
async fn what_is_inserted_stays_whether_its_rows_are_read_or_not() {
    let all_of_them = databases();
    let connection = all_of_them.connect().await;
    execute(&connection, "CREATE TABLE t (v)").await.unwrap();
    let many = "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000)
                SELECT printf('%0999d', x) FROM c RETURNING v";
    drop(connection.execute(statement(many, &[])).await.unwrap());
    let few = statement("INSERT INTO t VALUES (1) RETURNING v", &[]);
    drop(connection.execute(few).await.unwrap());
    // Another connection sees it at once.
    let other = all_of_them.connect().await;
    let found = execute(&other, "SELECT count(*) FROM t").await;
    assert_eq!(found, Ok(vec![vec![Cell::Integer(1_001)]]));
    let found = execute(&connection, "SELECT count(*) FROM t").await;
    assert_eq!(found, Ok(vec![vec![Cell::Integer(1_001)]]));
}

#[tokio::test]
async fn a_transaction_goes_with_its_connection() {
    let all_of_them = databases();
    let (one, other) = (all_of_them.connect().await, all_of_them.connect().await);
    execute(&one, "CREATE TABLE t (v)").await.unwrap();
    execute(&one, "BEGIN IMMEDIATE").await.unwrap();
    execute(&one, "INSERT INTO t VALUES (1)").await.unwrap();
    drop(one);
    // It waits until the other is rolled back.
    execute(&other, "INSERT INTO t VALUES (2)").await.unwrap();
    let found = execute(&other, "SELECT v FROM t").await;
    assert_eq!(found, Ok(vec![vec![Cell::Integer(2)]]));
}

#[tokio::test]
async fn connections_that_write_at_once_wait_for_each_other() {
    let all_of_them = databases();
    let first = all_of_them.connect().await;
    execute(&first, "CREATE TABLE t (v)").await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let connection = all_of_them.connect().await;
        writers.spawn(async move {
            for at in 0..25 {
                let insert = statement("INSERT INTO t VALUES (?)", &[Cell::Integer(at)]);
                all(connection.execute(insert).await?).await?;
            }
            Ok::<_, DatabaseError>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap().unwrap();
    }
    let found = execute(&first, "SELECT count(*) FROM t").await;
    assert_eq!(found, Ok(vec![vec![Cell::Integer(100)]]));
}

#[tokio::test]
async fn connections_take_of_the_hosts_memory() {
    let all_of_them = databases();
    let mut open = Vec::new();
    let error = loop {
        let name = ["one", "other"][open.len() % 2];
        match all_of_them.databases.connect(name).await {
            Ok(connection) => open.push(connection),
            Err(error) => break error,
        }
    };
    assert_eq!(open.len(), 21, "of 12 MiB each");
    assert!(error.to_string().contains("host.memory"), "{error}");
    drop(open);
    all_of_them.settled().await;
    assert_eq!(all_of_them.budget.memory().taken, 0);
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait() {
    let all_of_them = databases();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(all_of_them.connect().await);
    }
    let mut waiting = pin!(all_of_them.databases.connect("one"));
    let mut task = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut task).is_pending());
    drop(open.pop());
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_close() {
    let all_of_them = databases();
    let connection = all_of_them.connect().await;
    execute(&connection, "CREATE TABLE t (v)").await.unwrap();
    drop(connection);
    all_of_them.databases.close().await;
    let log = all_of_them.dir.path().join("sqlite/one.db-wal");
    assert!(!log.exists(), "it is in the file by now");
    let connection = all_of_them.connect().await;
    assert!(execute(&connection, "SELECT * FROM t").await.is_ok());
    let apart = all_of_them.databases.connect("other").await.unwrap();
    let said = refused(&apart, "SELECT * FROM t").await;
    assert!(said.contains("no such table: t"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_the_hosts_trouble() {
    let all_of_them = databases();
    let folder = all_of_them.dir.path().join("sqlite");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("one.db"),
        "no database at all, by no means".repeat(40),
    )
    .unwrap();
    let error = all_of_them.databases.connect("one").await.err().unwrap();
    assert!(
        matches!(error, DatabaseError::Unavailable { .. }),
        "{error:?}"
    );
    // A link could lead anywhere.
    std::os::unix::fs::symlink(folder.join("one.db"), folder.join("other.db")).unwrap();
    let error = all_of_them.databases.connect("other").await.err().unwrap();
    assert!(
        matches!(error, DatabaseError::Unavailable { .. }),
        "{error:?}"
    );
}
