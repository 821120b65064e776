//! What the store holds, for people.

use rusqlite::params;

use super::operations::{Operations, Result, bytes, rows, signed, text, unsigned};
use super::record::decode;
use crate::clock::Timestamp;
use crate::ports::{COUNTED, Count, Delivery, Listed, Totals, WaitState};

impl Operations {
    pub fn totals(&mut self) -> Result<Totals> {
        let rows = self.rows(
            "SELECT function, pending, bytes, dead FROM tally",
            [],
            |row| {
                let [pending, bytes, dead] = [row.get(1)?, row.get(2)?, row.get(3)?].map(unsigned);
                Ok((text(row, 0)?, pending, bytes, dead))
            },
        )?;
        let mut totals = Totals::default();
        for (function, pending, bytes, dead) in rows {
            // Figures that were damaged may be of any size.
            totals.events = totals.events.saturating_add(pending);
            totals.bytes = totals.bytes.saturating_add(bytes);
            totals.dead.push((function, dead));
        }
        let seen: Option<i64> = self.one("SELECT value FROM meta WHERE name = 'seen'", [])?;
        totals.remembered = seen.map_or(0, unsigned);
        Ok(totals)
    }

    pub fn counts(&mut self, now: Timestamp) -> Result<Vec<Count>> {
        let running = self.leases().by_function();
        let most = self.config.max_dead_letters;
        let mut counts = self.rows(
            "SELECT function, pending, bytes, dead, paused FROM tally ORDER BY function",
            [],
            |row| {
                let dead = unsigned(row.get(3)?);
                Ok(Count {
                    function: text(row, 0)?,
                    pending: unsigned(row.get(1)?),
                    bytes: unsigned(row.get(2)?),
                    dead,
                    paused: row.get::<_, Option<i64>>(4)?.map(unsigned),
                    held: dead >= most,
                    ..Count::default()
                })
            },
        )?;
        for count in &mut counts {
            count.running = running.get(&count.function).copied().unwrap_or(0);
            count.delayed = self.count("due > ?2", &count.function, now)?;
            count.waiting = self.count("due IS NULL AND ?2", &count.function, now)?;
            let oldest: Option<i64> = self.one(
                "SELECT due FROM delivery WHERE function = ?1 AND due <= ?2 ORDER BY due LIMIT 1",
                params![count.function, signed(now)],
            )?;
            count.oldest_due_ms = oldest.map(|due| now.saturating_sub(unsigned(due)));
        }
        Ok(counts)
    }

    fn count(&self, which: &str, function: &str, now: Timestamp) -> Result<u64> {
        let sql = format!(
            "SELECT count(*) FROM
                (SELECT 1 FROM delivery WHERE function = ?1 AND {which} LIMIT {COUNTED})"
        );
        let count: Option<i64> = self.one(&sql, params![function, signed(now)])?;
        Ok(count.map_or(0, unsigned))
    }

    pub fn list(&mut self, function: &str, limit: usize, now: Timestamp) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for which in [
            "due IS NOT NULL ORDER BY due, seq",
            "due IS NULL ORDER BY seq",
        ] {
            let sql = format!(
                "SELECT seq, due, record FROM delivery WHERE function = ?1 AND {which} LIMIT ?2"
            );
            let limit = rows(limit.saturating_sub(listed.len()));
            let found: Vec<(i64, Option<i64>, Vec<u8>)> =
                self.rows(&sql, params![function, limit], |row| {
                    Ok((row.get(0)?, row.get(1).unwrap_or_default(), bytes(row, 2)?))
                })?;
            for (seq, due, record) in found {
                // One that can't be read is set aside when its turn comes.
                if let Ok(delivery) = decode(&format!("delivery {seq}"), &record) {
                    listed.push(self.listed(delivery, due, now));
                }
            }
        }
        Ok(listed)
    }

    fn listed(&self, delivery: Delivery, due: Option<i64>, now: Timestamp) -> Listed {
        let leases = self.leases();
        let state = match due.map(unsigned) {
            _ if leases.has(delivery.seq) => WaitState::Running,
            None => WaitState::Waiting,
            Some(due) if due > now => WaitState::Delayed,
            Some(_) => WaitState::Pending,
        };
        Listed {
            seq: delivery.seq,
            state,
            subject: delivery.event.payload.subject().to_owned(),
            id: delivery.event.id,
            source: delivery.event.source,
            accepted: delivery.event.accepted,
            due: due.map_or(delivery.due, unsigned),
            ordering_key: delivery.lane,
            attempted: delivery.attempted,
            last_outcome: delivery
                .attempts
                .last()
                .map(|attempt| attempt.outcome.to_string()),
            function: delivery.function,
        }
    }

    /// Whether that is a change.
    pub fn pause(&mut self, function: &str, since: Option<Timestamp>) -> Result<bool> {
        let changed = if let Some(since) = since {
            self.sql(
                "INSERT INTO tally (function, paused) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET paused = excluded.paused WHERE paused IS NULL",
                params![function, signed(since)],
            )?
        } else {
            self.sql(
                "UPDATE tally SET paused = NULL WHERE function = ?1 AND paused IS NOT NULL",
                [function],
            )?
        };
        Ok(changed > 0)
    }
}
