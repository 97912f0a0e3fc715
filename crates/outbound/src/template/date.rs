//! Times in templates. All of them are UTC: what a shop's day is, nobody here knows.

use crate::platform::message::read_instant;
use crate::render::format_instant;
use model::id::Timestamp;
use std::fmt::Write as _;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Reads a time: RFC 3339, or whole seconds since 1970.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000_000).map(Timestamp);
    }
    read_instant(text)
}

/// Writes a time by the directives of `strftime` that do not depend on a language but English.
pub(super) fn write(instant: Timestamp, format: &str) -> String {
    // `2026-11-22T04:51:00.000000Z`: every field has its place.
    let written = format_instant(instant);
    let field = |from: usize, to: usize| written.get(from..to).unwrap_or_default();
    let number = |from: usize, to: usize| field(from, to).parse::<usize>().unwrap_or(0);
    let seconds = instant.0.div_euclid(1_000_000);
    let day = usize::try_from(seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let weekday = DAYS.get(day).copied().unwrap_or_default();
    let month = number(5, 7).checked_sub(1).and_then(|month| MONTHS.get(month)).copied().unwrap_or_default();
    let hour = number(11, 13);
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        // Writing to a String cannot fail.
        let _ = match characters.next() {
            Some('Y') => out.write_str(field(0, 4)),
            Some('y') => out.write_str(field(2, 4)),
            Some('m') => out.write_str(field(5, 7)),
            Some('d') => out.write_str(field(8, 10)),
            Some('e') => write!(out, "{:>2}", number(8, 10)),
            Some('H') => out.write_str(field(11, 13)),
            Some('I') => write!(out, "{:02}", (hour + 11) % 12 + 1),
            Some('M') => out.write_str(field(14, 16)),
            Some('S') => out.write_str(field(17, 19)),
            Some('L') => out.write_str(field(20, 23)),
            Some('p') => out.write_str(if hour < 12 { "AM" } else { "PM" }),
            Some('B') => out.write_str(month),
            Some('b') => out.write_str(month.get(..3).unwrap_or_default()),
            Some('A') => out.write_str(weekday),
            Some('a') => out.write_str(weekday.get(..3).unwrap_or_default()),
            Some('F') => out.write_str(field(0, 10)),
            Some('T') => out.write_str(field(11, 19)),
            Some('s') => write!(out, "{seconds}"),
            Some('z') => out.write_str("+0000"),
            Some('Z') => out.write_str("UTC"),
            Some('%') => out.write_str("%"),
            Some(other) => write!(out, "%{other}"),
            None => out.write_str("%"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From GNU date: `LC_ALL=C date -u -d @SECONDS +FORMAT`.
    #[test]
    fn times_are_written_as_others_write_them() {
        let table = [
            ("2026-11-22T04:51:09.123456Z", "%A, %e %B %Y %H:%M:%S", "Sunday, 22 November 2026 04:51:09"),
            (
                "2026-01-02T00:00:00Z",
                "%a %b %d %y %I %p|%e|%F %T",
                "Fri Jan 02 26 12 AM| 2|2026-01-02 00:00:00",
            ),
            ("2026-01-02T13:00:00Z", "%I %p %s %z %Z %% %q %", "01 PM 1767358800 +0000 UTC % %q %"),
            ("1969-12-31T23:59:59Z", "%A %s", "Wednesday -1"),
            ("1700000000", "%FT%T.%L", "2023-11-14T22:13:20.000"),
        ];
        for (time, format, expected) in table {
            assert_eq!(write(read(time).unwrap(), format), expected, "{time}");
        }
        for time in ["", "soon", "2026-13-01", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(read(time), None, "{time}");
        }
    }
}
