//! Statements of SQL as a request's body has them: a list, of which each is a text, or a list of one and its parameters.
//! What came of each is the answer.

use serde_json::{Value as Json, json};
use spin_sdk::sqlite::wit::sqlite::Connection as Plain;
use spin_sdk::sqlite::{Connection, Error, RowResult, Value};

/// By the asynchronous functions, which the SDK has.
pub async fn execute(database: &str, body: &[u8]) -> anyhow::Result<String> {
    let connection = match Connection::open(database).await {
        Ok(connection) => connection,
        Err(error) => return Ok(failed(&error).to_string()),
    };
    let mut answers = Vec::new();
    for (sql, parameters) in statements(body)? {
        let mut executed = match connection.execute(sql, parameters).await {
            Ok(executed) => executed,
            Err(error) => {
                answers.push(failed(&error));
                continue;
            }
        };
        let columns = executed.columns().to_vec();
        let mut rows = Vec::new();
        while let Some(row) = executed.next().await {
            rows.push(row);
        }
        answers.push(match executed.result().await {
            Ok(()) => json!({
                "columns": columns,
                "rows": listed(rows),
                "last": connection.last_insert_rowid().await,
                "changes": connection.changes().await,
            }),
            Err(error) => failed(&error),
        });
    }
    Ok(Json::from(answers).to_string())
}

/// By the plain functions.
pub fn execute_plainly(database: &str, body: &[u8]) -> anyhow::Result<String> {
    let connection = match Plain::open(database) {
        Ok(connection) => connection,
        Err(error) => return Ok(failed(&error).to_string()),
    };
    let mut answers = Vec::new();
    for (sql, parameters) in statements(body)? {
        answers.push(match connection.execute(&sql, &parameters) {
            Ok(result) => json!({
                "columns": result.columns,
                "rows": listed(result.rows),
                "last": connection.last_insert_rowid(),
                "changes": connection.changes(),
            }),
            Err(error) => failed(&error),
        });
    }
    Ok(Json::from(answers).to_string())
}

/// Has each done, and reads neither rows nor how it ends.
pub async fn begin(database: &str, body: &[u8]) -> anyhow::Result<String> {
    let connection = Connection::open(database).await?;
    for (sql, parameters) in statements(body)? {
        connection.execute(sql, parameters).await?;
    }
    Ok("begun".to_owned())
}

/// Waits for how a statement ends before it reads the rows, of which it reads none.
pub async fn ends(database: &str, body: &[u8]) -> anyhow::Result<String> {
    let connection = Connection::open(database).await?;
    let mut told = Vec::new();
    for (sql, parameters) in statements(body)? {
        let executed = connection.execute(sql, parameters).await?;
        told.push(format!("{:?}", executed.result().await));
    }
    Ok(told.join(" "))
}

/// Reads the first row of each statement, and stops.
pub async fn first(database: &str, body: &[u8]) -> anyhow::Result<String> {
    let connection = Connection::open(database).await?;
    let mut rows = Vec::new();
    for (sql, parameters) in statements(body)? {
        let mut executed = connection.execute(sql, parameters).await?;
        rows.extend(executed.next().await);
    }
    Ok(listed(rows).to_string())
}

/// Opens so many connections at once.
pub async fn connections(count: usize) -> String {
    let mut open = Vec::new();
    for _ in 0..count {
        match Connection::open_default().await {
            Ok(connection) => open.push(connection),
            Err(error) => return format!("{} {error:?}", open.len()),
        }
    }
    format!("all {count}")
}

fn statements(body: &[u8]) -> anyhow::Result<Vec<(String, Vec<Value>)>> {
    let statements: Vec<Json> = serde_json::from_slice(body)?;
    let statement = |json: Json| match json {
        Json::String(sql) => Ok((sql, Vec::new())),
        Json::Array(parts) => {
            let mut parts = parts.into_iter();
            let sql = parts.next();
            let sql = sql.as_ref().and_then(Json::as_str);
            let sql = sql.ok_or_else(|| anyhow::anyhow!("a statement is missing"))?;
            Ok((sql.to_owned(), parts.map(value).collect()))
        }
        other => anyhow::bail!("{other} is no statement"),
    };
    statements.into_iter().map(statement).collect()
}

/// A list is a blob.
fn value(json: Json) -> Value {
    match json {
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Real(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::Array(bytes) => {
            let byte = |json: &Json| json.as_u64().and_then(|byte| u8::try_from(byte).ok());
            Value::Blob(bytes.iter().filter_map(byte).collect())
        }
        Json::Bool(_) | Json::Object(_) | Json::Null => Value::Null,
    }
}

fn listed(rows: Vec<RowResult>) -> Json {
    let cell = |value: Value| match value {
        Value::Integer(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!(bytes),
        Value::Null => Json::Null,
    };
    let rows = rows.into_iter();
    rows.map(|row| row.values.into_iter().map(cell).collect::<Json>())
        .collect()
}

fn failed(error: &Error) -> Json {
    json!({ "error": format!("{error:?}") })
}
