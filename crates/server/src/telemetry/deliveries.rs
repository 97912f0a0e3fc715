//! Attempts to deliver what a followed request led to: a span each, in a trace of its own that names the request's.
//!
//! A trace of its own, because a delivery may come hours after the answer, and because one attempt can carry what many
//! requests led to. What was followed is known for a while only: a delivery that comes later than some thousand followed
//! requests has no span.

use super::Traces;
use super::sampler::Admission;
use super::span::{Kind, Moment, Span, SpanId, TraceId, number, text};
use delivery::{Destination, Later, Outcome, Parcel};
use model::id::Position;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Followed requests that are remembered.
const RECENT_MAX: usize = 4_096;
/// Requests that one attempt names.
const LINKS_MAX: usize = 32;

type Followed = (TraceId, SpanId);

/// The positions that followed requests took, in order.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<(Position, u32, Followed)>>);

impl Recent {
    /// A followed request has `count` records from `first` on. They are applied in order, so positions only grow.
    pub(super) fn note(&self, first: Position, count: u32, followed: Followed) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back((first, count, followed));
    }

    /// Which of them had some of these positions.
    fn find(&self, positions: &BTreeSet<Position>) -> Vec<Followed> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Followed> = Vec::new();
        for position in positions {
            let after = recent.partition_point(|(first, _, _)| first <= position);
            let Some((first, count, followed)) = after.checked_sub(1).and_then(|at| recent.get(at)) else {
                continue;
            };
            let within = position.0 - first.0 < u64::from(*count);
            if within && found.last() != Some(followed) && found.len() < LINKS_MAX {
                found.push(*followed);
            }
        }
        found
    }
}

/// A destination whose attempts are followed.
pub(crate) struct FollowedDestination {
    name: String,
    inner: Arc<dyn Destination>,
    traces: Arc<Traces>,
}

impl FollowedDestination {
    /// The same destination, followed if traces are on.
    pub(crate) fn wrap(
        traces: Option<&Arc<Traces>>,
        name: &str,
        inner: Arc<dyn Destination>,
    ) -> Arc<dyn Destination> {
        match traces {
            Some(traces) => Arc::new(Self { name: name.to_owned(), inner, traces: Arc::clone(traces) }),
            None => inner,
        }
    }
}

impl Destination for FollowedDestination {
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            let mut attempt = Attempt {
                traces: &self.traces,
                destination: &self.name,
                parcels: Arc::clone(&parcels),
                started: self.traces.now(),
                outcome: None,
            };
            let outcome = self.inner.send(parcels, timeout_ms).await;
            attempt.outcome = Some(outcome.clone());
            outcome
        })
    }

    fn tend(&self, stopping: bool) -> Later<'_, ()> {
        self.inner.tend(stopping)
    }
}

/// An attempt under way. It ends when this is dropped, which is also how an attempt ends whose time is over.
struct Attempt<'a> {
    traces: &'a Traces,
    destination: &'a str,
    parcels: Arc<[Parcel]>,
    started: Moment,
    outcome: Option<Outcome>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let positions: BTreeSet<Position> = self.parcels.iter().map(|parcel| parcel.id.position).collect();
        let links = self.traces.recent.find(&positions);
        if links.is_empty() {
            return;
        }
        if self.traces.delivery_rate.take(self.started.monotonic_ns) == Admission::OverRate {
            self.traces.over_rate.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Some((trace_id, span_id)) = self.traces.fresh_trace_id().zip(self.traces.fresh_span_id()) else {
            return;
        };
        let (word, reason) = outcome_words(self.outcome.as_ref());
        let mut attributes = vec![
            ("throughline.destination", text(self.destination)),
            ("throughline.parcels", number(self.parcels.len() as u64)),
            ("throughline.outcome", text(word)),
        ];
        attributes.extend(positions.first().map(|first| ("throughline.position", number(first.0))));
        attributes.extend(reason.map(|reason| ("throughline.reason", text(reason))));
        let ended_ns = self.traces.clock.monotonic_ns();
        self.traces.outbox.put(vec![Span {
            trace_id,
            span_id,
            parent: None,
            name: "deliver".to_owned(),
            kind: Kind::Client,
            start_unix_ns: self.started.unix_ns(self.started.monotonic_ns),
            end_unix_ns: self.started.unix_ns(ended_ns),
            attributes,
            links,
            failed: word != "delivered",
        }]);
    }
}

/// What became of an attempt, and the stable word for why.
fn outcome_words(outcome: Option<&Outcome>) -> (&'static str, Option<&str>) {
    match outcome {
        Some(Outcome::Delivered) => ("delivered", None),
        Some(Outcome::Retry { reason, .. }) => ("retry", Some(reason)),
        Some(Outcome::Refused { reason }) => ("refused", Some(reason)),
        Some(Outcome::Unknown { reason }) => ("unknown", Some(reason)),
        None => ("unknown", Some("timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(number: u8) -> Followed {
        (TraceId([number; 16]), SpanId([number; 8]))
    }

    #[test]
    fn positions_lead_to_the_request_that_took_them() {
        let recent = Recent::default();
        recent.note(Position(10), 3, followed(1));
        recent.note(Position(20), 1, followed(2));
        recent.note(Position(21), 5, followed(3));
        for (positions, expected) in [
            (&[][..], &[][..]),
            (&[9], &[]),
            (&[10], &[1]),
            (&[12], &[1]),
            (&[13], &[]),
            (&[19], &[]),
            (&[20], &[2]),
            (&[21, 25], &[3]),
            (&[26], &[]),
            (&[0, 11, 12, 13, 20, 21, 22, 99], &[1, 2, 3]),
        ] {
            let positions: BTreeSet<Position> = positions.iter().map(|at| Position(*at)).collect();
            let expected: Vec<Followed> = expected.iter().map(|number| followed(*number)).collect();
            assert_eq!(recent.find(&positions), expected, "{positions:?}");
        }
    }

    #[test]
    fn what_is_remembered_and_what_is_named_is_bounded() {
        let recent = Recent::default();
        for number in 0..RECENT_MAX as u64 + 10 {
            recent.note(Position(number), 1, followed(u8::try_from(number % 200).unwrap()));
        }
        assert_eq!(recent.0.lock().unwrap().len(), RECENT_MAX);
        assert!(recent.find(&BTreeSet::from([Position(9)])).is_empty(), "the oldest are gone");
        assert_eq!(recent.find(&BTreeSet::from([Position(10)])), [followed(10)]);
        let all = (0..1_000).map(Position).collect();
        assert_eq!(recent.find(&all).len(), LINKS_MAX);
    }
}
