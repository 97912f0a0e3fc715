//! What the page shows, read once: the same things, by the same functions, that the API answers with.

use super::stations::destination_state;
use crate::api::types::{AudienceShown, DestinationShown, Readiness, StatusShown};
use crate::api::{Context, largest_audiences, readiness_of, status_of};
use crate::calendar::now_us;
use crate::deliver;
use crate::line::types::LineShown;
use crate::line::{By, Reading};
use model::line::hour_of;
use std::collections::BTreeMap;

/// Audiences that the page names; the largest.
const AUDIENCES_MAX: usize = 50;
/// Destinations that the page names.
const DESTINATIONS_MAX: usize = 50;
/// A shorter time between two readings says little about a rate.
const SAMPLE_MIN_US: i64 = 2_000_000;
/// What was read longer ago says nothing about now.
const SAMPLE_MAX_US: i64 = 30_000_000;

/// How far back the line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Period {
    Day,
    Week,
    Month,
    Quarter,
}

impl Period {
    pub(super) const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Quarter];

    /// How it stands in the address.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::Quarter => "90d",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
            Self::Quarter => "90 days",
        }
    }

    pub(super) fn hours(self) -> i32 {
        match self {
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30 * 24,
            Self::Quarter => 90 * 24,
        }
    }

    /// Hours in one bar of the charts.
    pub(super) fn step(self) -> i32 {
        match self {
            Self::Day | Self::Week => 1,
            Self::Month | Self::Quarter => 24,
        }
    }

    /// Fits what there is: the shortest in which the data of the line have filled at least half, so that neither a new
    /// shop nor an old one looks at an empty chart.
    pub(super) fn fitting(hours_of_data: i32) -> Self {
        Self::ALL.into_iter().rev().find(|one| hours_of_data * 2 > one.hours()).unwrap_or(Self::Day)
    }

    fn by(self) -> By {
        if self.step() == 1 { By::Hour } else { By::Day }
    }
}

/// The line over one period.
#[derive(Clone, Debug)]
pub(super) struct LineSeen {
    pub(super) period: Period,
    /// The first hour since 1970.
    pub(super) start: i32,
    /// The end, not counted.
    pub(super) end: i32,
    /// By hour or day.
    pub(super) history: LineShown,
    pub(super) campaigns: LineShown,
}

/// Everything.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) log_time_us: i64,
    pub(super) status: StatusShown,
    pub(super) readiness: Readiness,
    pub(super) audiences: Vec<AudienceShown>,
    pub(super) audiences_total: usize,
    /// Those with a problem first if not all are here.
    pub(super) destinations: Vec<DestinationShown>,
    pub(super) destinations_total: usize,
    /// Log time comes with requests, so it cannot be held against the clock: how late destinations are is not known.
    pub(super) is_driven: bool,
    /// Nothing while the line is off.
    pub(super) line: Option<LineSeen>,
    pub(super) rates: Rates,
}

/// What counters stood at.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    at_us: i64,
    accepted: u64,
    deferred: u64,
    applied: u64,
    feed_items: u64,
    delivered: BTreeMap<String, u64>,
}

/// How fast they go, each per second.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    /// Over how many seconds.
    pub(super) over_s: f64,
    pub(super) accepted: f64,
    pub(super) deferred: f64,
    pub(super) applied: f64,
    pub(super) feed_items: f64,
    pub(super) delivered: BTreeMap<String, f64>,
}

/// The last readings of the counters.
#[derive(Debug, Default)]
pub(super) struct Samples {
    older: Option<Sample>,
    newer: Option<Sample>,
}

impl Samples {
    /// Rates since the reading before; nothing to compare with is no rate.
    fn take(&mut self, sample: Sample) -> Rates {
        let age = |one: &Option<Sample>| one.as_ref().map(|one| sample.at_us.saturating_sub(one.at_us));
        match age(&self.newer) {
            None => self.newer = Some(sample.clone()),
            Some(SAMPLE_MIN_US..=SAMPLE_MAX_US) => self.older = self.newer.replace(sample.clone()),
            // Two browsers that look in turn must not shorten the time that rates are taken over.
            Some(0..SAMPLE_MIN_US) => {}
            Some(_) => (self.older, self.newer) = (None, Some(sample.clone())),
        }
        match &self.older {
            Some(older) => rates(older, &sample),
            None => Rates::default(),
        }
    }
}

