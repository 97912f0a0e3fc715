//! A token bucket in integers: a token is a million parts, and `rate` tokens a second are `rate` parts a microsecond.

use crate::options::RateOptions;

const TOKEN_PARTS: u64 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Bucket {
    rate: RateOptions,
    parts: u64,
    counted_us: u64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: RateOptions, now_us: u64) -> Self {
        Self { rate, parts: u64::from(rate.burst) * TOKEN_PARTS, counted_us: now_us }
    }

    fn refill(&mut self, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.counted_us);
        let gained = passed_us.saturating_mul(u64::from(self.rate.attempts_per_second));
        let full = u64::from(self.rate.burst) * TOKEN_PARTS;
        self.parts = self.parts.saturating_add(gained).min(full);
        self.counted_us = self.counted_us.max(now_us);
    }

    /// Takes a token, or says when there is one.
    pub(crate) fn take(&mut self, now_us: u64) -> Result<(), u64> {
        self.refill(now_us);
        if let Some(left) = self.parts.checked_sub(TOKEN_PARTS) {
            self.parts = left;
            return Ok(());
        }
        let missing = TOKEN_PARTS - self.parts;
        Err(now_us.saturating_add(missing.div_ceil(u64::from(self.rate.attempts_per_second).max(1))))
    }

    /// Puts back a token that was not used.
    pub(crate) fn put_back(&mut self) {
        let full = u64::from(self.rate.burst) * TOKEN_PARTS;
        self.parts = self.parts.saturating_add(TOKEN_PARTS).min(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In every window the bucket gives at most the burst and what the rate yields, and a waiter who comes when told
        /// gets a token.
        #[test]
        fn never_more_than_rate_and_burst(
            rate in 1_u32..5_000,
            burst in 1_u32..50,
            steps in prop::collection::vec(0_u64..20_000, 1..400),
        ) {
            let mut bucket = Bucket::new(RateOptions { attempts_per_second: rate, burst }, 0);
            let mut now_us = 0;
            let mut taken_at = Vec::new();
            for step in steps {
                now_us += step;
                match bucket.take(now_us) {
                    Ok(()) => taken_at.push(now_us),
                    Err(at) => {
                        prop_assert!(at > now_us);
                        now_us = at;
                        prop_assert_eq!(bucket.take(now_us), Ok(()));
                        taken_at.push(now_us);
                    }
                }
            }
            for (first, from) in taken_at.iter().enumerate() {
                for (last, to) in taken_at.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) * u64::from(rate) / 1_000_000 + 1;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
