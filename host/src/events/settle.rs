//! Each attempt ends as done, as a retry after a delay, or as a dead letter.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::Events;
use super::backoff::{asked_ms, conflict_delay_ms, delay_ms};
use super::commit::{Origin, Plan, Planned};
use crate::clock::Timestamp;
use crate::config::Function;
use crate::ports::{
    AttemptRecord, Cost, Delivery, Discard, Disposition, Failure, Handled, Intent, Outcome,
    QueueError, Record, RecordKind, STEP, Settled, Settlement, Transaction,
};

/// Why an event is given up, or when it comes again.
enum Next {
    Finished,
    Again { delay_ms: u64 },
    Never { reason: String },
}

/// One attempt at a batch, of which each delivery ends in its own way.
struct Attempted<'a> {
    function: &'a Function,
    time: Timestamp,
    cost: Cost,
    log_tail: Vec<String>,
    queue_ms: u64,
}

/// What is written of one delivery's attempt.
struct End {
    settlement: Settlement,
    /// Keep these once the decision is on disk.
    discards: Vec<Discard>,
    record: Record,
}

impl End {
    /// Returns how many rows the store writes for it, at least.
    fn rows(&self) -> usize {
        let Settlement {
            intent,
            accepts,
            keys,
            sightings,
            ..
        } = &self.settlement;
        // Those of an intent that has many are written in steps of their own.
        let later = intent.as_ref().map_or(0, |intent| intent.accepts.len());
        1 + accepts.len() + keys.len() + sightings.len() + later.min(STEP)
    }
}

impl Events {
    /// Settles what was handled: commits effects with the acknowledgement, schedules retries, keeps dead
    /// letters. What is settled is released, and taken out of `leased`.
    pub(super) async fn settle(
        &self,
        function: &Function,
        deliveries: Vec<Delivery>,
        handled: Handled,
        queue_ms: u64,
        leased: &mut Vec<u64>,
    ) -> Result<(), QueueError> {
        let Handled {
            outcomes,
            cost,
            log_tail,
            reserved,
            spent,
        } = handled;
        let attempt = Attempted {
            function,
            time: self.clock.now(),
            cost,
            log_tail,
            queue_ms,
        };
        let (guards, spent) = {
            let transactions = outcomes.iter().map(|(_, transaction)| transaction);
            let mut lock = pin!(self.locks.lock(transactions));
            let locked = poll_fn(|context| Poll::Ready(lock.as_mut().poll(context))).await;
            match locked {
                Poll::Ready(guards) => (guards?, spent),
                // Nothing of the instance is to wait for others' commits.
                Poll::Pending => {
                    drop(spent);
                    (lock.await?, None)
                }
            }
        };
        let together = outcomes.iter().any(|(_, transaction)| transaction.shared);
        let plans = self.plans(&deliveries, outcomes, together).await;
        // Only changes of keys can be in conflict.
        let again = plans.iter().any(|(_, plan)| !plan.keys.is_empty());
        let kept = if again {
            deliveries.clone()
        } else {
            Vec::new()
        };
        let ends: Vec<End> = deliveries
            .into_iter()
            .zip(plans)
            .map(|(delivery, (outcome, plan))| self.end(&attempt, delivery, outcome, plan))
            .collect();
        let committing = self.commit(function, ends, together, leased);
        // What is left of the instance goes while the disk is waited for.
        let (committed, ()) = tokio::join!(committing, async { drop(spent) });
        let conflicts = committed?;
        drop(guards);
        drop(reserved);
        if conflicts.iter().any(Option::is_some) {
            let ends = kept
                .into_iter()
                .zip(conflicts)
                .filter_map(|(delivery, conflict)| {
                    Some(self.end(&attempt, delivery, conflict?, Plan::default()))
                });
            self.commit(function, ends.collect(), false, leased).await?;
        }
        Ok(())
    }

