//! Numbers as filters count with them: decimal, six places, exact. Money in messages is decimal text, and stays what it is.

use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Parts of one.
const ONE: i128 = 1_000_000;
/// Places behind the point.
const PLACES: usize = 6;
/// The largest number, in parts: 10^18.
const MOST: i128 = 1_000_000_000_000_000_000 * ONE;

/// A decimal number. Two are equal that are the same number, however they were written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    parts: i128,
    /// It was written without a point: then a division of two such has no places.
    whole: bool,
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts.cmp(&other.parts)
    }
}

impl Decimal {
    pub(super) const ZERO: Self = Self { parts: 0, whole: true };

    /// Reads a number or its text. Places beyond the sixth are cut off; `None` for what is no number, or too large.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                (mantissa, exponent.parse().ok().filter(|exponent| (-400..=400).contains(exponent))?)
            }
            None => (text, 0_i32),
        };
        let (is_negative, digits) = match mantissa.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, mantissa),
        };
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let all = format!("{before}{after}");
        let is_number = !before.is_empty() && all.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || all.len() > 400 || (digits.contains('.') && after.is_empty()) {
            return None;
        }
        // How many of the digits make whole parts.
        let point = i32::try_from(before.len()).ok()?.checked_add(exponent)?;
        let kept = usize::try_from(point.checked_add(i32::try_from(PLACES).ok()?)?).unwrap_or(0);
        let mut parts: i128 = 0;
        for place in 0..kept {
            let digit = all.as_bytes().get(place).map_or(0, |byte| byte - b'0');
            parts = parts.checked_mul(10)?.checked_add(i128::from(digit))?;
            if parts > MOST {
                return None;
            }
        }
        let parts = if is_negative { -parts } else { parts };
        Some(Self { parts, whole: !digits.contains('.') && exponent == 0 })
    }

    /// A number of JSON, or text that is one; nothing and empty text are zero.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::ZERO),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::String(text) if text.trim().is_empty() => Some(Self::ZERO),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    fn checked(parts: i128, whole: bool) -> Option<Self> {
        (parts.unsigned_abs() <= MOST.unsigned_abs()).then_some(Self { parts, whole })
    }

    pub(super) fn plus(self, other: Self) -> Option<Self> {
        Self::checked(self.parts.checked_add(other.parts)?, self.whole && other.whole)
    }

    pub(super) fn minus(self, other: Self) -> Option<Self> {
        Self::checked(self.parts.checked_sub(other.parts)?, self.whole && other.whole)
    }

    pub(super) fn times(self, other: Self) -> Option<Self> {
        Self::checked(self.parts.checked_mul(other.parts)?.checked_div(ONE)?, self.whole && other.whole)
    }

    /// Towards minus infinity where both are whole, as in Liquid.
    pub(super) fn divided_by(self, other: Self) -> Option<Self> {
        if self.whole && other.whole {
            let quotient = self.parts.checked_div_euclid(other.parts)?;
            // Of a negative divisor the remainder is positive all the same: one more towards minus infinity.
            let exact = quotient.checked_mul(other.parts)? == self.parts;
            let floor = if other.parts < 0 && !exact { quotient.checked_sub(1)? } else { quotient };
            return Self::checked(floor.checked_mul(ONE)?, true);
        }
        Self::checked(self.parts.checked_mul(ONE)?.checked_div(other.parts)?, false)
    }

    pub(super) fn modulo(self, other: Self) -> Option<Self> {
        let rest = self.parts.checked_rem(other.parts)?;
        let is_other_side = rest != 0 && (rest < 0) != (other.parts < 0);
        Self::checked(
            if is_other_side { rest.checked_add(other.parts)? } else { rest },
            self.whole && other.whole,
        )
    }

    pub(super) fn abs(self) -> Self {
        Self { parts: self.parts.abs(), ..self }
    }

    /// Half away from zero, with so many places.
    pub(super) fn round(self, places: usize) -> Self {
        let unit = Self::unit(places);
        let half = if self.parts < 0 { -(unit / 2) } else { unit / 2 };
        Self { parts: (self.parts + half) / unit * unit, whole: places == 0 }
    }

    pub(super) fn floor(self) -> Self {
        Self { parts: self.parts.div_euclid(ONE) * ONE, whole: true }
    }

    pub(super) fn ceil(self) -> Self {
        Self { parts: -((-self.parts).div_euclid(ONE)) * ONE, whole: true }
    }

    fn unit(places: usize) -> i128 {
        (places.min(PLACES)..PLACES).fold(1, |unit, _| unit * 10)
    }

    /// As an index or a count.
    pub(super) fn as_i64(self) -> Option<i64> {
        i64::try_from(self.parts.div_euclid(ONE)).ok()
    }

    /// With so many places, e.g. `49.90`.
    pub(super) fn fixed(self, places: usize) -> String {
        let places = places.min(PLACES);
        let rounded = self.round(places).parts;
        let digits = rounded.unsigned_abs() / Self::unit(places).unsigned_abs();
        let text = format!("{digits:0width$}", width = places + 1);
        let (before, after) = text.split_at(text.len() - places);
        let sign = if rounded < 0 { "-" } else { "" };
        if after.is_empty() { format!("{sign}{before}") } else { format!("{sign}{before}.{after}") }
    }

    /// As a number of JSON.
    pub(super) fn value(self) -> Value {
        if self.whole {
            return self.as_i64().map_or(Value::Null, Value::from);
        }
        let number = self.fixed(PLACES).parse().ok().and_then(Number::from_f64);
        number.map_or(Value::Null, Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_written_without_loss() {
        let table = [
            ("0", Some("0.00")),
            ("49.90", Some("49.90")),
            ("-0.005", Some("-0.01")),
            ("0.0000009", Some("0.00")),
            ("1e3", Some("1000.00")),
            ("1.5E-2", Some("0.02")),
            ("-12", Some("-12.00")),
            ("1e-99", Some("0.00")),
            ("1000000000000000000", Some("1000000000000000000.00")),
            ("1000000000000000001", None),
            ("1e300", None),
            ("", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("0x10", None),
            ("NaN", None),
            ("1 000", None),
            ("1e99999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(Decimal::parse(text).map(|one| one.fixed(2)).as_deref(), expected, "{text:?}");
        }
    }

    fn whole(number: i64) -> Decimal {
        Decimal::parse(&number.to_string()).unwrap()
    }

    #[test]
    fn whole_numbers_divide_as_in_liquid() {
        for (one, other, quotient, rest) in
            [(7, 2, 3, 1), (-7, 2, -4, 1), (7, -2, -4, -1), (-7, -2, 3, -1), (6, -2, -3, 0), (0, 5, 0, 0)]
        {
            let (one, other) = (whole(one), whole(other));
            assert_eq!(one.divided_by(other).unwrap().value(), Value::from(quotient), "{one:?} / {other:?}");
            assert_eq!(one.modulo(other).unwrap().value(), Value::from(rest), "{one:?} % {other:?}");
        }
        assert_eq!(whole(1).divided_by(Decimal::ZERO), None);
        assert_eq!(whole(1).modulo(Decimal::ZERO), None);
        let half = Decimal::parse("0.5").unwrap();
        assert_eq!(whole(7).divided_by(half).unwrap().value(), Value::from(14.0));
        assert_eq!(half.round(0).value(), Value::from(1));
        assert_eq!(Decimal::parse("-0.5").unwrap().ceil().value(), Value::from(0));
        assert_eq!(Decimal::parse("-0.5").unwrap().floor().value(), Value::from(-1));
    }
}
