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
    pub scopes: Vec<Active>,
}

impl ActiveSet {
    /// Adds what a purchase suppresses beyond `now`.
    pub fn add_purchase(&mut self, purchase: &Purchase, now: Timestamp) {
        self.add_purchase_within(purchase, now, MAX_ACTIVE);
    }

    fn add_purchase_within(&mut self, purchase: &Purchase, now: Timestamp, most: usize) {
        if purchase.lifted || purchase.until <= now {
            return;
        }
        let Purchase { until, order, position, from_server, .. } = *purchase;
        for scope in &purchase.scopes {
            self.add(Active { scope: *scope, until, order, position, from_server });
        }
        self.bound(most);
    }

    fn add(&mut self, active: Active) {
        let place = (active.scope, active.from_server);
        match self.scopes.binary_search_by_key(&place, |own| (own.scope, own.from_server)) {
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
        self.union_within(other, MAX_ACTIVE);
    }

    fn union_within(&mut self, other: &Self, most: usize) {
        for active in &other.scopes {
            self.add(*active);
        }
        self.bound(most);
    }

    /// Keeps what ends last of each hand: what is dropped would be over before anything that stays, so nothing has to
    /// come back when something ends.
    fn bound(&mut self, most: usize) {
        if self.scopes.len() <= most {
            return;
        }
        let (mut kept, mut claimed): (Vec<_>, Vec<_>) =
            self.scopes.iter().partition(|active| active.from_server);
        for hand in [&mut kept, &mut claimed] {
            hand.sort_by_key(|active: &Active| (std::cmp::Reverse(active.until), active.scope));
            hand.truncate(most);
        }
        kept.append(&mut claimed);
        kept.sort_by_key(|active| (active.scope, active.from_server));
        self.scopes = kept;
    }

    /// Removes what is over at `now`.
    pub fn expire(&mut self, now: Timestamp) {
        self.scopes.retain(|active| active.until > now);
    }

    /// The next instant at which something ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.scopes.iter().map(|active| active.until).min()
    }

    /// The causes of one scope, whoever said so.
    fn causes(&self, scope: Scope) -> impl Iterator<Item = &Active> {
        let from = self.scopes.partition_point(|active| active.scope < scope);
        self.scopes.iter().skip(from).take_while(move |active| active.scope == scope)
    }

    /// The cause that suppresses any of the scopes at `now`; the one that lasts longest.
    pub fn find(&self, scopes: &[Scope], now: Timestamp) -> Option<&Active> {
        let found = scopes.iter().flat_map(|scope| self.causes(*scope));
        found.filter(|active| active.until > now).max_by_key(|active| active.rank())
    }

    /// Of every scope the cause that lasts longest, sorted by scope.
    pub fn longest(&self) -> Vec<Active> {
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
        let mut beyond = self.longest();
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
        Ok(Self { scopes })
    }
}

/// The purchases of one node, oldest first; one per order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purchases(pub Vec<Purchase>);

impl Purchases {
    /// Adds a purchase, in place of what is known of the same order. Others that are over by `now` are forgotten.
    /// Returns whether one that is not over had to make room: then what suppresses is to be computed anew.
    pub fn put(&mut self, purchase: Purchase, now: Timestamp) -> bool {
        self.put_within(purchase, now, MAX_PURCHASES, MAX_NODE_SCOPES)
    }

    fn put_within(&mut self, purchase: Purchase, now: Timestamp, most: usize, most_scopes: usize) -> bool {
        self.0.retain(|own| own.order != purchase.order && own.until > now);
        self.0.reserve_exact(1);
        self.0.push(purchase);
        let mut scopes: usize = self.0.iter().map(|own| own.scopes.len()).sum();
        let mut made_room = false;
        while self.0.len() > most || scopes > most_scopes {
            // A claim goes even if it is the one that was just put: it never takes a server's room.
            let at = self.0.iter().position(|own| !own.from_server).unwrap_or(0);
            scopes -= self.0.remove(at).scopes.len();
            made_room = true;
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
            from_server: order % 2 == 0,
        }
    }

    #[test]
    fn the_greatest_order_is_kept_whole() {
        let names: Vec<String> = (0..MAX_PRODUCTS).map(|number| format!("p{number}")).collect();
        let product = |name| Product { product_id: name, category: name, quantity: 1, price_minor: 1 };
        let products: Vec<Product<'_>> = names.iter().map(|name| product(name.as_str())).collect();
        let settings = SuppressionSettings { everything: true, ..SuppressionSettings::default() };
        let scopes = settings.scopes(&products);
        assert_eq!(scopes.len(), MAX_PURCHASE_SCOPES);
        let order = Purchase { scopes, from_server: true, ..purchase((0, 0, 1, false)) };
        let mut purchases = Purchases::default();
        assert!(!purchases.put(order.clone(), Timestamp(0)));
        let mut active = ActiveSet::default();
        active.add_purchase(&order, Timestamp(0));
        assert_eq!(active.scopes.len(), MAX_PURCHASE_SCOPES);
    }

