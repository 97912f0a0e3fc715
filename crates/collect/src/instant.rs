//! Times as clients write them, and the correction of their clocks.

use model::id::Timestamp;

/// Numbers from here on are milliseconds since 1970, smaller ones seconds: as seconds it is the year 5138.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// Instants beyond the years 0001 and 9999 are nobody's clock.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9_999;

/// When something happened, by the server's clock.
///
/// `sent_at` and `original` come from the same client clock, so their difference is right even where that clock is
/// not: occurred = received − (sent − original). Without `sent_at` the client's word stands; without a time at all it
/// happened when it arrived.
pub(crate) fn occurred_at(
    received_at: Timestamp,
    sent_at: Option<Timestamp>,
    original: Option<Timestamp>,
) -> Timestamp {
    match (sent_at, original) {
        (_, None) => received_at,
        (None, Some(original)) => original,
        (Some(sent_at), Some(original)) => received_at.plus_us(sent_at.since_us(original).saturating_neg()),
    }
}

/// Reads ISO 8601: date, or date and time with any number of fraction digits and `Z`, an offset or nothing (UTC).
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let mut rest = Digits { rest: text.trim().as_bytes() };
    let year = rest.number(4)?;
    rest.mark(b"-")?;
    let month = rest.number(2)?;
    rest.mark(b"-")?;
    let day = rest.number(2)?;
    let days = days_since_1970(year, month, day)?;
    let mut micros = days.checked_mul(86_400_000_000)?;
    if rest.rest.is_empty() {
        return Some(Timestamp(micros));
    }
    rest.mark(b"Tt ")?;
    let hour = rest.number(2)?;
    rest.mark(b":")?;
    let minute = rest.number(2)?;
    let second = if rest.mark(b":").is_some() { rest.number(2)? } else { 0 };
    // A leap second is the next second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    micros += ((hour * 60 + minute) * 60 + second) * 1_000_000;
    if rest.mark(b".,").is_some() {
        micros += rest.fraction_us()?;
    }
    micros -= rest.offset_minutes()? * 60_000_000;
    rest.rest.is_empty().then_some(Timestamp(micros))
}

/// Reads a JSON number as seconds or milliseconds since 1970; a fraction is left out.
pub(crate) fn parse_number(text: &str) -> Option<Timestamp> {
    let whole = text.split(['.', 'e', 'E']).next()?;
    if text.contains(['e', 'E']) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let micros_each = if number.unsigned_abs() >= FIRST_MILLISECONDS as u64 { 1_000 } else { 1_000_000 };
    let micros = number.checked_mul(micros_each)?;
    let earliest = days_since_1970(*YEARS.start(), 1, 1)? * 86_400_000_000;
    let latest = days_since_1970(*YEARS.end(), 12, 31)? * 86_400_000_000;
    (earliest..=latest).contains(&micros).then_some(Timestamp(micros))
}

struct Digits<'a> {
    rest: &'a [u8],
}

impl Digits<'_> {
    fn number(&mut self, count: usize) -> Option<i64> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        let mut value = 0;
        for byte in head {
            value = value * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        }
        self.rest = tail;
        Some(value)
    }

    fn mark(&mut self, any_of: &[u8]) -> Option<u8> {
        let (first, tail) = self.rest.split_first()?;
        any_of.contains(first).then(|| {
            self.rest = tail;
            *first
        })
    }

    /// Microseconds of the digits behind the point; digits beyond the sixth are left out.
    fn fraction_us(&mut self) -> Option<i64> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, tail) = self.rest.split_at_checked(count)?;
        if digits.is_empty() {
            return None;
        }
        self.rest = tail;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Some(padded.fold(0, |value, byte| value * 10 + i64::from(byte - b'0')))
    }

    fn offset_minutes(&mut self) -> Option<i64> {
        let Some(mark) = self.mark(b"Zz+-") else {
            return Some(0);
        };
        if mark.eq_ignore_ascii_case(&b'z') {
            return Some(0);
        }
        let hours = self.number(2)?;
        let minutes = if self.rest.is_empty() {
            0
        } else {
            self.mark(b":");
            self.number(2)?
        };
        if hours > 23 || minutes > 59 {
            return None;
        }
        let offset = hours * 60 + minutes;
        Some(if mark == b'-' { -offset } else { offset })
    }
}

