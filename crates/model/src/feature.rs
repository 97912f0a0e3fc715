//! Features: what is counted about a person, event by event.
//!
//! A [`Feature`] aggregates the events of one name, those that a filter lets through, over all time or over a sliding
//! [`Window`]. It is kept per node (identifier) in [`FeatureStates`]; a profile's value is the combination over its
//! nodes, made when it is read, so merging and parting profiles never touches a state. Sums and numbers are integers
//! in micro-units ([`value::MICRO`]).
//!
//! - A window is exact to a granule: see [`Window`].
//! - `distinct` keeps the [`DISTINCT_HASHES`] smallest hashes and is exact below that many; above, it is an estimate
//!   with a relative standard error of about 13 %.
//! - Occurrence times, which funnels look at, are the [`MAX_TIMES`] latest different ones.
//! - `first` and `last` go by the event's time; of two events at the same microsecond by their values, so the order of
//!   arrival is nothing. Texts are kept to [`value::MAX_VALUE_BYTES`] bytes.
//!
//! What is counted is events. Whether an event is one (a repeated `messageId`, a second report of the same order) is
//! for the caller to say, by not recording it.

mod cell;
mod facts;
mod json;
mod states;
mod times;
pub mod value;
pub mod window;

pub use cell::DISTINCT_HASHES;
pub use facts::{EVENT_ALIASES, KNOWN_PROPERTIES, Property, event_name};
pub use states::FeatureStates;
pub use times::MAX_TIMES;
pub use value::Value;
pub use window::Window;

pub(crate) use states::{Cursor, Occurred, Scratch, any, read, times};
pub(crate) use times::Latest;

use crate::audience::Filter;
use crate::event::Event;
use crate::id::Timestamp;
use std::fmt;

/// The value under a path in a JSON value.
pub(crate) fn json_value<'a>(raw: &'a [u8], path: &[impl AsRef<str>]) -> Option<Value<'a>> {
    json::find(raw, path).map(Value::from_json)
}

/// The instant of what never happens.
pub const NEVER: Timestamp = Timestamp(i64::MAX);

/// The slot of a feature in every node's state. A number is never used for another feature again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureId(pub u32);

/// How events are aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregation {
    /// How many there were.
    Count,
    /// The sum of a property.
    Sum,
    /// Its smallest value.
    Min,
    /// Its largest value.
    Max,
    /// Its value in the earliest event that has one.
    First,
    /// Its value in the latest event that has one.
    Last,
    /// How many different values it had.
    Distinct,
    /// When the earliest was.
    FirstAt,
    /// When the latest was.
    LastAt,
    /// When the latest few were.
    Times,
}

impl Aggregation {
    /// The name of the function in rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Distinct => "distinct",
            Self::FirstAt => "first_at",
            Self::LastAt => "last_at",
            Self::Times => "event",
        }
    }

    /// Whether it aggregates a property.
    pub fn has_property(self) -> bool {
        matches!(self, Self::Sum | Self::Min | Self::Max | Self::First | Self::Last | Self::Distinct)
    }
}

/// A computed aggregate. Its canonical text ([`fmt::Display`]) is the same for features that are the same.
#[derive(Clone, Debug)]
pub struct Feature {
    /// The name of the events, see [`event_name`].
    pub event: Box<str>,
    /// How.
    pub aggregation: Aggregation,
    /// Of what, where [`Aggregation::has_property`].
    pub property: Option<Property>,
    /// Over which time; `None` for all of it.
    pub window: Option<Window>,
    /// Which of the events.
    pub filter: Option<Filter>,
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = Value::Text(self.event.as_ref().into());
        write!(formatter, "{}({event}", self.aggregation.name())?;
        if let Some(property) = &self.property {
            write!(formatter, ", \"{property}\"")?;
        }
        if let Some(window) = self.window {
            write!(formatter, ", \"{}\"", window::length_text(window.length_us()))?;
        }
        if let Some(filter) = &self.filter {
            write!(formatter, ", {}", filter.text())?;
        }
        formatter.write_str(")")
    }
}

/// A feature in its slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The slot.
    pub id: FeatureId,
    /// What is in it.
    pub feature: Feature,
}

impl Feature {
    /// Calls `take` with every value that an event adds; [`Value::Absent`] where there is no property.
    ///
    /// Where the filter or the aggregation names something of products, each product is tried with the whole filter:
    /// of the product's properties every match adds its own value, of anything else the event adds one value if any
    /// product matches.
    fn contributions<'e>(&self, event: &'e Event<'_>, mut take: impl FnMut(Value<'e>)) {
        let by_product = self.filter.as_ref().is_some_and(Filter::looks_at_products);
        let own = self.property.as_ref().is_some_and(Property::is_of_product);
        let holds = |product| self.filter.as_ref().is_none_or(|filter| filter.holds(event, product));
        let value = |product| self.property.as_ref().map_or(Value::Absent, |one| one.of(event, product));
        if (!by_product && !own) || event.products.is_empty() {
            if holds(None) {
                take(value(None));
            }
            return;
        }
        for product in 0..event.products.len() {
            if !holds(Some(product)) {
                continue;
            }
            take(value(Some(product)));
            if !own {
                return;
            }
        }
    }
}

/// Which features of a list an event changed: each of the first 63 by itself, and of all behind them whether any did.
/// What an event left as it was (the first of something, a largest value, one more of the same product) can change no
/// audience.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed(u64);

impl Changed {
    const LAST: usize = 63;
    /// Every feature.
    pub const ALL: Self = Self(u64::MAX);

    fn note(&mut self, index: usize, changed: bool) {
        self.0 |= u64::from(changed) << index.min(Self::LAST);
    }

    /// Whether the feature in this place of the list may have changed.
    pub fn has(self, index: usize) -> bool {
        self.0 >> index.min(Self::LAST) & 1 == 1
    }

    /// Whether none changed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FeatureStates {
    /// Takes in an event, and says which of the features that changed. `slots` are the features of its name, sorted by
    /// id (see [`crate::audience::Rulebook::features_of`]); `at` is the event's clamped time and `now` log time.
    pub fn record<'s>(
        &mut self,
        slots: impl IntoIterator<Item = &'s Slot>,
        event: &Event<'_>,
        at: Timestamp,
        now: Timestamp,
    ) -> Changed {
        let mut changed = Changed::default();
        let mut cursor = Cursor::default();
        let mut scratch = Scratch::default();
        let mut occurred = Occurred { at, now, scratch: &mut scratch };
        for (index, slot) in slots.into_iter().enumerate() {
            slot.feature.contributions(event, |value| {
                changed.note(index, self.add(&mut cursor, slot, &mut occurred, &value));
            });
        }
        changed
    }
}
