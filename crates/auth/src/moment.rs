//! The time of day in UTC, for policies and for the audit.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since 1970-01-01T00:00:00Z; a clock set before then counts as that.
    millis: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        Self {
            millis: u64::try_from(millis).unwrap_or(u64::MAX),
        }
    }

    #[cfg(test)]
    pub(crate) fn from_seconds(seconds: u64) -> Self {
        Self {
            millis: seconds * 1000,
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) fn seconds(self) -> i64 {
        i64::try_from(self.millis / 1000).unwrap_or(i64::MAX)
    }

    /// 0 to 23.
    pub(crate) fn hour(self) -> i64 {
        self.seconds() / 3600 % 24
    }

    /// 1 (Monday) to 7 (Sunday). The first day of 1970 was a Thursday.
    #[cfg(any(test, feature = "cedar"))]
    pub(crate) fn weekday(self) -> i64 {
        (self.seconds() / 86_400 + 3) % 7 + 1
    }

    /// As RFC 3339 writes it, with milliseconds: `2026-11-24T09:05:00.123Z`.
    pub(crate) fn rfc3339(self) -> String {
        let seconds = self.seconds();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (self.hour(), seconds / 60 % 60, seconds % 60);
        let millis = self.millis % 1000;
        // By hand: every audit line has one, and the formatting of the library is slower.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (number, end, digits) in [
            (year, 4, 4),
            (month, 7, 2),
            (day, 10, 2),
            (hour, 13, 2),
            (minute, 16, 2),
            (second, 19, 2),
            (i64::try_from(millis).unwrap_or(0), 23, 3),
        ] {
            put_digits(&mut text, end, digits, number);
        }
        let text = std::str::from_utf8(&text).unwrap_or_default();
        match year > 9999 {
            // A clock that far off; the year has more digits than there is room for.
            true => format!("{year}{}", text.get(4..).unwrap_or_default()),
            false => text.to_owned(),
        }
    }
}

/// Puts the last digits of a number of 0 or more before `end`.
fn put_digits(text: &mut [u8], end: usize, digits: usize, number: i64) {
    let mut number = u32::try_from(number % 10_000).unwrap_or(0);
    for place in text.iter_mut().take(end).rev().take(digits) {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Year, month and day of a day counted from 1970-01-01 (0 or later), in the Gregorian calendar.
/// Counted in years that begin in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097; // days in 400 years
    let shifted = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_rfc_3339() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_795_511_100, "2026-11-24T09:05:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_800, "10000-01-01T00:00:00.000Z"),
        ];
        for (seconds, text) in rows {
            assert_eq!(Moment::from_seconds(seconds).rfc3339(), text);
        }
    }

    #[test]
    fn a_tuesday_is_the_second_day_of_the_week() {
        let moment = Moment::from_seconds(1_795_511_100);
        assert_eq!((moment.weekday(), moment.hour()), (2, 9));
    }
}