/// Days from 1970-01-01 in the Gregorian calendar. `None` if there is no such day.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month_days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !YEARS.contains(&year) || !(1..=month_days).contains(&day) {
        return None;
    }
    // Years begin in March, so the leap day is the last one: Howard Hinnant's days_from_civil.
    let march_year = if month <= 2 { year - 1 } else { year };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_as_clients_write_them() {
        const SECOND: i64 = 1_795_304_739;
        let table = [
            ("2026-11-21T23:45:39Z", Some(SECOND * 1_000_000)),
            ("2026-11-21T23:45:39.150352+00:00", Some(SECOND * 1_000_000 + 150_352)),
            ("2026-11-21T23:45:39.1503529Z", Some(SECOND * 1_000_000 + 150_352)),
            ("2026-11-21T23:45:39.15Z", Some(SECOND * 1_000_000 + 150_000)),
            ("2026-11-22T01:15:39+0130", Some(SECOND * 1_000_000)),
            ("2026-11-21T18:45:39-05", Some(SECOND * 1_000_000)),
            ("2026-11-21 23:45:39", Some(SECOND * 1_000_000)),
            ("2026-11-21t23:45z", Some((SECOND - 39) * 1_000_000)),
            ("1970-01-01", Some(0)),
            ("1969-12-31T23:59:59Z", Some(-1_000_000)),
            ("2024-02-29", Some(1_709_164_800_000_000)),
            ("2023-02-29", None),
            ("2026-13-01", None),
            ("2026-11-21T24:00:00Z", None),
            ("2026-11-21T23:45:39.Z", None),
            ("2026-11-21T23:45:39Zjunk", None),
            ("2026-11-21T23:45:39+99:00", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).map(|at| at.0), expected, "{text:?}");
        }
        for (text, expected) in [
            ("1795304739", Some(SECOND * 1_000_000)),
            ("1795304739150", Some(SECOND * 1_000_000 + 150_000)),
            ("1795304739.5", Some(SECOND * 1_000_000)),
            ("-1", Some(-1_000_000)),
            ("1e300", None),
            ("999999999999999999", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(parse_number(text).map(|at| at.0), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_not(text in ".{0,40}|[0-9TZ:+. -]{0,40}|[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9:.+-]{0,20}") {
            let _ = parse(&text);
            let _ = parse_number(&text);
        }

        /// Whatever the client's clock says, what it measured between two events stays.
        #[test]
        fn a_wrong_clock_does_not_matter(received: u32, ago in 0_i64..1_000_000_000_000, error: i32) {
            let received_at = Timestamp(i64::from(received) * 1_000_000);
            let sent_at = received_at.plus_us(i64::from(error) * 1_000_000);
            let corrected = occurred_at(received_at, Some(sent_at), Some(sent_at.plus_us(-ago)));
            prop_assert_eq!(corrected, received_at.plus_us(-ago));
        }

        #[test]
        fn wild_values_never_panic(received: i64, sent: i64, original: i64) {
            occurred_at(Timestamp(received), Some(Timestamp(sent)), Some(Timestamp(original)));
        }
    }

    #[test]
    fn without_a_time_it_happened_when_it_arrived() {
        let received = Timestamp(1_000);
        assert_eq!(occurred_at(received, Some(Timestamp(5)), None), received);
        assert_eq!(occurred_at(received, None, None), received);
        assert_eq!(occurred_at(received, None, Some(Timestamp(7))), Timestamp(7));
    }
}