    /// What is written of one attempt's end.
    fn end(
        &self,
        attempt: &Attempted<'_>,
        delivery: Delivery,
        outcome: Outcome,
        mut plan: Plan,
    ) -> End {
        let outcome = outcome.bounded();
        let next = self.next(attempt.function, &delivery, &outcome);
        let effects = (
            std::mem::take(&mut plan.outputs),
            std::mem::take(&mut plan.published),
        );
        let record = self.outcome_record(attempt, &delivery, &outcome, &next, effects);
        let attempted = || AttemptRecord {
            time: attempt.time,
            outcome,
            cost: attempt.cost,
            log_tail: attempt.log_tail.clone(),
        };
        let disposition = match next {
            Next::Finished => Disposition::Done,
            Next::Again { delay_ms } => Disposition::Retry {
                due: attempt.time.saturating_add(delay_ms),
                attempt: attempted(),
            },
            Next::Never { reason } => Disposition::Dead {
                attempt: attempted(),
                reason,
            },
        };
        End {
            settlement: Settlement {
                delivery,
                disposition,
                intent: plan.intent,
                accepts: plan.accepts,
                keys: plan.keys,
                sightings: plan.sightings,
            },
            discards: plan.discards,
            record,
        }
    }

    /// Writes ends, and carries out what they decided, in steps that others go between unless they
    /// must commit together. Returns for each what came of it where it was in conflict: then
    /// nothing of it was done.
    async fn commit(
        &self,
        function: &Function,
        ends: Vec<End>,
        together: bool,
        leased: &mut Vec<u64>,
    ) -> Result<Vec<Option<Outcome>>, QueueError> {
        if together {
            return self.commit_step(function, ends, true, leased).await;
        }
        let mut conflicts = Vec::with_capacity(ends.len());
        let mut ends = ends.into_iter().peekable();
        while ends.peek().is_some() {
            let (mut step, mut rows) = (Vec::new(), 0);
            while let Some(end) = ends.next_if(|end| rows == 0 || rows + end.rows() <= STEP) {
                rows += end.rows();
                step.push(end);
            }
            conflicts.extend(self.commit_step(function, step, false, leased).await?);
        }
        Ok(conflicts)
    }

    /// Writes ends in one step.
    async fn commit_step(
        &self,
        function: &Function,
        ends: Vec<End>,
        together: bool,
        leased: &mut Vec<u64>,
    ) -> Result<Vec<Option<Outcome>>, QueueError> {
        let mut settlements = Vec::with_capacity(ends.len());
        let mut follow = Vec::with_capacity(ends.len());
        for End {
            settlement,
            discards,
            record,
        } in ends
        {
            // The function's dispatcher may sleep without knowing when this comes again, or that another of
            // its ordering key is due now.
            let woken = matches!(settlement.disposition, Disposition::Retry { .. })
                || settlement.delivery.lane.is_some();
            let intent = settlement.intent.as_ref().map(Intent::without_accepts);
            follow.push((intent, woken, discards, record));
            settlements.push(settlement);
        }
        let seqs: Vec<u64> = settlements.iter().map(|s| s.delivery.seq).collect();
        let settled = match self.queue.settle(settlements, together).await {
            Ok(settled) => settled,
            Err(error) => {
                // Whether a failed commit reached the disk isn't known, so staged files stay: the next start
                // removes those that nothing refers to. What was refused isn't there.
                let discards = follow.into_iter().flat_map(|(_, _, discards, _)| discards);
                if !matches!(error, QueueError::Refused { .. }) {
                    discards.for_each(Discard::keep);
                }
                return Err(error);
            }
        };
        let mut conflicts = Vec::with_capacity(settled.len());
        let mut applies = Vec::new();
        let told = |seq: u64, woken: bool, record: Record, leased: &mut Vec<u64>| {
            self.journal.write(record);
            // Only now the next of its ordering key may begin: the journal is in order too.
            self.queue.release(&[seq]);
            leased.retain(|leased| *leased != seq);
            self.wake(Some(&function.name).filter(|_| woken));
        };
        for ((settled, seq), (intent, woken, discards, record)) in
            settled.into_iter().zip(seqs).zip(follow)
        {
            conflicts.push(match settled {
                // Messages of a batch that must commit together and can't: trying again changes nothing.
                Settled::Conflict { reason, within } if within && together => {
                    let reason =
                        format!("{reason} by another message of the batch, and effects are shared");
                    Some(Outcome::Failed(Failure::Other { reason }))
                }
                Settled::Conflict { reason, .. } => Some(Outcome::Conflict { reason }),
                Settled::Committed => {
                    discards.into_iter().for_each(Discard::keep);
                    match intent {
                        Some(intent) => applies.push((seq, intent, woken, record)),
                        None => told(seq, woken, record, leased),
                    }
                    None
                }
            });
        }
        // Last: a bucket that can't be written for an hour holds up none of the others.
        for (seq, intent, woken, record) in applies {
            // Where the host ends first, the next start carries it out.
            let _ = self.apply(intent).await;
            told(seq, woken, record, leased);
        }
        Ok(conflicts)
    }