fn rates(older: &Sample, newer: &Sample) -> Rates {
    let over_s = newer.at_us.saturating_sub(older.at_us).max(1) as f64 / 1e6;
    let per_second = |was: u64, is: u64| is.saturating_sub(was) as f64 / over_s;
    let delivered = newer.delivered.iter().map(|(name, is)| {
        let was = older.delivered.get(name).copied().unwrap_or(*is);
        (name.clone(), per_second(was, *is))
    });
    Rates {
        over_s,
        accepted: per_second(older.accepted, newer.accepted),
        deferred: per_second(older.deferred, newer.deferred),
        applied: per_second(older.applied, newer.applied),
        feed_items: per_second(older.feed_items, newer.feed_items),
        delivered: delivered.collect(),
    }
}

/// Reads everything.
pub(super) fn gather(context: &Context, asked: Option<Period>, samples: &mut Samples) -> Seen {
    let status = status_of(context);
    let mut destinations = deliver::all_shown(context);
    let destinations_total = destinations.len();
    let (audiences, audiences_total) = largest_audiences(context, AUDIENCES_MAX);
    let delivered = destinations
        .iter()
        .filter_map(|one| Some((one.name.clone(), one.status.as_ref()?.delivered)))
        .collect();
    let rates = samples.take(Sample {
        at_us: now_us(),
        accepted: status.accepted_events,
        deferred: status.deferred_requests,
        applied: status.applied_next,
        feed_items: status.feed.items,
        delivered,
    });
    if destinations_total > DESTINATIONS_MAX {
        // Those that somebody has to look at are not the ones to leave out.
        destinations.sort_by_key(|one| destination_state(one).0.order());
        destinations.truncate(DESTINATIONS_MAX);
    }
    Seen {
        log_time_us: context.log_time().0,
        status,
        readiness: readiness_of(context),
        audiences,
        audiences_total,
        destinations,
        destinations_total,
        is_driven: context.drive_log_time,
        line: line(context, asked),
        rates,
    }
}

fn line(context: &Context, asked: Option<Period>) -> Option<LineSeen> {
    let view = context.engine.view();
    if !view.settings().line.is_on() {
        return None;
    }
    let end = hour_of(context.log_time()).saturating_add(1);
    let begins = view.line_begins().unwrap_or(end).clamp(end.saturating_sub(Period::Quarter.hours()), end);
    let period = asked.unwrap_or_else(|| Period::fitting(end - begins));
    let mut start = end.saturating_sub(period.hours());
    if period.step() > 1 {
        // Whole days, this one included; an hour of the day before would be a bar of its own.
        start = (start + period.step() - 1).div_euclid(period.step()) * period.step();
    }
    let reading = Reading::of(context, start..end, None);
    let (history, campaigns) = (reading.shown(period.by()), reading.shown(By::Campaign));
    Some(LineSeen { period, start, end, history, campaigns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_fits_the_data() {
        for (hours, expected) in [
            (0, Period::Day),
            (24, Period::Day),
            (84, Period::Day),
            (85, Period::Week),
            (360, Period::Week),
            (361, Period::Month),
            (1_080, Period::Month),
            (1_081, Period::Quarter),
            (2_160, Period::Quarter),
        ] {
            assert_eq!(Period::fitting(hours), expected, "{hours}");
        }
    }

    #[test]
    fn rates_are_taken_over_a_time_that_says_something() {
        let mut samples = Samples::default();
        let mut at = |milliseconds: i64, accepted: u64| {
            let rates = samples.take(Sample { at_us: milliseconds * 1_000, accepted, ..Sample::default() });
            (rates.over_s, rates.accepted)
        };
        assert_eq!(at(0, 100), (0.0, 0.0), "nothing to compare with");
        assert_eq!(at(1_000, 900), (0.0, 0.0), "too soon");
        assert_eq!(at(4_000, 500), (4.0, 100.0));
        assert_eq!(at(5_000, 600), (5.0, 100.0), "a second browser");
        assert_eq!(at(8_000, 500), (4.0, 0.0));
        assert_eq!(at(60_000, 9_000), (0.0, 0.0), "nobody looked for long");
        assert_eq!(at(62_000, 9_004), (2.0, 2.0));
        assert_eq!(at(61_000, 9_004), (0.0, 0.0), "the clock went back");
    }
}
