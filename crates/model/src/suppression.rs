//! Suppression: who bought something is not advertised it for a while.
//!
//! A purchase carries the scopes it suppresses and until when, by the settings of the moment it was applied. It stays
//! with the node it was aggregated under; what a profile is suppressed for is the union over its nodes, so a merge
//! spreads it and an unmerge takes it back exactly. Every list is bounded, and a browser's claim never takes the room
//! of what a server said. What stays in a full list depends on what was said, never on the order of saying it, so
//! keeping an [`ActiveSet`] up to date gives what computing it anew would.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::{MAX_PRODUCTS, Product};
use crate::id::{Key, Position, Timestamp};
use thiserror::Error;

/// The most purchases that one node remembers. What is over makes room first, then the oldest that a browser claimed,
/// then the oldest.
pub const MAX_PURCHASES: usize = 1_024;
/// The most scopes of one purchase: every product and a category of each and everything.
pub const MAX_PURCHASE_SCOPES: usize = 2 * MAX_PRODUCTS + 1;
/// The most scopes of all purchases that one node remembers; room is made as for [`MAX_PURCHASES`].
pub const MAX_NODE_SCOPES: usize = 8_192;
/// The most scopes a profile is suppressed for at once by what servers said, and again by what browsers claimed; of
/// each, those that end first make room.
pub const MAX_ACTIVE: usize = 4_096;
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
    /// A server named the products.
    pub from_server: bool,
}

impl Purchase {
    /// What it suppresses beyond `now`.
    fn causes(&self, now: Timestamp) -> impl Iterator<Item = Active> + '_ {
        let Self { until, order, position, from_server, .. } = *self;
        let scopes: &[Scope] = if self.lifted || until <= now { &[] } else { &self.scopes };
        scopes.iter().map(move |scope| Active { scope: *scope, until, order, position, from_server })
    }
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
    /// A server named the scope.
    pub from_server: bool,
}

impl Active {
    fn rank(&self) -> (Timestamp, Position, Key) {
        (self.until, self.position, self.order)
    }
}

/// All that a profile is suppressed for. Of two causes of one hand it holds the one that lasts longer; a server's and
/// a browser's stand side by side, so that neither list's bound can touch the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveSet {
    /// Sorted by scope and hand: at most two per scope.
    scopes: Vec<Active>,
    /// When the first of them ends.
    next_end: Option<Timestamp>,
}

/// How a set was changed: what its copy elsewhere has to do, and what changed for the shopper.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Causes that are new, or in another's place.
    pub put: Vec<Active>,
    /// Causes that are gone, by scope and hand.
    pub gone: Vec<(Scope, bool)>,
    /// Scopes that had no cause before, each with its end; sorted.
    pub started: Vec<(Scope, Timestamp)>,
    /// Scopes that have no cause any more, sorted.
    pub ended: Vec<Scope>,
}

impl Difference {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

impl ActiveSet {
    /// What there is, sorted by scope and hand.
    pub fn scopes(&self) -> &[Active] {
        &self.scopes
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.scopes.capacity() * size_of::<Active>()
    }

    /// Whether the profile is suppressed for nothing.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Adds what a purchase suppresses beyond `now`.
    pub fn add_purchase(&mut self, purchase: &Purchase, now: Timestamp) {
        self.add_purchase_within(purchase, now, MAX_ACTIVE);
    }

    fn add_purchase_within(&mut self, purchase: &Purchase, now: Timestamp, most: usize) {
        for active in purchase.causes(now) {
            self.add(active);
        }
        self.bound(most);
    }

    /// The same, and says what changed. `dropped` purchases are forgotten: where one of them was the cause, the one of
    /// `rest` that lasts longest takes its place. `None`, and nothing is changed, if the set has to be computed anew:
    /// something is over at `now`, or something that found no room might come back.
    pub fn replace_purchases<'a>(
        &mut self,
        purchase: &Purchase,
        dropped: &[Purchase],
        rest: impl Iterator<Item = &'a Purchase> + Clone,
        now: Timestamp,
    ) -> Option<Difference> {
        self.replace_within(purchase, dropped, rest, now, MAX_ACTIVE)
    }