    /// How each success is committed; what can't be is a failure by now. Effects that a batch shares
    /// commit with all of it or not at all.
    async fn plans(
        &self,
        deliveries: &[Delivery],
        outcomes: Vec<(Outcome, Transaction)>,
        together: bool,
    ) -> Vec<(Outcome, Plan)> {
        let mut planned = Planned::default();
        let mut plans = Vec::with_capacity(outcomes.len());
        for (delivery, (outcome, transaction)) in deliveries.iter().zip(outcomes) {
            plans.push(if outcome.is_success() {
                match self
                    .plan(&Origin::of(delivery), transaction, &mut planned)
                    .await
                {
                    Ok(plan) => (outcome, plan),
                    Err(refused) => (refused, Plan::default()),
                }
            } else {
                (outcome, Plan::default())
            });
        }
        if together && plans.iter().any(|(outcome, _)| !outcome.is_success()) {
            for plan in plans.iter_mut().filter(|(outcome, _)| outcome.is_success()) {
                let reason = "another message of the batch failed, and effects are shared";
                let reason = reason.to_owned();
                *plan = (Outcome::Failed(Failure::Other { reason }), Plan::default());
            }
        }
        // What commits together does so in one step, and has its many events follow from it.
        let followers = plans.iter().map(|(_, plan)| plan.accepts.len());
        if together && followers.sum::<usize>() > STEP {
            for (delivery, (_, plan)) in deliveries.iter().zip(&mut plans) {
                plan.defer(delivery.seq);
            }
        }
        plans
    }

    fn next(&self, function: &Function, delivery: &Delivery, outcome: &Outcome) -> Next {
        let backoff = function.retry.backoff;
        let failures = delivery.failed.saturating_add(1);
        match outcome {
            Outcome::Done | Outcome::Superseded { .. } => Next::Finished,
            // One of those in conflict always commits, so that trying again soon comes to an end.
            Outcome::Conflict { .. } => Next::Again {
                delay_ms: conflict_delay_ms(self.clock.fraction()),
            },
            Outcome::Failed(Failure::Reject { .. }) => Next::Never {
                reason: "the function rejected it".to_owned(),
            },
            Outcome::Undeliverable { reason } => Next::Never {
                reason: reason.clone(),
            },
            // A fault is ours: it doesn't use up the function's attempts.
            Outcome::Fault(_) => {
                let delay_ms = delay_ms(backoff, delivery.attempt(), self.clock.fraction());
                Next::Again { delay_ms }
            }
            _ if failures >= function.retry.attempts => Next::Never {
                reason: format!("all {failures} attempts failed"),
            },
            Outcome::Failed(Failure::Retry {
                after_ms: Some(after),
                ..
            }) => Next::Again {
                delay_ms: asked_ms(backoff, *after),
            },
            _ => Next::Again {
                delay_ms: delay_ms(backoff, failures, self.clock.fraction()),
            },
        }
    }

    fn outcome_record(
        &self,
        attempt: &Attempted<'_>,
        delivery: &Delivery,
        outcome: &Outcome,
        next: &Next,
        (outputs, published): (Vec<String>, Vec<String>),
    ) -> Record {
        let (settled, dead, retry_in_ms) = match next {
            Next::Finished => (true, false, None),
            Next::Again { delay_ms } => (false, false, Some(*delay_ms)),
            Next::Never { .. } => (true, true, None),
        };
        Record {
            time: self.clock.now(),
            function: Some(delivery.function.clone()),
            source: Some(delivery.event.source.clone()),
            event: Some(delivery.event.id.clone()),
            subject: Some(delivery.event.payload.subject().to_owned()),
            attempt: Some(delivery.attempt()),
            kind: RecordKind::Outcome {
                outcome: outcome.clone(),
                text: outcome.to_string(),
                settled,
                dead,
                retry_in_ms,
                cost: attempt.cost,
                queue_ms: attempt.queue_ms,
                outputs,
                published,
                left_out: 0,
            },
        }
    }
}
