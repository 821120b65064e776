//! What a guest's statements may do: a connection reaches its own database and nothing else of the machine.

use rusqlite::hooks::{AuthAction, AuthContext};
use rusqlite::limits::Limit;
use rusqlite::{Connection, config::DbConfig};

/// What a text, a blob or a stored row may have, in bytes. Some of SQLite's functions take a time that grows with the
/// square of it, and can't be interrupted: `instr` some seconds.
pub const VALUE_BYTES: i32 = 1 << 20;

/// Pragmas that only read, or change what is the connection's or the application's own. `database_list` isn't one: it
/// tells the file's path.
const PRAGMAS: [&str; 24] = [
    "application_id",
    "case_sensitive_like",
    "collation_list",
    "compile_options",
    "data_version",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "optimize",
    "page_count",
    "pragma_list",
    "quick_check",
    "recursive_triggers",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// The same where they are given no value.
const ONLY_READ: [&str; 6] = [
    "auto_vacuum",
    "encoding",
    "journal_mode",
    "max_page_count",
    "page_size",
    "synchronous",
];

/// Modules of virtual tables, of which there are more; those that aren't listed are seldom used, and less looked at.
const MODULES: [&str; 4] = ["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// Why something isn't allowed, in words that end a sentence; none where it is.
pub fn refusal(context: &AuthContext<'_>) -> Option<String> {
    let listed = |list: &[&str], name: &str| list.iter().any(|one| one.eq_ignore_ascii_case(name));
    match context.action {
        // `VACUUM` attaches a database of its own.
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some(
            "ATTACH, DETACH and VACUUM aren't allowed: a connection has one database".to_owned(),
        ),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let same = pragma_name.eq_ignore_ascii_case("journal_mode")
                && pragma_value.is_some_and(|value| value.eq_ignore_ascii_case("wal"));
            let read = pragma_value.is_none() && listed(&ONLY_READ, pragma_name);
            let allowed = same || read || listed(&PRAGMAS, pragma_name);
            (!allowed).then(|| format!("PRAGMA {pragma_name} isn't allowed here"))
        }
        AuthAction::CreateVtable { module_name, .. } => {
            (!listed(&MODULES, module_name)).then(|| {
                format!(
                    "virtual tables of {module_name} aren't allowed; there are {}",
                    MODULES.join(", ")
                )
            })
        }
        AuthAction::Function { function_name } => {
            let outside = ["load_extension", "fts3_tokenizer"];
            listed(&outside, function_name)
                .then(|| format!("the function {function_name} isn't allowed"))
        }
        AuthAction::Unknown { code, .. } => Some(format!("action {code} isn't allowed")),
        _ => None,
    }
}

/// Bounds that hold for every statement.
pub fn limit(connection: &Connection) -> rusqlite::Result<()> {
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 256 << 10),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_PARSER_DEPTH, 1_000),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 32_766),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 32),
        // Threads that would take memory beside the connection's own.
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    // The tables by which SQLite knows a database, and those of its modules, are written by itself alone.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(())
}