    fn replace_within<'a>(
        &mut self,
        purchase: &Purchase,
        dropped: &[Purchase],
        rest: impl Iterator<Item = &'a Purchase> + Clone,
        now: Timestamp,
        most: usize,
    ) -> Option<Difference> {
        let over = self.next_end.is_some_and(|end| end <= now);
        if over || (!dropped.is_empty() && self.scopes.len() >= most) {
            return None;
        }
        let mut difference = Difference::default();
        let mut absent: Vec<Scope> = Vec::new();
        for active in purchase.causes(now) {
            if self.causes(active.scope).next().is_none() {
                absent.push(active.scope);
            }
            if self.add(active) {
                difference.put.push(active);
            }
        }
        for old in dropped {
            for scope in &old.scopes {
                self.replace_cause(*scope, old, rest.clone(), now, &mut difference);
            }
        }
        let gone = self.bound(most);
        difference.gone.extend(gone.iter().map(|active| (active.scope, active.from_server)));
        difference.put.retain(|active| !gone.contains(active));
        for scope in &absent {
            let longest = self.causes(*scope).max_by_key(|active| active.rank());
            difference.started.extend(longest.map(|active| (*scope, active.until)));
        }
        let ended = difference.gone.iter().map(|(scope, _)| *scope);
        difference.ended =
            ended.filter(|scope| !absent.contains(scope) && self.causes(*scope).next().is_none()).collect();
        difference.ended.sort_unstable();
        difference.ended.dedup();
        Some(difference)
    }

    /// A purchase is forgotten: another takes its place as the cause of one scope, or none does.
    fn replace_cause<'a>(
        &mut self,
        scope: Scope,
        old: &Purchase,
        rest: impl Iterator<Item = &'a Purchase>,
        now: Timestamp,
        difference: &mut Difference,
    ) {
        let place = (scope, old.from_server);
        let Ok(at) = self.place(place) else { return };
        if self.scopes.get(at).is_none_or(|own| own.order != old.order || own.position != old.position) {
            return;
        }
        let ended = self.scopes.remove(at);
        self.left(ended.until);
        let same = rest.filter(|one| one.from_server == old.from_server && one.scopes.contains(&scope));
        let next = same.flat_map(|one| one.causes(now)).filter(|one| one.scope == scope);
        match next.max_by_key(|active| active.rank()) {
            Some(next) => {
                self.add(next);
                difference.put.push(next);
            }
            None => difference.gone.push(place),
        }
    }

    /// Does to a copy what was done to the set.
    pub fn apply(&mut self, difference: &Difference) {
        for place in &difference.gone {
            if let Ok(at) = self.place(*place) {
                let gone = self.scopes.remove(at);
                self.left(gone.until);
            }
        }
        for active in &difference.put {
            match self.place((active.scope, active.from_server)) {
                Ok(at) => {
                    let former = self.scopes.get_mut(at).map(|own| std::mem::replace(own, *active));
                    self.came(active.until);
                    former.into_iter().for_each(|former| self.left(former.until));
                }
                Err(at) => {
                    self.scopes.insert(at, *active);
                    self.came(active.until);
                }
            }
        }
    }

    fn place(&self, place: (Scope, bool)) -> Result<usize, usize> {
        self.scopes.binary_search_by_key(&place, |own| (own.scope, own.from_server))
    }

    /// Adds a cause unless one that lasts at least as long is there. Whether it was added.
    fn add(&mut self, active: Active) -> bool {
        match self.place((active.scope, active.from_server)) {
            Ok(at) => {
                let Some(own) = self.scopes.get_mut(at).filter(|own| own.rank() < active.rank()) else {
                    return false;
                };
                let former = std::mem::replace(own, active);
                self.left(former.until);
            }
            Err(at) => {
                self.scopes.insert(at, active);
                self.came(active.until);
            }
        }
        true
    }

    fn came(&mut self, until: Timestamp) {
        self.next_end = Some(self.next_end.map_or(until, |end| end.min(until)));
    }

    /// Something that ended at `until` is not there any more.
    fn left(&mut self, until: Timestamp) {
        if self.next_end == Some(until) {
            self.next_end = self.scopes.iter().map(|active| active.until).min();
        }
    }

    /// Adds everything of another set.
    pub fn union(&mut self, other: &Self) {
        self.union_within(other, MAX_ACTIVE);
    }

    fn union_within(&mut self, other: &Self, most: usize) {
        for active in &other.scopes {
            self.add(*active);
        }
        self.bound(most);
    }

    /// Keeps what ends last of each hand: what is dropped would be over before anything that stays, so nothing has to
    /// come back when something ends. Returns what was dropped.
    fn bound(&mut self, most: usize) -> Vec<Active> {
        let mut dropped = Vec::new();
        if self.scopes.len() <= most {
            return dropped;
        }
        for from_server in [true, false] {
            let mut hand: Vec<Active> =
                self.scopes.iter().filter(|active| active.from_server == from_server).copied().collect();
            let Some(last) = hand.len().checked_sub(most + 1) else { continue };
            hand.select_nth_unstable_by_key(last, |active| (active.until, std::cmp::Reverse(active.scope)));
            hand.truncate(last + 1);
            dropped.append(&mut hand);
        }
        dropped.sort_unstable_by_key(|active| (active.scope, active.from_server));
        let is_dropped = |own: &Active| {
            let place = (own.scope, own.from_server);
            dropped.binary_search_by_key(&place, |active| (active.scope, active.from_server)).is_ok()
        };
        self.scopes.retain(|own| !is_dropped(own));
        self.next_end = self.scopes.iter().map(|active| active.until).min();
        dropped
    }

    /// Removes what is over at `now`.
    pub fn expire(&mut self, now: Timestamp) {
        if self.next_end.is_some_and(|end| end <= now) {
            self.scopes.retain(|active| active.until > now);
            self.next_end = self.scopes.iter().map(|active| active.until).min();
        }
    }

    /// The next instant at which something ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.next_end
    }

    /// The causes of one scope, whoever said so.
    fn causes(&self, scope: Scope) -> impl Iterator<Item = &Active> {
        let from = self.scopes.partition_point(|active| active.scope < scope);
        self.scopes.iter().skip(from).take_while(move |active| active.scope == scope)
    }

    /// Whether there is a cause for the scope, over or not.
    pub fn has(&self, scope: Scope) -> bool {
        self.causes(scope).next().is_some()
    }

    /// The cause that suppresses any of the scopes at `now`; the one that lasts longest.
    pub fn find(&self, scopes: &[Scope], now: Timestamp) -> Option<&Active> {
        let found = scopes.iter().flat_map(|scope| self.causes(*scope));
        found.filter(|active| active.until > now).max_by_key(|active| active.rank())
    }

    /// Of every scope the cause that lasts longest, sorted by scope.
    pub fn longest(&self) -> Self {
        Self { scopes: self.longest_causes(), next_end: self.next_end }
    }

    fn longest_causes(&self) -> Vec<Active> {
        let mut longest: Vec<Active> = Vec::with_capacity(self.scopes.len());
        for active in &self.scopes {
            match longest.last_mut().filter(|last| last.scope == active.scope) {
                Some(last) if last.rank() < active.rank() => *last = *active,
                Some(_) => {}
                None => longest.push(*active),
            }
        }
        longest
    }

    /// The scopes of this set that another one lacks, each with the cause that lasts longest.
    pub fn beyond(&self, other: &Self) -> Vec<Active> {
        let mut beyond = self.longest_causes();
        beyond.retain(|active| other.causes(active.scope).next().is_none());
        beyond
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.scopes.len() as u64);
        for active in &self.scopes {
            encoder.u64(active.scope.0);
            encoder.signed(active.until.0);
            encoder.u128(active.order.0);
            encoder.varint(active.position.0);
            encoder.bool(active.from_server);
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
                from_server: decoder.bool()?,
            });
        }
        let next_end = scopes.iter().map(|active: &Active| active.until).min();
        Ok(Self { scopes, next_end })
    }
}

