//! Instants as people and clients write them. All of them are UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A day, in microseconds.
pub const DAY_US: i64 = 24 * HOUR_US;
/// An hour, in microseconds.
pub const HOUR_US: i64 = 3_600 * SECOND_US;
/// A minute, in microseconds.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// A second, in microseconds.
pub const SECOND_US: i64 = 1_000_000;

/// Now, in microseconds since 1970.
pub fn now_us() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX)
}

/// `2017-08-19T15:39:13.000Z`.
pub fn iso(at_us: i64) -> String {
    let of_day_us = at_us.rem_euclid(DAY_US);
    let (hour, minute) = (of_day_us / HOUR_US, of_day_us / MINUTE_US % 60);
    let (second, millisecond) = (of_day_us / SECOND_US % 60, of_day_us / 1_000 % 1_000);
    format!("{}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", date(at_us))
}

/// `2017-08-19`.
pub fn date(at_us: i64) -> String {
    let (year, month, day) = civil(at_us.div_euclid(DAY_US));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar: counted in eras of 400 years that begin on
/// 1 March, so that the leap day is the last of its year.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_spelled_right() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999_999, "2000-02-29T23:59:59.999Z"),
            (1_503_157_153_000_000, "2017-08-19T15:39:13.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (at_us, expected) in cases {
            assert_eq!(iso(at_us), expected);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for since in 0..146_097 {
            assert_eq!(civil(since), (year, month, day));
            let length = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
