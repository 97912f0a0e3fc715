//! Suppression: who bought something is not advertised it for a while.
//!
//! A purchase carries the scopes it suppresses and until when, by the settings of the moment it was applied. It stays
//! with the node it was aggregated under; what a profile is suppressed for is the union over its nodes, so a merge
//! spreads it and an unmerge takes it back exactly.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::Product;
use crate::id::{Key, Position, Timestamp};
use thiserror::Error;

/// The most purchases that one node remembers; the oldest makes room.
pub const MAX_PURCHASES: usize = 64;
/// The most scopes of one purchase; further ones are dropped.
pub const MAX_PURCHASE_SCOPES: usize = 512;
/// The most scopes a profile is suppressed for at once; those that end first make room.
pub const MAX_ACTIVE: usize = 1_024;
/// The longest window.
pub const MAX_WINDOW_US: i64 = 400 * DAY_US;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// What somebody is suppressed for: a product, a category, or everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub u64);

impl Scope {
    /// Every product.
    pub const EVERYTHING: Self = Self(0);

    /// One product.
    pub fn product(product_id: &str) -> Self {
        Self((Key::of_text("product", product_id).0 as u64).max(1))
    }

    /// One category.
    pub fn category(category: &str) -> Self {
        Self((Key::of_text("category", category).0 as u64).max(1))
    }
}

/// A window that cannot be meant. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("window_us must be between 1 and {MAX_WINDOW_US}: send a window of at most 400 days")]
pub struct WindowError;

/// What an operator can say about suppression. Holds for purchases from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuppressionSettings {
    /// Grows with every change.
    pub version: u32,
    /// How long after the purchase.
    pub window_us: i64,
    /// For the products bought.
    pub products: bool,
    /// For their categories.
    pub categories: bool,
    /// For everything.
    pub everything: bool,
    /// A cancelled or fully refunded order suppresses no more.
    pub refund_lifts: bool,
}

impl Default for SuppressionSettings {
    fn default() -> Self {
        Self {
            version: 0,
            window_us: 30 * DAY_US,
            products: true,
            categories: true,
            everything: false,
            refund_lifts: true,
        }
    }
}

impl SuppressionSettings {
    /// Whether the settings can be meant.
    pub fn check(&self) -> Result<(), WindowError> {
        if (1..=MAX_WINDOW_US).contains(&self.window_us) { Ok(()) } else { Err(WindowError) }
    }

    /// What buying these products suppresses, sorted.
    pub fn scopes(&self, products: &[Product<'_>]) -> Box<[Scope]> {
        let mut scopes = Vec::with_capacity(products.len() * 2 + 1);
        if self.everything {
            scopes.push(Scope::EVERYTHING);
        }
        for product in products {
            if self.products && !product.product_id.is_empty() {
                scopes.push(Scope::product(product.product_id));
            }
            if self.categories && !product.category.is_empty() {
                scopes.push(Scope::category(product.category));
            }
        }
        scopes.sort_unstable();
        scopes.dedup();
        scopes.truncate(MAX_PURCHASE_SCOPES);
        scopes.into_boxed_slice()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u32(self.version);
        encoder.i64(self.window_us);
        for flag in [self.products, self.categories, self.everything, self.refund_lifts] {
            encoder.bool(flag);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: decoder.u32()?,
            window_us: decoder.i64()?,
            products: decoder.bool()?,
            categories: decoder.bool()?,
            everything: decoder.bool()?,
            refund_lifts: decoder.bool()?,
        })
    }
}

/// Something bought, as evidence for suppression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// The order.
    pub order: Key,
    /// When, clamped.
    pub at: Timestamp,
    /// When its suppression ends.
    pub until: Timestamp,
    /// The record that reported it.
    pub position: Position,
    /// What it suppresses, sorted.
    pub scopes: Box<[Scope]>,
    /// Cancelled or refunded.
    pub lifted: bool,
}

/// Why a scope is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// For what.
    pub scope: Scope,
    /// Until when; not at that instant any more.
    pub until: Timestamp,
    /// The order that caused it.
    pub order: Key,
    /// The record that reported the order.
    pub position: Position,
}

impl Active {
    fn rank(&self) -> (Timestamp, Position, Key) {
        (self.until, self.position, self.order)
    }
}

/// All that a profile is suppressed for, sorted by scope; of two causes the one that lasts longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveSet {
    /// Sorted by scope.
    pub scopes: Vec<Active>,
}

impl ActiveSet {
    /// Adds what a purchase suppresses beyond `now`.
    pub fn add_purchase(&mut self, purchase: &Purchase, now: Timestamp) {
        if purchase.lifted || purchase.until <= now {
            return;
        }
        for scope in &purchase.scopes {
            let (until, order, position) = (purchase.until, purchase.order, purchase.position);
            self.add(Active { scope: *scope, until, order, position });
        }
        self.bound();
    }

    fn add(&mut self, active: Active) {
        match self.scopes.binary_search_by_key(&active.scope, |own| own.scope) {
            Ok(at) => {
                if let Some(own) = self.scopes.get_mut(at)
                    && own.rank() < active.rank()
                {
                    *own = active;
                }
            }
            Err(at) => self.scopes.insert(at, active),
        }
    }

    /// Adds everything of another set.
    pub fn union(&mut self, other: &Self) {
        for active in &other.scopes {
            self.add(*active);
        }
        self.bound();
    }

