//! SQL databases of functions made for Spin.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{App, guest};
use crate::host::{Host, text};
use crate::http::{expect, get, up};
use crate::spin::whole;

/// A function made with Spin's SDK that may use the database `default`, and a neighbour.
fn probe(limits: &str) -> App {
    App::new(&format!(
        r#"
        [sqlite.default]
        max-bytes = "2MiB"
        [[function]]
        name = "probe"
        component = "guest:spin-probe"
        on = {{ http = "/..." }}
        limits = {{ {limits} }}
        grants = {{ sqlite = ["default"] }}
        [[function]]
        name = "hello"
        component = "guest:hello-http"
        on = {{ http = "/hello" }}
        "#
    ))
}

/// What came of statements, by this path of the guest's.
fn at(host: &Host, path: &str, statements: &Value) -> Value {
    let (status, said) = whole(host, &format!("POST {path}"), &statements.to_string());
    assert_eq!(status, "200", "{path}: {said}");
    serde_json::from_str(&said).unwrap_or(Value::String(said))
}

fn sql(host: &Host, statements: Value) -> Value {
    at(host, "/sql/default", &statements)
}

/// The first value of the only row of one statement.
fn one(host: &Host, statement: &str) -> Value {
    sql(host, json!([statement]))[0]["rows"][0][0].clone()
}

const ENDLESS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c";
const ENDLESS_ROWS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c";

