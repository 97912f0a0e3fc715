//! What is known of a person: aggregates per node, and their combination.
//!
//! An event is aggregated under exactly one node. A profile's facts are the commutative combination of the aggregates
//! of its nodes, computed when they are read, so merging and parting profiles never touches an aggregate.

mod traits;

pub use traits::{
    MAX_TRAIT_NAME_BYTES, MAX_TRAIT_VALUE_BYTES, MAX_TRAITS, MAX_TRAITS_BYTES, Trait, Traits, stated_names,
    without_contacts,
};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::consent::{ConsentState, Said};
use crate::event::{Event, EventKind};
use crate::feature::FeatureStates;
use crate::id::{Key, Position, Timestamp};
use crate::order::{self, Contribution};
use crate::suppression::Purchases;

/// How many recent events a node, and a profile, remembers.
pub const MAX_RECENT: usize = 20;
/// The longest event name that recent events keep, in bytes; longer ones are cut.
pub const MAX_RECENT_NAME_BYTES: usize = 64;
/// An upper bound of what a recent event takes beside its name, in bytes, for positions below 2^49.
const RECENT_HEAD_BYTES: usize = 18;
/// The most currencies of one node; sums in further ones are counted as lost.
pub const MAX_CURRENCIES: usize = 16;

/// The most orders of one node that can be listed; further ones are counted as lost.
pub const MAX_ORDERS: usize = 4_096;

/// Orders and revenue in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revenue {
    /// ISO 4217.
    pub currency: [u8; 3],
    /// Number of orders.
    pub orders: i64,
    /// Their value in minor units.
    pub value_minor: i64,
    /// Refunds in minor units.
    pub refunded_minor: i64,
}

/// A recent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// The record.
    pub position: Position,
    /// Its clamped time.
    pub at: Timestamp,
    /// Its name; of a nameless one its kind.
    pub name: String,
}

/// All that one node has gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// Events aggregated here.
    pub events: u64,
    /// The earliest clamped time among them.
    pub first_at: Timestamp,
    /// The latest.
    pub last_at: Timestamp,
    /// Stated attributes.
    pub traits: Traits,
    /// Sorted by currency.
    pub revenue: Vec<Revenue>,
    /// Keys of the orders that were reported here, in order.
    pub orders: Vec<Key>,
    /// What was bought, for suppression.
    pub purchases: Purchases,
    /// What was said about consent.
    pub consent: ConsentState,
    /// Traits, categories and sums that found no room.
    pub lost: u32,
    /// What audiences look at, of this node alone: combining leaves it as it is, see
    /// [`crate::audience::Rulebook::value`].
    pub features: FeatureStates,
    /// Encoded [`Recent`]s, oldest first: names repeat, and one allocation is smaller than twenty.
    recent: Vec<u8>,
}

impl Aggregate {
    /// Takes in an event: everything but its order.
    pub fn record(&mut self, event: &Event<'_>, position: Position, at: Timestamp) {
        if self.events == 0 {
            (self.first_at, self.last_at) = (at, at);
        }
        self.events = self.events.saturating_add(1);
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
        let said = Said { at, position };
        if !event.traits.is_empty() && event.kind != EventKind::Group {
            self.lost = self.lost.saturating_add(self.traits.state(event.traits, said));
        }
        for consent in &event.consent {
            let kept = self.consent.say(consent.category, consent.granted, event.from_server, said);
            self.lost = self.lost.saturating_add(u32::from(!kept));
        }
        let name = if event.name.is_empty() { event.kind.name() } else { event.name };
        self.push_recent(position, at, name);
    }

    fn push_recent(&mut self, position: Position, at: Timestamp, name: &str) {
        let name = name.get(..floor_boundary(name, MAX_RECENT_NAME_BYTES)).unwrap_or_default();
        let count = self.recent.first().copied().unwrap_or(0);
        if usize::from(count) >= MAX_RECENT {
            let oldest = recent_end(self.recent.get(1..).unwrap_or_default());
            self.recent.drain(1..1 + oldest);
        } else if count == 0 {
            self.recent.clear();
            self.recent.push(1);
        } else if let Some(first) = self.recent.first_mut() {
            *first = count + 1;
        }
        // Room for a few more of the same length, not for twice as many.
        if self.recent.capacity() - self.recent.len() < name.len() + RECENT_HEAD_BYTES {
            self.recent.reserve_exact(4 * (name.len() + RECENT_HEAD_BYTES));
        }
        let mut encoder = Encoder(&mut self.recent);
        encoder.varint(position.0);
        encoder.signed(at.0);
        encoder.text(name);
    }

