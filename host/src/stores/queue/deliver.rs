//! Events come in, are leased, and are settled. Writes run inside the group's transaction, each of them
//! whole or not at all.
//!
//! Of the deliveries of one lane only the first has a time at which it is due: the others wait until it
//! is gone, so that no two are ever leased together and their order holds over retries and restarts.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::params;

use super::operations::{Allowance, Operations, Result, bytes, rows, signed, unsigned};
use super::record::{decode, encode};
use super::schema::{SEEN_ROW, failed, remembered};
use crate::clock::Timestamp;
use crate::ports::{
    Accept, Accepted, AttemptRecord, Cost, DeadLetter, Delivery, Disposition, Expected, HostFault,
    Identity, Intent, Intents, KeyChange, Outcome, QueueError, STEP_BYTES, Settled, Settlement,
    Sighting, Taken, Totals,
};

/// A delivery as it is stored.
struct Row {
    seq: i64,
    record: Vec<u8>,
}

impl Operations {
    /// Accepts from a source, which is held back where the store is full.
    pub fn accept(&mut self, events: &[Accept]) -> Result<Vec<Accepted>> {
        // What wakes nobody takes no room.
        if events.iter().any(|accept| !accept.functions.is_empty()) {
            self.make_sure_of_room()?;
        }
        self.atomically(|store| {
            events
                .iter()
                .map(|accept| store.accept_one(accept))
                .collect()
        })
    }

    /// Full is a store that has as much as it may: what comes with one request may go past that. What
    /// functions of events publish isn't held back, since a full store that refused it could never drain.
    pub(super) fn make_sure_of_room(&mut self) -> Result<()> {
        if self.allowance.events > 0 && self.allowance.bytes > 0 {
            return Ok(());
        }
        let Totals {
            events,
            bytes,
            remembered,
            ..
        } = self.totals()?;
        let full = |reason: String| Err(QueueError::Full { reason });
        if events >= self.config.max_events {
            return full(format!(
                "{events} events wait and `queue.max-events` is {}; let functions catch up, or raise it",
                self.config.max_events
            ));
        }
        let taken = bytes.saturating_add(remembered);
        if taken >= self.config.max_bytes {
            return full(format!(
                "events that wait take {bytes} bytes, ids that are remembered take {remembered}, and \
                 `queue.max-bytes` is {}; let functions catch up, raise it, or shorten `queue.duplicate-window`",
                self.config.max_bytes
            ));
        }
        self.allowance = Allowance {
            events: self.config.max_events - events,
            bytes: self.config.max_bytes - taken,
        };
        Ok(())
    }

    pub(super) fn accept_one(&mut self, accept: &Accept) -> Result<Accepted> {
        let event = &accept.event;
        let known = match &accept.identity {
            Identity::Unique => false,
            Identity::Id => {
                // One that is remembered for longer than its window, as none was tidied since, is new.
                let forgotten = self.now().saturating_sub(self.config.duplicate_window_ms);
                let (source, id) = remembered(&event.source, &event.id);
                self.allowance.take(0, source.len() + id.len() + SEEN_ROW);
                self.sql(
                    "INSERT INTO seen (source, id, accepted) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET accepted = excluded.accepted WHERE accepted < ?4",
                    params![source, id, signed(event.accepted), signed(forgotten)],
                )? == 0
            }
            Identity::Object(sighting) => self.saw(sighting)?,
        };
        if known {
            return Ok(Accepted::Duplicate);
        }
        for function in &accept.functions {
            let delivery = Delivery {
                seq: self.take_seq(),
                function: function.clone(),
                event: event.clone(),
                due: accept.due,
                lane: accept.lanes.get(function).cloned(),
                redriven: None,
                attempted: 0,
                failed: 0,
                cut_off: 0,
                attempts: Vec::new(),
            };
            self.add(&delivery)?;
            let now = self.now();
            self.ahead.note(delivery, now);
        }
        Ok(Accepted::New)
    }

    /// Adds a delivery, behind others of its lane where there are some.
    pub(super) fn add(&mut self, delivery: &Delivery) -> Result<()> {
        let Delivery {
            seq,
            function,
            lane,
            due,
            ..
        } = delivery;
        let (seq, record) = (signed(*seq), encode(delivery)?);
        self.allowance.take(1, record.len());
        if let Some(lane) = lane {
            self.sql(
                "INSERT INTO delivery (seq, function, lane, due, later, record)
                 SELECT ?1, ?2, ?3, iif(behind, NULL, ?4), iif(behind, ?4, NULL), ?5
                 FROM (SELECT EXISTS (SELECT 1 FROM delivery WHERE function = ?2 AND lane = ?3) AS behind)",
                params![seq, function, lane, signed(*due), record],
            )?;
        } else {
            self.sql(
                "INSERT INTO delivery (seq, function, due, record) VALUES (?1, ?2, ?3, ?4)",
                params![seq, function, signed(*due), record],
            )?;
        }
        Ok(())
    }

