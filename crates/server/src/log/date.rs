//! The date as logs write it, always in UTC. The calendar is httpdate's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A second, in the ways that the formats write it.
#[derive(Clone, Debug)]
pub(crate) struct Date {
    /// `2026-11-23 15:34:46 `, as W3C has it, with a space behind it.
    pub(crate) w3c: Vec<u8>,
    /// `2026-11-23T15:34:46Z` (RFC 3339).
    pub(crate) rfc3339: Vec<u8>,
    /// `[23/Nov/2026:15:34:46 +0000]`, as Apache has it.
    pub(crate) apache: Vec<u8>,
    /// Hours since 1970.
    pub(crate) hour: u32,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const HOUR: Duration = Duration::from_secs(3600);

impl Date {
    pub(crate) fn of(time: SystemTime) -> Self {
        let parts = Parts::of(time);
        let Parts { year, month, name, day, clock } = &parts;
        Self {
            w3c: format!("{year}-{month:02}-{day} {clock} ").into_bytes(),
            rfc3339: format!("{year}-{month:02}-{day}T{clock}Z").into_bytes(),
            apache: format!("[{day}/{name}/{year}:{clock} +0000]").into_bytes(),
            hour: hour_of(time),
        }
    }
}

/// `2026-11-23 15:34:46`.
pub(crate) fn text(time: SystemTime) -> String {
    let Parts { year, month, day, clock, .. } = Parts::of(time);
    format!("{year}-{month:02}-{day} {clock}")
}

/// The day in the name of a file: `261123`.
pub(crate) fn day_digits(hour: u32) -> String {
    let Parts { year, month, day, .. } = Parts::of(time_of(hour));
    let year = year.get(2..).unwrap_or_default();
    format!("{year}{month:02}{day}")
}

/// The hour in the name of a file: `26112315`.
pub(crate) fn hour_digits(hour: u32) -> String {
    let of_day = hour % 24;
    format!("{}{of_day:02}", day_digits(hour))
}

/// Hours from 1970 to `time`.
pub(crate) fn hour_of(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / HOUR.as_secs()).unwrap_or(u32::MAX)
}

fn time_of(hour: u32) -> SystemTime {
    UNIX_EPOCH + HOUR * hour
}

/// Year, month, day and time of day.
struct Parts {
    year: String,
    month: usize,
    name: &'static str,
    day: String,
    clock: String,
}

impl Parts {
    /// Read from `Mon, 23 Nov 2026 15:34:46 GMT`, whose parts stand in fixed places (RFC 9110,
    /// 5.6.7).
    fn of(time: SystemTime) -> Self {
        // It has four digits for the year and panics beyond them.
        let last = UNIX_EPOCH + HOUR * 24 * 365 * 8000;
        let text = httpdate::fmt_http_date(time.clamp(UNIX_EPOCH, last));
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let month = MONTHS.iter().position(|month| *month == part(8, 11)).unwrap_or_default();
        Self {
            year: part(12, 16).to_owned(),
            month: month + 1,
            name: MONTHS.get(month).copied().unwrap_or_default(),
            day: part(5, 7).to_owned(),
            clock: part(17, 25).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_written_in_every_way_that_a_format_wants() {
        let time = UNIX_EPOCH + Duration::from_secs(1_709_208_007);
        let date = Date::of(time);
        assert_eq!(date.w3c, b"2024-02-29 12:00:07 ");
        assert_eq!(date.rfc3339, b"2024-02-29T12:00:07Z");
        assert_eq!(date.apache, b"[29/Feb/2024:12:00:07 +0000]");
        assert_eq!(text(time), "2024-02-29 12:00:07");
        assert_eq!(day_digits(date.hour), "240229");
        assert_eq!(hour_digits(date.hour), "24022912");
    }

    #[test]
    fn a_clock_that_is_far_off_is_written_too() {
        assert_eq!(text(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01 00:00:00");
        assert!(text(UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 100)).starts_with('9'));
        assert_eq!(day_digits(0), "700101");
    }
}
