//! The line's figures for whoever reads beside the loop: by hour, within a bound, and shared rather than copied.
//!
//! A reader takes a share of each hour under the lock, which is a counter's increment, and adds up without it. The loop
//! changes an hour in place unless somebody is reading it just then; then it changes a copy, of that hour's shares and of
//! the one campaign.

use model::line::{Figures, Place};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The most memory that figures for readers take, in bytes. Beyond it the oldest hours are let go, before the 800 days for
/// which rows are kept are over; with twenty campaigns in every hour that is after about two years.
pub const MAX_SHOWN_BYTES: usize = 256 * 1024 * 1024;
/// What a campaign of an hour takes beside its figures: its place in the map and two counters.
const PLACE_BYTES: usize = 48;

/// Figures by campaign.
type Hour = BTreeMap<u64, Arc<Figures>>;

/// Figures of some hours as they were at one moment. Cheap to make and to keep.
#[derive(Clone, Debug, Default)]
pub struct LineHours(Vec<(i32, Arc<Hour>)>);

impl LineHours {
    /// All of them, by hour and campaign.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Figures)> {
        self.0.iter().flat_map(|(hour, campaigns)| {
            campaigns.iter().map(|(campaign, own)| (Place { hour: *hour, campaign: *campaign }, &**own))
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hours {
    hours: BTreeMap<i32, Arc<Hour>>,
    /// What all of it takes.
    bytes: usize,
    bytes_max: usize,
    /// Hours before this were let go; what changes them is not noticed any more, so that no hour is shown in part.
    from: i32,
}

impl Default for Hours {
    fn default() -> Self {
        Self::within(MAX_SHOWN_BYTES)
    }
}

impl Hours {
    fn within(bytes_max: usize) -> Self {
        Self { hours: BTreeMap::new(), bytes: 0, bytes_max, from: i32::MIN }
    }

    /// Adds a difference. The newest hour stays, however much it takes.
    pub(crate) fn change(&mut self, place: Place, difference: &Figures) {
        if place.hour < self.from {
            return;
        }
        let campaigns = Arc::make_mut(self.hours.entry(place.hour).or_default());
        let before = campaigns.get(&place.campaign).map_or(0, |own| bytes_of(own));
        let own = Arc::make_mut(campaigns.entry(place.campaign).or_default());
        own.merge(difference, 1);
        let after = if own.is_empty() { 0 } else { bytes_of(own) };
        if after == 0 {
            campaigns.remove(&place.campaign);
        }
        if campaigns.is_empty() {
            self.hours.remove(&place.hour);
        }
        self.bytes = self.bytes + after - before;
        while self.bytes > self.bytes_max && self.hours.len() > 1 {
            let Some((hour, gone)) = self.hours.pop_first() else { return };
            self.from = hour.saturating_add(1);
            self.bytes -= gone.values().map(|own| bytes_of(own)).sum::<usize>();
        }
    }

    /// Forgets figures.
    pub(crate) fn forget(&mut self, place: Place) {
        let Some(campaigns) = self.hours.get_mut(&place.hour) else { return };
        let gone = Arc::make_mut(campaigns).remove(&place.campaign);
        self.bytes -= gone.map_or(0, |own| bytes_of(&own));
        if campaigns.is_empty() {
            self.hours.remove(&place.hour);
        }
    }

    pub(crate) fn read(&self, hours: Range<i32>) -> LineHours {
        if hours.is_empty() {
            return LineHours::default();
        }
        LineHours(self.hours.range(hours).map(|(hour, own)| (*hour, Arc::clone(own))).collect())
    }

    /// The first hour that there is something of.
    pub(crate) fn begins(&self) -> Option<i32> {
        self.hours.keys().next().copied()
    }

    /// Hours before this were let go; `None` if none were.
    pub(crate) fn let_go_before(&self) -> Option<i32> {
        (self.from > i32::MIN).then_some(self.from)
    }
}

fn bytes_of(figures: &Figures) -> usize {
    size_of::<Figures>() + figures.heap_bytes() + PLACE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::line::{Measure, Span};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn hours_are_whole_or_let_go_and_the_bound_holds(
            changes in prop::collection::vec((0_i32..12, 0_u64..4, -3_i64..4, 0_i64..9_000_000, any::<bool>()), 0..120),
            bytes_max in 0_usize..12_000,
        ) {
            let mut hours = Hours::within(bytes_max);
            let mut naive: BTreeMap<Place, Figures> = BTreeMap::new();
            let (mut held, mut seen) = (Vec::new(), Vec::new());
            for (hour, campaign, count, span, forget) in changes {
                let place = Place { hour, campaign };
                if forget && count == 0 {
                    hours.forget(place);
                    naive.remove(&place);
                    continue;
                }
                let mut difference = Figures::default();
                difference.add(Measure::Orders, count);
                if count > 0 {
                    difference.add_span(Span::Cycle, span * 1_000);
                }
                hours.change(place, &difference);
                naive.entry(place).or_default().merge(&difference, 1);
                naive.retain(|_, own| !own.is_empty());
                let read = hours.read(i32::MIN..i32::MAX);
                let shown: BTreeMap<Place, Figures> = read.iter().map(|(place, own)| (place, own.clone())).collect();
                let from = hours.let_go_before().unwrap_or(i32::MIN);
                let whole: BTreeMap<Place, Figures> =
                    naive.iter().filter(|(place, _)| place.hour >= from).map(|(place, own)| (*place, own.clone())).collect();
                prop_assert_eq!(&shown, &whole);
                let kept = hours.hours.values().flat_map(|campaigns| campaigns.values());
                prop_assert_eq!(hours.bytes, kept.map(|own| bytes_of(own)).sum::<usize>());
                prop_assert!(hours.bytes <= bytes_max || hours.hours.len() == 1);
                prop_assert_eq!(hours.begins(), shown.keys().next().map(|place| place.hour));
                held.push(read);
                seen.push(shown);
            }
            // What was read stays what it was.
            for (read, shown) in held.iter().zip(seen) {
                prop_assert_eq!(read.iter().map(|(place, own)| (place, own.clone())).collect::<BTreeMap<_, _>>(), shown);
            }
        }
    }

    #[test]
    fn reading_copies_nothing() {
        let mut hours = Hours::default();
        let mut one = Figures::default();
        one.add(Measure::Orders, 1);
        for hour in 0..5 {
            hours.change(Place { hour, campaign: 1 }, &one);
        }
        let (first, second) = (hours.read(1..4), hours.read(0..9));
        let address = |read: &LineHours, wanted: i32| {
            let own = read.iter().find(|(place, _)| place.hour == wanted);
            own.map(|(_, figures)| std::ptr::from_ref(figures))
        };
        assert_eq!((first.iter().count(), second.iter().count(), hours.read(3..3).iter().count()), (3, 5, 0));
        assert_eq!(address(&first, 2), address(&second, 2));
        hours.change(Place { hour: 2, campaign: 1 }, &one);
        let third = hours.read(2..4);
        assert_eq!(address(&first, 3), address(&third, 3), "what did not change is shared");
        assert_ne!(address(&first, 2), address(&third, 2));
    }
}
