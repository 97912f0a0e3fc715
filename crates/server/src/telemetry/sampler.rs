//! Which requests are followed: few, and never more a second than set.

use super::traceparent::Traceparent;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

const MILLION: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// The step of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whether there is room for one more in this second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    OverRate,
}

/// Chooses by chance, or because the sender records the trace already.
pub(super) struct Sampler {
    per_million: u64,
    drawn: AtomicU64,
    chosen: Rate,
    /// What senders ask for has a rate of its own: it takes nothing from what is chosen here, and a stranger who asks
    /// for everything gets no more.
    asked: Rate,
}

impl Sampler {
    pub(super) fn new(per_million: u64, per_second_max: u64, seed: u64) -> Self {
        let drawn = AtomicU64::new(seed);
        Self { per_million, drawn, chosen: Rate::new(per_second_max), asked: Rate::new(per_second_max) }
    }

    /// A sender that decided is followed in its decision, either way; otherwise chance decides.
    pub(super) fn wants(&self, parent: Option<&Traceparent>) -> bool {
        match parent {
            Some(parent) => parent.sampled,
            None => self.per_million > 0 && self.draw() < self.per_million,
        }
    }

    /// Takes one of the places of this second.
    pub(super) fn admit(&self, is_asked: bool, now_ns: u64) -> Admission {
        if is_asked { self.asked.take(now_ns) } else { self.chosen.take(now_ns) }
    }

    /// A number below a million. Not every n-th request: senders have rhythms too.
    fn draw(&self) -> u64 {
        let mut mixed = self.drawn.fetch_add(STEP, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(MILLION)) >> 64) as u64
    }
}

/// So many in each second of a clock.
pub(super) struct Rate {
    per_second_max: u64,
    /// A second, and how many it had.
    used: Mutex<(u64, u64)>,
}

impl Rate {
    pub(super) fn new(per_second_max: u64) -> Self {
        Self { per_second_max, used: Mutex::default() }
    }

    pub(super) fn take(&self, now_ns: u64) -> Admission {
        let second = now_ns / SECOND_NS;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Threads read the clock before they come here, so one may come late.
        if second > used.0 {
            *used = (second, 0);
        }
        if used.1 >= self.per_second_max {
            return Admission::OverRate;
        }
        used.1 += 1;
        Admission::Admitted
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::{SpanId, TraceId};
    use super::*;

    fn parent(sampled: bool) -> Traceparent {
        Traceparent { trace_id: TraceId([1; 16]), span_id: SpanId([1; 8]), sampled }
    }

    #[test]
    fn the_sender_decides_where_it_says_something() {
        for per_million in [0, 500_000, MILLION] {
            let sampler = Sampler::new(per_million, 10, 7);
            for _ in 0..100 {
                assert!(sampler.wants(Some(&parent(true))));
                assert!(!sampler.wants(Some(&parent(false))));
            }
        }
    }

    #[test]
    fn chance_gives_the_share_that_is_set() {
        for seed in [0, 1, u64::MAX, 0x1234_5678_9ABC_DEF0] {
            for per_million in [0, 1_000, 100_000, 500_000, MILLION] {
                let sampler = Sampler::new(per_million, 10, seed);
                let draws = 200_000_u64;
                let wanted = (0..draws).filter(|_| sampler.wants(None)).count() as u64;
                let expected = draws * per_million / MILLION;
                // Six standard deviations of a fair draw, in integers: sqrt(n p (1 - p)) <= sqrt(expected).
                let slack = 6 * (expected.isqrt() + 1) * u64::from(per_million % MILLION != 0);
                println!("seed {seed}, {per_million} per million: {wanted} of {draws}");
                assert!(wanted.abs_diff(expected) <= slack, "{wanted} instead of {expected}");
            }
        }
    }

    #[test]
    fn a_second_has_so_many_places_and_the_two_kinds_do_not_share_them() {
        let sampler = Sampler::new(MILLION, 2, 0);
        // Instant in milliseconds, asked for by the sender, admitted.
        for (at_ms, is_asked, admitted) in [
            (0, true, true),
            (1, true, true),
            (2, true, false),
            (3, false, true),
            (999, false, true),
            (999, false, false),
            (1_000, false, true),
            // Read before the second began, and still counted in it.
            (999, false, true),
            (1_001, false, false),
            (1_001, true, true),
            (60_000, true, true),
            (60_000, true, true),
            (60_000, true, false),
        ] {
            let admission = sampler.admit(is_asked, at_ms * 1_000_000);
            assert_eq!(admission == Admission::Admitted, admitted, "at {at_ms} ms, asked {is_asked}");
        }
    }
}
