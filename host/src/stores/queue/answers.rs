//! What requests decide, and the answers that are remembered for those who ask again.

use rusqlite::params;

use super::operations::{Operations, Result, TIDY_ANSWERS, bytes, rows, signed, unsigned};
use super::record::{decode, encode};
use crate::ports::{AnswerKey, Commitment, KeptAnswer, QueueError, Settled};

impl Operations {
    /// Writes what a request decided, or nothing of it in a conflict. Returns the number of its intent too.
    pub fn commit_request(&mut self, commitment: &Commitment) -> Result<(Settled, u64)> {
        self.atomically(|store| {
            let conflicts = store.conflicts(std::iter::once(commitment.keys.as_slice()))?;
            if let Some(conflict) = conflicts.into_iter().flatten().next() {
                return Ok((conflict, 0));
            }
            if let Some((key, _)) = &commitment.answer
                && store.kept(key)?.is_some()
            {
                let reason = "a request with the same `Idempotency-Key` was answered meanwhile";
                let (reason, within) = (reason.to_owned(), false);
                return Ok((Settled::Conflict { reason, within }, 0));
            }
            // What requests publish comes from outside, unlike what events lead to.
            let later = commitment.intent.iter().flat_map(|intent| &intent.accepts);
            let mut accepts = commitment.accepts.iter().chain(later);
            if accepts.any(|accept| !accept.functions.is_empty()) {
                store.make_sure_of_room()?;
            }
            let mut seq = 0;
            let mut intent = commitment.intent.clone();
            if let Some(intent) = &mut intent {
                // One that has many followers has its number already.
                seq = match intent.seq {
                    0 => store.take_seq(),
                    seq => seq,
                };
                intent.seq = seq;
            }
            let Commitment {
                accepts,
                keys,
                sightings,
                answer,
                ..
            } = commitment;
            store.decide(intent.as_ref(), accepts, keys, sightings)?;
            if let Some((key, answer)) = answer {
                store.keep_answer(key, answer)?;
            }
            Ok((Settled::Committed, seq))
        })
    }

    /// One that is older than its window is replaced.
    fn keep_answer(&self, key: &AnswerKey, answer: &KeptAnswer) -> Result<()> {
        self.sql("DELETE FROM answer WHERE key = ?1", [&key[..]])?;
        self.sql(
            "INSERT INTO answer (key, time, record) VALUES (?1, ?2, ?3)",
            params![&key[..], signed(self.now()), encode(answer)?],
        )?;
        Ok(())
    }

    /// The record of an answer that isn't older than its window.
    fn kept(&self, key: &AnswerKey) -> Result<Option<Vec<u8>>> {
        let forgotten = self.now().saturating_sub(self.config.duplicate_window_ms);
        let found = self.rows(
            "SELECT record FROM answer WHERE key = ?1 AND time >= ?2",
            params![&key[..], signed(forgotten)],
            |row| bytes(row, 0),
        )?;
        Ok(found.into_iter().next())
    }

    /// Removes some of the answers that are older than their window, and says how many.
    pub fn forget_answers(&self) -> Result<usize> {
        let forgotten = self.now().saturating_sub(self.config.duplicate_window_ms);
        self.sql(
            "DELETE FROM answer WHERE rowid IN (SELECT rowid FROM answer WHERE time < ?1 LIMIT ?2)",
            params![signed(forgotten), rows(TIDY_ANSWERS)],
        )
    }

    pub fn answer(&mut self, key: &AnswerKey) -> Result<Option<KeptAnswer>> {
        if let Some(record) = self.kept(key)? {
            return decode("a remembered answer", &record).map(Some);
        }
        let kept: Option<i64> = self.one("SELECT value FROM meta WHERE name = 'answers'", [])?;
        let kept = kept.map_or(0, unsigned);
        if kept >= self.config.max_answers {
            return Err(QueueError::Full {
                reason: format!(
                    "answers to requests with an `Idempotency-Key` take {kept} bytes and `queue.max-answers` is \
                     {}; wait until the oldest are forgotten, or raise it",
                    self.config.max_answers
                ),
            });
        }
        Ok(None)
    }
}