    /// Removes a delivery; the next of its lane takes its place. Whether it was there.
    fn remove(&self, seq: i64, function: &str, lane: Option<&str>) -> Result<bool> {
        let removed = self.sql("DELETE FROM delivery WHERE seq = ?1", [seq])?;
        if let Some(lane) = lane {
            self.sql(
                "UPDATE delivery SET due = later, later = NULL
                 WHERE due IS NULL AND seq = (SELECT seq FROM delivery
                    WHERE function = ?1 AND lane = ?2 ORDER BY seq LIMIT 1)",
                params![function, lane],
            )?;
        }
        Ok(removed == 1)
    }

    /// Leases what is due, up to `limit` or to as many bytes as one step has; and whether there may
    /// be more.
    pub fn take(
        &mut self,
        function: &Arc<str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Taken, bool)> {
        let mut taken = Taken::default();
        if self.is_held(function)? {
            taken.held = true;
            return Ok((taken, false));
        }
        let (found, more) = self.due(function, limit, now)?;
        let none = found.is_empty();
        for Row { seq, record } in found {
            match decode_delivery(seq, function, &record) {
                Ok(delivery) => taken.deliveries.push(delivery),
                Err(error) => {
                    self.set_aside(seq, function)?;
                    taken.damaged.push(error.to_string());
                }
            }
        }
        // Who got something looks again; who got nothing sleeps.
        if none {
            let next: Option<i64> = self.one(
                "SELECT due FROM delivery WHERE function = ?1 AND due > ?2 ORDER BY due LIMIT 1",
                params![function, signed(now)],
            )?;
            taken.next_due = next.map(unsigned);
        }
        // Last: an error above must leave nothing leased.
        let mut leases = self.leases();
        for delivery in &taken.deliveries {
            leases.add(delivery.seq, function, delivery.lane.as_deref());
        }
        Ok((taken, more))
    }

    /// Counts the attempts that the end of the host before this one cut off.
    pub fn note_cut_off(&mut self, seqs: &[u64]) -> Result<()> {
        self.atomically(|store| {
            for seq in seqs {
                let sql = "SELECT record FROM delivery WHERE seq = ?1";
                let found = store.rows(sql, [signed(*seq)], |row| bytes(row, 0))?;
                let Some(record) = found.into_iter().next() else {
                    continue;
                };
                // One that can't be read is set aside when its turn comes.
                let Ok(mut delivery) = decode::<Delivery>("", &record) else {
                    continue;
                };
                delivery.cut_off = delivery.cut_off.saturating_add(1);
                let reason = "the host ended before the function did".to_owned();
                delivery.record(AttemptRecord {
                    time: store.now(),
                    outcome: Outcome::Fault(HostFault { reason }),
                    cost: Cost::default(),
                    log_tail: Vec::new(),
                });
                let noted = store.sql(
                    "UPDATE delivery SET record = ?2 WHERE seq = ?1",
                    params![signed(*seq), encode(&delivery)?],
                );
                match noted {
                    // A row whose other columns aren't what they may be takes nothing; the store goes on without.
                    Err(QueueError::Failed { reason }) => {
                        tracing::warn!(
                            "delivery {seq} was cut off, which can't be noted: {reason}"
                        );
                    }
                    noted => drop(noted?),
                }
            }
            Ok(())
        })
    }

    /// Whether a function is to get nothing: it is paused, or may have no more dead letters.
    pub(super) fn is_held(&self, function: &str) -> Result<bool> {
        let held: Option<bool> = self.one(
            "SELECT paused IS NOT NULL OR dead >= ?2 FROM tally WHERE function = ?1",
            params![function, signed(self.config.max_dead_letters)],
        )?;
        Ok(held.unwrap_or(false))
    }