/// The purchases of one node, oldest first; one per order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purchases(pub Vec<Purchase>);

impl Purchases {
    /// Adds a purchase, in place of what is known of the same order. Others that are over by `now` are forgotten.
    /// Returns those that are not over and had to make room; the one that was put may be among them.
    pub fn put(&mut self, purchase: Purchase, now: Timestamp) -> Vec<Purchase> {
        self.put_within(purchase, now, MAX_PURCHASES, MAX_NODE_SCOPES)
    }

    fn put_within(
        &mut self,
        purchase: Purchase,
        now: Timestamp,
        most: usize,
        most_scopes: usize,
    ) -> Vec<Purchase> {
        self.0.retain(|own| own.order != purchase.order && own.until > now);
        if self.0.len() < 4 {
            self.0.reserve_exact(1);
        }
        self.0.push(purchase);
        let mut scopes: usize = self.0.iter().map(|own| own.scopes.len()).sum();
        let mut made_room = Vec::new();
        while self.0.len() > most || scopes > most_scopes {
            // A claim goes even if it is the one that was just put: it never takes a server's room.
            let at = self.0.iter().position(|own| !own.from_server).unwrap_or(0);
            let oldest = self.0.remove(at);
            scopes -= oldest.scopes.len();
            made_room.push(oldest);
        }
        made_room
    }

    /// Forgets what is known of an order.
    pub fn remove(&mut self, order: Key) {
        self.0.retain(|own| own.order != order);
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
            encoder.bool(purchase.from_server);
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
            let from_server = decoder.bool()?;
            let mut scopes = Vec::new();
            for _ in 0..decoder.count()? {
                scopes.push(Scope(decoder.u64()?));
            }
            let scopes = scopes.into();
            purchases.push(Purchase { order, at, until, position, scopes, lifted, from_server });
        }
        Ok(Self(purchases))
    }
}

#[cfg(test)]
mod tests;
