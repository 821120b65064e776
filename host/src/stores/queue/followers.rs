//! Events that follow from one decision and are many: kept in steps before it, accepted in steps
//! after it. So the decision is one step however many they are, and others use the store in
//! between.

use rusqlite::params;

use super::operations::{Operations, Result, rows, signed};
use super::record::decode;
use crate::ports::{Accept, Accepted, STEP};

/// Removes what an ended host kept for decisions that it didn't make.
pub(super) const DROP_UNDECIDED: &str =
    "DELETE FROM follower WHERE intent NOT IN (SELECT seq FROM intent)";

impl Operations {
    /// Returns a number for an intent of a request that has many followers, where there is room for
    /// them.
    pub fn number_for_many(&mut self, wakes: bool) -> Result<u64> {
        if wakes {
            self.make_sure_of_room()?;
        }
        Ok(self.take_seq())
    }

    /// Keeps one step of the events that are to follow from an intent.
    pub fn keep_followers(&mut self, intent: u64, records: &[Vec<u8>]) -> Result<()> {
        self.atomically(|store| {
            for record in records {
                store.sql(
                    "INSERT INTO follower (intent, record) VALUES (?1, ?2)",
                    params![signed(intent), record],
                )?;
            }
            Ok(())
        })
    }

    /// Returns whether an intent has followers that aren't accepted.
    pub fn has_followers(&mut self, intent: u64) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM follower WHERE intent = ?1)";
        let has: Option<bool> = self.one(sql, [signed(intent)])?;
        Ok(has.unwrap_or(false))
    }

    /// Drops one step of what was kept.
    pub fn drop_followers(&mut self, intent: u64) -> Result<()> {
        self.sql(
            "DELETE FROM follower WHERE number IN
                (SELECT number FROM follower WHERE intent = ?1 ORDER BY number LIMIT ?2)",
            params![signed(intent), rows(STEP)],
        )?;
        Ok(())
    }

    /// Accepts one step of the events that follow from an intent; what is accepted is kept no more,
    /// so that each is accepted once. Nothing is accepted where the intent is gone.
    pub fn accept_followers(&mut self, intent: u64) -> Result<Vec<Accepted>> {
        self.atomically(|store| {
            let seq = signed(intent);
            let mut answers = Vec::new();
            let mut deliveries = 0;
            for (number, record) in store.next_followers(seq)? {
                store.sql("DELETE FROM follower WHERE number = ?1", [number])?;
                let accept: Accept = match decode(&format!("a follower of {intent}"), &record) {
                    Ok(accept) => accept,
                    Err(error) => {
                        tracing::error!("an event is set aside: {error}");
                        let aside = signed(store.take_seq());
                        store.sql(
                            "INSERT INTO damaged (seq, function, record) VALUES (?1, '', ?2)",
                            params![aside, record],
                        )?;
                        continue;
                    }
                };
                deliveries += accept.functions.len().max(1);
                answers.push(store.accept_one(&accept)?);
                if deliveries >= STEP {
                    break;
                }
            }
            Ok(answers)
        })
    }

    /// Reads the followers of one step, the first of them first; at least one where there is one.
    fn next_followers(&self, intent: i64) -> Result<Vec<(i64, Vec<u8>)>> {
        self.step(
            "SELECT number, record FROM follower WHERE intent = ?1 ORDER BY number LIMIT ?2",
            params![intent, rows(STEP)],
        )
    }
}
