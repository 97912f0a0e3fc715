//! What properties, traits and features are worth: typed, exact, ordered.

use crate::feature::json;
use crate::id::Timestamp;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// Micro-units in one: numbers are kept to six decimal places.
pub const MICRO: i64 = 1_000_000;
/// The largest number that is believed, either side of zero, in micro-units (10^12 units). More is no number.
pub const MAX_NUMBER_MICRO: i64 = 1_000_000_000_000 * MICRO;
/// The longest text that is kept by a feature, in bytes; longer ones are cut at a character.
pub const MAX_VALUE_BYTES: usize = 64;
/// The longest text that is read as a number.
const MAX_DECIMAL_BYTES: usize = 64;
/// Exponents beyond this say no more than this one does.
const MAX_EXPONENT: i64 = 100;

/// A value. There are no floating point numbers: the same facts give the same bytes on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Nothing was said, or nothing that can be used. Equal to nothing, and in no order with anything.
    Absent,
    /// True or false.
    Bool(bool),
    /// A number in micro-units.
    Number(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// An instant.
    Time(Timestamp),
    /// A length of time in microseconds.
    Duration(i64),
}

impl<'a> Value<'a> {
    /// Reads a JSON value. Objects, arrays and `null` are [`Value::Absent`].
    pub fn from_json(raw: &'a [u8]) -> Self {
        match raw.first() {
            Some(b'"') => json::text(raw).map_or(Value::Absent, Value::Text),
            Some(b't') if raw == b"true" => Value::Bool(true),
            Some(b'f') if raw == b"false" => Value::Bool(false),
            Some(b'-' | b'0'..=b'9') => {
                let digits = std::str::from_utf8(raw).ok().and_then(decimal);
                digits.map_or(Value::Absent, Value::Number)
            }
            _ => Value::Absent,
        }
    }

    /// Whether there is a value.
    pub fn is_present(&self) -> bool {
        !matches!(self, Value::Absent)
    }

    /// Whether this is the value `true`.
    pub fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }

    /// The order of two values of one type; `None` where there is none.
    pub fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(one), Value::Bool(two)) => Some(one.cmp(two)),
            (Value::Number(one), Value::Number(two)) => Some(one.cmp(two)),
            (Value::Text(one), Value::Text(two)) => Some(one.as_ref().cmp(two.as_ref())),
            (Value::Time(one), Value::Time(two)) => Some(one.cmp(two)),
            (Value::Duration(one), Value::Duration(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }

    /// As a number: text that spells one is read, anything else is absent. Shops send prices as either.
    pub fn to_number(&self) -> Value<'static> {
        match self {
            Value::Number(micro) => Value::Number(*micro),
            Value::Text(text) => decimal(text).map_or(Value::Absent, Value::Number),
            _ => Value::Absent,
        }
    }

    /// As an instant: text in RFC 3339 is read, anything else is absent.
    pub fn to_time(&self) -> Value<'static> {
        match self {
            Value::Time(at) => Value::Time(*at),
            Value::Text(text) => instant(text).map_or(Value::Absent, Value::Time),
            _ => Value::Absent,
        }
    }

    /// The same, owning its text.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Absent => Value::Absent,
            Value::Bool(flag) => Value::Bool(flag),
            Value::Number(micro) => Value::Number(micro),
            Value::Time(at) => Value::Time(at),
            Value::Duration(micro) => Value::Duration(micro),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent => formatter.write_str("nothing"),
            Value::Bool(flag) => flag.fmt(formatter),
            Value::Number(micro) => write_decimal(*micro, formatter),
            Value::Text(text) => write_quoted(text, formatter),
            Value::Time(at) => write_instant(*at, formatter),
            Value::Duration(micro) => {
                write_decimal(*micro, formatter)?;
                formatter.write_str("s")
            }
        }
    }
}

fn write_decimal(micro: i64, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if micro < 0 { "-" } else { "" };
    let (whole, rest) =
        (micro.unsigned_abs() / MICRO.unsigned_abs(), micro.unsigned_abs() % MICRO.unsigned_abs());
    if rest == 0 {
        return write!(formatter, "{sign}{whole}");
    }
    let digits = format!("{rest:06}");
    write!(formatter, "{sign}{whole}.{}", digits.trim_end_matches('0'))
}

fn write_quoted(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => formatter.write_str("\\\"")?,
            '\\' => formatter.write_str("\\\\")?,
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            '\t' => formatter.write_str("\\t")?,
            control if control.is_control() => write!(formatter, "\\u{:04x}", u32::from(control))?,
            other => write!(formatter, "{other}")?,
        }
    }
    formatter.write_str("\"")
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of a day: `civil_from_days` of the same source.
fn date_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

const DAY_US: i64 = 86_400 * MICRO;

fn write_instant(at: Timestamp, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (year, month, day) = date_from_days(at.0.div_euclid(DAY_US));
    let rest = at.0.rem_euclid(DAY_US);
    let (seconds, micro) = (rest / MICRO, rest % MICRO);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
    if micro != 0 {
        write!(formatter, ".{micro:06}")?;
    }
    formatter.write_str("Z")
}