    fn bound(&mut self) {
        if self.scopes.len() > MAX_ACTIVE {
            self.scopes.sort_by_key(|active| (std::cmp::Reverse(active.until), active.scope));
            self.scopes.truncate(MAX_ACTIVE);
            self.scopes.sort_by_key(|active| active.scope);
        }
    }

    /// Removes what is over at `now` and returns it.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Scope> {
        let over =
            self.scopes.iter().filter(|active| active.until <= now).map(|active| active.scope).collect();
        self.scopes.retain(|active| active.until > now);
        over
    }

    /// The next instant at which something ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.scopes.iter().map(|active| active.until).min()
    }

    /// The cause that suppresses any of the scopes at `now`; the one that lasts longest.
    pub fn find(&self, scopes: &[Scope], now: Timestamp) -> Option<&Active> {
        let found = scopes.iter().filter_map(|scope| {
            let at = self.scopes.binary_search_by_key(scope, |active| active.scope).ok()?;
            self.scopes.get(at).filter(|active| active.until > now)
        });
        found.max_by_key(|active| active.rank())
    }

    /// The scopes of this set that another one lacks.
    pub fn beyond(&self, other: &Self) -> Vec<Active> {
        let lacks =
            |active: &&Active| other.scopes.binary_search_by_key(&active.scope, |own| own.scope).is_err();
        self.scopes.iter().filter(lacks).copied().collect()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.scopes.len() as u64);
        for active in &self.scopes {
            encoder.u64(active.scope.0);
            encoder.signed(active.until.0);
            encoder.u128(active.order.0);
            encoder.varint(active.position.0);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut scopes = Vec::new();
        for _ in 0..decoder.count()? {
            scopes.push(Active {
                scope: Scope(decoder.u64()?),
                until: Timestamp(decoder.signed()?),
                order: Key(decoder.u128()?),
                position: Position(decoder.varint()?),
            });
        }
        Ok(Self { scopes })
    }
}

/// The purchases of one node, oldest first; one per order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purchases(pub Vec<Purchase>);

impl Purchases {
    /// Adds a purchase, in place of what is known of the same order. Others that are over by `now` are forgotten.
    pub fn put(&mut self, purchase: Purchase, now: Timestamp) {
        self.0.retain(|own| own.order != purchase.order && own.until > now);
        if self.0.len() >= MAX_PURCHASES {
            self.0.remove(0);
        }
        self.0.reserve_exact(1);
        self.0.push(purchase);
    }

    /// Says whether an order suppresses no more.
    pub fn set_lifted(&mut self, order: Key, lifted: bool) {
        if let Some(own) = self.0.iter_mut().find(|own| own.order == order) {
            own.lifted = lifted;
        }
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.0.len() as u64);
        for purchase in &self.0 {
            encoder.u128(purchase.order.0);
            encoder.signed(purchase.at.0);
            encoder.signed(purchase.until.0);
            encoder.varint(purchase.position.0);
            encoder.bool(purchase.lifted);
            encoder.varint(purchase.scopes.len() as u64);
            for scope in &purchase.scopes {
                encoder.u64(scope.0);
            }
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut purchases = Vec::new();
        for _ in 0..decoder.count()? {
            let order = Key(decoder.u128()?);
            let at = Timestamp(decoder.signed()?);
            let until = Timestamp(decoder.signed()?);
            let position = Position(decoder.varint()?);
            let lifted = decoder.bool()?;
            let mut scopes = Vec::new();
            for _ in 0..decoder.count()? {
                scopes.push(Scope(decoder.u64()?));
            }
            purchases.push(Purchase { order, at, until, position, scopes: scopes.into(), lifted });
        }
        Ok(Self(purchases))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn purchase((order, at, scope, lifted): (u128, i64, u64, bool)) -> Purchase {
        Purchase {
            order: Key(order),
            at: Timestamp(at),
            until: Timestamp(at + 10),
            position: Position(order as u64),
            scopes: Box::new([Scope(scope), Scope(scope + 1)]),
            lifted,
        }
    }

    proptest! {
        #[test]
        fn who_is_suppressed_is_what_a_search_of_all_purchases_says(
            bought in prop::collection::vec((0_u128..40, 0_i64..40, 1_u64..9, any::<bool>()), 0..30), now in 0_i64..60, left: prop::sample::Index,
        ) {
            let purchases: Vec<_> = bought.into_iter().map(purchase).collect();
            let mut sides = [ActiveSet::default(), ActiveSet::default()];
            let cut = left.index(purchases.len() + 1);
            for (index, one) in purchases.iter().enumerate() {
                sides[usize::from(index < cut)].add_purchase(one, Timestamp(0));
            }
            let [one, two] = sides;
            let (mut forth, mut back) = (one.clone(), two.clone());
            forth.union(&two);
            back.union(&one);
            prop_assert_eq!(&forth, &back);
            forth.expire(Timestamp(now));
            for scope in 1..10 {
                let expected = purchases.iter().any(|one| {
                    !one.lifted && one.until > Timestamp(now) && one.scopes.contains(&Scope(scope))
                });
                prop_assert_eq!(forth.find(&[Scope(scope)], Timestamp(now)).is_some(), expected);
            }
            let mut bytes = Vec::new();
            forth.encode(&mut Encoder(&mut bytes));
            Purchases(purchases.clone()).encode(&mut Encoder(&mut bytes));
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(ActiveSet::decode(&mut decoder), Ok(forth));
            prop_assert_eq!(Purchases::decode(&mut decoder), Ok(Purchases(purchases)));
        }
    }
}
