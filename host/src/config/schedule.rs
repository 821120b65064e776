//! When a function is woken by the clock.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Deserialize;

/// A cron expression: minute, hour, day of the month, month, day of the week, and before them seconds
/// where there are six; also `@daily` and its like. As `man 5 crontab` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Schedule(croner::Cron);

/// A time zone of the IANA database, as `Europe/Berlin`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(TimeZone);

/// What happens with times at which no host ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// The function is woken once, for the last of them.
    #[default]
    Once,
    /// It is woken for each of them.
    All,
    /// It isn't woken for them.
    Skip,
}

impl Schedule {
    /// The first time after `after`, in Unix milliseconds; none where there is no more.
    pub fn next(&self, after: u64, zone: &Zone) -> Option<u64> {
        let next = self.0.find_next_occurrence(&at(after, zone)?, false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok()
    }

    /// The last time until `until`, in Unix milliseconds.
    pub fn last(&self, until: u64, zone: &Zone) -> Option<u64> {
        let last = self
            .0
            .find_previous_occurrence(&at(until, zone)?, true)
            .ok()?;
        u64::try_from(last.timestamp().as_millisecond()).ok()
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

fn at(time: u64, zone: &Zone) -> Option<Zoned> {
    let time = Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()?;
    Some(time.to_zoned(zone.0.clone()))
}

impl TryFrom<String> for Schedule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| {
            format!("{text:?} isn't a schedule: {error}; use five fields, as \"0 3 * * *\" for 3 o'clock")
        })
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        TimeZone::get(&name).map(Self).map_err(|error| {
            format!("{name:?} isn't a time zone: {error}; use one as \"Europe/Berlin\" or \"UTC\"")
        })
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str) -> Schedule {
        text.to_owned().try_into().unwrap()
    }

    fn millis(text: &str) -> u64 {
        text.parse::<Timestamp>()
            .unwrap()
            .as_millisecond()
            .try_into()
            .unwrap()
    }

    #[test]
    fn times_are_found_in_their_zone_over_changes_of_the_clock() {
        let berlin = Zone::try_from("Europe/Berlin".to_owned()).unwrap();
        for (text, zone, after, next) in [
            (
                "0 3 * * *",
                &Zone::default(),
                "2026-11-22T02:59:59Z",
                "2026-11-22T03:00:00Z",
            ),
            (
                "0 3 * * *",
                &Zone::default(),
                "2026-11-22T03:00:00Z",
                "2026-11-23T03:00:00Z",
            ),
            (
                "0 3 * * *",
                &berlin,
                "2026-03-28T12:00:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                "0 3 * * *",
                &berlin,
                "2026-10-24T12:00:00Z",
                "2026-10-25T02:00:00Z",
            ),
            (
                "@monthly",
                &Zone::default(),
                "2026-11-22T00:00:00Z",
                "2026-12-01T00:00:00Z",
            ),
            (
                "*/10 * * * * *",
                &Zone::default(),
                "2026-11-22T00:00:01Z",
                "2026-11-22T00:00:10Z",
            ),
        ] {
            let found = schedule(text).next(millis(after), zone);
            assert_eq!(found, Some(millis(next)), "{text} after {after}");
            assert_eq!(schedule(text).last(millis(next), zone), Some(millis(next)));
        }
    }

    #[test]
    fn what_is_no_schedule_names_itself() {
        for text in ["", "soon", "61 * * * *", "* * *", "0 3 * * * * * *"] {
            let error = Schedule::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        let error = Zone::try_from("Mars/Olympus".to_owned()).unwrap_err();
        assert!(error.contains("Mars/Olympus"), "{error}");
    }
}
