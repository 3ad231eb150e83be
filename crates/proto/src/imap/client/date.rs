//! INTERNALDATE (RFC 3501 section 9, `date-time`).
//!
//! Nothing here corrects a date: one that cannot be is kept as it came.

use std::fmt;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a server says of when it received a message.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Date {
    /// In the form of a date, which may still be none ([`InternalDate::is_valid`]).
    Read(InternalDate),
    /// In no form that has a name; as it came.
    Broken(Vec<u8>),
}

impl Date {
    /// Reads what stands between the quotes.
    pub fn parse(bytes: &[u8]) -> Self {
        InternalDate::parse(bytes).map_or_else(|| Self::Broken(bytes.to_vec()), Self::Read)
    }
}

/// A date and time with a zone, as far as digits go: `00-Jan-0000` is one too.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InternalDate {
    year: u16,
    /// 1 to 12.
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    /// Minutes east of Greenwich.
    zone: i16,
}

impl InternalDate {
    /// Reads `dd-Mon-yyyy hh:mm:ss +zzzz`; the day may have one digit, with a space before it or not.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (date, rest) = text.trim_start().split_once(' ')?;
        let (time, zone) = rest.split_once(' ')?;
        let mut date = date.split('-');
        let (day, month, year) = (date.next()?, date.next()?, date.next()?);
        let mut time = time.split(':');
        let (hour, minute, second) = (time.next()?, time.next()?, time.next()?);
        if date.next().is_some() || time.next().is_some() {
            return None;
        }
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
        Some(Self {
            year: digits(year, 4..=4)?,
            month: u8::try_from(month + 1).ok()?,
            day: u8::try_from(digits(day, 1..=2)?).ok()?,
            hour: u8::try_from(digits(hour, 2..=2)?).ok()?,
            minute: u8::try_from(digits(minute, 2..=2)?).ok()?,
            second: u8::try_from(digits(second, 2..=2)?).ok()?,
            zone: read_zone(zone)?,
        })
    }

    /// The date at which so many seconds have passed since 1970, in UTC; `None` before the year 0 and after
    /// 9999.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        let (days, left) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        Some(Self {
            year: u16::try_from(year).ok().filter(|year| *year <= 9999)?,
            month: u8::try_from(month).ok()?,
            day: u8::try_from(day).ok()?,
            hour: u8::try_from(left / 3600).ok()?,
            minute: u8::try_from(left / 60 % 60).ok()?,
            second: u8::try_from(left % 60).ok()?,
            zone: 0,
        })
    }

    /// The same moment as [`Self::from_unix`] says, as a clock shows it so many minutes east of Greenwich.
    pub fn from_unix_in(seconds: i64, zone: i16) -> Option<Self> {
        let shown = Self::from_unix(seconds.checked_add(i64::from(zone) * 60)?)?;
        Some(Self { zone, ..shown })
    }

    /// Minutes east of Greenwich.
    pub fn zone(&self) -> i16 {
        self.zone
    }

    /// Whether there is such a moment (a leap second is one), in a zone that there can be, so that servers take
    /// it.
    pub fn is_valid(&self) -> bool {
        (1..=self.days_in_month()).contains(&self.day)
            && self.year > 0
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
            && self.zone.unsigned_abs() < 24 * 60
    }

    /// Seconds since 1970 in UTC; `None` if there is no such moment.
    pub fn unix(&self) -> Option<i64> {
        let days = days(i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let time = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60;
        let seconds = days * 86_400 + time + i64::from(self.second) - i64::from(self.zone) * 60;
        self.is_valid().then_some(seconds)
    }

    fn days_in_month(&self) -> u8 {
        match self.month {
            4 | 6 | 9 | 11 => 30,
            2 if self.year.is_multiple_of(4)
                && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400)) =>
            {
                29
            }
            2 => 28,
            _ => 31,
        }
    }
}

/// As it stands on the wire, 26 bytes.
impl fmt::Display for InternalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, zone } = self;
        let month = MONTHS.get(usize::from(month.saturating_sub(1))).unwrap_or(&"Jan");
        let sign = if *zone < 0 { '-' } else { '+' };
        let (zone_hour, zone_minute) = (zone.unsigned_abs() / 60, zone.unsigned_abs() % 60);
        write!(f, "{day:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} ")?;
        write!(f, "{sign}{zone_hour:02}{zone_minute:02}")
    }
}

fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let fits = count.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn read_zone(text: &str) -> Option<i16> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+')?),
    };
    let zone = i16::try_from(digits(text, 4..=4)?).ok()?;
    // Minutes above 59 could not be written again as they came.
    (zone % 100 < 60).then(|| sign * (zone / 100 * 60 + zone % 100))
}

/// Days since 1970 of a date in the Gregorian calendar, by eras of 400 years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The opposite: year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12 + 1;
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> InternalDate {
        InternalDate::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_moment_has_a_date_in_every_zone() {
        for zone in [0, 60, -720, 840, -210] {
            let date = InternalDate::from_unix_in(1_000_000_000, zone).unwrap();
            assert_eq!((date.unix(), date.zone()), (Some(1_000_000_000), zone));
        }
        let date = InternalDate::from_unix_in(0, -90).unwrap();
        assert_eq!(date.to_string(), "31-Dec-1969 22:30:00 -0130");
    }

    #[test]
    fn dates_are_moments() {
        for (text, seconds) in [
            ("01-Jan-1970 00:00:00 +0000", 0),
            ("17-Jul-1996 02:44:25 -0700", 837_596_665),
            ("31-Dec-1901 23:59:59 +0000", -2_145_916_801),
            ("29-Feb-2040 12:00:00 +1400", 2_214_079_200),
            ("31-Dec-9999 23:59:59 -1200", 253_402_343_999),
        ] {
            assert_eq!(date(text).unix(), Some(seconds), "{text}");
            assert_eq!(date(text).to_string(), text);
        }
        assert_eq!(
            InternalDate::from_unix(837_596_665).unwrap(),
            date("17-Jul-1996 09:44:25 +0000")
        );
        assert_eq!(InternalDate::from_unix(i64::MAX), None);
    }

    #[test]
    fn a_day_may_have_one_digit() {
        assert_eq!(date(" 1-Feb-2001 01:02:03 +0000"), date("01-Feb-2001 01:02:03 +0000"));
        assert_eq!(date("1-feb-2001 01:02:03 +0000"), date("01-Feb-2001 01:02:03 +0000"));
    }

    #[test]
    fn an_impossible_date_survives() {
        for text in [
            "00-Jan-0000 00:00:00 +0000",
            "31-Feb-2001 00:00:00 +0000",
            "01-Jan-2001 24:61:61 +0000",
            "01-Jan-2001 00:00:00 +9959",
        ] {
            assert!(!date(text).is_valid(), "{text}");
            assert_eq!(date(text).unix(), None);
            assert_eq!(date(text).to_string(), text);
        }
        assert!(date("31-Dec-2016 23:59:60 +0000").is_valid());
    }

    #[test]
    fn what_is_no_date_is_kept_as_it_came() {
        for text in ["", "yesterday", "01-Foo-2001 00:00:00 +0000", "1-Jan-2001 0:00:00 +00:00"] {
            assert_eq!(Date::parse(text.as_bytes()), Date::Broken(text.as_bytes().to_vec()));
        }
    }
}
