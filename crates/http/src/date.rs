//! Dates of HTTP (RFC 9110, section 5.6.7), as seconds since 1970-01-01 00:00 UTC.

use core::fmt;

/// A date in the only format that is sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDate(pub u64);

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The format has four digits for the year.
        let seconds = self.0.min(LAST);
        let days = seconds / DAY;
        let (year, month, day) = civil(days);
        let weekday = name(&WEEKDAYS, (days + 4) % 7);
        let month = name(&MONTHS, month - 1);
        let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

/// Reads a date in any of the three formats that a recipient must know.
///
/// `now` settles the century of a year with two digits: it is the one that is at most 50 years ahead.
#[must_use]
pub fn parse(text: &str, now: u64) -> Option<u64> {
    let mut words = text.split_ascii_whitespace();
    let weekday = words.next()?;
    if let Some(short) = weekday.strip_suffix(',') {
        if WEEKDAYS.contains(&short) {
            let (day, month, year) = (words.next()?, words.next()?, words.next()?);
            let time = date(digits(year, 4)?, month, digits(day, 2)?, words.next()?)?;
            return ends_with_zone(words).then_some(time);
        }
        if !LONG_WEEKDAYS.contains(&short) {
            return None;
        }
        let mut parts = words.next()?.split('-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        let year = full_year(digits(year, 2)?, civil(now.min(LAST) / DAY).0);
        let time = date(year, month, digits(day, 2)?, words.next()?)?;
        return (parts.next().is_none() && ends_with_zone(words)).then_some(time);
    }
    if !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let (month, day, clock, year) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let day = digits(day, day.len().min(2))?;
    if words.next().is_some() { None } else { date(digits(year, 4)?, month, day, clock) }
}

fn ends_with_zone<'a>(mut words: impl Iterator<Item = &'a str>) -> bool {
    words.next() == Some("GMT") && words.next().is_none()
}

fn date(year: u64, month: &str, day: u64, clock: &str) -> Option<u64> {
    let month = 1 + MONTHS.iter().zip(0..).find(|(name, _)| **name == month)?.1;
    let mut parts = clock.split(':').map(|part| digits(part, 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // 60 is a leap second.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 || year < 1970 {
        return None;
    }
    let days = days(year, month, day);
    // A day that its month does not have becomes one of the next.
    if civil(days) != (year, month, day) {
        return None;
    }
    Some(days * DAY + hour * 3600 + minute * 60 + second)
}

fn digits(text: &str, length: usize) -> Option<u64> {
    let valid = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

fn full_year(short: u64, now: u64) -> u64 {
    let year = now - now % 100 + short;
    if year > now + 50 { year - 100 } else { year }
}

/// Year, month and day of the month of a number of days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last. An era is 400 years: 146,097 days.
    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next, month, day)
}

/// Days since 1970-01-01 of a date that is not before it.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day.saturating_sub(1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(DAYS_BEFORE_1970)
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;
/// Seconds of a day.
const DAY: u64 = 86_400;
/// The last second of the year 9999.
const LAST: u64 = 253_402_300_799;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// The date that RFC 9110 uses throughout.
    #[test]
    fn all_three_formats_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(parse(text, NOW), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn dates_are_written_as_the_first_format() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_164_799, "Wed, 28 Feb 2024 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(HttpDate(seconds).to_string(), expected);
        }
    }

    #[test]
    fn years_of_two_digits_are_at_most_50_years_ahead() {
        let in_2027 = 1_800_000_000;
        let year = |text: &str| civil(parse(text, in_2027).unwrap() / DAY).0;
        assert_eq!(year("Friday, 01-Jan-77 00:00:00 GMT"), 2077);
        assert_eq!(year("Friday, 01-Jan-78 00:00:00 GMT"), 1978);
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in [
            "",
            "Sun",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 +8:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Xxx, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-94-1 08:49:37 GMT",
            "Sun Nov 6 08:49:37 94",
            "Sun Nov 006 08:49:37 1994",
        ] {
            assert_eq!(parse(text, NOW), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_date_is_read_as_it_is_written(seconds in 0..=LAST) {
            prop_assert_eq!(parse(&HttpDate(seconds).to_string(), NOW), Some(seconds));
        }

        #[test]
        fn no_text_is_too_strange(text in any::<String>(), now in any::<u64>()) {
            let _ = parse(&text, now);
        }
    }
}
