//! Each attempt ends as done, as a retry after a delay, or as a dead letter.

use super::Events;
use super::backoff::{asked_ms, delay_ms};
use super::commit::{Plan, Planned};
use crate::config::Function;
use crate::ports::{
    AttemptRecord, Cost, Delivery, Disposition, Failure, Handled, Outcome, QueueError, Record,
    RecordKind, Settlement, Transaction,
};

/// Why an event is given up, or when it comes again.
enum Next {
    Finished,
    Again { delay_ms: u64 },
    Never { reason: String },
}

impl Events {
    /// Settles what was handled: commits effects with the acknowledgement, schedules retries, keeps dead
    /// letters. On an error nothing is settled, and the leases are to be released.
    pub(super) async fn settle(
        &self,
        function: &Function,
        deliveries: Vec<Delivery>,
        handled: Handled,
        queue_ms: u64,
    ) -> Result<(), QueueError> {
        let Handled {
            outcomes,
            cost,
            log_tail,
        } = handled;
        let now = self.clock.now();
        let guards = self
            .locks
            .lock(outcomes.iter().map(|(_, transaction)| transaction))
            .await;
        let plans = self.plans(&deliveries, outcomes).await;
        let mut settlements = Vec::with_capacity(deliveries.len());
        let mut records = Vec::with_capacity(deliveries.len());
        let mut discards = Vec::new();
        for (delivery, (outcome, mut plan)) in deliveries.into_iter().zip(plans) {
            let next = self.next(function, &delivery, &outcome);
            let outputs = std::mem::take(&mut plan.outputs);
            records.push(self.outcome_record(&delivery, &outcome, &next, cost, queue_ms, outputs));
            discards.append(&mut plan.discards);
            let attempt = || AttemptRecord {
                time: now,
                outcome,
                cost,
                log_tail: log_tail.clone(),
            };
            let disposition = match next {
                Next::Finished => Disposition::Done,
                Next::Again { delay_ms } => Disposition::Retry {
                    due: now.saturating_add(delay_ms),
                    attempt: attempt(),
                },
                Next::Never { reason } => Disposition::Dead {
                    attempt: attempt(),
                    reason,
                },
            };
            let Plan {
                intent,
                accepts,
                sightings,
                ..
            } = plan;
            settlements.push(Settlement {
                delivery,
                disposition,
                intent,
                accepts,
                sightings,
            });
        }
        let intents: Vec<_> = settlements
            .iter()
            .filter_map(|s| s.intent.clone())
            .collect();
        let mut woken: Vec<String> = settlements
            .iter()
            .flat_map(|settlement| &settlement.accepts)
            .flat_map(|accept| accept.functions.iter().cloned())
            .collect();
        // The function's dispatcher may sleep without knowing when these come again.
        if settlements
            .iter()
            .any(|s| matches!(s.disposition, Disposition::Retry { .. }))
        {
            woken.push(function.name.clone());
        }
        let settled = self.queue.settle(settlements).await;
        // Whether a failed commit reached the disk isn't known, so staged files stay then too: the next
        // start removes those that nothing refers to.
        discards.into_iter().for_each(crate::ports::Discard::keep);
        settled?;
        for intent in intents {
            self.apply(intent).await;
        }
        drop(guards);
        self.wake(woken);
        records
            .into_iter()
            .for_each(|record| self.journal.write(record));
        Ok(())
    }

    /// How each success is committed; what can't be is a failure by now. Effects that a batch shares
    /// commit with all of it or not at all.
    async fn plans(
        &self,
        deliveries: &[Delivery],
        outcomes: Vec<(Outcome, Transaction)>,
    ) -> Vec<(Outcome, Plan)> {
        let shared = outcomes.iter().any(|(_, transaction)| transaction.shared);
        let mut planned = Planned::default();
        let mut plans = Vec::with_capacity(outcomes.len());
        for (delivery, (outcome, transaction)) in deliveries.iter().zip(outcomes) {
            plans.push(if outcome.is_success() {
                match self.plan(delivery, transaction, &mut planned).await {
                    Ok(plan) => (outcome, plan),
                    Err(refused) => (refused, Plan::default()),
                }
            } else {
                (outcome, Plan::default())
            });
        }
        if shared && plans.iter().any(|(outcome, _)| !outcome.is_success()) {
            for plan in plans.iter_mut().filter(|(outcome, _)| outcome.is_success()) {
                let reason = "another message of the batch failed, and effects are shared";
                let reason = reason.to_owned();
                *plan = (Outcome::Failed(Failure::Other { reason }), Plan::default());
            }
        }
        plans
    }

    fn next(&self, function: &Function, delivery: &Delivery, outcome: &Outcome) -> Next {
        let backoff = function.retry.backoff;
        let failures = delivery.failed.saturating_add(1);
        match outcome {
            Outcome::Done | Outcome::Superseded { .. } => Next::Finished,
            Outcome::Failed(Failure::Reject { .. }) => Next::Never {
                reason: "the function rejected it".to_owned(),
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
        delivery: &Delivery,
        outcome: &Outcome,
        next: &Next,
        cost: Cost,
        queue_ms: u64,
        outputs: Vec<String>,
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
                cost,
                queue_ms,
                outputs,
            },
        }
    }
}
