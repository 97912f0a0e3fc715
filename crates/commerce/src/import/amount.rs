//! Decimal numbers as catalogues write them, read exactly or not at all.
//!
//! A price with more places than its currency has, or with a comma in it, is a mistake that somebody should see: rounding
//! or guessing would change what a thing costs.

use model::commerce::money::Currency;
use model::money::{MAX_MINOR, exponent};

/// The longest text that is read as a number.
const MAX_DIGITS_BYTES: usize = 32;
const NANO: i128 = 1_000_000_000;

/// A price in minor units, at least zero.
pub(super) fn price(text: &str, currency: Currency) -> Option<i64> {
    let minor = scaled(text, u32::from(exponent(currency)))?;
    (minor <= MAX_MINOR).then_some(minor)
}

/// A number in thousandths.
pub(super) fn milli(text: &str) -> Option<u32> {
    scaled(text, 3).and_then(|milli| u32::try_from(milli).ok())
}

/// A price as it is written, with all places of its currency.
pub(super) fn written(minor: i64, places: u8) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", minor.unsigned_abs(), width = usize::from(places) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(places));
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A weight in whole grams, rounded half up.
pub(super) fn grams(text: &str, unit: &str) -> Option<u32> {
    let nano_grams = match unit.to_ascii_lowercase().as_str() {
        "g" | "grams" => NANO,
        "kg" | "kilograms" => 1_000 * NANO,
        "lb" | "lbs" | "pounds" => 453_592_370_000,
        "oz" | "ounces" => 28_349_523_125,
        _ => return None,
    };
    let (whole, fraction) = parts(text)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(NANO)?;
    let doubled = digits.checked_mul(nano_grams)?.checked_mul(2)?.checked_add(denominator)?;
    u32::try_from(doubled / (denominator.checked_mul(2)?)).ok()
}

/// The number times ten to the power of `places`, if that is whole.
fn scaled(text: &str, places: u32) -> Option<i64> {
    let (whole, fraction) = parts(text)?;
    let places = places as usize;
    let (kept, rest) = fraction.split_at_checked(places).unwrap_or((fraction, ""));
    if rest.bytes().any(|byte| byte != b'0') {
        return None;
    }
    format!("{whole}{kept:0<places$}").parse().ok()
}

/// The digits before and behind the point.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = text.len() <= MAX_DIGITS_BYTES && !(whole.is_empty() && fraction.is_empty());
    (fits && digits(whole) && digits(fraction)).then_some((whole, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_exactly_or_not_at_all() {
        let table: &[(&str, &Currency, Option<i64>)] = &[
            ("19.99", b"EUR", Some(19_99)),
            ("19.9", b"EUR", Some(19_90)),
            ("19.", b"EUR", Some(19_00)),
            (".5", b"EUR", Some(50)),
            ("80.000", b"EUR", Some(80_00)),
            ("1.005", b"EUR", None),
            ("1.005", b"KWD", Some(1_005)),
            ("50", b"JPY", Some(50)),
            ("50.00", b"JPY", Some(50)),
            ("50.25", b"JPY", None),
            ("1,234.50", b"EUR", None),
            ("19,90", b"EUR", None),
            ("-1", b"EUR", None),
            ("1e3", b"EUR", None),
            ("", b"EUR", None),
            (".", b"EUR", None),
            ("10000000000000.00", b"EUR", Some(MAX_MINOR)),
            ("10000000000000.01", b"EUR", None),
            ("99999999999999999999999999", b"EUR", None),
        ];
        for (text, currency, expected) in table {
            assert_eq!(price(text, **currency), *expected, "{text}");
        }
        for (minor, places, expected) in [
            (19_99, 2, "19.99"),
            (5, 2, "0.05"),
            (0, 2, "0.00"),
            (50, 0, "50"),
            (5, 3, "0.005"),
            (-5, 2, "-0.05"),
        ] {
            assert_eq!(written(minor, places), expected);
        }
    }

    #[test]
    fn weights_become_whole_grams() {
        for (text, unit, expected) in [
            ("28", "g", Some(28)),
            ("0.5", "g", Some(1)),
            ("1.25", "kg", Some(1_250)),
            ("1", "lb", Some(454)),
            ("1", "oz", Some(28)),
            ("10", "OUNCES", Some(283)),
            ("0", "kg", Some(0)),
            ("1", "stone", None),
            ("-1", "g", None),
            ("5000000000", "g", None),
            ("99999999999999999999999999999999", "kg", None),
        ] {
            assert_eq!(grams(text, unit), expected, "{text} {unit}");
        }
    }
}
