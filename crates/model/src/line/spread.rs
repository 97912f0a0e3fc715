//! How spans of time are spread: a histogram that can be added to, merged and taken from, in integers.
//!
//! Buckets are logarithmic with 32 linear steps in each power of two, as in HdrHistogram (<http://hdrhistogram.org>):
//! a quantile read from it is wrong by at most 1/64 (1.6 %) of itself, and not at all below 64. Corrections take
//! values out again, which neither that library's dense form (35 kB an hour) nor rank sketches allow:
//! `docs/decisions/0010-own-spread.md`.

use crate::codec::{DecodeError, Decoder, Encoder};

/// Linear steps in each power of two.
const STEPS_LOG2: u32 = 5;
const STEPS: u64 = 1 << STEPS_LOG2;

/// Counts of values by bucket. Taking out what was put in leaves nothing behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Sorted by bucket, no count is zero.
    buckets: Vec<(u16, i64)>,
    /// The sum of all values, exact.
    sum: i128,
}

/// The bucket of a value.
fn bucket(value: u64) -> u16 {
    let value = value.min(i64::MAX.unsigned_abs());
    if value < 2 * STEPS {
        return value as u16;
    }
    let power = value.ilog2() - STEPS_LOG2;
    let step = (value >> power) - STEPS;
    ((u64::from(power) + 1) * STEPS + step) as u16
}

/// The value in the middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < 2 * STEPS {
        return bucket;
    }
    let power = (bucket / STEPS) - 1;
    let low = (bucket % STEPS + STEPS) << power;
    low + ((1_u64 << power) - 1) / 2
}

impl Spread {
    /// Puts a value in (`times` 1) or takes it out (-1).
    pub fn add(&mut self, value: u64, times: i64) {
        self.add_bucket(bucket(value), times);
        self.sum += i128::from(value.min(i64::MAX.unsigned_abs())) * i128::from(times);
    }

    fn add_bucket(&mut self, bucket: u16, times: i64) {
        match self.buckets.binary_search_by_key(&bucket, |own| own.0) {
            Ok(place) => {
                let count = self.buckets.get_mut(place).map_or(0, |own| {
                    own.1 += times;
                    own.1
                });
                if count == 0 {
                    self.buckets.remove(place);
                }
            }
            Err(_) if times == 0 => {}
            Err(place) => self.buckets.insert(place, (bucket, times)),
        }
    }

    /// Takes in another.
    pub fn merge(&mut self, other: &Self, sign: i64) {
        for (bucket, count) in &other.buckets {
            self.add_bucket(*bucket, sign * count);
        }
        self.sum += other.sum * i128::from(sign);
    }

    /// How many values there are.
    pub fn count(&self) -> i64 {
        self.buckets.iter().map(|own| own.1).sum()
    }

    /// The mean, rounded down; `None` without values.
    pub fn mean(&self) -> Option<u64> {
        let count = u64::try_from(self.count()).ok().filter(|count| *count > 0)?;
        u64::try_from(self.sum / i128::from(count)).ok()
    }

    /// The sum of all values.
    pub fn sum(&self) -> i128 {
        self.sum
    }

    /// The value that `per_mille` of 1,000 values do not exceed: that of rank `ceil(per_mille * count / 1000)`, counted
    /// from 1. `None` without values.
    pub fn quantile(&self, per_mille: u32) -> Option<u64> {
        let count = self.count();
        if count <= 0 {
            return None;
        }
        let rank = (i128::from(count) * i128::from(per_mille) + 999) / 1_000;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += i128::from(*count);
            if seen >= rank.max(1) {
                return Some(middle(*bucket));
            }
        }
        self.buckets.last().map(|own| middle(own.0))
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.sum == 0
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<(u16, i64)>()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u128(self.sum as u128);
        encoder.varint(self.buckets.len() as u64);
        for (bucket, count) in &self.buckets {
            encoder.varint(u64::from(*bucket));
            encoder.signed(*count);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let sum = decoder.u128()? as i128;
        let mut buckets = Vec::new();
        for _ in 0..decoder.count()? {
            let bucket = u16::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
            buckets.push((bucket, decoder.signed()?));
        }
        Ok(Self { buckets, sum })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_within_the_stated_error(
            mut values in prop::collection::vec(prop_oneof![0_u64..200, 0_u64..1_u64 << 50], 1..200),
            per_mille in 0_u32..=1_000,
        ) {
            let mut spread = Spread::default();
            values.iter().for_each(|value| spread.add(*value, 1));
            values.sort_unstable();
            let rank = (values.len() * per_mille as usize).div_ceil(1_000).max(1);
            let exact = values[rank - 1];
            let read = spread.quantile(per_mille).unwrap();
            prop_assert!(read.abs_diff(exact) * 64 <= exact, "{read} for {exact}");
            prop_assert_eq!(spread.sum(), values.iter().map(|one| i128::from(*one)).sum::<i128>());
        }

        #[test]
        fn what_is_taken_out_leaves_nothing(
            kept in prop::collection::vec(0_u64..1 << 40, 0..50),
            gone in prop::collection::vec(0_u64..1 << 40, 0..50),
        ) {
            let mut spread = Spread::default();
            let mut plain = Spread::default();
            for value in kept.iter().chain(&gone) {
                spread.add(*value, 1);
            }
            gone.iter().for_each(|value| spread.add(*value, -1));
            kept.iter().for_each(|value| plain.add(*value, 1));
            prop_assert_eq!(&spread, &plain);
            let mut bytes = Vec::new();
            spread.encode(&mut Encoder(&mut bytes));
            prop_assert_eq!(Spread::decode(&mut Decoder::new(&bytes)).unwrap(), spread);
        }
    }
}