#[test]
fn a_function_keeps_rows_with_spins_sqlite() {
    let app = probe("");
    let host = up(&app);
    for (path, table) in [("/sql/default", "one"), ("/plain-sql/default", "two")] {
        let said = at(
            &host,
            path,
            &json!([
                format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, v)"),
                [format!("INSERT INTO {table} (v) VALUES (?)"), "a text"],
                [
                    format!("INSERT INTO {table} (v) VALUES (?), (?), (?), (?)"),
                    -7,
                    0.5,
                    [0, 255],
                    null
                ],
                [
                    format!("SELECT id, v AS value FROM {table} WHERE id > ? ORDER BY id"),
                    0
                ],
                [
                    format!("UPDATE {table} SET v = NULL WHERE id IN (?, ?)"),
                    1,
                    2
                ],
                [
                    format!("INSERT INTO {table} (v) VALUES (?) RETURNING id, v"),
                    "b"
                ],
                format!("SELECT no FROM {table}"),
                ["SELECT ?"],
                "SELECT 1; SELECT 2",
                "SELECT 1 WHERE false",
            ]),
        );
        assert_eq!(said[0]["rows"], json!([]), "{said:#}");
        assert_eq!(
            (&said[1]["last"], &said[1]["changes"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(
            (&said[2]["last"], &said[2]["changes"]),
            (&json!(5), &json!(4))
        );
        assert_eq!(said[3]["columns"], json!(["id", "value"]));
        let rows = json!([[1, "a text"], [2, -7], [3, 0.5], [4, [0, 255]], [5, null]]);
        assert_eq!(said[3]["rows"], rows);
        assert_eq!(said[4]["changes"], 2);
        assert_eq!(said[5]["rows"], json!([[6, "b"]]));
        for (place, words) in [
            (6, "no such column: no"),
            (7, "parameter"),
            (8, "more than one"),
        ] {
            let error = text(&said[place], "error");
            assert!(
                error.starts_with("Error::Io(") && error.contains(words),
                "{error}"
            );
        }
        assert_eq!(
            (&said[9]["columns"], &said[9]["rows"]),
            (&json!(["1"]), &json!([]))
        );
    }
    host.stop();
}

/// More than the host holds for a reader at once, or the guest could have.
#[test]
fn rows_come_as_they_are_read() {
    let app = probe(r#"memory = "16MiB", host-calls = "256MiB""#);
    let mut host = up(&app);
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) SELECT x FROM c";
    let said = sql(&host, json!([many]));
    let rows = said[0]["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[19_999][0]), (20_000, &json!(20_000)));
    // No reader, and one that goes after the first row.
    assert_eq!(
        at(&host, "/first-sql/default", &json!([ENDLESS_ROWS])),
        json!([[1]])
    );
    assert_eq!(
        at(&host, "/end-sql/default", &json!(["SELECT 1", "SELEC"]))
            .as_str()
            .map(|said| said.starts_with("Ok(()) Err(Error::Io(")),
        Some(true)
    );
    // Who isn't waited for has done its work all the same.
    let begun = json!([
        "CREATE TABLE t (v)",
        "INSERT INTO t VALUES (1), (2) RETURNING v"
    ]);
    assert_eq!(at(&host, "/begin-sql/default", &begun), "begun");
    assert_eq!(one(&host, "SELECT count(*) FROM t"), 2);
    // All rows at once have to have room.
    let large = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000) SELECT zeroblob(100000) FROM c";
    let said = at(&host, "/plain-sql/default", &json!([large]));
    let error = text(&said[0], "error");
    assert!(error.contains("limits.memory"), "{error}");
    let moved = get(&host, "/hello");
    assert!(moved.starts_with("HTTP/1.1 200"), "{moved}");
    let flooding = json!(vec![large; 4]);
    let (status, _) = whole(&host, "POST /sql/default", &flooding.to_string());
    assert_eq!(status, "500");
    let told = host.until(|record| record["outcome"] == "limit");
    assert!(
        ["memory", "host-calls"].contains(&text(&told, "of")),
        "{told}"
    );
    host.stop();
}

#[test]
fn a_database_that_isnt_granted_is_denied() {
    let app = probe("");
    let host = up(&app);
    for path in [
        "/sql/other",
        "/plain-sql/other",
        "/sql/..%2fdefault",
        "/sql/:memory:",
    ] {
        let said = at(&host, path, &json!(["SELECT 1"]));
        assert_eq!(said, json!({ "error": "Error::AccessDenied" }), "{path}");
    }
    let said = get(&host, "/connections/100");
    assert!(
        said.contains("8 Error::Io(\"too many connections"),
        "{said}"
    );
    host.stop();
}

#[test]
fn a_statement_reaches_nothing_but_its_database() {
    let app = probe("");
    let host = up(&app);
    let events = app.path(".kinglet/events.sqlite");
    let events = events.display();
    for statement in [
        format!("ATTACH '{events}' AS events"),
        "ATTACH ':memory:' AS m".to_owned(),
        "DETACH main".to_owned(),
        "VACUUM".to_owned(),
        format!("VACUUM INTO '{events}.stolen'"),
        format!("SELECT load_extension('{events}')"),
        "PRAGMA writable_schema = 1".to_owned(),
        "PRAGMA journal_mode = OFF".to_owned(),
        "PRAGMA database_list".to_owned(),
        "PRAGMA temp_store_directory = '/'".to_owned(),
    ] {
        for path in ["/sql/default", "/plain-sql/default"] {
            let said = at(&host, path, &json!([statement]));
            let error = text(&said[0], "error");
            assert!(error.contains("not authorized: "), "{statement}: {error}");
            assert!(error.contains("allowed"), "{statement}: {error}");
        }
    }
    host.stop();
}

#[test]
fn what_is_committed_stays_over_restarts_and_kills() {
    let app = probe("");
    let host = up(&app);
    sql(
        &host,
        json!(["CREATE TABLE t (v)", "INSERT INTO t VALUES (1)"]),
    );
    host.kill();
    let host = up(&app);
    // A transaction that its instance leaves open never was.
    let left = json!([
        "INSERT INTO t VALUES (2)",
        "BEGIN",
        "INSERT INTO t VALUES (3)"
    ]);
    sql(&host, left);
    let list = "SELECT group_concat(v, ' ') FROM t";
    assert_eq!(one(&host, list), "1 2");
    host.stop();
    assert!(app.path(".kinglet/sqlite/default.db").is_file());
    assert!(!app.path(".kinglet/sqlite/default.db-wal").exists());
    let host = up(&app);
    assert_eq!(one(&host, list), "1 2");
    host.stop();
}

/// SQL commits by itself: an answer that has no effects has had these.
#[test]
fn a_statement_without_end_ends_with_its_function() {
    let app = probe(r#"timeout = "1s", concurrency = 4"#);
    let mut host = up(&app);
    sql(&host, json!(["CREATE TABLE t (v)"]));
    let address = crate::http::address(&host);
    let insert = format!("INSERT INTO t {ENDLESS}");
    let endless = ["/sql/default", "/plain-sql/default"].into_iter();
    let endless: Vec<_> = endless
        .flat_map(|path| [(path, json!([ENDLESS])), (path, json!([insert]))])
        .map(|(path, body)| {
            let body = body.to_string();
            let request = format!(
                "POST {path} HTTP/1.0\r\nHost: here\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            thread::spawn(move || crate::http::send_to(address, &request))
        })
        .collect();
    for _ in 0..20 {
        let said = get(&host, "/hello");
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    for said in endless {
        let said = said.join().unwrap();
        assert!(said.contains(" 504 "), "{said}");
    }
    host.until_many(4, |record| record["of"] == "deadline");
    // Nobody writes any more, and nothing was written.
    assert_eq!(one(&host, "SELECT count(*) FROM t"), 0);
    sql(&host, json!(["INSERT INTO t VALUES (1)"]));
    assert_eq!(one(&host, "SELECT count(*) FROM t"), 1);
    host.stop();
}

#[test]
fn a_database_that_is_full_says_so() {
    let app = probe("");
    let host = up(&app);
    sql(&host, json!(["CREATE TABLE t (v)"]));
    let insert = json!(vec!["INSERT INTO t VALUES (zeroblob(500000))"; 10]);
    let said = sql(&host, insert);
    let errors = said
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|said| said["error"].as_str());
    let errors: Vec<_> = errors.collect();
    assert!(errors.len() > 5, "{said}");
    assert!(
        errors.iter().all(|error| *error == "Error::DatabaseFull"),
        "{errors:?}"
    );
    let bytes = fs::metadata(app.path(".kinglet/sqlite/default.db"))
        .unwrap()
        .len();
    assert!(bytes <= 2 << 20, "{bytes}");
    let emptied = sql(&host, json!(["DELETE FROM t", "INSERT INTO t VALUES (1)"]));
    assert_eq!(emptied[1]["changes"], 1);
    host.stop();
}

#[test]
fn instances_write_at_once() {
    let app = probe("");
    let host = up(&app);
    sql(&host, json!(["CREATE TABLE t (v)"]));
    let address = crate::http::address(&host);
    let body = json!(vec!["INSERT INTO t VALUES (1)"; 50]).to_string();
    let request = format!(
        "POST /sql/default HTTP/1.0\r\nHost: here\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let writers = [(); 3].map(|()| {
        let request = request.clone();
        thread::spawn(move || crate::http::send_to(address, &request))
    });
    for said in writers {
        let said = said.join().unwrap();
        assert!(said.contains(" 200 ") && !said.contains("error"), "{said}");
    }
    assert_eq!(one(&host, "SELECT count(*) FROM t"), 150);
    host.stop();
}

#[test]
fn a_spin_toml_has_the_database_default() {
    let app = App::bare();
    let manifest = |database: &str| {
        format!(
            r#"
            spin_manifest_version = 2
            [application]
            name = "notes"
            [[trigger.http]]
            route = "/..."
            component = "probe"
            [component.probe]
            source = "probe.wasm"
            sqlite_databases = ["{database}"]
            "#
        )
    };
    app.put("probe.wasm", fs::read(guest("spin-probe")).unwrap());
    app.put("spin.toml", manifest("notes"));
    let unknown = app.kinglet(&["check", "--from", "spin.toml"]).expect(2);
    unknown.says(&[
        "component.probe.sqlite_databases",
        "\"notes\"",
        "\"default\"",
        "tool.kinglet",
    ]);
    app.put(
        "spin.toml",
        manifest("notes")
            + "[component.probe.tool.kinglet]\nsqlite.notes = { max-bytes = \"1MiB\" }",
    );
    app.kinglet(&["check", "--from", "spin.toml"]).expect(0);
    app.put("spin.toml", manifest("default"));
    let arguments = [
        "up",
        "--from",
        "spin.toml",
        "--json",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut host = Host::start(app.command(&arguments));
    host.said("ready");
    let said = sql(
        &host,
        json!(["CREATE TABLE t (v)", ["INSERT INTO t VALUES (?)", 1]]),
    );
    assert_eq!(said[1]["changes"], 1, "{said}");
    host.stop();
}

/// An invocation keeps nothing, and so it has no databases.
#[test]
fn an_invocation_has_no_databases() {
    let app = App::new(
        r#"
        [[function]]
        name = "older"
        component = "guest:spin-two"
        on = { message = "in" }
        grants = { keyvalue = "default", sqlite = "default" }
        "#,
    );
    let invoked = app
        .kinglet(&["invoke", "older", "--body", "name"])
        .expect(0);
    invoked.says(&["nothing is kept here", "kinglet up"]);
    assert!(!app.path(".kinglet/sqlite").exists());
    let mut host = app.up();
    app.publish("in", "name");
    host.outcomes(1, "older");
    let logs = host.records.iter().filter(|record| record["kind"] == "log");
    let said: Vec<&str> = logs.map(|log| text(log, "text")).collect();
    for expected in [
        "no database: Some(Error::AccessDenied)",
        "INSERT INTO t VALUES (?): Ok(([], []))",
        r#"SELECT v, ? FROM t: Ok((["v", "?"], [RowResult { values: [Value::Text("one"), Value::Real(0.5)] }]))"#,
        "SELECT no FROM t: Err(Error::Io(\"no such column: no",
    ] {
        assert!(
            said.iter().any(|said| said.contains(expected)),
            "{expected} in {said:#?}"
        );
    }
    host.stop();
}

/// What is there for a request that has one connection: a neighbour's have their own.
#[test]
fn what_a_statement_sorts_has_its_bound() {
    let app = probe("");
    let host = up(&app);
    let sorts = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
        SELECT count(*) FROM (SELECT randomblob(1000) AS b FROM c ORDER BY b)";
    let said = sql(&host, json!([sorts, "SELECT 1"]));
    let error = text(&said[0], "error");
    assert!(
        error.contains("out of memory: a connection has 33554432 bytes"),
        "{error}"
    );
    assert_eq!(said[1]["rows"], json!([[1]]));
    expect(&get(&host, "/connections/8"), "200", "all 8");
    host.stop();
}
