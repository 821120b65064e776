//! Functions of SQL in place of SQLite's own, whose time grows with the product of what they are given: two values of
//! 1 MiB take SQLite's `trim` half an hour, in one step that nothing interrupts.

use std::borrow::Cow;
use std::collections::HashSet;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};

/// Puts them in place, under the names and with the results of SQLite's.
pub fn add(connection: &Connection) -> Result<()> {
    // Indexes and checks have them too.
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, left, right) in [
        ("trim", true, true),
        ("ltrim", true, false),
        ("rtrim", false, true),
    ] {
        connection.create_scalar_function(name, 2, flags, move |context| {
            let Some((text, others)) = texts(context)? else {
                return Ok(None);
            };
            let others: HashSet<char> = others.chars().collect();
            let goes = |c: char| others.contains(&c);
            let mut kept = text.as_ref();
            if left {
                kept = kept.trim_start_matches(goes);
            }
            if right {
                kept = kept.trim_end_matches(goes);
            }
            Ok(Some(kept.to_owned()))
        })?;
    }
    connection.create_scalar_function("unhex", 2, flags, |context| {
        Ok(texts(context)?.and_then(|(text, between)| unhex(&text, &between)))
    })
}

/// Both arguments as texts; none where one is null.
fn texts<'a>(context: &'a Context<'_>) -> Result<Option<(Cow<'a, str>, Cow<'a, str>)>> {
    Ok(text(context.get_raw(0))?.zip(text(context.get_raw(1))?))
}

fn text(value: ValueRef<'_>) -> Result<Option<Cow<'_, str>>> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(Cow::Owned(number.to_string()))),
        // How SQLite writes it is its own.
        ValueRef::Real(_) => Err(Error::UserFunctionError(
            "a real number isn't trimmed; CAST it to TEXT".into(),
        )),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Ok(Some(Cow::Borrowed(std::str::from_utf8(bytes)?)))
        }
    }
}

/// The bytes of pairs of hexadecimal digits; between the pairs there may be other characters, if they are of those.
fn unhex(text: &str, between: &str) -> Option<Vec<u8>> {
    let between: HashSet<char> = between.chars().collect();
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = text.chars();
    while let Some(first) = characters.next() {
        match first.to_digit(16) {
            Some(high) => {
                let low = characters.next()?.to_digit(16)?;
                bytes.push(u8::try_from(high << 4 | low).ok()?);
            }
            None if between.contains(&first) => {}
            None => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_give_what_sqlites_own_give() {
        assert!(super::super::memory::count());
        let (own, ours) = (
            Connection::open_in_memory().unwrap(),
            Connection::open_in_memory().unwrap(),
        );
        add(&ours).unwrap();
        let values = [
            "NULL",
            "''",
            "'a'",
            "'aab baa'",
            "'Öl Ö'",
            "'Ö'",
            "' '",
            "-717",
            "x'61'",
            "'4a4B'",
            "'4a-4B'",
            "'-4a--4B-'",
            "'4-a'",
            "'4'",
            "'-'",
            "'7-'",
        ];
        for name in ["trim", "ltrim", "rtrim", "unhex"] {
            for (one, other) in values
                .iter()
                .flat_map(|one| values.map(|other| (*one, other)))
            {
                let sql = format!("SELECT quote({name}({one}, {other}))");
                let of = |connection: &Connection| -> String {
                    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
                };
                assert_eq!(of(&ours), of(&own), "{sql}");
            }
        }
        // Without another argument it is SQLite's.
        let trimmed: String = ours
            .query_row("SELECT trim(' a ')", [], |row| row.get(0))
            .unwrap();
        assert_eq!(trimmed, "a");
    }

    #[test]
    fn large_values_take_no_time() {
        assert!(super::super::memory::count());
        let ours = Connection::open_in_memory().unwrap();
        add(&ours).unwrap();
        for name in ["trim", "rtrim"] {
            let sql = format!(
                "SELECT length({name}(printf('%.*c', 500000, 'a'), printf('%.*c', 500000, 'b') || 'a'))"
            );
            let left: i64 = ours.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(left, 0);
        }
    }
}