/// Reads an instant of RFC 3339 (section 5.6), e.g. `2026-11-21T23:45:39.15+01:00`, or a date alone, which is its
/// first instant in UTC. Digits beyond microseconds are cut off; a leap second counts as the second after it.
pub fn instant(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .try_fold(0_i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let is_date = bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    let days = days_from_date(year, month, day);
    if !is_date || date_from_days(days) != (year, month, day) {
        return None;
    }
    if bytes.len() == 10 {
        return Some(Timestamp(days * DAY_US));
    }
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = matches!(bytes.get(10), Some(b'T' | b't' | b' '))
        && bytes.get(13) == Some(&b':')
        && bytes.get(16) == Some(&b':');
    if !marks || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = days * DAY_US + (hour * 3_600 + minute * 60 + second) * MICRO;
    let mut index = 19;
    if bytes.get(index) == Some(&b'.') {
        index += 1;
        let mut unit = MICRO / 10;
        let from = index;
        while let Some(digit) = bytes.get(index).filter(|byte| byte.is_ascii_digit()) {
            at += i64::from(digit - b'0') * unit;
            unit /= 10;
            index += 1;
        }
        if index == from {
            return None;
        }
    }
    let offset = match bytes.get(index)? {
        b'Z' | b'z' if bytes.len() == index + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == index + 6 && bytes.get(index + 3) == Some(&b':') => {
            let (hours, minutes) = (number(index + 1, index + 3)?, number(index + 4, index + 6)?);
            let minutes = if hours > 23 || minutes > 59 { None } else { Some(hours * 60 + minutes) }?;
            if *sign == b'+' { -minutes } else { minutes }
        }
        _ => return None,
    };
    Some(Timestamp(at + offset * 60 * MICRO))
}

/// Reads a decimal number (`-12.5`, `1e3`) in micro-units, rounded half away from zero; blanks around it do not
/// count. `None` if it is none, or beyond [`MAX_NUMBER_MICRO`].
pub fn decimal(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > MAX_DECIMAL_BYTES {
        return None;
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, power) = match text.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, exponent(power)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (mantissa.contains('.') && fraction.is_empty()) {
        return None;
    }
    // 38 digits fit 128 bits: more leave the range, or are too far behind the point to matter.
    let (mut digits, mut shift) = (0_i128, power + 6);
    for (index, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = i128::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        let in_fraction = index >= whole.len();
        if digits < 10_i128.pow(36) {
            digits = digits * 10 + digit;
            shift -= i64::from(in_fraction);
        } else if !in_fraction {
            shift += 1;
        }
    }
    let magnitude = shifted(digits, shift)?;
    Some(if negative { -magnitude } else { magnitude })
}

fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT);
    Some(if negative { -size } else { size })
}

fn shifted(mut digits: i128, shift: i64) -> Option<i64> {
    if shift < 0 {
        let power = u32::try_from(-shift).ok()?;
        let divisor = if power > 38 { return Some(0) } else { 10_i128.pow(power) };
        digits = digits / divisor + i128::from(digits % divisor >= divisor - divisor / 2);
    } else if digits != 0 {
        for _ in 0..shift {
            digits = digits.checked_mul(10).filter(|value| *value <= i128::from(MAX_NUMBER_MICRO))?;
        }
    }
    i64::try_from(digits).ok().filter(|value| *value <= MAX_NUMBER_MICRO)
}

/// A number of micro-units that came out of arithmetic; at the ends of the range it stays at the end.
pub(crate) fn number(micro: i128) -> Value<'static> {
    let clamped = micro.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    i64::try_from(clamped).map_or(Value::Absent, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals() {
        let table: &[(&str, Option<i64>)] = &[
            ("0", Some(0)),
            ("-0.5", Some(-500_000)),
            ("19.99", Some(19_990_000)),
            ("1e3", Some(1_000 * MICRO)),
            ("25e-1", Some(2_500_000)),
            ("0.0000005", Some(1)),
            ("0.00000049999", Some(0)),
            ("-0.0000005", Some(-1)),
            ("0.30000000000000004", Some(300_000)),
            (" 7 ", Some(7 * MICRO)),
            ("1000000000000", Some(MAX_NUMBER_MICRO)),
            ("1000000000000.000001", None),
            ("1e400", None),
            ("1e-400", Some(0)),
            ("0e400", Some(0)),
            ("", None),
            ("-", None),
            (".5", None),
            ("5.", None),
            ("1e", None),
            ("--1", None),
            ("1,5", None),
            ("0x10", None),
            ("NaN", None),
            ("0.0000000000000000000000000000000000000000000001", Some(0)),
        ];
        for (text, expected) in table {
            assert_eq!(decimal(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn instants() {
        let table: &[(&str, Option<i64>)] = &[
            ("1970-01-01", Some(0)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-21T23:45:39.150352+00:00", Some(1_795_304_739_150_352)),
            ("2026-11-21T23:45:39.1503529Z", Some(1_795_304_739_150_352)),
            ("2026-11-22T00:45:39+01:00", Some(1_795_304_739_000_000)),
            ("2024-02-29", Some(1_709_164_800_000_000)),
            ("2023-02-29", None),
            ("2023-13-01", None),
            ("2023-1-1", None),
            ("2023-01-01T24:00:00Z", None),
            ("2023-01-01T00:00:00", None),
            ("2023-01-01T00:00:00.Z", None),
            ("2023-01-01T00:00:00+1:00", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(instant(text).map(|at| at.0), *expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_written_number_reads_back(micro in -MAX_NUMBER_MICRO..=MAX_NUMBER_MICRO) {
            prop_assert_eq!(decimal(&Value::Number(micro).to_string()), Some(micro));
        }

        #[test]
        fn a_written_instant_reads_back(at in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(instant(&Value::Time(Timestamp(at)).to_string()), Some(Timestamp(at)));
        }

        #[test]
        fn nonsense_never_panics(text in ".{0,80}", bytes: Vec<u8>) {
            let _ = (decimal(&text), instant(&text), Value::from_json(&bytes));
        }
    }
}
