//! Times at which functions are woken.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Stopwatch, Timestamp, rfc3339};
use crate::config::{Missed, Schedule, Zone};
use crate::events::{Events, Stop, stopped};
use crate::ports::{Level, QueueError};

/// The longest sleep: a clock that is set forward is noticed by then.
const LOOK: Duration = Duration::from_secs(10);
/// The most times that are accepted in one step.
const PAGE: usize = 1_000;
/// By so much a clock may be set back without a schedule taking it for another time.
const STEP_MS: u64 = 60_000;
/// A clock that is behind for so long is taken to be right.
const CLOCK_SETTLES: Duration = Duration::from_secs(600);
/// How long to wait before a store that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes one function by the clock.
pub struct ScheduleTrigger {
    events: Arc<Events>,
    function: String,
    schedule: Schedule,
    zone: Zone,
    missed: Missed,
    /// For how long the clock has been behind the time that was noted.
    behind: Option<Stopwatch>,
}

impl ScheduleTrigger {
    /// Wakes `function`; what was missed goes by `missed`.
    pub fn new(
        events: Arc<Events>,
        function: String,
        schedule: Schedule,
        zone: Zone,
        missed: Missed,
    ) -> Self {
        Self {
            events,
            function,
            schedule,
            zone,
            missed,
            behind: None,
        }
    }

    /// Accepts an event for each time until told to stop.
    pub async fn run(mut self, mut stop: Stop) {
        let started = self.events.clock().now();
        loop {
            let sleep = match self.look(started).await {
                Ok(sleep) => sleep,
                Err(QueueError::Closed) => return,
                Err(error) => {
                    let text = format!("schedule of {:?}: {error}", self.function);
                    self.events.say(Level::Error, text);
                    PAUSE
                }
            };
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// A machine without a battery may start in 1970 and learn the time a moment later: what was noted is kept
    /// until the clock has stayed as it is for a while.
    async fn wait_for_the_clock(
        &mut self,
        last: Timestamp,
        now: Timestamp,
    ) -> Result<Duration, QueueError> {
        let clock = self.events.clock();
        let Some(behind) = &self.behind else {
            self.behind = Some(clock.stopwatch());
            let text = format!(
                "schedule of {:?}: it was last run at {}, which is to come; if the clock stays as it is, the \
                 schedule counts from now in {CLOCK_SETTLES:?}",
                self.function,
                rfc3339(last)
            );
            self.events.say(Level::Warn, text);
            return Ok(LOOK);
        };
        if behind.elapsed() < CLOCK_SETTLES {
            return Ok(LOOK);
        }
        self.behind = None;
        self.events
            .start_schedule(&self.function, &self.schedule, now)
            .await?;
        Ok(Duration::ZERO)
    }

    /// Whether a clock that was ahead noted a time past the next one. A step back of some seconds is waited
    /// out, so that no time comes twice.
    fn is_from_the_future(&self, last: Timestamp, now: Timestamp) -> bool {
        last > now.saturating_add(STEP_MS)
            && self
                .schedule
                .next(now, &self.zone)
                .is_some_and(|next| next < last)
    }

    /// Accepts the times that have come. Returns how long until there can be another.
    async fn look(&mut self, started: Timestamp) -> Result<Duration, QueueError> {
        let now = self.events.clock().now();
        let noted = self
            .events
            .last_time(&self.function, &self.schedule)
            .await?;
        let Some(mut last) = noted else {
            // A new schedule has missed nothing.
            self.events
                .start_schedule(&self.function, &self.schedule, now)
                .await?;
            return Ok(Duration::ZERO);
        };
        if self.is_from_the_future(last, now) {
            return self.wait_for_the_clock(last, now).await;
        }
        self.behind = None;
        match self.missed {
            Missed::All => {}
            // Whatever came before the host did.
            Missed::Skip => last = last.max(started.saturating_sub(1)),
            Missed::Once => {
                if let Some(newest) = self.schedule.last(now, &self.zone) {
                    last = last.max(newest.saturating_sub(1));
                }
            }
        }
        let mut times = Vec::new();
        while times.len() < PAGE
            && let Some(next) = self.schedule.next(last, &self.zone)
            && next <= now
        {
            times.push(next);
            last = next;
        }
        let more = times.len() == PAGE;
        self.events
            .time_came(&self.function, &self.schedule, times)
            .await?;
        if more {
            return Ok(Duration::ZERO);
        }
        let next = self.schedule.next(last, &self.zone);
        let wait = next.map_or(LOOK, |next| Duration::from_millis(next.saturating_sub(now)));
        Ok(wait.min(LOOK))
    }
}
