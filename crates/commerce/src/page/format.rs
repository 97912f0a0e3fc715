//! Amounts as people write them: the mark before the cents, groups of three, and where the sign stands.
//!
//! Facts of CLDR 48 for the languages that the page speaks. Amounts have the places of ISO 4217, which is what is paid.

use model::commerce::money::Currency;
use model::money::exponent;

/// How a language writes numbers.
struct Manner {
    decimal: &'static str,
    group: &'static str,
    /// The sign stands behind the number.
    behind: bool,
}

fn manner(language: &str) -> Manner {
    // Blanks inside amounts do not break lines.
    match language.split(['-', '_']).next().unwrap_or_default() {
        "de" => Manner { decimal: ",", group: ".", behind: true },
        "fr" => Manner { decimal: ",", group: "\u{202f}", behind: true },
        _ => Manner { decimal: ".", group: ",", behind: false },
    }
}

fn sign(currency: Currency) -> Option<&'static str> {
    Some(match &currency {
        b"EUR" => "€",
        b"USD" => "$",
        b"GBP" => "£",
        b"JPY" => "¥",
        b"INR" => "₹",
        b"KRW" => "₩",
        _ => return None,
    })
}

/// An amount in a language, e.g. `1.234,50 €`.
pub(crate) fn money(minor: i64, currency: Currency, language: &str) -> String {
    let manner = manner(language);
    let places = usize::from(exponent(currency));
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = places + 1);
    let (whole, cents) = digits.split_at(digits.len() - places);
    let mut number = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            number.push_str(manner.group);
        }
        number.push(digit);
    }
    if places > 0 {
        number.push_str(manner.decimal);
        number.push_str(cents);
    }
    let minus = if minor < 0 { "-" } else { "" };
    let code = std::str::from_utf8(&currency).unwrap_or("XXX");
    match (sign(currency), manner.behind) {
        (Some(sign), false) => format!("{minus}{sign}{number}"),
        (None, false) => format!("{minus}{code}\u{a0}{number}"),
        (sign, true) => format!("{minus}{number}\u{a0}{}", sign.unwrap_or(code)),
    }
}

/// Millionths as percent: `19 %`, `7.7 %`.
pub(crate) fn percent(ppm: u32, language: &str) -> String {
    let manner = manner(language);
    let (whole, rest) = (ppm / 10_000, ppm % 10_000);
    let fraction = format!("{rest:04}");
    let fraction = fraction.trim_end_matches('0');
    let number =
        if fraction.is_empty() { whole.to_string() } else { format!("{whole}{}{fraction}", manner.decimal) };
    if manner.behind { format!("{number}\u{a0}%") } else { format!("{number}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_do() {
        for (minor, currency, language, expected) in [
            (123_450, b"EUR", "de-AT", "1.234,50\u{a0}€"),
            (123_450, b"EUR", "en", "€1,234.50"),
            (5, b"USD", "en", "$0.05"),
            (-1_999, b"USD", "en", "-$19.99"),
            (1_234_567, b"JPY", "en", "¥1,234,567"),
            (1_234_567, b"KWD", "fr", "1\u{202f}234,567\u{a0}KWD"),
            (0, b"CHF", "de", "0,00\u{a0}CHF"),
            (i64::MIN, b"CHF", "en", "-CHF\u{a0}92,233,720,368,547,758.08"),
        ] {
            assert_eq!(money(minor, *currency, language), expected);
        }
    }

    #[test]
    fn rates_are_written_without_needless_places() {
        for (ppm, language, expected) in [
            (190_000, "de", "19\u{a0}%"),
            (77_000, "en", "7.7%"),
            (80_000, "en", "8%"),
            (88_750, "de", "8,875\u{a0}%"),
        ] {
            assert_eq!(percent(ppm, language), expected);
        }
    }
}