    /// What is due and not leased, and whether there may be more.
    fn due(&self, function: &Arc<str>, limit: usize, now: Timestamp) -> Result<(Vec<Row>, bool)> {
        let leases = self.leases();
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT seq, lane, record FROM delivery WHERE function = ?1 AND due <= ?2
                 ORDER BY due, seq LIMIT ?3",
            )
            .map_err(|error| failed(&error))?;
        // Leased ones come first in this order, so that skipping them costs as many rows as run.
        let looked_at = rows(limit.saturating_add(leases.len()));
        let mut found = statement
            .query(params![&**function, signed(now), looked_at])
            .map_err(|error| failed(&error))?;
        let mut due = Vec::new();
        let mut size = 0;
        while due.len() < limit
            && size < STEP_BYTES
            && let Some(row) = found.next().map_err(|error| failed(&error))?
        {
            let seq: i64 = row.get(0).map_err(|error| failed(&error))?;
            if leases.has(unsigned(seq)) {
                continue;
            }
            // The record says which lane it is of; a row's that can't be read must not hold up the others.
            let lane: Option<String> = row.get(1).unwrap_or_default();
            // Settled is the one before, and its end isn't told yet.
            if lane.is_some_and(|lane| leases.has_lane(function, &lane)) {
                continue;
            }
            let record = bytes(row, 2).map_err(|error| failed(&error))?;
            size += record.len();
            due.push(Row { seq, record });
        }
        let more = due.len() >= limit || size >= STEP_BYTES;
        Ok((due, more))
    }

    /// Keeps what can't be read out of the way of what can. Of which lane it was can't be known, so that whoever is the
    /// first of a lane now has its turn.
    fn set_aside(&mut self, seq: i64, function: &str) -> Result<()> {
        self.atomically(|store| {
            store.sql(
                "INSERT OR REPLACE INTO damaged (seq, function, lane, record)
                 SELECT seq, ?2, CAST(lane AS TEXT), coalesce(CAST(record AS BLOB), x'')
                 FROM delivery WHERE seq = ?1",
                params![seq, function],
            )?;
            // With a record that is null no figures can be counted; and of what is replaced no trigger hears. (SQLite
            // takes `IS NULL` for false where the column may not be.)
            let replaced = store.sql(
                "INSERT OR REPLACE INTO delivery (seq, function, record)
                 SELECT seq, ?2, x'' FROM delivery WHERE seq = ?1 AND typeof(record) = 'null'",
                params![seq, function],
            )?;
            if replaced > 0 {
                store.sql(
                    "UPDATE tally SET pending = pending - 1 WHERE function = ?1",
                    [function],
                )?;
            }
            store.sql("DELETE FROM delivery WHERE seq = ?1", [seq])?;
            store.sql(
                "UPDATE delivery SET due = later, later = NULL
                 WHERE due IS NULL AND later IS NOT NULL AND seq IN
                    (SELECT min(seq) FROM delivery WHERE function = ?1 AND lane IS NOT NULL
                     GROUP BY lane)",
                [function],
            )?;
            Ok(())
        })
    }

    /// Settles each, or none of them on an error; a conflict leaves out the one that has it, or all with
    /// `together`.
    pub fn settle(&mut self, settlements: &[Settlement], together: bool) -> Result<Vec<Settled>> {
        self.atomically(|store| {
            let keys = settlements
                .iter()
                .map(|settlement| settlement.keys.as_slice());
            let conflicts = store.conflicts(keys)?;
            let first = conflicts.iter().flatten().next().cloned();
            let mut settled = Vec::with_capacity(settlements.len());
            for (settlement, conflict) in settlements.iter().zip(conflicts) {
                let conflict = if together { first.clone() } else { conflict };
                settled.push(if let Some(conflict) = conflict {
                    conflict
                } else {
                    store.settle_one(settlement)?;
                    Settled::Committed
                });
            }
            Ok(settled)
        })
    }

    /// For each settlement's changes of keys, why they can't be made. One that is refused changes nothing
    /// for those after it.
    pub(super) fn conflicts<'a>(
        &self,
        settlements: impl Iterator<Item = &'a [KeyChange]>,
    ) -> Result<Vec<Option<Settled>>> {
        let mut changed: HashSet<(&str, &str)> = HashSet::new();
        let mut conflicts = Vec::new();
        for keys in settlements {
            let mut conflict = None;
            for change in keys {
                let name = (change.bucket.as_str(), change.key.as_str());
                if change.expected == Expected::Any {
                    continue;
                }
                // What a neighbour in this step changes has no revision yet that could be as it was seen.
                let within = changed.contains(&name);
                if within || !change.expected.holds(self.revision(name.0, name.1)?) {
                    let reason = format!(
                        "key {:?} of keyvalue bucket {:?} was changed meanwhile",
                        change.key, change.bucket
                    );
                    conflict = Some(Settled::Conflict { reason, within });
                }
            }
            if conflict.is_none() {
                let names = keys.iter();
                changed.extend(names.map(|change| (change.bucket.as_str(), change.key.as_str())));
            }
            conflicts.push(conflict);
        }
        Ok(conflicts)
    }

    fn settle_one(&mut self, settlement: &Settlement) -> Result<()> {
        let Settlement {
            delivery,
            disposition,
            intent,
            accepts,
            keys,
            sightings,
        } = settlement;
        self.ahead.settled(delivery.seq);
        let seq = signed(delivery.seq);
        let there = match disposition {
            // Until its effects are visible the next of its lane must not begin.
            Disposition::Done if intent.is_some() && delivery.lane.is_some() => {
                self.sql(
                    "UPDATE delivery SET due = NULL, later = NULL WHERE seq = ?1",
                    [seq],
                )? == 1
            }
            Disposition::Done => self.remove(seq, &delivery.function, delivery.lane.as_deref())?,
            Disposition::Retry { due, attempt } => {
                let mut delivery = delivery.clone();
                delivery.record(attempt.clone());
                delivery.due = *due;
                let record = encode(&delivery)?;
                // It has grown by less than this.
                self.allowance.take(0, record.len());
                self.sql(
                    "UPDATE delivery SET due = ?2, record = ?3 WHERE seq = ?1",
                    params![seq, signed(*due), record],
                )? == 1
            }
            Disposition::Dead { attempt, reason } => {
                let mut delivery = delivery.clone();
                delivery.record(attempt.clone());
                self.add_dead(&DeadLetter {
                    delivery,
                    time: attempt.time,
                    reason: reason.clone(),
                })?;
                self.remove(
                    seq,
                    &settlement.delivery.function,
                    settlement.delivery.lane.as_deref(),
                )?
            }
        };
        if !there {
            return Err(self.missing(settlement.delivery.seq));
        }
        self.decide(intent.as_ref(), accepts, keys, sightings)
    }

    /// Writes what an attempt or a request decided.
    pub(super) fn decide(
        &mut self,
        intent: Option<&Intent>,
        accepts: &[Accept],
        keys: &[KeyChange],
        sightings: &[Sighting],
    ) -> Result<()> {
        for sighting in sightings {
            self.saw(sighting)?;
        }
        for change in keys {
            self.change_key(change)?;
        }
        if let Some(intent) = intent {
            self.sql(
                "INSERT INTO intent (seq, record) VALUES (?1, ?2)",
                params![signed(intent.seq), encode(intent)?],
            )?;
        }
        accepts
            .iter()
            .try_for_each(|accept| self.accept_one(accept).map(|_| ()))
    }

    /// Notes that an intent is applied, and accepts what follows from it. Returns none, and does
    /// nothing, while it has followers that are accepted in steps of their own.
    pub fn applied(&mut self, intent: u64) -> Result<Option<Vec<Accepted>>> {
        if self.has_followers(intent)? {
            return Ok(None);
        }
        self.atomically(|store| {
            let seq = signed(intent);
            let sql = "DELETE FROM intent WHERE seq = ?1 RETURNING record";
            let removed = store.rows(sql, [seq], |row| bytes(row, 0))?;
            // An intent that is gone was noted before, with what follows from it.
            let Some(record) = removed.into_iter().next() else {
                return Ok(Some(Vec::new()));
            };
            let accepts = decode_intent(seq, &record)?.accepts;
            let waits: Vec<(String, String)> = store.rows(
                "SELECT function, lane FROM delivery WHERE seq = ?1 AND lane IS NOT NULL",
                [seq],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            for (function, lane) in waits {
                store.remove(seq, &function, Some(&lane))?;
            }
            accepts
                .iter()
                .map(|accept| store.accept_one(accept))
                .collect::<Result<_>>()
                .map(Some)
        })
    }

    pub fn intents(&mut self) -> Result<Intents> {
        let found: Vec<(i64, Vec<u8>)> =
            self.rows("SELECT seq, record FROM intent ORDER BY seq", [], |row| {
                Ok((row.get(0)?, bytes(row, 1)?))
            })?;
        let mut intents = Intents::default();
        for (seq, record) in found {
            match decode_intent(seq, &record) {
                Ok(intent) => intents.intents.push(intent),
                Err(error) => intents.damaged.push(error.to_string()),
            }
        }
        Ok(intents)
    }
}

/// The checksum is the record's; what stands beside it must fit.
fn decode_delivery(seq: i64, function: &str, record: &[u8]) -> Result<Delivery> {
    let delivery: Delivery = decode(&format!("delivery {seq}"), record)?;
    if signed(delivery.seq) != seq || delivery.function != function {
        return Err(misplaced("delivery", seq));
    }
    Ok(delivery)
}

fn decode_intent(seq: i64, record: &[u8]) -> Result<Intent> {
    let intent: Intent = decode(&format!("intent {seq}"), record)?;
    if signed(intent.seq) != seq {
        return Err(misplaced("intent", seq));
    }
    Ok(intent)
}

/// A record that is whole, and stands where another one should.
pub(super) fn misplaced(what: &str, seq: i64) -> QueueError {
    QueueError::Damaged {
        reason: format!("{what} {seq} isn't the one that its row says"),
    }
}