    #[test]
    fn claims_take_no_room_from_a_server() {
        let of = |order: u128, from_server| Purchase {
            scopes: Box::new([Scope(order as u64)]),
            at: Timestamp(order as i64),
            until: Timestamp(1_000_000 + order as i64),
            from_server,
            ..purchase((order, 0, 1, false))
        };
        let (mut purchases, mut active) = (Purchases::default(), ActiveSet::default());
        let first = of(1, true);
        purchases.put(first.clone(), Timestamp(0));
        active.add_purchase(&first, Timestamp(0));
        for order in 2..MAX_ACTIVE as u128 * 2 {
            let claim = of(order, false);
            purchases.put(claim.clone(), Timestamp(0));
            active.add_purchase(&claim, Timestamp(0));
        }
        assert_eq!(purchases.0.len(), MAX_PURCHASES);
        assert_eq!(purchases.0[0], first);
        assert_eq!(active.scopes.len(), MAX_ACTIVE + 1);
        assert!(active.find(&[Scope(1)], Timestamp(5)).is_some_and(|found| found.from_server));
        for order in 0..MAX_PURCHASES as u128 {
            purchases.put(of(1_000_000 + order, true), Timestamp(0));
        }
        assert!(purchases.put(of(7, false), Timestamp(0)), "the claim itself made room");
        assert!(purchases.0.iter().all(|own| own.from_server));
    }

    /// What happens to the purchases of a few nodes of one profile.
    #[derive(Clone, Debug)]
    enum Step {
        Buy { node: usize, order: u128, scopes: Vec<u64>, lasts: i64, from_server: bool },
        Lift { order: u128, lifted: bool },
        Wait(i64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let buy = (0_usize..4, 0_u128..30, prop::collection::btree_set(1_u64..12, 0..4), 1_i64..40);
        prop_oneof![
            8 => (buy, any::<bool>()).prop_map(|((node, order, scopes, lasts), from_server)| Step::Buy {
                node, order, scopes: scopes.into_iter().collect(), lasts, from_server,
            }),
            1 => (0_u128..30, any::<bool>()).prop_map(|(order, lifted)| Step::Lift { order, lifted }),
            2 => (0_i64..15).prop_map(Step::Wait),
        ]
    }

    fn computed_anew(nodes: &[Purchases], now: Timestamp, most: usize) -> ActiveSet {
        let mut fresh = ActiveSet::default();
        for one in nodes.iter().flat_map(|node| &node.0) {
            fresh.add_purchase_within(one, now, most);
        }
        fresh
    }

    proptest! {
        /// Two profiles of two nodes each, with limits that are reached all the time; they become one at the end.
        #[test]
        fn keeping_up_to_date_is_computing_anew(
            steps in prop::collection::vec(any_step(), 0..60), most in 1_usize..6, most_purchases in 1_usize..6, most_scopes in 4_usize..12,
        ) {
            let mut nodes: [Purchases; 4] = Default::default();
            let mut profiles = [ActiveSet::default(), ActiveSet::default()];
            let mut now = Timestamp(0);
            for (position, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Buy { node, order, scopes, lasts, from_server } => {
                        let one = Purchase {
                            order: Key(order),
                            at: now,
                            until: now.plus_us(lasts),
                            position: Position(position as u64),
                            scopes: scopes.into_iter().map(Scope).collect(),
                            lifted: false,
                            from_server,
                        };
                        let known = nodes[node].0.iter().any(|own| own.order == one.order);
                        let made_room = nodes[node].put_within(one.clone(), now, most_purchases, most_scopes);
                        let own = node / 2;
                        if known || made_room {
                            profiles[own] = computed_anew(&nodes[own * 2..own * 2 + 2], now, most);
                        } else {
                            profiles[own].add_purchase_within(&one, now, most);
                        }
                    }
                    Step::Lift { order, lifted } => {
                        nodes.iter_mut().for_each(|node| node.set_lifted(Key(order), lifted));
                        for own in 0..2 {
                            profiles[own] = computed_anew(&nodes[own * 2..own * 2 + 2], now, most);
                        }
                    }
                    Step::Wait(time) => now = now.plus_us(time),
                }
                for (own, active) in profiles.iter_mut().enumerate() {
                    active.expire(now);
                    prop_assert_eq!(&*active, &computed_anew(&nodes[own * 2..own * 2 + 2], now, most));
                }
                for node in &nodes {
                    let scopes: usize = node.0.iter().map(|one| one.scopes.len()).sum();
                    prop_assert!(node.0.len() <= most_purchases && scopes <= most_scopes);
                }
            }
            let [mut one, mut two] = profiles;
            let again = two.clone();
            two.union_within(&one, most);
            one.union_within(&again, most);
            prop_assert_eq!(&one, &two);
            prop_assert_eq!(&one, &computed_anew(&nodes, now, most));
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
