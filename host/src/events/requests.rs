//! The effects of requests: committed before their answers begin, as those of an event are with its acknowledgement.

use std::sync::Arc;

use async_trait::async_trait;

use super::Events;
use super::commit::{Origin, Plan, Planned};
use crate::ports::{
    AnswerKey, Commitment, Committed, Discard, Effects, HostFault, Intent, KeptAnswer, Outcome,
    QueueError, RequestEffects, Settled,
};

#[async_trait]
impl Effects for Events {
    async fn commit(self: Arc<Self>, effects: RequestEffects) -> Result<(), Outcome> {
        let under_way = Arc::clone(&self.requests).read_owned().await;
        // One that is given up while it waits for its buckets has done nothing.
        let locked = self.locks.lock(std::iter::once(&effects.transaction)).await;
        let guards = locked.map_err(|error| fault(&error))?;
        // From here on a client that goes away, or a deadline, mustn't leave it decided and not carried out; nor must
        // the end of whatever runs its function.
        let home = self.home.clone();
        let committing = home.spawn(async move {
            let committed = self.commit_request(effects).await;
            drop(guards);
            drop(under_way);
            committed
        });
        committing.await.unwrap_or_else(|error| {
            let reason = format!("the commit of a request's effects ended: {error}");
            Err(Outcome::Fault(HostFault { reason }))
        })
    }

    async fn answer(&self, key: &AnswerKey) -> Result<Option<KeptAnswer>, QueueError> {
        self.queue.answer(key).await
    }
}

impl Events {
    /// Waits for commits whose requests are gone. Call it once no request comes any more.
    pub async fn requests_committed(&self) {
        drop(self.requests.write().await);
    }

    /// The buckets that it changes are locked.
    async fn commit_request(&self, effects: RequestEffects) -> Result<(), Outcome> {
        let RequestEffects {
            function,
            transaction,
            reserved,
            answer,
            witness,
        } = effects;
        let origin = Origin {
            function: function.to_string(),
            id: format!("http/{}", self.clock.new_id()),
            hops: 0,
            // The store gives it.
            seq: 0,
        };
        let plan = self
            .plan(&origin, transaction, &mut Planned::default())
            .await?;
        let Plan {
            intent,
            accepts,
            sightings,
            keys,
            outputs,
            published,
            discards,
        } = plan;
        let applied = intent.as_ref().map(Intent::without_accepts);
        let commitment = Commitment {
            intent,
            accepts,
            keys,
            sightings,
            answer,
        };
        let seq = match self.queue.commit(commitment).await {
            Ok((Settled::Committed, seq)) => seq,
            Ok((Settled::Conflict { reason, .. }, _)) => return Err(Outcome::Conflict { reason }),
            Err(error) => {
                // Whether a failed commit reached the disk isn't known, so staged files stay: the next start
                // removes those that nothing refers to. What was refused isn't there.
                if !matches!(error, QueueError::Refused { .. }) {
                    discards.into_iter().for_each(Discard::keep);
                }
                return Err(fault(&error));
            }
        };
        discards.into_iter().for_each(Discard::keep);
        witness.committed(Committed { outputs, published });
        if let Some(mut intent) = applied {
            intent.seq = seq;
            // Where the host ends first, the next start carries it out.
            let _ = self.apply(intent).await;
        }
        drop(reserved);
        Ok(())
    }
}

fn fault(error: &QueueError) -> Outcome {
    if let QueueError::Full { .. } = error {
        let reason = format!("its effects wake functions, and {error}");
        return Outcome::Undeliverable { reason };
    }
    Outcome::Fault(HostFault {
        reason: format!("the effects can't be committed: {error}"),
    })
}
