//! What a platform's answer means, and how a call of many items is taken apart when one of them is bad.

use crate::webhook::retry_after_s;
use delivery::egress::{EgressError, Response};
use delivery::env::Clock;
use delivery::{Later, Outcome, Parcel};
use model::id::EffectId;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// How long a lane waits after an answer that only an operator can change, in milliseconds: a credential that ended, a
/// list that is blocked. Nothing is lost meanwhile, and nothing is sent a thousand times in vain.
pub const OPERATOR_WAIT_MS: u64 = 5 * 60 * 1_000;
/// Verdicts that wait for their parcel to come again.
const KEPT_MAX: usize = 100_000;
/// The longest code of a platform that becomes a part of a reason, in bytes.
const CODE_BYTES_MAX: usize = 48;

/// What became of a call, or of one item of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted.
    Accepted,
    /// Not accepted, and it may be later.
    Later {
        /// A stable word with the platform's own code, e.g. `meta_17`.
        reason: String,
        /// How long the platform asks to wait, in milliseconds.
        after_ms: Option<u64>,
    },
    /// Never accepted as it is. Of a call with many items: at least one of them is at fault.
    Refused {
        /// A stable word with the platform's own code, e.g. `meta_100`.
        reason: String,
    },
    /// The platform may have accepted it, or not.
    Unknown {
        /// A stable word, e.g. `timeout`.
        reason: String,
    },
}

impl Verdict {
    /// To be tried again soon.
    pub fn later(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after_ms: None }
    }

    /// To be tried again when an operator had time to act.
    pub fn operator(reason: impl Into<String>) -> Self {
        Self::Later { reason: reason.into(), after_ms: Some(OPERATOR_WAIT_MS) }
    }

    /// Never accepted.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// For calls that do the same when they are made twice: what nobody knows is simply done again.
    #[must_use]
    pub fn repeatable(self) -> Self {
        match self {
            Self::Unknown { reason } => Self::Later { reason, after_ms: None },
            other => other,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Delivered,
            Self::Later { reason, after_ms } => Outcome::Retry { reason, after_ms },
            Self::Refused { reason } => Outcome::Refused { reason },
            Self::Unknown { reason } => Outcome::Unknown { reason },
        }
    }
}

/// What an error of the client means.
pub(super) fn judge_error(error: &EgressError) -> Verdict {
    let reason = error.code().to_owned();
    match error {
        EgressError::Limited { wait_ms, .. } => Verdict::Later { reason, after_ms: Some(*wait_ms) },
        EgressError::BadRequest { .. } => Verdict::Refused { reason },
        error if error.maybe_sent() => Verdict::Unknown { reason },
        error if error.is_transient() => Verdict::Later { reason, after_ms: None },
        // Where it leads is forbidden, or cannot be read: the operator's to change, and no parcel's fault.
        _ => Verdict::operator(reason),
    }
}

/// What a status means where the body says nothing more. `who` begins the reason.
pub(super) fn judge_status(who: &str, response: &Response, clock: &dyn Clock) -> Verdict {
    let reason = format!("{who}_http_{}", response.status);
    match response.status {
        200..=299 => Verdict::Accepted,
        401 | 403 => Verdict::operator(reason),
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
            Verdict::Later { reason, after_ms: asked_ms(response, clock) }
        }
        _ => Verdict::Refused { reason },
    }
}

/// How long a platform asks to wait, in milliseconds.
pub(super) fn asked_ms(response: &Response, clock: &dyn Clock) -> Option<u64> {
    let now_s = clock.now_us().div_euclid(1_000_000);
    let after_s = response.header("retry-after").and_then(|text| retry_after_s(text, now_s));
    after_s.map(|after_s| after_s.saturating_mul(1_000))
}

/// A platform's code as a part of a reason: letters, digits, `_`, `-` and `.` only, so that nothing else that a platform
/// repeats from a payload, a person's address for one, gets into a log.
pub(super) fn plain_code(text: &str) -> String {
    let plain = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    text.chars().filter(plain).take(CODE_BYTES_MAX).collect()
}

