//! Amounts of a shop: integers of the currency's minor unit, and the two ways of rounding what is no integer.
//!
//! Nothing is ever kept between a whole minor unit and the next: a line is rounded when it is made, and every total is
//! the sum of its rounded lines (complaints 5 and 6 of the trade's known ones are of shops that do otherwise).

use crate::stored;

/// An ISO 4217 code.
pub type Currency = [u8; 3];

/// Parts of a whole by which rates are given: 19 % is 190,000.
pub const PPM: i64 = 1_000_000;

stored! {
    /// Where the half goes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Rounding {
        /// Away from zero.
        #[default]
        HalfUp = 1,
        /// To the even neighbour.
        HalfEven = 2,
    }
}

impl Rounding {
    /// `value * numerator / denominator`, rounded. `None` beyond what amounts may be, or for a denominator that is not
    /// above zero.
    pub fn ratio(self, value: i64, numerator: i64, denominator: i64) -> Option<i64> {
        if denominator <= 0 {
            return None;
        }
        let product = i128::from(value) * i128::from(numerator);
        let denominator = i128::from(denominator);
        let (quotient, rest) = (product.div_euclid(denominator), product.rem_euclid(denominator));
        let up = match (rest * 2).cmp(&denominator) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // Between two whole numbers: `quotient` is the lower one.
            std::cmp::Ordering::Equal => match self {
                Self::HalfUp => product >= 0,
                Self::HalfEven => quotient % 2 != 0,
            },
        };
        let rounded = i64::try_from(quotient + i128::from(up)).ok()?;
        (rounded.abs() <= crate::money::MAX_MINOR).then_some(rounded)
    }

    /// The multiple of `step` that is nearest: what is paid in cash where the smallest coins are gone.
    pub fn to_step(self, minor: i64, step: i64) -> Option<i64> {
        if step <= 1 { Some(minor) } else { self.ratio(minor, 1, step)?.checked_mul(step) }
    }
}

/// Divides an amount among weights so that the parts are integers and sum to it exactly: largest remainder first, and of
/// equal ones the earlier. All zero weights share alike; no weights share nothing.
pub fn share(minor: i64, weights: &[i64]) -> Vec<i64> {
    let even;
    let weights = if weights.iter().all(|weight| *weight <= 0) {
        even = vec![1; weights.len()];
        &even
    } else {
        weights
    };
    let total: i128 = weights.iter().map(|weight| i128::from((*weight).max(0))).sum();
    if total == 0 {
        return Vec::new();
    }
    let exact = |weight: &i64| i128::from(minor) * i128::from((*weight).max(0));
    let mut parts: Vec<i64> = weights.iter().map(|weight| exact(weight).div_euclid(total) as i64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| {
        std::cmp::Reverse(weights.get(*index).map_or(0, |weight| exact(weight).rem_euclid(total)))
    });
    let left = minor - parts.iter().sum::<i64>();
    for index in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_where_the_rule_says() {
        for (value, numerator, denominator, up, even) in [
            (5, 1, 2, 3, 2),
            (7, 1, 2, 4, 4),
            (-5, 1, 2, -3, -2),
            (-7, 1, 2, -4, -4),
            (100, 190_000, PPM, 19, 19),
            (1, 1, 3, 0, 0),
        ] {
            assert_eq!(Rounding::HalfUp.ratio(value, numerator, denominator), Some(up), "{value}");
            assert_eq!(Rounding::HalfEven.ratio(value, numerator, denominator), Some(even), "{value}");
        }
        assert_eq!(Rounding::HalfUp.ratio(1, 1, 0), None);
        assert_eq!(Rounding::HalfUp.ratio(i64::MAX, 2, 1), None);
        for (minor, step, expected) in
            [(1_02, 5, 1_00), (1_03, 5, 1_05), (1_25, 50, 1_50), (7, 1, 7), (7, 0, 7)]
        {
            assert_eq!(Rounding::HalfUp.to_step(minor, step), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_whole_and_are_near(minor in -1_000_000_i64..1_000_000, weights in prop::collection::vec(0_i64..10_000, 1..12)) {
            let parts = share(minor, &weights);
            prop_assert_eq!(parts.iter().sum::<i64>(), minor);
            let total: i64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                if total > 0 {
                    let exact = minor as f64 * *weight as f64 / total as f64;
                    prop_assert!((*part as f64 - exact).abs() < 1.0 + 1e-6);
                }
            }
        }
    }
}