    /// The recent events, oldest first.
    pub fn recent(&self) -> Vec<Recent> {
        let mut decoder = Decoder::new(self.recent.get(1..).unwrap_or_default());
        let mut recent = Vec::new();
        while let Ok(one) = decode_recent(&mut decoder) {
            recent.push(one);
        }
        recent
    }

    /// Notes that an order was reported here.
    pub fn add_order(&mut self, order: Key) {
        if self.orders.len() < MAX_ORDERS {
            self.orders.reserve_exact(1 + self.orders.len() / 4);
            self.orders.push(order);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Adds to the sums of one currency. A sum that leaves its range is left as it is and counted as lost.
    pub fn add_revenue(&mut self, part: Contribution) {
        let at = match self.revenue.binary_search_by_key(&part.currency, |own| own.currency) {
            Ok(at) => at,
            Err(_) if self.revenue.len() >= MAX_CURRENCIES => {
                self.lost = self.lost.saturating_add(1);
                return;
            }
            Err(at) => {
                let empty = Revenue { currency: part.currency, orders: 0, value_minor: 0, refunded_minor: 0 };
                self.revenue.reserve_exact(1);
                self.revenue.insert(at, empty);
                at
            }
        };
        let Some(own) = self.revenue.get_mut(at) else { return };
        match sum(own, &part) {
            Some(sum) => *own = sum,
            None => self.lost = self.lost.saturating_add(1),
        }
        if own.orders == 0 && own.value_minor == 0 && own.refunded_minor == 0 {
            self.revenue.remove(at);
        }
    }

    /// Reads a word of each part that recording an event changes.
    pub fn touch(&self) -> u64 {
        self.events ^ self.recent.first().copied().map_or(0, u64::from)
    }

    /// Takes in the aggregate of another node of the same profile. The order does not matter.
    pub fn combine(&mut self, other: &Self) {
        if other.events > 0 {
            let empty = self.events == 0;
            self.first_at = if empty { other.first_at } else { self.first_at.min(other.first_at) };
            self.last_at = if empty { other.last_at } else { self.last_at.max(other.last_at) };
        }
        self.events = self.events.saturating_add(other.events);
        self.lost = self.lost.saturating_add(other.lost);
        self.traits.combine(&other.traits);
        self.consent.combine(&other.consent);
        for part in &other.revenue {
            self.add_revenue(Contribution {
                currency: part.currency,
                orders: part.orders,
                value_minor: part.value_minor,
                refunded_minor: part.refunded_minor,
            });
        }
        self.orders.extend(&other.orders);
        self.orders.sort_unstable();
        self.orders.dedup();
        self.purchases.0.extend(other.purchases.0.iter().cloned());
        self.purchases.0.sort_by_key(|purchase| (purchase.position, purchase.order));
        let mut recent = self.recent();
        recent.extend(other.recent());
        recent.sort_by_key(|one| one.position);
        let surplus = recent.len().saturating_sub(MAX_RECENT);
        self.recent.clear();
        for one in recent.iter().skip(surplus) {
            self.push_recent(one.position, one.at, &one.name);
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let scopes: usize = self.purchases.0.iter().map(|purchase| purchase.scopes.len() * 8).sum();
        self.traits.heap_bytes()
            + self.revenue.capacity() * size_of::<Revenue>()
            + self.purchases.0.capacity() * size_of::<crate::suppression::Purchase>()
            + scopes
            + self.orders.capacity() * size_of::<Key>()
            + self.consent.categories.capacity() * size_of::<crate::consent::CategoryConsent>()
            + self.recent.capacity()
            + self.features.heap_bytes()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.events);
        encoder.signed(self.first_at.0);
        encoder.signed(self.last_at.0);
        self.traits.encode(encoder);
        encoder.varint(self.revenue.len() as u64);
        for own in &self.revenue {
            encoder.0.extend_from_slice(&own.currency);
            encoder.signed(own.orders);
            encoder.signed(own.value_minor);
            encoder.signed(own.refunded_minor);
        }
        encoder.varint(self.orders.len() as u64);
        for order in &self.orders {
            encoder.u128(order.0);
        }
        self.purchases.encode(encoder);
        self.consent.encode(encoder);
        encoder.varint(u64::from(self.lost));
        encoder.bytes(&self.recent);
        self.features.encode(encoder);
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut aggregate = Self {
            events: decoder.varint()?,
            first_at: Timestamp(decoder.signed()?),
            last_at: Timestamp(decoder.signed()?),
            traits: Traits::decode(decoder)?,
            ..Self::default()
        };
        for _ in 0..decoder.count()? {
            aggregate.revenue.push(Revenue {
                currency: order::currency(decoder)?,
                orders: decoder.signed()?,
                value_minor: decoder.signed()?,
                refunded_minor: decoder.signed()?,
            });
        }
        for _ in 0..decoder.count()? {
            aggregate.orders.push(Key(decoder.u128()?));
        }
        aggregate.purchases = Purchases::decode(decoder)?;
        aggregate.consent = ConsentState::decode(decoder)?;
        aggregate.lost = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
        aggregate.recent = decoder.bytes()?.to_vec();
        aggregate.features = FeatureStates::decode(decoder)?;
        Ok(aggregate)
    }
}

fn sum(own: &Revenue, part: &Contribution) -> Option<Revenue> {
    Some(Revenue {
        currency: own.currency,
        orders: own.orders.checked_add(part.orders)?,
        value_minor: own.value_minor.checked_add(part.value_minor)?,
        refunded_minor: own.refunded_minor.checked_add(part.refunded_minor)?,
    })
}

fn decode_recent(decoder: &mut Decoder<'_>) -> Result<Recent, DecodeError> {
    Ok(Recent {
        position: Position(decoder.varint()?),
        at: Timestamp(decoder.signed()?),
        name: decoder.text()?.to_owned(),
    })
}

/// The length of the first encoded recent event.
fn recent_end(bytes: &[u8]) -> usize {
    let mut decoder = Decoder::new(bytes);
    let read = decoder.varint().and_then(|_| decoder.varint()).and_then(|_| decoder.bytes());
    if read.is_err() { bytes.len() } else { bytes.len() - decoder.rest().len() }
}

fn floor_boundary(text: &str, most: usize) -> usize {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Identifiers, MAX_AGE_US};
    use proptest::prelude::*;

    fn event<'a>(name: &'a str, traits: &'a [u8]) -> Event<'a> {
        Event {
            kind: EventKind::Track,
            source: 1,
            from_server: true,
            value_counts: true,
            dedup_key: Key(1),
            message_id: "m",
            occurred_at: Timestamp(MAX_AGE_US),
            name,
            identifiers: Identifiers::default(),
            order: None,
            products: Vec::new(),
            consent: Vec::new(),
            traits,
            properties: b"",
            context: b"",
        }
    }

    proptest! {
        #[test]
        fn nodes_combine_to_what_one_node_would_have(events in prop::collection::vec((0_usize..3, 0_i64..1000, "[a-z]{0,80}"), 0..60)) {
            let mut whole = Aggregate::default();
            let mut nodes = [Aggregate::default(), Aggregate::default(), Aggregate::default()];
            for (position, (node, at, name)) in events.iter().enumerate() {
                let traits = format!("{{\"t{}\":{position}}}", at % 7);
                let event = event(name, traits.as_bytes());
                let part = Contribution { currency: *b"EUR", orders: 1, value_minor: *at, refunded_minor: 1 };
                for aggregate in [&mut whole, &mut nodes[*node]] {
                    aggregate.record(&event, Position(position as u64), Timestamp(*at));
                    aggregate.add_revenue(part);
                }
            }
            let mut forth = Aggregate::default();
            nodes.iter().for_each(|node| forth.combine(node));
            let mut back = Aggregate::default();
            nodes.iter().rev().for_each(|node| back.combine(node));
            prop_assert_eq!(&forth, &whole);
            prop_assert_eq!(&back, &whole);
            prop_assert!(whole.recent().len() <= MAX_RECENT);
            prop_assert_eq!(whole.recent().len(), events.len().min(MAX_RECENT));
            let mut bytes = Vec::new();
            whole.encode(&mut Encoder(&mut bytes));
            prop_assert_eq!(Aggregate::decode(&mut Decoder::new(&bytes)), Ok(whole));
        }
    }
}