/// Makes one call for all items, in parts of at most `part_max`; a part that is refused is halved until the bad items
/// stand alone. After an answer that says "later", and when the time is up, nothing more is called: what is left is
/// "later" too.
pub(super) async fn call_in_halves<'a>(
    count: usize,
    part_max: usize,
    out_of_time: impl Fn() -> bool,
    mut call: impl FnMut(Range<usize>) -> Later<'a, Verdict>,
) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::later("not_reached"); count];
    let part_max = part_max.max(1);
    let mut waiting: Vec<Range<usize>> =
        (0..count).step_by(part_max).map(|from| from..(from + part_max).min(count)).rev().collect();
    while let Some(part) = waiting.pop() {
        if out_of_time() {
            break;
        }
        let verdict = call(part.clone()).await;
        match &verdict {
            Verdict::Refused { .. } if part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                waiting.push(middle..part.end);
                waiting.push(part.start..middle);
                continue;
            }
            Verdict::Later { .. } | Verdict::Unknown { .. } => {
                // Whatever ails the platform ails the rest as well, which was not sent.
                let rest = match &verdict {
                    Verdict::Later { .. } => verdict.clone(),
                    _ => Verdict::later("not_reached"),
                };
                for place in waiting.drain(..).flatten() {
                    set(&mut verdicts, place, rest.clone());
                }
            }
            _ => {}
        }
        for place in part {
            set(&mut verdicts, place, verdict.clone());
        }
    }
    verdicts
}

fn set(verdicts: &mut [Verdict], place: usize, verdict: Verdict) {
    if let Some(slot) = verdicts.get_mut(place) {
        *slot = verdict;
    }
}

/// Verdicts of parcels whose batch as a whole came to something else.
///
/// A lane hears one outcome for a batch. If some parcels were accepted and others refused, the batch counts as refused,
/// so that the lane takes it apart; each parcel then comes alone and finds its verdict here, without a call. They are in
/// memory only: after a restart those parcels are sent again, which every platform takes for what it is, a repeat.
#[derive(Default)]
pub(super) struct Verdicts {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_id: BTreeMap<EffectId, Verdict>,
    /// The order in which they came, for the bound.
    order: VecDeque<EffectId>,
}

impl Verdicts {
    /// Takes out what is known of these parcels.
    pub(super) fn recall(&self, parcels: &[Parcel]) -> Vec<Option<Verdict>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        parcels.iter().map(|parcel| kept.by_id.remove(&parcel.id)).collect()
    }

    /// The outcome of an attempt with these parcels and verdicts; keeps what the outcome does not say.
    pub(super) fn settle(&self, parcels: &[Parcel], verdicts: Vec<Verdict>) -> Outcome {
        let weight = |verdict: &Verdict| match verdict {
            Verdict::Accepted => 0,
            Verdict::Refused { .. } => 1,
            Verdict::Unknown { .. } => 2,
            Verdict::Later { .. } => 3,
        };
        let Some(worst) = verdicts.iter().max_by_key(|verdict| weight(verdict)).cloned() else {
            return Outcome::Delivered;
        };
        if parcels.len() == 1 || worst == Verdict::Accepted {
            return worst.outcome();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (parcel, verdict) in parcels.iter().zip(verdicts) {
            if matches!(verdict, Verdict::Accepted | Verdict::Refused { .. }) {
                kept.keep(parcel.id, verdict);
            }
        }
        match worst {
            Verdict::Refused { .. } => Outcome::Refused { reason: "taken_apart".to_owned() },
            other => other.outcome(),
        }
    }
}

