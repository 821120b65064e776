//! Times as senders write them.

use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// A time after RFC 3339.
pub(super) fn of_cloud_event(text: &str) -> Option<Timestamp> {
    let time: Instant = text.parse().ok()?;
    Some(unix(time))
}

/// The same, or without an offset, as some stores write UTC.
pub(super) fn of_store(text: &str) -> Option<Timestamp> {
    of_cloud_event(text).or_else(|| {
        let time: DateTime = text.parse().ok()?;
        let zoned = TimeZone::UTC.to_timestamp(time).ok()?;
        Some(unix(zoned))
    })
}

/// In milliseconds; what is before 1970 is 1970.
fn unix(time: Instant) -> Timestamp {
    u64::try_from(time.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(of_cloud_event("1970-01-01T00:00:01.5Z"), Some(1_500));
        assert_eq!(of_cloud_event("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(of_cloud_event("1969-01-01T00:00:00Z"), Some(0));
        assert_eq!(of_cloud_event("1970-01-01T00:00:01"), None);
        assert_eq!(of_store("1970-01-01T00:00:01.123456"), Some(1_123));
        assert_eq!(of_store("1970-01-01T00:00:01Z"), Some(1_000));
        for bad in ["", "today", "1970-01-01", "1970-13-01T00:00:00Z"] {
            assert_eq!(of_cloud_event(bad), None, "{bad}");
        }
        assert_eq!(of_store("yesterday"), None);
    }
}
