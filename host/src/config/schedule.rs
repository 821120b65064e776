//! When a function is woken by the clock.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde::Deserialize;

/// A cron expression: minute, hour, day of the month, month, day of the week; seconds before them
/// where there are six fields, years behind them where there are seven; also `@daily` and its like.
///
/// Changes of a zone's clock follow Vixie cron. A schedule with `*` in its hour, minute or second
/// comes whenever the clock on the wall matches: twice in a repeated hour, never in a skipped one.
/// Any other is of fixed times: in a repeated hour it comes the first time only, and what a skipped
/// hour had comes once, right after it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Schedule {
    cron: croner::Cron,
}

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
    /// Returns the first time after `after`, in Unix milliseconds; none where there is no more.
    pub fn next(&self, after: u64, zone: &Zone) -> Option<u64> {
        let after = instant(after)?;
        if self.has_fixed_times() {
            return millis(self.next_fixed(after, zone)?);
        }
        let next = self.cron.find_next_occurrence(&zone.at(after), false);
        millis(next.ok()?.timestamp())
    }

    /// Returns the last time until `until`, in Unix milliseconds.
    pub fn last(&self, until: u64, zone: &Zone) -> Option<u64> {
        let until = instant(until)?;
        if self.has_fixed_times() {
            return millis(self.last_fixed(until, zone)?);
        }
        let mut last = self
            .cron
            .find_previous_occurrence(&zone.at(until), true)
            .ok()?;
        // In a repeated hour the search begins in the second pass, which may be yet to come.
        while last.timestamp() > until {
            last = self.cron.find_previous_occurrence(&last, false).ok()?;
        }
        millis(last.timestamp())
    }

    /// Returns the next times after `after`, `count` of them or as many as there are.
    pub fn upcoming(&self, after: u64, zone: &Zone, count: usize) -> Vec<u64> {
        let first = self.next(after, zone);
        let times = std::iter::successors(first, |last| self.next(*last, zone));
        times.take(count).collect()
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        self.cron.as_str()
    }

    /// Says that no time is left, for the person who wrote it.
    pub fn is_over(&self) -> String {
        format!(
            "the schedule {:?} has no time left: all are past; correct its year or date, or remove \
             the function",
            self.as_str()
        )
    }

    /// Returns sentences about steps of which only the first value fits into the field's range, as
    /// of `*/90`.
    pub fn long_steps(&self) -> Vec<String> {
        const FIELDS: [(&str, u32, u32); 6] = [
            ("second", 0, 59),
            ("minute", 0, 59),
            ("hour", 0, 23),
            ("day", 1, 31),
            ("month", 1, 12),
            ("weekday", 0, 6),
        ];
        let expression: Vec<&str> = self.as_str().split_whitespace().collect();
        let without_seconds = usize::from(expression.len() == 5);
        let mut found = Vec::new();
        for (text, (name, first, last)) in expression
            .iter()
            .zip(FIELDS.into_iter().skip(without_seconds))
        {
            for part in text.split(',') {
                let Some((range, step)) = part.split_once('/') else {
                    continue;
                };
                let bounds = range.split_once('-');
                let bounds =
                    bounds.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
                // All of a range in one step may be meant, as in `*/60`.
                let (from, to): (u32, u32) = bounds.unwrap_or((first, last + 1));
                if step
                    .parse::<u32>()
                    .is_ok_and(|step| step > to.saturating_sub(from))
                {
                    found.push(format!(
                        "the step of `{part}` in its schedule is longer than the range of the \
                         {name}, so that it \
                         comes at {name} {from} only; write `{from}` if that is meant, or a \
                         shorter step"
                    ));
                }
            }
        }
        found
    }

    /// Tells whether no field of its time has a `*`: changes of the clock are treated by that.
    fn has_fixed_times(&self) -> bool {
        let pattern = &self.cron.pattern;
        let fields = [&pattern.seconds, &pattern.minutes, &pattern.hours];
        !fields.iter().any(|field| field.from_wildcard)
    }

    /// Walks over the times of the clock on the wall. Their instants never decrease, so that the
    /// first that is later is the next, and what a skipped hour had is one instant.
    fn next_fixed(&self, after: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let mut wall = on_the_wall(zone.0.to_datetime(after))?;
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let time = zone.instant_of(wall.datetime())?;
            if time > after {
                return Some(time);
            }
        }
    }

    fn last_fixed(&self, until: Timestamp, zone: &Zone) -> Option<Timestamp> {
        let mut wall = zone.0.to_datetime(until);
        // In the second pass of a repeated hour all of the first has been.
        if let AmbiguousOffset::Fold { before, .. } = zone.0.to_ambiguous_timestamp(wall).offset() {
            wall = before.to_datetime(until);
        }
        let mut wall = on_the_wall(wall)?;
        let mut inclusive = true;
        loop {
            wall = self.cron.find_previous_occurrence(&wall, inclusive).ok()?;
            let time = zone.instant_of(wall.datetime())?;
            if time <= until {
                return Some(time);
            }
            inclusive = false;
        }
    }
}