impl Kept {
    fn keep(&mut self, id: EffectId, verdict: Verdict) {
        if self.by_id.insert(id, verdict).is_none() {
            self.order.push_back(id);
        }
        // Ids of verdicts that were taken out stay in the order until they are at the front.
        while self.order.len() > KEPT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use delivery::{Bytes, Class};
    use model::id::{Key, Position, Timestamp};
    use proptest::prelude::*;

    fn parcel(position: u64) -> Parcel {
        Parcel {
            id: EffectId { position: Position(position), ordinal: 0 },
            issued_at: Timestamp(0),
            kind: 1,
            about: None,
            subject: Key(u128::from(position)),
            class: Class::Transactional,
            idempotency_key: position.to_string(),
            body: Bytes::new(),
        }
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        /// Whatever items are bad: they are refused, all others are accepted, each exactly once, and the calls are few.
        #[test]
        fn bad_items_stand_alone_in_the_end(bad in proptest::collection::vec(any::<bool>(), 0..200), part_max in 1_usize..64) {
            let bad: Vec<bool> = bad.iter().enumerate().map(|(place, bad)| *bad && place % 7 == 0).collect();
            let accepted = Mutex::new(vec![0_u32; bad.len()]);
            let calls = Mutex::new(0_usize);
            let verdicts = block(call_in_halves(bad.len(), part_max, || false, |part| {
                *calls.lock().unwrap() += 1;
                let refused = bad[part.clone()].contains(&true);
                if !refused {
                    part.for_each(|place| accepted.lock().unwrap()[place] += 1);
                }
                let verdict = if refused { Verdict::refused("bad") } else { Verdict::Accepted };
                Box::pin(std::future::ready(verdict))
            }));
            for (place, verdict) in verdicts.iter().enumerate() {
                let expected = if bad[place] { Verdict::refused("bad") } else { Verdict::Accepted };
                prop_assert_eq!(verdict, &expected);
                prop_assert_eq!(accepted.lock().unwrap()[place], u32::from(!bad[place]));
            }
            let count = bad.iter().filter(|bad| **bad).count();
            let parts = bad.len().div_ceil(part_max);
            prop_assert!(*calls.lock().unwrap() <= parts + count * 2 * 8);
        }
    }

    #[test]
    fn an_answer_that_says_later_ends_the_attempt() {
        let verdicts = block(call_in_halves(
            5,
            2,
            || false,
            |part| {
                let answer = if part.start == 2 { Verdict::later("meta_17") } else { Verdict::Accepted };
                Box::pin(std::future::ready(answer))
            },
        ));
        let later = Verdict::later("meta_17");
        assert_eq!(verdicts, [Verdict::Accepted, Verdict::Accepted, later.clone(), later.clone(), later]);
        let none = block(call_in_halves(2, 1, || true, |_| Box::pin(std::future::ready(Verdict::Accepted))));
        assert_eq!(none, vec![Verdict::later("not_reached"); 2]);
    }

    #[test]
    fn parcels_of_a_mixed_batch_find_their_verdicts_when_they_come_alone() {
        let verdicts = Verdicts::default();
        let batch = [parcel(1), parcel(2), parcel(3)];
        let bad = Verdict::refused("meta_100");
        let outcome = verdicts.settle(&batch, vec![Verdict::Accepted, bad.clone(), Verdict::Accepted]);
        assert_eq!(outcome, Outcome::Refused { reason: "taken_apart".to_owned() });
        assert_eq!(verdicts.recall(&batch[..1]), [Some(Verdict::Accepted)]);
        assert_eq!(verdicts.recall(&batch[1..2]), [Some(bad.clone())]);
        assert_eq!(verdicts.recall(&batch), [None, None, Some(Verdict::Accepted)]);
        let outcome = verdicts.settle(&batch, vec![Verdict::Accepted, bad, Verdict::later("http_503")]);
        assert_eq!(outcome, Outcome::Retry { reason: "http_503".to_owned(), after_ms: None });
        assert_eq!(verdicts.recall(&batch[..1]), [Some(Verdict::Accepted)]);
        let alone = verdicts.settle(&batch[..1], vec![Verdict::refused("meta_100")]);
        assert_eq!(alone, Outcome::Refused { reason: "meta_100".to_owned() });
        assert_eq!(verdicts.settle(&[], Vec::new()), Outcome::Delivered);
    }

    #[test]
    fn codes_of_platforms_carry_nothing_else() {
        assert_eq!(plain_code("INVALID_ARGUMENT"), "INVALID_ARGUMENT");
        assert_eq!(plain_code("ann@shop.test <x>"), "annshop.testx");
        assert_eq!(plain_code(&"x".repeat(500)).len(), CODE_BYTES_MAX);
    }
}
