//! Money: integer minor units, read from whatever a shop sends, exactly.
//!
//! Shops send amounts as JSON numbers (`19.9`, `1e2`) and as text (`"19,90"`, `"$1,234.50"`). Both are read as the
//! decimal number they spell, never through floating point, and rounded half away from zero to the currency's ISO
//! 4217 exponent. What does not spell an amount is no amount; nobody's event is refused for it.

/// The largest amount that is believed, in minor units, either side of zero. More is a mistake of the sender, and
/// one such event would spoil every sum it enters.
pub const MAX_MINOR: i64 = 1_000_000_000_000_000;
/// The currency of an amount that came without one (ISO 4217: no currency).
pub const NO_CURRENCY: [u8; 3] = *b"XXX";

/// The longest text that is read as an amount.
const MAX_TEXT_BYTES: usize = 64;
/// Digits between two group marks are at least this many (India groups by two); `1.2.3` is no amount.
const SMALLEST_GROUP_DIGITS: u32 = 2;
/// Exponents beyond this are clamped: the digits of an amount are fewer, so the outcome is the same.
const MAX_EXPONENT: i64 = 10_000;

/// How many decimal places a currency's minor unit has (ISO 4217). Unknown currencies have two.
pub fn exponent(currency: [u8; 3]) -> u8 {
    match &currency {
        b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
        | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
        b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
        b"CLF" | b"UYW" => 4,
        _ => 2,
    }
}

/// Reads a currency code: three ASCII letters, in upper or lower case. Unknown codes pass: ISO adds some every year.
pub fn currency(text: &str) -> Option<[u8; 3]> {
    let code: [u8; 3] = text.trim().as_bytes().try_into().ok()?;
    let upper = code.map(|byte| byte.to_ascii_uppercase());
    upper.iter().all(u8::is_ascii_uppercase).then_some(upper)
}

/// Reads an amount in minor units of `currency`. `None` if the text does not spell an amount, or one beyond
/// [`MAX_MINOR`].
///
/// Around the number, currency signs and letters are ignored; a minus may stand before or behind a leading sign.
/// A point or comma that occurs once is the decimal mark, unless both occur (then the last one is) or it is a comma
/// followed by exactly three digits (then it groups thousands). Blanks and apostrophes group.
pub fn minor_units(text: &str, currency: [u8; 3]) -> Option<i64> {
    if let Some(amount) = plain_decimal(text, exponent(currency)) {
        return Some(amount);
    }
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let (negative, number) = split_sign(text)?;
    let (mantissa, exponent_ten) = split_exponent(number)?;
    let decimal_mark = decimal_mark(mantissa)?;
    let mut digits = Digits::default();
    let mut fraction_digits = 0_i64;
    let mut in_fraction = false;
    let mut group_digits = SMALLEST_GROUP_DIGITS;
    for (at, character) in mantissa.char_indices() {
        if let Some(digit) = character.to_digit(10) {
            digits.push(digit as u8);
            fraction_digits += i64::from(in_fraction);
            group_digits += 1;
            continue;
        }
        let decimal = Some(at) == decimal_mark;
        if group_digits < SMALLEST_GROUP_DIGITS || in_fraction || !(decimal || is_group_mark(character)) {
            return None;
        }
        in_fraction = decimal;
        group_digits = if decimal { SMALLEST_GROUP_DIGITS } else { 0 };
    }
    if group_digits < SMALLEST_GROUP_DIGITS {
        return None;
    }
    let shift = exponent_ten - fraction_digits + i64::from(exponent(currency));
    let magnitude = digits.shifted(shift)?;
    Some(if negative { -magnitude } else { magnitude })
}

/// The short way for what nearly all amounts are: at most twelve digits, and no more places than the currency has.
fn plain_decimal(text: &str, places: u8) -> Option<i64> {
    const MAX_DIGITS: usize = 12;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > MAX_DIGITS || fraction.len() > usize::from(places) {
        return None;
    }
    let mut minor = 0;
    let zeros = usize::from(places) - fraction.len();
    for byte in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', zeros)) {
        minor = minor * 10 + i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    // "5." is left to the long way, like everything that is not plain.
    let dangling = fraction.is_empty() && text.ends_with('.');
    (minor <= MAX_MINOR && !dangling).then_some(minor)
}

