//! Dead letters: kept, looked at, made deliveries again, dropped.

use std::collections::BTreeMap;

use rusqlite::params;

use super::deliver::misplaced;
use super::operations::{Operations, Result, rows, signed, unsigned};
use super::record::{decode, encode};
use crate::clock::Timestamp;
use crate::ports::{DeadFilter, DeadLetter, QueueError, STEP};

/// Returns what chooses by a filter, of whose values the parameters are; those of what isn't asked
/// for are null, and the list is JSON. By a function its index is used: others may have a hundred
/// thousand.
fn chosen(filter: &DeadFilter) -> String {
    let or_any = |chosen: bool, condition: &'static str, any: &'static str| {
        if chosen { condition } else { any }
    };
    [
        or_any(filter.function.is_some(), "function = ?1", "?1 IS NULL"),
        or_any(filter.before.is_some(), "time < ?2", "?2 IS NULL"),
        or_any(
            !filter.seqs.is_empty(),
            "seq IN (SELECT value FROM json_each(?3))",
            "?3 IS NULL",
        ),
        "seq < ?4",
    ]
    .join(" AND ")
}

impl Operations {
    pub(super) fn add_dead(&self, letter: &DeadLetter) -> Result<()> {
        self.sql(
            "INSERT INTO dead (seq, function, time, record) VALUES (?1, ?2, ?3, ?4)",
            params![
                signed(letter.delivery.seq),
                letter.delivery.function,
                signed(letter.time),
                encode(letter)?
            ],
        )?;
        Ok(())
    }

    /// Reads one step of those past a number, and tells the last number that it looked at; none at
    /// the end. One that can't be read is set aside, and isn't among them.
    pub fn dead_step(
        &mut self,
        filter: &DeadFilter,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<DeadLetter>, Option<u64>)> {
        let page = self.dead_page(filter, after.map_or(-1, signed), limit.min(STEP))?;
        let last = page.last().map(|(seq, _)| unsigned(*seq));
        let mut letters = Vec::with_capacity(page.len());
        for (seq, record) in page {
            match decode_letter(seq, &record) {
                Ok(letter) => letters.push(letter),
                Err(error) => self.set_dead_aside(seq, &error)?,
            }
        }
        Ok((letters, last))
    }

    /// Reads those that come next, up to `limit` or to as many bytes as one step has.
    fn dead_page(
        &self,
        filter: &DeadFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Vec<u8>)>> {
        let sql = format!(
            "SELECT seq, record FROM dead WHERE {} AND seq > ?5 ORDER BY seq LIMIT ?6",
            chosen(filter)
        );
        let (function, before, seqs, below) = parameters(filter);
        self.step(
            &sql,
            params![function, before, seqs, below, after, rows(limit)],
        )
    }

    /// Keeps what can't be read out of the way of what can.
    fn set_dead_aside(&mut self, seq: i64, error: &QueueError) -> Result<()> {
        tracing::error!("a dead letter is set aside: {error}");
        self.atomically(|store| {
            store.sql(
                "INSERT OR REPLACE INTO damaged (seq, function, record)
                 SELECT seq, coalesce(CAST(function AS TEXT), ''), coalesce(CAST(record AS BLOB), x'')
                 FROM dead WHERE seq = ?1",
                [seq],
            )?;
            store.sql("DELETE FROM dead WHERE seq = ?1", [seq])?;
            Ok(())
        })
    }

    /// They keep the story of their attempts, and get as many new ones as at first.
    pub fn redrive(
        &mut self,
        filter: &DeadFilter,
        limit: usize,
        due: Timestamp,
        step_ms: u64,
    ) -> Result<BTreeMap<String, u64>> {
        let (mut letters, mut last) = self.dead_step(filter, None, limit)?;
        // None of those could be read: the next are looked for.
        while letters.is_empty() && last.is_some() {
            (letters, last) = self.dead_step(filter, last, limit)?;
        }
        self.atomically(|store| {
            let mut redriven = BTreeMap::new();
            for (number, letter) in (0_u64..).zip(letters) {
                let mut delivery = letter.delivery;
                store.sql("DELETE FROM dead WHERE seq = ?1", [signed(delivery.seq)])?;
                *redriven.entry(delivery.function.clone()).or_default() += 1;
                delivery.seq = store.take_seq();
                delivery.due = due.saturating_add(step_ms.saturating_mul(number));
                delivery.redriven = Some(delivery.due);
                delivery.failed = 0;
                delivery.cut_off = 0;
                store.add(&delivery)?;
            }
            Ok(redriven)
        })
    }

    pub fn drop_dead(&mut self, filter: &DeadFilter, limit: usize) -> Result<u64> {
        let sql = format!(
            "DELETE FROM dead WHERE seq IN
                (SELECT seq FROM dead WHERE {} ORDER BY seq LIMIT ?5)",
            chosen(filter)
        );
        let (function, before, seqs, below) = parameters(filter);
        let dropped = self.sql(&sql, params![function, before, seqs, below, rows(limit)])?;
        Ok(dropped as u64)
    }
}

/// One in another's row would be redriven and stay: again and again.
fn decode_letter(seq: i64, record: &[u8]) -> Result<DeadLetter> {
    let letter: DeadLetter = decode(&format!("dead letter {seq}"), record)?;
    if signed(letter.delivery.seq) != seq {
        return Err(misplaced("dead letter", seq));
    }
    Ok(letter)
}

fn parameters(filter: &DeadFilter) -> (Option<&str>, Option<i64>, Option<String>, i64) {
    let seqs: Vec<String> = filter.seqs.iter().map(u64::to_string).collect();
    let list = (!seqs.is_empty()).then(|| format!("[{}]", seqs.join(",")));
    let below = filter.below.map_or(i64::MAX, signed);
    (
        filter.function.as_deref(),
        filter.before.map(signed),
        list,
        below,
    )
}
