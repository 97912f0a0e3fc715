//! What a write key may send, beyond being known: from which pages, which events, how many, in which shape.

use crate::plan::Plan;
use model::id::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The longest wait that a client is told, in seconds: SDKs of Segment heed no longer one.
const RETRY_AFTER_S_MAX: i64 = 300;
const MICROS: i64 = 1_000_000;

/// The rules of one write key. The default allows everything.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    /// Which change of the settings brought them, so that whoever makes settings knows them again.
    pub version: u32,
    /// Origins of the pages that may send with the key (`https://shop.example`); empty: all.
    pub origins: BTreeSet<String>,
    /// Names of the track events that it may send; empty: all. Others are set aside.
    pub events: BTreeSet<String>,
    /// How many events it may send.
    pub rate: Option<Rate>,
    /// Which shape its events have.
    pub plan: Option<Arc<Plan>>,
}

/// How many events may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, every second. At least 1.
    pub events_per_s: u32,
    /// At once, after a pause. At least 1.
    pub burst_events: u32,
}

impl KeyRules {
    /// Whether a request with this `Origin` header may come. Every browser names the origin with a POST, so a key that
    /// lists origins is not for requests without one; `None` is for images, with which browsers do not name it.
    pub(crate) fn allows_origin(&self, origin: Option<&str>, is_image: bool) -> bool {
        self.origins.is_empty() || origin.map_or(is_image, |origin| self.origins.contains(origin))
    }
}

/// A token bucket, in millionths of an event. It may owe: a batch that is larger than the burst comes in when the bucket
/// is full, and whoever sent it waits the longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    micro_events: i64,
    at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub(crate) fn full(rate: Rate, now: Timestamp) -> Self {
        Self { micro_events: i64::from(rate.burst_events) * MICROS, at: now }
    }

    /// Takes events out, or says in how many seconds they can come. A clock that was set back fills nothing.
    pub(crate) fn take(&mut self, rate: Rate, events: u32, now: Timestamp) -> Result<(), u32> {
        let (per_s, full) = (i64::from(rate.events_per_s.max(1)), i64::from(rate.burst_events) * MICROS);
        let passed_us = now.0.saturating_sub(self.at.0).max(0);
        // Events a second are millionths of an event a microsecond.
        self.micro_events = self.micro_events.saturating_add(passed_us.saturating_mul(per_s)).min(full);
        self.at = now;
        let wanted = i64::from(events) * MICROS;
        let missing = wanted.min(full) - self.micro_events;
        if missing > 0 {
            let wait_s = (missing - 1) / (per_s * MICROS) + 1;
            return Err(u32::try_from(wait_s.clamp(1, RETRY_AFTER_S_MAX)).unwrap_or(1));
        }
        self.micro_events -= wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { events_per_s: 10, burst_events: 20 };

    #[test]
    fn a_bucket_lets_through_what_the_rate_says() {
        let mut bucket = Bucket::full(RATE, Timestamp(0));
        assert_eq!(bucket.take(RATE, 20, Timestamp(0)), Ok(()));
        assert_eq!(bucket.take(RATE, 1, Timestamp(0)), Err(1));
        assert_eq!(bucket.take(RATE, 20, Timestamp(0)), Err(2), "two seconds of ten events");
        assert_eq!(bucket.take(RATE, 1, Timestamp(100_000)), Ok(()), "after a tenth of a second");
        assert_eq!(
            bucket.take(RATE, 100, Timestamp(1_000_000)),
            Err(2),
            "more than the burst waits until it is full"
        );
        assert_eq!(bucket.take(RATE, 100, Timestamp(3_000_000)), Ok(()), "and is owed then");
        assert_eq!(bucket.take(RATE, 1, Timestamp(3_000_000)), Err(9));
        assert_eq!(bucket.take(RATE, 1, Timestamp(0)), Err(9), "a clock that was set back");
    }

    proptest! {
        /// Over any stretch no more comes through than the burst, what the rate adds, and one batch beyond.
        #[test]
        fn no_more_than_the_rate(
            asks in prop::collection::vec((0_i64..3_000_000, 1_u32..60), 1..60),
            events_per_s in 1_u32..1_000, burst_events in 1_u32..50,
        ) {
            let rate = Rate { events_per_s, burst_events };
            let mut bucket = Bucket::full(rate, Timestamp(0));
            let (mut now, mut let_in, mut largest) = (0, 0_i64, 0_i64);
            for (pause_us, events) in asks {
                now += pause_us;
                if bucket.take(rate, events, Timestamp(now)).is_ok() {
                    let_in += i64::from(events);
                    largest = largest.max(i64::from(events));
                }
                let allowed = i64::from(burst_events) + now * i64::from(events_per_s) / 1_000_000 + largest;
                prop_assert!(let_in <= allowed, "{let_in} of {allowed}");
            }
        }

        /// Whoever waits as long as told comes in, unless told the longest wait.
        #[test]
        fn the_wait_is_long_enough(taken in 1_u32..500, wanted in 1_u32..500, events_per_s in 1_u32..100, burst in 1_u32..100) {
            let rate = Rate { events_per_s, burst_events: burst };
            let mut bucket = Bucket::full(rate, Timestamp(0));
            prop_assert_eq!(bucket.take(rate, taken, Timestamp(0)), Ok(()));
            if let Err(wait_s) = bucket.take(rate, wanted, Timestamp(0)) && i64::from(wait_s) < RETRY_AFTER_S_MAX {
                prop_assert_eq!(bucket.take(rate, wanted, Timestamp(i64::from(wait_s) * MICROS)), Ok(()));
            }
        }
    }
}
