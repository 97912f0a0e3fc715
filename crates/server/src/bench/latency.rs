//! How long things took, counted in buckets.

/// Steps between two powers of two: a bucket is at most this part of its value wide.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Buckets up to 2^40 ns, a quarter of an hour.
const BUCKETS: usize = 36 * STEPS as usize;

/// Durations in buckets of 1.6 %, at a fixed cost.
#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_ns: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, ns: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(ns).min(BUCKETS - 1)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts all of another.
    pub fn merge(&mut self, other: &Self) {
        for (own, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += theirs;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// So many of a thousand took at most this long; 0 where nothing was counted.
    pub fn permille_ns(&self, permille: u64) -> u64 {
        let rank = (self.count * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_end(number).min(self.max_ns);
            }
        }
        0
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let shift = ns.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (ns >> shift)) as usize
}

/// The largest duration of a bucket.
fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let step = bucket % STEPS + STEPS;
    ((step + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_bucket_above_the_true_one(mut all in prop::collection::vec(0_u64..1 << 39, 1..200), permille in 1_u64..=1_000) {
            let mut latencies = Latencies::default();
            all.iter().for_each(|ns| latencies.add(*ns));
            all.sort_unstable();
            let rank = (all.len() as u64 * permille).div_ceil(1_000) as usize;
            let truth = all[rank - 1];
            let told = latencies.permille_ns(permille);
            prop_assert!(told >= truth && told <= truth + truth / (STEPS - 1), "{truth} was told as {told}");
            prop_assert_eq!(latencies.max_ns(), *all.last().unwrap());
        }
    }

    #[test]
    fn merging_counts_both() {
        let (mut one, mut two) = (Latencies::default(), Latencies::default());
        one.add(10);
        two.add(30);
        one.merge(&two);
        assert_eq!((one.count(), one.permille_ns(500), one.permille_ns(1_000)), (2, 10, 30));
        assert_eq!(Latencies::default().permille_ns(990), 0);
    }
}