impl Zone {
    fn at(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.0.clone())
    }

    /// Returns when a clock on the wall shows this: the first time where it does twice, and the end
    /// of the gap where it never does.
    fn instant_of(&self, wall: DateTime) -> Option<Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(wall);
        if let AmbiguousOffset::Gap { after, .. } = ambiguous.offset() {
            let before_gap = after.to_timestamp(wall).ok()?;
            return Some(self.0.following(before_gap).next()?.timestamp());
        }
        ambiguous.earlier().ok()
    }

    /// Writes a time of Unix milliseconds as its clock shows it, in RFC 3339.
    pub fn show(&self, time: u64) -> String {
        let Some(time) = instant(time) else {
            return String::new();
        };
        if self.0 == TimeZone::UTC {
            return time.to_string();
        }
        time.display_with_offset(self.0.to_offset(time)).to_string()
    }
}

fn instant(time: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()
}

fn millis(time: Timestamp) -> Option<u64> {
    u64::try_from(time.as_millisecond()).ok()
}

/// A clock on the wall as one that is never set.
fn on_the_wall(time: DateTime) -> Option<Zoned> {
    time.to_zoned(TimeZone::UTC).ok()
}

impl TryFrom<String> for Schedule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let cron: croner::Cron = text.parse().map_err(|error| {
            format!(
                "{text:?} isn't a schedule: {error}; use five fields, as \"0 3 * * *\" for 3 \
                 o'clock"
            )
        })?;
        let schedule = Self { cron };
        // Every date comes within 400 years, so that a search over all years finds whatever can
        // come.
        if schedule.next(0, &Zone::default()).is_none() {
            return Err(format!(
                "the schedule {text:?} never comes: no date since 1970 has its day, month, \
                 weekday and year; correct \
                 them, as \"0 0 28 2 *\" for the 28th of February"
            ));
        }
        Ok(schedule)
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

    fn zone(name: &str) -> Zone {
        Zone::try_from(name.to_owned()).unwrap()
    }

    fn unix(text: &str) -> u64 {
        millis(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn times_are_found_in_their_zone_over_changes_of_the_clock() {
        for (text, name, after, next) in [
            (
                "0 3 * * *",
                "UTC",
                "2026-11-22T02:59:59Z",
                "2026-11-22T03:00:00Z",
            ),
            (
                "0 3 * * *",
                "UTC",
                "2026-11-22T03:00:00Z",
                "2026-11-23T03:00:00Z",
            ),
            (
                "0 3 * * *",
                "Europe/Berlin",
                "2026-03-28T12:00:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                "0 3 * * *",
                "Europe/Berlin",
                "2026-10-24T12:00:00Z",
                "2026-10-25T02:00:00Z",
            ),
            (
                "@monthly",
                "UTC",
                "2026-11-22T00:00:00Z",
                "2026-12-01T00:00:00Z",
            ),
            (
                "*/10 * * * * *",
                "UTC",
                "2026-11-22T00:00:01Z",
                "2026-11-22T00:00:10Z",
            ),
        ] {
            let (found, zone) = (schedule(text), zone(name));
            let next = unix(next);
            assert_eq!(
                found.next(unix(after), &zone),
                Some(next),
                "{text} after {after}"
            );
            assert_eq!(found.last(next, &zone), Some(next));
            assert_eq!(found.last(next + 999, &zone), Some(next));
        }
    }

    /// All times of one night, in UTC: those with a `*` follow the clock on the wall, the others
    /// come once each. `0,30 2 * * *` came four times in Berlin's longest night, and `30 2 * * *`
    /// once.
    #[test]
    fn a_night_in_which_the_clock_is_set() {
        // The zone, from when to when, the expression, and each time.
        let back = (
            "Europe/Berlin",
            "2026-10-24T23:30:00Z",
            "2026-10-25T03:00:00Z",
        );
        let forward = (
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            "2026-03-29T02:30:00Z",
        );
        let new_york_back = (
            "America/New_York",
            "2026-11-01T04:30:00Z",
            "2026-11-01T07:30:00Z",
        );
        let new_york_forward = (
            "America/New_York",
            "2026-03-08T06:00:00Z",
            "2026-03-08T08:30:00Z",
        );
        // By half an hour, at 2 o'clock.
        let lord_howe_back = (
            "Australia/Lord_Howe",
            "2026-04-04T14:00:00Z",
            "2026-04-04T16:00:00Z",
        );
        let lord_howe_forward = (
            "Australia/Lord_Howe",
            "2026-10-03T15:00:00Z",
            "2026-10-03T17:00:00Z",
        );
        // At midnight, as until 2019.
        let sao_paulo_back = (
            "America/Sao_Paulo",
            "2018-02-18T00:30:00Z",
            "2018-02-18T04:30:00Z",
        );
        let sao_paulo_forward = (
            "America/Sao_Paulo",
            "2018-11-04T01:30:00Z",
            "2018-11-04T05:00:00Z",
        );
        // A whole day was skipped.
        let apia = (
            "Pacific/Apia",
            "2011-12-30T08:00:00Z",
            "2011-12-31T14:00:00Z",
        );
        for ((name, from, to), text, expected) in [
            (back, "30 2 * * *", "00:30"),
            (back, "0,30 2 * * *", "00:00 00:30"),
            (back, "0-30/30 2 * * *", "00:00 00:30"),
            (back, "0 2-3 * * *", "00:00 02:00"),
            (back, "0 0,30 2 * * *", "00:00 00:30"),
            (back, "0 * * * *", "00:00 01:00 02:00 03:00"),
            (back, "*/30 2 * * *", "00:00 00:30 01:00 01:30"),
            (back, "@hourly", "00:00 01:00 02:00 03:00"),
            (forward, "30 2 * * *", "01:00"),
            (forward, "0,30 2 * * *", "01:00"),
            (forward, "0 2,3 * * *", "01:00"),
            (forward, "15 1-3 * * *", "00:15 01:00 01:15"),
            (forward, "0 * * * *", "01:00 02:00"),
            (forward, "*/30 2 * * *", ""),
            (forward, "*/30 * * * *", "00:30 01:00 01:30 02:00 02:30"),
            (new_york_back, "0,30 1 * * *", "05:00 05:30"),
            (new_york_back, "*/30 1 * * *", "05:00 05:30 06:00 06:30"),
            (new_york_forward, "0,30 2 * * *", "07:00"),
            (new_york_forward, "*/30 2 * * *", ""),
            (lord_howe_back, "45 1 * * *", "14:45"),
            (lord_howe_back, "15,45 1 * * *", "14:15 14:45"),
            (lord_howe_back, "45 * * * *", "14:45 15:15"),
            (lord_howe_forward, "0,15,45 2 * * *", "15:30 15:45"),
            (lord_howe_forward, "15 * * * *", "16:15"),
            (sao_paulo_back, "30 23 * * *", "01:30"),
            (sao_paulo_back, "0 0 * * *", "03:00"),
            (sao_paulo_back, "30 * * * *", "01:30 02:30 03:30 04:30"),
            (sao_paulo_forward, "0 0 * * *", "03:00"),
            (sao_paulo_forward, "@daily", "03:00"),
            (sao_paulo_forward, "0 * * * *", "02:00 03:00 04:00 05:00"),
            (apia, "0 3 30 12 *", "10:00"),
        ] {
            let (found, zone, end) = (schedule(text), zone(name), unix(to));
            let times = found.upcoming(unix(from), &zone, 10);
            let times: Vec<u64> = times.into_iter().filter(|time| *time <= end).collect();
            let shown: Vec<String> = times
                .iter()
                .map(|time| instant(*time).unwrap().to_string()[11..16].to_owned())
                .collect();
            assert_eq!(shown.join(" "), expected, "{text} in {name} from {from}");

            // A host that starts at any moment of the night finds the same: no time is lost, and
            // none comes twice.
            let mut moment = unix(from);
            while moment <= end {
                let before = times.iter().rfind(|time| **time <= moment);
                let after = times.iter().find(|time| **time > moment);
                let last = found.last(moment, &zone).filter(|last| *last > unix(from));
                assert_eq!(last.as_ref(), before, "{text} in {name} until {moment}");
                let next = found.next(moment, &zone).filter(|next| *next <= end);
                assert_eq!(next.as_ref(), after, "{text} in {name} after {moment}");
                moment += 5 * 60_000 - 1;
            }
        }
    }

    #[test]
    fn what_is_no_schedule_or_never_comes_names_itself() {
        for text in ["", "soon", "61 * * * *", "* * *", "0 3 * * * * * *"] {
            let error = Schedule::try_from(text.to_owned()).unwrap_err();
            assert!(
                error.contains(&format!("{text:?} isn't a schedule")),
                "{error}"
            );
        }
        for text in [
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
            "0 0 0 1 1 * 1969",
            "0 0 0 29 2 * 2027",
        ] {
            let error = Schedule::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(&format!("{text:?} never comes")), "{error}");
        }
        schedule("0 0 29 2 +MON");
        let error = Zone::try_from("Mars/Olympus".to_owned()).unwrap_err();
        assert!(error.contains("Mars/Olympus"), "{error}");
    }

    #[test]
    fn a_step_longer_than_its_range() {
        for (text, says) in [
            (
                "*/90 * * * *",
                "`*/90` in its schedule is longer than the range of the minute",
            ),
            ("0 */90 * * * *", "the minute"),
            ("*/90 0 * * * *", "the second"),
            ("0 */25 * * *", "the hour"),
            ("0 0 */32 * *", "comes at day 1 only"),
            ("0 0 1 */13 *", "the month"),
            ("0 0 * * */8", "the weekday"),
            ("5,10-20/11 * * * *", "write `10`"),
        ] {
            let notes = schedule(text).long_steps();
            assert!(
                notes.len() == 1 && notes[0].contains(says),
                "{text}: {notes:?}"
            );
        }
        for text in [
            "*/60 * * * *",
            "*/7 */24 * * *",
            "10-20/10 * * * *",
            "0 0 */31 */12 */7",
            "@daily",
        ] {
            assert_eq!(schedule(text).long_steps(), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_as_the_clock_of_the_zone_has_them() {
        for (name, shown) in [
            ("UTC", "2026-10-25T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T02:00:00+01:00"),
            ("Asia/Kathmandu", "2026-10-25T06:45:00+05:45"),
        ] {
            assert_eq!(zone(name).show(unix("2026-10-25T01:00:00Z")), shown);
        }
    }
}
