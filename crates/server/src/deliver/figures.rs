//! The metrics of each destination. Destinations are bounded in number, so their names can be labels.

use super::Deliveries;
use crate::api::Context;
use crate::calendar::now_us;
use crate::line::types::SuppressionLag;
use delivery::{BreakerState, Lag, LaneStatus};
use engage::effect::{AUDIENCE_ENTERED, AUDIENCE_EXITED, SUPPRESSION_STARTED};
use outbound::platform::Counters;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// One metric: name, type, help and the value of one destination, which gets the end of the feed too. The names are
/// part of the interface.
type Metric = (&'static str, &'static str, &'static str, fn(&LaneStatus, u64) -> u64);

const METRICS: &[Metric] = &[
    (
        "throughline_destination_delivered_total",
        "counter",
        "Messages that the destination accepted, since the start.",
        |lane, _| lane.delivered,
    ),
    ("throughline_destination_attempts_total", "counter", "Attempts, since the start.", |lane, _| {
        lane.attempts
    }),
    (
        "throughline_destination_failed_attempts_total",
        "counter",
        "Attempts that did not end in acceptance, since the start.",
        |lane, _| lane.failed_attempts,
    ),
    (
        "throughline_destination_retries_total",
        "counter",
        "Messages put back for another attempt, at every failure, since the start.",
        |lane, _| lane.retried,
    ),
    (
        "throughline_destination_permits_refused_total",
        "counter",
        "Messages that were not right any more when their turn came, since the start.",
        |lane, _| Deliveries::refused(lane),
    ),
    (
        "throughline_destination_crossed_total",
        "counter",
        "Messages on the wire when something was committed that would have refused them, since the start.",
        |lane, _| lane.crossed,
    ),
    (
        "throughline_destination_dead_letters",
        "gauge",
        "Messages that could not be delivered and wait for somebody.",
        |lane, _| lane.dead_letters as u64,
    ),
    ("throughline_destination_waiting", "gauge", "Messages in memory.", |lane, _| lane.held_parcels as u64),
    (
        "throughline_destination_lag_milliseconds",
        "gauge",
        "How long what is not settled has been in the feed; 0 at its end.",
        behind_ms,
    ),
    (
        "throughline_destination_breaker_state",
        "gauge",
        "The circuit breaker: 0 closed, 1 trying again, 2 open.",
        |lane, _| match lane.breaker {
            None | Some(BreakerState::Closed) => 0,
            Some(BreakerState::HalfOpen) => 1,
            Some(BreakerState::Open) => 2,
        },
    ),
];

/// One metric of ad platforms: name, type, help and the value of one.
type PlatformMetric = (&'static str, &'static str, &'static str, fn(&Counters) -> &AtomicU64);

const PLATFORM_METRICS: &[PlatformMetric] = &[
    ("throughline_platform_calls_total", "counter", "Calls to the platform.", |counted| &counted.calls),
    (
        "throughline_platform_request_milliseconds_total",
        "counter",
        "Milliseconds that all calls took together; divided by the calls it is the lag of our request.",
        |counted| &counted.request_ms,
    ),
    ("throughline_platform_taken_total", "counter", "Events and rows that the platform took.", |counted| {
        &counted.taken
    }),
    (
        "throughline_platform_invalid_total",
        "counter",
        "Rows that the platform took and could not read.",
        |counted| &counted.invalid,
    ),
    (
        "throughline_platform_unusable_total",
        "counter",
        "Values of people that no platform could use, and that were left out.",
        |counted| &counted.unusable,
    ),
    (
        "throughline_platform_refused_here_total",
        "counter",
        "Messages that were refused before any call.",
        |counted| &counted.refused_here,
    ),
    (
        "throughline_platform_settled_total",
        "counter",
        "Calls whose outcome came later, and was good.",
        |counted| &counted.settled,
    ),
    (
        "throughline_platform_failed_later_total",
        "counter",
        "Calls whose outcome came later, and was not good, or only in part.",
        |counted| &counted.failed_later,
    ),
    (
        "throughline_platform_never_heard_total",
        "counter",
        "Calls whose outcome was never heard.",
        |counted| &counted.never_heard,
    ),
    (
        "throughline_platform_outcome_wait_milliseconds",
        "gauge",
        "How long the oldest call waits for its outcome.",
        |counted| &counted.outcome_wait_ms,
    ),
    (
        "throughline_platform_people",
        "gauge",
        "People in all lists of the platform; who is in two counts twice.",
        |counted| &counted.people,
    ),
    (
        "throughline_platform_unsettled",
        "gauge",
        "Of how many people in lists something is not acknowledged.",
        |counted| &counted.unsettled,
    ),
];

/// Writes the metrics of ad platforms: what they counted since they were opened, and how long they take themselves.
fn write_platforms(context: &Context, open: &[&LaneStatus], text: &mut String) {
    let shared = context.deliveries.lock();
    let known = open.iter().filter_map(|lane| Some((&lane.name, shared.platforms.get(&*lane.name)?)));
    let known: Vec<_> = known.collect();
    for (name, kind, help, value) in PLATFORM_METRICS {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (lane, known) in &known {
            let value = value(&known.counters).load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{destination=\"{lane}\"}} {value}");
        }
    }
    let name = "throughline_platform_own_lag_seconds";
    let help = "How long the platform itself takes until what it accepted works, where it documents that.";
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (lane, lag_s) in known.iter().filter_map(|(lane, known)| Some((lane, known.own_lag_s?))) {
        let _ = writeln!(text, "{name}{{destination=\"{lane}\"}} {lag_s}");
    }
    let name = "throughline_platform_erased_untold_total";
    let help = "Erased people who may still be in lists, because the platform did not answer in time.";
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
    for (destination, count) in shared.withdrawing.abandoned() {
        let _ = writeln!(text, "{name}{{destination=\"{destination}\"}} {count}");
    }
}

/// Writes them in Prometheus' text format, each with its explanation although there may be no destination.
pub(crate) fn write_metrics(context: &Context, text: &mut String) {
    let lanes = context.deliveries.runner().map(|runner| runner.statuses()).unwrap_or_default();
    let complete = context.engine.feed().bounds().complete.0;
    for (name, kind, help, value) in METRICS {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for lane in lanes.iter().filter(|lane| lane.open) {
            // Names of destinations hold nothing that would have to be escaped: a lane refuses them otherwise.
            let _ = writeln!(text, "{name}{{destination=\"{}\"}} {}", lane.name, value(lane, complete));
        }
    }
    let open: Vec<&LaneStatus> = lanes.iter().filter(|lane| lane.open).collect();
    write_platforms(context, &open, text);
}

/// What went wrong on the way out, and how late destinations are: failed attempts since the start, and of each
/// destination that is sent to how far behind it is, in milliseconds.
pub(crate) fn trouble(context: &Context) -> (u64, BTreeMap<String, u64>) {
    let lanes = context.deliveries.runner().map(|runner| runner.statuses()).unwrap_or_default();
    let complete = context.engine.feed().bounds().complete.0;
    let open = lanes.iter().filter(|lane| lane.open);
    let lag_ms = open.map(|lane| (lane.name.to_string(), behind_ms(lane, complete))).collect();
    (lanes.iter().map(|lane| lane.failed_attempts).sum(), lag_ms)
}

/// How late each destination that is told whom not to advertise to has heard of it, since the start: from the record that
/// decided it to the acceptance of the message. Where no suppression is told by itself, entries and exits of audiences are
/// what tells it.
pub(crate) fn suppression_lag(context: &Context) -> BTreeMap<String, SuppressionLag> {
    let lanes = context.deliveries.runner().map(|runner| runner.statuses()).unwrap_or_default();
    let own = |name: &str| context.deliveries.lock().platforms.get(name).and_then(|known| known.own_lag_s);
    let of = |lane: &LaneStatus| {
        let started = lane.lag_by_kind.get(&SUPPRESSION_STARTED);
        let moved = [AUDIENCE_ENTERED, AUDIENCE_EXITED].map(|kind| lane.lag_by_kind.get(&kind));
        let mut lag = Lag::default();
        let told = started.into_iter().chain(moved.into_iter().flatten().filter(|_| started.is_none()));
        told.for_each(|told| lag.add(told));
        (lag.count_of() > 0).then(|| SuppressionLag {
            messages: lag.count_of(),
            p50_ms: lag.quantile_ms(50),
            p99_ms: lag.quantile_ms(99),
            platform_own_lag_s: own(&lane.name),
        })
    };
    lanes
        .iter()
        .filter(|lane| lane.open)
        .filter_map(|lane| Some((lane.name.to_string(), of(lane)?)))
        .collect()
}

/// How long the oldest thing that a lane has not settled has been in the feed, in milliseconds; 0 if the lane stands at
/// the end of the feed, which is complete before the position given.
pub(super) fn behind_ms(lane: &LaneStatus, complete: u64) -> u64 {
    let at_end = lane.seen_through.map_or(0, |id| id.position.0 + 1) >= complete;
    // With nothing in memory the source is behind: at least as far as the last it has shown.
    let since = if at_end { lane.oldest_issued_at } else { lane.oldest_issued_at.or(lane.seen_at) };
    since.map_or(0, |at| u64::try_from(now_us().saturating_sub(at.0)).unwrap_or(0) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{EffectId, Position, Timestamp};

    #[test]
    fn a_lane_is_behind_by_its_oldest_message_or_by_what_it_has_not_read() {
        let at = |seconds: i64| Some(Timestamp(now_us() - seconds * 1_000_000));
        let seen = |position| Some(EffectId { position: Position(position), ordinal: 0 });
        let table = [
            (None, None, None, 0, 0),
            (None, None, None, 5, 0),
            (None, seen(4), at(60), 5, 0),
            (at(9), seen(4), at(2), 5, 9),
            (at(9), seen(2), at(3), 5, 9),
            (None, seen(2), at(3), 5, 3),
        ];
        for (oldest_issued_at, seen_through, seen_at, complete, seconds) in table {
            let lane = LaneStatus { oldest_issued_at, seen_through, seen_at, ..LaneStatus::default() };
            assert_eq!(behind_ms(&lane, complete) / 1_000, seconds, "{lane:?}");
        }
    }
}
