//! Writing JSON: bytes behind bytes, nothing in between.

use model::id::Timestamp;
use std::io::Write as _;

/// What stands for a byte inside quotes; 0 where it stands for itself, 1 where its number is written.
const ESCAPES: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = 1;
        byte += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

/// Writes a text, with its quotes.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    inside(out, text);
    out.push(b'"');
}

/// Writes a part of a text, without quotes.
pub(crate) fn inside(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = ESCAPES.get(usize::from(*byte)).copied().unwrap_or(0);
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(bytes.get(plain_from..at).unwrap_or_default());
        plain_from = at + 1;
        if escape == 1 {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(bytes.get(plain_from..).unwrap_or_default());
}

fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// Writes a whole number.
pub(crate) fn int(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Writes an amount as the platform does: in quotes, with at least one digit behind the point and no needless zeros.
pub(crate) fn amount(out: &mut Vec<u8>, minor: i64, exponent: u8) {
    let unit = 10_u64.pow(u32::from(exponent.min(6)));
    let size = minor.unsigned_abs();
    let (whole, mut part, mut places) = (size / unit, size % unit, usize::from(exponent.min(6)));
    while places > 1 && part % 10 == 0 {
        part /= 10;
        places -= 1;
    }
    let sign = if minor < 0 { "-" } else { "" };
    // Writing to memory cannot fail.
    let _ = match places {
        0 => write!(out, "\"{sign}{whole}.0\""),
        _ => write!(out, "\"{sign}{whole}.{part:0places$}\""),
    };
}

/// Writes an instant as the platform does: RFC 3339, UTC, in whole seconds.
pub(crate) fn instant(out: &mut Vec<u8>, at: Timestamp) {
    let seconds = at.0.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let _ = write!(
        out,
        "\"{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z\"",
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn amounts_have_the_places_of_their_currency_without_needless_zeros() {
        for (minor, exponent, expected) in [
            (1_000, 2, "10.0"),
            (1_999, 2, "19.99"),
            (1_990, 2, "19.9"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (500, 0, "500.0"),
            (1_234, 3, "1.234"),
            (1_200, 3, "1.2"),
            (0, 2, "0.0"),
            (i64::MIN, 0, "-9223372036854775808.0"),
        ] {
            assert_eq!(written(|out| amount(out, minor, exponent)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn texts_are_read_back_by_a_reader_of_json() {
        for wanted in ["", "plain", "\"\\\n\r\t\u{0}\u{1f}", "Käse 🧀 \u{2028}", "</script>"] {
            let json = written(|out| text(out, wanted));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), wanted);
        }
    }

    #[test]
    fn instants_are_days_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            let at = Timestamp(seconds * 1_000_000);
            assert_eq!(written(|out| instant(out, at)), format!("\"{expected}\""));
        }
    }
}
