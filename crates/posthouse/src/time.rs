//! Times as people and machines read them: RFC 3339, UTC. Nothing here reads a clock.

/// `2026-11-22T06:15:25Z` for seconds since 1970.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// How long ago something was, by its largest unit: `12 s ago`, `3 min ago`, `5 h ago`, `2 d ago`.
pub(crate) fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// The date that is `days` after 1970-01-01, by the 400 years after which the calendar repeats itself
/// (H. Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Seconds since 1970 at which a day begins in Greenwich; none if there was no such day, or before 1970.
pub(crate) fn start_of_day(year: u16, month: u16, day: u16) -> Option<i64> {
    let (wanted, month_of) =
        ((u64::from(year), u64::from(month), u64::from(day)), u64::from(month));
    if !(1..=12).contains(&month) || day == 0 || year < 1970 {
        return None;
    }
    let year = u64::from(year) - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = (month_of + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + u64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    // The 31st of April would be the 1st of May.
    (date(days) == wanted).then(|| i64::try_from(days * 86_400).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_by_its_largest_unit() {
        for (seconds, wanted) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (3599, "59 min ago"),
            (90_000, "25 h ago"),
            (172_800, "2 d ago"),
        ] {
            assert_eq!(ago(seconds), wanted);
        }
    }

    #[test]
    fn known_times_are_written_as_known() {
        for (seconds, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), wanted);
        }
    }

    #[test]
    fn a_day_begins_at_midnight_and_one_that_never_was_not_at_all() {
        assert_eq!(start_of_day(1970, 1, 1), Some(0));
        assert_eq!(start_of_day(2000, 2, 29), Some(951_782_400));
        assert_eq!(start_of_day(2100, 3, 1), Some(4_107_542_400));
        let never = [
            (2100, 2, 29),
            (2024, 4, 31),
            (2024, 13, 1),
            (2024, 0, 1),
            (2024, 1, 0),
            (1969, 12, 31),
        ];
        for (year, month, day) in never {
            assert_eq!(start_of_day(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}