/// The digits of an amount, most significant first, leading zeros left out.
struct Digits {
    items: [u8; MAX_TEXT_BYTES],
    count: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { items: [0; MAX_TEXT_BYTES], count: 0 }
    }
}

impl Digits {
    fn push(&mut self, digit: u8) {
        if (digit == 0 && self.count == 0) || self.count == self.items.len() {
            return;
        }
        if let Some(slot) = self.items.get_mut(self.count) {
            *slot = digit;
            self.count += 1;
        }
    }

    /// The digits times ten to the power of `shift`, rounded half away from zero.
    fn shifted(&self, shift: i64) -> Option<i64> {
        let count = self.count as i64;
        let kept = (count + shift.min(0)).max(0);
        let mut value = 0_i64;
        for digit in self.items.iter().take(kept as usize) {
            value = value.checked_mul(10)?.checked_add(i64::from(*digit))?;
        }
        // The first digit cut off decides, if it is the one directly behind the last one kept.
        let cut_at = count + shift;
        if shift < 0 && cut_at >= 0 && self.items.get(cut_at as usize).is_some_and(|digit| *digit >= 5) {
            value += 1;
        }
        if value != 0 {
            for _ in 0..shift.max(0) {
                value = value.checked_mul(10).filter(|value| *value <= MAX_MINOR)?;
            }
        }
        (value <= MAX_MINOR).then_some(value)
    }
}

/// Cuts signs and letters off both ends. What remains begins with a digit or a mark before one.
fn split_sign(text: &str) -> Option<(bool, &str)> {
    let start = text.find(|character: char| character.is_ascii_digit())?;
    let end = text.rfind(|character: char| character.is_ascii_digit())? + 1;
    let (before, _) = text.split_at_checked(start)?;
    let minuses = before.chars().filter(|character| matches!(character, '-' | '\u{2212}')).count();
    // ".5" and ",5": the mark directly before the first digit belongs to the number.
    let marked = before.ends_with(['.', ',']) && !before.ends_with("..");
    let abbreviation = before.trim_end_matches(['.', ',']).ends_with(char::is_alphabetic);
    let from = if marked && !abbreviation { start - 1 } else { start };
    if minuses > 1 || before.chars().any(|character| character.is_numeric()) {
        return None;
    }
    Some((minuses == 1, text.get(from..end)?))
}

fn split_exponent(number: &str) -> Option<(&str, i64)> {
    let Some((mantissa, power)) = number.split_once(['e', 'E']) else {
        return Some((number, 0));
    };
    let (negative, digits) = match power.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, power.strip_prefix('+').unwrap_or(power)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(MAX_EXPONENT).min(MAX_EXPONENT);
    Some((mantissa, if negative { -size } else { size }))
}

/// Where the decimal mark stands, if there is one. `None` if the marks contradict each other.
fn decimal_mark(mantissa: &str) -> Option<Option<usize>> {
    let points = mantissa.bytes().filter(|byte| *byte == b'.').count();
    let commas = mantissa.bytes().filter(|byte| *byte == b',').count();
    let Some(last) = mantissa.rfind(['.', ',']) else {
        return Some(None);
    };
    let last_is_point = mantissa.as_bytes().get(last) == Some(&b'.');
    let last_is_unique = if last_is_point { points == 1 } else { commas == 1 };
    if points > 0 && commas > 0 {
        return last_is_unique.then_some(Some(last));
    }
    let behind = mantissa.len() - last - 1;
    let grouping = !last_is_point && behind == 3 && last > 0 && !mantissa.starts_with("0,");
    Some(if last_is_unique && !grouping { Some(last) } else { None })
}

