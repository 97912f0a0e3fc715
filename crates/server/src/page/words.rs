//! Figures as people read them.

use crate::calendar::iso;
use model::money::exponent;

/// No text from outside is shown longer, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// `1,234`, and from a hundred thousand on `123 k`, `1.2 M`.
pub(super) fn count(value: i64) -> String {
    let magnitude = value.unsigned_abs();
    if magnitude < 100_000 {
        return grouped(value);
    }
    short(value as f64)
}

/// As [`count`], of what is never below zero.
pub(super) fn total(value: u64) -> String {
    count(i64::try_from(value).unwrap_or(i64::MAX))
}

/// `0`, `0.3`, `12`, `1.2 k` a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second <= 0.0 || !per_second.is_finite() {
        "0".to_owned()
    } else if per_second < 9.95 {
        format!("{:.1}", per_second.max(0.1))
    } else if per_second < 999.5 {
        format!("{per_second:.0}")
    } else {
        short(per_second)
    }
}

/// `EUR 12,345.67`: minor units of a currency.
pub(super) fn money(minor: i64, currency: Option<&str>) -> String {
    let code: Option<[u8; 3]> = currency.and_then(|code| code.as_bytes().try_into().ok());
    let places = u32::from(code.map_or(2, exponent));
    let scale = 10_u64.pow(places.min(18));
    let (whole, rest) = (minor.unsigned_abs() / scale, minor.unsigned_abs() % scale);
    let sign = if minor < 0 { "−" } else { "" };
    let code = currency.map(|code| format!("{code} ")).unwrap_or_default();
    let whole = digits(&whole.to_string());
    match places {
        0 => format!("{code}{sign}{whole}"),
        _ => format!("{code}{sign}{whole}.{rest:0width$}", width = places as usize),
    }
}

/// `3 d 4 h`, `2 min 5 s`, `1.4 s`, `45 ms`: the two largest units.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: u64, unit: &str, small: u64, other: &str| match small {
        0 => format!("{} {unit}", digits(&large.to_string())),
        small => format!("{} {unit} {small} {other}", digits(&large.to_string())),
    };
    match seconds {
        86_400.. => two(days, "d", hours, "h"),
        3_600.. => two(hours, "h", minutes, "min"),
        60.. => two(minutes, "min", seconds % 60, "s"),
        10.. => format!("{seconds} s"),
        1.. => format!("{}.{} s", seconds, ms % 1_000 / 100),
        0 => format!("{ms} ms"),
    }
}

/// `12.3 %`; a dash where there is nothing to take a share of.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1} %"))
}

/// `1.5 GB`.
pub(super) fn bytes(value: u64) -> String {
    if value < 1_000 { format!("{value} B") } else { format!("{}B", short(value as f64)) }
}

/// `2026-11-22 14:05:09 UTC`.
pub(super) fn instant(at_us: i64) -> String {
    let text = iso(at_us);
    format!("{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default())
}

/// `2026-11-22 14:05`, of an instant in ISO 8601.
pub(super) fn minute(text: &str) -> String {
    format!("{} {}", text.get(..10).unwrap_or(text), text.get(11..16).unwrap_or_default())
}

/// Text from outside, cut where it would fill the page.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn short(value: f64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut scaled, mut unit) = (value, 0);
    // What would be rounded to 1,000 of a unit is 1 of the next.
    while scaled.abs() >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1_000.0;
        unit += 1;
    }
    let digits = if scaled.abs() < 99.95 { format!("{scaled:.1}") } else { format!("{scaled:.0}") };
    format!("{digits} {}", UNITS.get(unit).copied().unwrap_or_default())
}

fn grouped(value: i64) -> String {
    let sign = if value < 0 { "−" } else { "" };
    format!("{sign}{}", digits(&value.unsigned_abs().to_string()))
}

/// A comma after every third digit from the right.
fn digits(text: &str) -> String {
    let mut grouped = String::with_capacity(text.len() + text.len() / 3);
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short_and_money_is_exact() {
        let table = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345, "−12,345"),
            (99_999, "99,999"),
            (100_000, "100 k"),
            (999_499, "999 k"),
            (999_500, "1.0 M"),
            (1_234_567, "1.2 M"),
            (i64::MAX, "9223 P"),
            (i64::MIN, "-9223 P"),
        ];
        for (value, expected) in table {
            assert_eq!(count(value), expected, "{value}");
        }
        let table = [
            (1_234_567, Some("EUR"), "EUR 12,345.67"),
            (-5, Some("EUR"), "EUR −0.05"),
            (1_234_567, Some("JPY"), "JPY 1,234,567"),
            (1_234_567, Some("KWD"), "KWD 1,234.567"),
            (100, None, "1.00"),
            (i64::MIN, Some("EUR"), "EUR −92,233,720,368,547,758.08"),
        ];
        for (minor, currency, expected) in table {
            assert_eq!(money(minor, currency), expected);
        }
    }

    #[test]
    fn spans_show_their_two_largest_units() {
        let (second, minute, hour, day) = (1_000, 60_000, 3_600_000, 86_400_000);
        let table = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_449, "1.4 s"),
            (9_999, "9.9 s"),
            (59 * second, "59 s"),
            (2 * minute + 5 * second, "2 min 5 s"),
            (2 * minute, "2 min"),
            (5 * hour + 59 * minute, "5 h 59 min"),
            (3 * day + 4 * hour, "3 d 4 h"),
            (2_000 * day, "2,000 d"),
        ];
        for (ms, expected) in table {
            assert_eq!(span(ms), expected);
        }
    }

    #[test]
    fn rates_shares_bytes_and_instants() {
        let rates =
            [(0.0, "0"), (f64::NAN, "0"), (0.01, "0.1"), (9.94, "9.9"), (12.4, "12"), (12_345.0, "12.3 k")];
        for (per_second, expected) in rates {
            assert_eq!(rate(per_second), expected);
        }
        assert_eq!((percent(None), percent(Some(12.34))), ("–".to_owned(), "12.3 %".to_owned()));
        assert_eq!((bytes(999), bytes(1_500_000)), ("999 B".to_owned(), "1.5 MB".to_owned()));
        assert_eq!(instant(1_503_157_153_000_000), "2017-08-19 15:39:13 UTC");
        assert_eq!(minute("2017-08-19T15:39:13.000Z"), "2017-08-19 15:39");
        assert_eq!(cut(&"ü".repeat(301)).chars().count(), 301);
        assert_eq!(cut("short"), "short");
    }
}