fn is_group_mark(character: char) -> bool {
    matches!(character, '.' | ',' | '\'' | '\u{2019}' | ' ' | '\u{a0}' | '\u{202f}' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_as_shops_send_them() {
        let table: &[(&str, &[u8; 3], Option<i64>)] = &[
            ("19.99", b"EUR", Some(1_999)),
            ("19.9", b"EUR", Some(1_990)),
            ("20", b"EUR", Some(2_000)),
            ("-5", b"EUR", Some(-500)),
            ("0.30000000000000004", b"EUR", Some(30)),
            ("1e2", b"EUR", Some(10_000)),
            ("1.5E+3", b"USD", Some(150_000)),
            ("25e-1", b"USD", Some(250)),
            ("0.005", b"USD", Some(1)),
            ("-0.005", b"USD", Some(-1)),
            ("0.0049999", b"USD", Some(0)),
            ("1e-999999999999", b"USD", Some(0)),
            ("0e999999999999", b"USD", Some(0)),
            ("1e400", b"USD", None),
            ("99999999999999999999", b"USD", None),
            ("1000", b"JPY", Some(1_000)),
            ("1000.5", b"JPY", Some(1_001)),
            ("1.2345", b"KWD", Some(1_235)),
            ("1.2345", b"CLF", Some(12_345)),
            ("$1,234.50", b"USD", Some(123_450)),
            ("1.234,50 €", b"EUR", Some(123_450)),
            ("1,234", b"USD", Some(123_400)),
            ("0,125", b"KWD", Some(125)),
            ("19,90", b"EUR", Some(1_990)),
            ("1,234,567", b"USD", Some(123_456_700)),
            ("1.234.567", b"EUR", Some(123_456_700)),
            ("1'234.50", b"CHF", Some(123_450)),
            ("1\u{202f}234,50", b"EUR", Some(123_450)),
            ("CHF 12.-", b"CHF", Some(1_200)),
            ("Rs. 500", b"INR", Some(50_000)),
            ("-€5", b"EUR", Some(-500)),
            ("€\u{2212}5", b"EUR", Some(-500)),
            (".5", b"EUR", Some(50)),
            (" 7 ", b"EUR", Some(700)),
            ("", b"EUR", None),
            ("free", b"EUR", None),
            ("--5", b"EUR", None),
            ("1.2.3,4.5", b"EUR", None),
            ("12abc34", b"EUR", None),
            ("1.2.3", b"EUR", None),
            ("1,00,000.50", b"INR", Some(10_000_050)),
            ("1e", b"EUR", Some(100)),
            ("1e5x3", b"EUR", None),
            ("NaN", b"EUR", None),
        ];
        for (text, code, expected) in table {
            assert_eq!(minor_units(text, **code), *expected, "{text:?}");
        }
        assert_eq!(minor_units(&"1".repeat(65), *b"EUR"), None);
    }

    #[test]
    fn currencies() {
        for (text, expected) in [
            ("eur", Some(*b"EUR")),
            (" USD ", Some(*b"USD")),
            ("€", None),
            ("EURO", None),
            ("", None),
            ("12A", None),
        ] {
            assert_eq!(currency(text), expected, "{text:?}");
        }
    }

    /// Exact rational arithmetic, another way: compare twice the amount with the odd half steps around a candidate.
    fn oracle(units: i128, fraction_digits: u32, power: i32, places: u32) -> i128 {
        let shift = i64::from(power) + i64::from(places) - i64::from(fraction_digits);
        if shift >= 0 {
            return units * 10_i128.pow(shift as u32);
        }
        let divisor = 10_i128.pow(shift.unsigned_abs() as u32);
        (units.abs() * 2 + divisor).div_euclid(divisor * 2) * units.signum()
    }

    proptest! {
        #[test]
        fn any_decimal_is_read_exactly(
            whole in 0_u64..10_000_000, fraction in "[0-9]{0,12}", power in -8_i32..6, negative: bool, upper: bool,
            code in prop::sample::select(vec![*b"EUR", *b"JPY", *b"KWD", *b"CLF"]),
        ) {
            let sign = if negative { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let tail = if power == 0 { String::new() } else { format!("{}{power}", if upper { 'E' } else { 'e' }) };
            let text = format!("{sign}{whole}{point}{fraction}{tail}");
            let mut units: i128 = format!("{whole}{fraction}").parse().unwrap();
            if negative {
                units = -units;
            }
            let expected = oracle(units, fraction.len() as u32, power, u32::from(exponent(code)));
            let expected = i64::try_from(expected).ok().filter(|value| value.abs() <= MAX_MINOR);
            prop_assert_eq!(minor_units(&text, code), expected, "{}", text);
        }

        #[test]
        fn any_text_gives_an_amount_within_bounds_or_none(text in "[-+0-9.,eE $€']{0,70}|.*") {
            if let Some(value) = minor_units(&text, *b"EUR") {
                prop_assert!(value.abs() <= MAX_MINOR);
            }
        }
    }
}
