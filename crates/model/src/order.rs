//! An order is one fact, whichever door reports it and how often.
//!
//! The server's word wins over a browser's; a second report adds nothing. A refund counts once by its own id. What
//! comes before its order (a refund, a server's cancellation) is kept and holds when the order arrives; a browser's
//! cancellation counts only from who reported the order as bought. Every list is bounded, and where it is full a
//! browser's claim makes room for the server's word. The value that an order
//! contributes is a function of what is known of it ([`Order::contributions`]), so every change is applied as the
//! difference between two contributions and nothing is counted twice.
//!
//! What features count is events, and so with orders: [`is_counted`] says which report of an order is the event.

mod reported;

pub use reported::Reported;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::{OrderChange, OrderFact};
use crate::id::{Key, Position, Timestamp};

/// The most refunds of one order. A browser's makes room for a server's; further ones are ignored.
pub const MAX_REFUNDS: usize = 1_024;
/// The most nodes under which one order is remembered as bought. The first that a browser claimed makes room for one
/// that a server reported; further claims of browsers are ignored.
pub const MAX_REPORTERS: usize = 8;

/// The key of an order: all write keys of a shard share it.
pub fn order_key(order_id: &str) -> Key {
    Key::of_text("order", order_id)
}

/// The key of a refund of an order.
fn refund_key(order_id: &str, refund_id: &str) -> Key {
    order_key(order_id).with(Key::of_text("refund", refund_id))
}

/// Whether features count an event: what is about no order always, an order and a refund once each, by the first
/// report whose value counts. `known` says whether what the fact states was counted before, which the loop takes from
/// the order itself ([`Order::has_counted`]) and whoever reads the log from what was read before ([`Reported`]).
pub fn is_counted(
    fact: Option<&OrderFact<'_>>,
    value_counts: bool,
    known: impl FnOnce(&OrderFact<'_>) -> bool,
) -> bool {
    let Some(fact) = fact else { return true };
    value_counts && (fact.order_id.is_empty() || !known(fact))
}

/// Whether a report decides what is stated, where it was stated before by a server, by a browser, or not at all. Only
/// an update (`again`) replaces the word of the same hand.
fn decides(before_from_server: Option<bool>, from_server: bool, again: bool) -> bool {
    match before_from_server {
        None => true,
        Some(before) if from_server => !before || again,
        Some(before) => again && !before,
    }
}

/// The order as somebody stated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Its value in minor units, never negative.
    pub value_minor: i64,
    /// ISO 4217.
    pub currency: [u8; 3],
    /// A server said so.
    pub from_server: bool,
    /// The value counts.
    pub counts: bool,
    /// When: the earliest time, clamped, of all that this hand said of buying it, whichever of it arrived first.
    pub at: Timestamp,
    /// The record that said so first.
    pub position: Position,
}

/// A refund of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Its own identity.
    pub id: Key,
    /// Its amount in minor units, never negative.
    pub value_minor: i64,
    /// ISO 4217.
    pub currency: [u8; 3],
    /// A server said so.
    pub from_server: bool,
    /// The amount counts.
    pub counts: bool,
}

/// A node under which an order was reported as bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The node.
    pub node: Key,
    /// A server said so at least once.
    pub from_server: bool,
}

/// What is known of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The node whose order it is: the one that the deciding report was aggregated under.
    pub owner: Key,
    /// Nodes under which it was reported as bought, in order.
    pub reporters: Vec<Reporter>,
    /// The deciding report; absent while only a refund or cancellation is known.
    pub stated: Option<Stated>,
    /// A server cancelled it.
    pub cancelled_by_server: bool,
    /// A browser of who bought it cancelled it; holds while no server has stated the order.
    pub cancelled_by_browser: bool,
    /// Each once, in order of arrival.
    pub refunds: Vec<Refund>,
}

/// Who reports, and when.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The node that the event is aggregated under.
    pub node: Key,
    /// Came with a server key.
    pub from_server: bool,
    /// The node belongs to a person who has reported the order as bought.
    pub is_buyer: bool,
    /// Its value counts.
    pub counts: bool,
    /// When, clamped.
    pub at: Timestamp,
    /// The record.
    pub position: Position,
}

/// What an order adds to the sums of its owner in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// ISO 4217.
    pub currency: [u8; 3],
    /// Number of orders.
    pub orders: i64,
    /// Their value in minor units.
    pub value_minor: i64,
    /// Refunds in minor units.
    pub refunded_minor: i64,
}

impl Contribution {
    /// The same taken away.
    pub fn negated(self) -> Self {
        Self {
            currency: self.currency,
            orders: -self.orders,
            value_minor: -self.value_minor,
            refunded_minor: -self.refunded_minor,
        }
    }
}

/// What a report changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The report decides what the order is: its products are the order's.
    pub decides: bool,
    /// The node was not known to have bought it, or only a browser said so and now a server does.
    pub first_word: bool,
    /// The node whose claim made room: it is not known to have bought it any more.
    pub displaced: Option<Key>,
}

impl Order {
    /// Takes in a report.
    pub fn take(&mut self, fact: &OrderFact<'_>, report: Report) -> Taken {
        match fact.change {
            OrderChange::Completed => self.state(fact, report, false),
            OrderChange::Updated => self.state(fact, report, true),
            OrderChange::Cancelled => {
                self.cancelled_by_server |= report.from_server;
                self.cancelled_by_browser |= !report.from_server && report.is_buyer;
                Taken::default()
            }
            OrderChange::Refunded => {
                self.refund(fact, report);
                Taken::default()
            }
        }
    }

    fn state(&mut self, fact: &OrderFact<'_>, report: Report, again: bool) -> Taken {
        let (first_word, displaced) = self.admit(report);
        let decides = decides(self.stated.map(|stated| stated.from_server), report.from_server, again);
        if decides {
            // An update by the same hand changes the order, not whose it was.
            let first = self.stated.filter(|stated| stated.from_server == report.from_server);
            if first.is_none() {
                self.owner = report.node;
            }
            self.stated = Some(Stated {
                value_minor: fact.value_minor.max(0),
                currency: fact.currency,
                from_server: report.from_server,
                counts: report.counts,
                at: first.map_or(report.at, |stated| stated.at.min(report.at)),
                position: first.map_or(report.position, |stated| stated.position),
            });
        } else if let Some(stated) = self.stated.as_mut().filter(|own| own.from_server == report.from_server)
        {
            stated.at = stated.at.min(report.at);
        }
        Taken { decides, first_word, displaced }
    }

    /// Whether the node is known to have bought it.
    pub fn has_reporter(&self, node: Key) -> bool {
        self.reporters.iter().any(|reporter| reporter.node == node)
    }

    /// Notes the reporter. Returns whether it is new or a server's word about it is, and who made room.
    fn admit(&mut self, report: Report) -> (bool, Option<Key>) {
        let reporter = Reporter { node: report.node, from_server: report.from_server };
        if let Some(own) = self.reporters.iter_mut().find(|own| own.node == report.node) {
            let first_word = report.from_server && !own.from_server;
            own.from_server |= report.from_server;
            return (first_word, None);
        }
        let mut displaced = None;
        if self.reporters.len() >= MAX_REPORTERS {
            if !report.from_server {
                return (false, None);
            }
            // Only servers' words and no room left: the oldest goes, but never whose order it is.
            let claim = self.reporters.iter().position(|own| !own.from_server);
            let other = || self.reporters.iter().position(|own| own.node != self.owner);
            if let Some(at) = claim.or_else(other) {
                displaced = Some(self.reporters.remove(at).node);
            }
        }
        self.reporters.push(reporter);
        (true, displaced)
    }

    fn refund(&mut self, fact: &OrderFact<'_>, report: Report) {
        let refund = Refund {
            id: Key::of_text("refund", fact.refund_id),
            value_minor: fact.value_minor.saturating_abs(),
            currency: fact.currency,
            from_server: report.from_server,
            counts: report.counts,
        };
        if let Some(own) = self.refunds.iter_mut().find(|own| own.id == refund.id) {
            if decides(Some(own.from_server), report.from_server, false) {
                *own = refund;
            }
            return;
        }
        if self.refunds.len() >= MAX_REFUNDS {
            let claim = self.refunds.iter().position(|own| !own.from_server);
            let Some(at) = claim.filter(|_| report.from_server) else { return };
            self.refunds.remove(at);
        }
        self.refunds.push(refund);
    }

    /// Whether a refund of this id is known, and counts.
    pub fn has_counted_refund(&self, refund_id: &str) -> bool {
        let id = Key::of_text("refund", refund_id);
        self.refunds.iter().any(|refund| refund.id == id && refund.counts)
    }

    /// Whether features have counted what a report of this order states, see [`is_counted`]. Updates and cancellations
    /// are no orders: each is an event of its own.
    pub fn has_counted(&self, fact: &OrderFact<'_>) -> bool {
        match fact.change {
            OrderChange::Completed => self.stated.is_some_and(|stated| stated.counts),
            OrderChange::Refunded => self.has_counted_refund(fact.refund_id),
            OrderChange::Updated | OrderChange::Cancelled => false,
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        let by_server = self.stated.is_some_and(|stated| stated.from_server);
        self.cancelled_by_server || (self.cancelled_by_browser && !by_server)
    }

    /// Whether it was cancelled or all of its value went back.
    pub fn is_undone(&self) -> bool {
        let Some(stated) = self.stated else { return false };
        let refunded = self.refunded_minor(stated.currency);
        self.is_cancelled() || (refunded > 0 && refunded >= stated.value_minor)
    }

    fn refunded_minor(&self, currency: [u8; 3]) -> i64 {
        let counted = self.refunds.iter().filter(|refund| refund.counts && refund.currency == currency);
        counted.fold(0_i64, |sum, refund| sum.saturating_add(refund.value_minor))
    }

    /// What it adds to the sums of its owner, by currency. Nothing while it is not stated, does not count, or is
    /// cancelled.
    pub fn contributions(&self) -> Vec<Contribution> {
        let Some(stated) = self.stated.filter(|stated| stated.counts && !self.is_cancelled()) else {
            return Vec::new();
        };
        let mut parts = vec![Contribution {
            currency: stated.currency,
            orders: 1,
            value_minor: stated.value_minor,
            refunded_minor: self.refunded_minor(stated.currency),
        }];
        for refund in self.refunds.iter().filter(|refund| refund.counts) {
            if parts.iter().all(|part| part.currency != refund.currency) {
                let refunded_minor = self.refunded_minor(refund.currency);
                parts.push(Contribution {
                    currency: refund.currency,
                    orders: 0,
                    value_minor: 0,
                    refunded_minor,
                });
            }
        }
        parts
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u128(self.owner.0);
        encoder.varint(self.reporters.len() as u64);
        for reporter in &self.reporters {
            encoder.u128(reporter.node.0);
            encoder.bool(reporter.from_server);
        }
        encoder.bool(self.stated.is_some());
        if let Some(stated) = &self.stated {
            encoder.signed(stated.value_minor);
            encoder.0.extend_from_slice(&stated.currency);
            encoder.bool(stated.from_server);
            encoder.bool(stated.counts);
            encoder.signed(stated.at.0);
            encoder.varint(stated.position.0);
        }
        encoder.bool(self.cancelled_by_server);
        encoder.bool(self.cancelled_by_browser);
        encoder.varint(self.refunds.len() as u64);
        for refund in &self.refunds {
            encoder.u128(refund.id.0);
            encoder.signed(refund.value_minor);
            encoder.0.extend_from_slice(&refund.currency);
            encoder.bool(refund.from_server);
            encoder.bool(refund.counts);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut order = Self { owner: Key(decoder.u128()?), ..Self::default() };
        for _ in 0..decoder.count()? {
            let node = Key(decoder.u128()?);
            order.reporters.push(Reporter { node, from_server: decoder.bool()? });
        }
        if decoder.bool()? {
            order.stated = Some(Stated {
                value_minor: decoder.signed()?,
                currency: currency(decoder)?,
                from_server: decoder.bool()?,
                counts: decoder.bool()?,
                at: Timestamp(decoder.signed()?),
                position: Position(decoder.varint()?),
            });
        }
        order.cancelled_by_server = decoder.bool()?;
        order.cancelled_by_browser = decoder.bool()?;
        for _ in 0..decoder.count()? {
            order.refunds.push(Refund {
                id: Key(decoder.u128()?),
                value_minor: decoder.signed()?,
                currency: currency(decoder)?,
                from_server: decoder.bool()?,
                counts: decoder.bool()?,
            });
        }
        Ok(order)
    }
}

pub(crate) fn currency(decoder: &mut Decoder<'_>) -> Result<[u8; 3], DecodeError> {
    let mut currency = [0; 3];
    currency.copy_from_slice(decoder.take(3)?);
    Ok(currency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fact(change: OrderChange, refund_id: &'static str, value_minor: i64) -> OrderFact<'static> {
        OrderFact { change, order_id: "1", refund_id, value_minor, currency: *b"EUR" }
    }

    fn report(from_server: bool, position: u64) -> Report {
        Report {
            node: Key(if from_server { 1 } else { 2 }),
            from_server,
            is_buyer: false,
            counts: from_server,
            at: Timestamp(position as i64),
            position: Position(position),
        }
    }

    #[test]
    fn an_order_is_one_fact() {
        use OrderChange::{Cancelled, Completed, Refunded, Updated};
        // Each report: what, refund id, value, from a server. Then: orders, value, refunded, undone.
        type Row<'a> = (&'a [(OrderChange, &'static str, i64, bool)], (i64, i64, i64), bool);
        let cases: [Row<'_>; 12] = [
            (&[(Completed, "", 100, true)], (1, 100, 0), false),
            (&[(Completed, "", 100, true), (Completed, "", 100, true)], (1, 100, 0), false),
            (&[(Completed, "", 90, false)], (0, 0, 0), false),
            (&[(Completed, "", 90, false), (Completed, "", 100, true)], (1, 100, 0), false),
            (&[(Completed, "", 100, true), (Completed, "", 90, false)], (1, 100, 0), false),
            (&[(Completed, "", 100, true), (Updated, "", 120, true)], (1, 120, 0), false),
            (&[(Completed, "", 100, true), (Updated, "", 1, false)], (1, 100, 0), false),
            (&[(Completed, "", 100, true), (Cancelled, "", 0, true)], (0, 0, 0), true),
            (&[(Completed, "", 100, true), (Cancelled, "", 0, false)], (1, 100, 0), false),
            (&[(Refunded, "a", 30, true), (Completed, "", 100, true)], (1, 100, 30), false),
            (
                &[(Completed, "", 100, true), (Refunded, "a", 30, true), (Refunded, "a", 30, true)],
                (1, 100, 30),
                false,
            ),
            (
                &[(Completed, "", 100, true), (Refunded, "a", 60, false), (Refunded, "b", 100, true)],
                (1, 100, 100),
                true,
            ),
        ];
        for (reports, expected, undone) in cases {
            let mut order = Order::default();
            for (position, (change, refund, value, server)) in reports.iter().enumerate() {
                order.take(&fact(*change, refund, *value), report(*server, position as u64));
            }
            let sum = order.contributions().first().copied().unwrap_or_default();
            assert_eq!((sum.orders, sum.value_minor, sum.refunded_minor), expected, "{reports:?}");
            assert_eq!(order.is_undone(), undone, "{reports:?}");
        }
    }

    #[test]
    fn a_browser_cancels_only_what_its_person_bought() {
        // Is it the buyer, had the order come, is it a server's; then: cancelled.
        for (is_buyer, before, from_server, expected) in [
            (false, true, false, false),
            (false, false, false, false),
            (true, true, false, true),
            (false, true, true, true),
            (false, false, true, true),
        ] {
            let mut order = Order::default();
            let cancel = Report { is_buyer, ..report(from_server, 1) };
            if !before {
                order.take(&fact(OrderChange::Cancelled, "", 0), cancel);
            }
            order.take(&fact(OrderChange::Completed, "", 100), report(false, 2));
            if before {
                order.take(&fact(OrderChange::Cancelled, "", 0), cancel);
            }
            assert_eq!(order.is_cancelled(), expected, "{is_buyer} {before} {from_server}");
        }
    }

    #[test]
    fn claims_of_browsers_make_room_for_the_server() {
        let mut order = Order::default();
        let by = |node: u128, from_server| Report { node: Key(node), ..report(from_server, node as u64) };
        let bought = fact(OrderChange::Completed, "", 100);
        for node in 0..40 {
            order.take(&bought, by(1_000 + node, false));
        }
        assert_eq!(order.reporters.len(), MAX_REPORTERS);
        for node in 0..20 {
            let taken = order.take(&bought, by(node, true));
            assert!(taken.first_word && order.has_reporter(Key(node)), "{node}");
            assert_eq!(order.reporters.len(), MAX_REPORTERS);
            let displaced = taken.displaced.unwrap();
            assert!(!order.has_reporter(displaced));
            assert_eq!(displaced >= Key(1_000), node < MAX_REPORTERS as u128, "claims go first");
            assert!(order.has_reporter(order.owner), "never whose order it is");
        }
        assert!(!order.take(&bought, by(2_000, false)).first_word);
        assert!(!order.has_reporter(Key(2_000)), "a claim displaces nobody");
        let refund = |order: &mut Order, id: usize, from_server| {
            let id = id.to_string();
            let fact = OrderFact {
                change: OrderChange::Refunded,
                order_id: "1",
                refund_id: &id,
                value_minor: 100,
                currency: *b"EUR",
            };
            order.take(&fact, report(from_server, 1));
        };
        (0..MAX_REFUNDS + 44).for_each(|id| refund(&mut order, id, false));
        assert!(!order.is_undone());
        refund(&mut order, usize::MAX, true);
        assert!(order.is_undone(), "the server's refund counts");
        assert_eq!(order.refunds.len(), MAX_REFUNDS);
    }

    #[test]
    fn the_first_report_whose_value_counts_is_the_event() {
        use OrderChange::{Cancelled, Completed, Refunded, Updated};
        // Each report: what, refund id, from a server, its value counts. Then: which of them are events.
        type Row<'a> = (&'a [(OrderChange, &'static str, bool, bool)], &'a [bool]);
        let cases: [Row<'_>; 6] = [
            (&[(Completed, "", true, true), (Completed, "", true, true)], &[true, false]),
            (&[(Completed, "", false, false), (Completed, "", true, true)], &[false, true]),
            (&[(Completed, "", false, true), (Completed, "", true, true)], &[true, false]),
            (&[(Updated, "", true, true), (Completed, "", true, true)], &[true, false]),
            (&[(Cancelled, "", true, true), (Cancelled, "", true, true)], &[true, true]),
            (
                &[(Refunded, "a", true, true), (Refunded, "b", true, true), (Refunded, "a", true, true)],
                &[true, true, false],
            ),
        ];
        for (reports, expected) in cases {
            let mut reported = Reported::default();
            let counted = reports.iter().map(|(change, refund, from_server, counts)| {
                reported.take(Key(1), Some(&fact(*change, refund, 1)), *from_server, *counts)
            });
            assert_eq!(counted.collect::<Vec<_>>(), expected, "{reports:?}");
        }
        let mut reported = Reported::default();
        let nameless = OrderFact { order_id: "", ..fact(Completed, "", 1) };
        for (fact, counts, expected) in
            [(None, false, true), (Some(&nameless), true, true), (Some(&nameless), false, false)]
        {
            assert_eq!(reported.take(Key(1), fact, true, counts), expected, "{fact:?}");
            assert_eq!(reported.take(Key(1), fact, true, counts), expected, "{fact:?} again");
        }
    }

    proptest! {
        /// Who reads the log counts what the loop counted with the orders before it, of which those are gone that only people
        /// reported who were erased since.
        #[test]
        fn what_was_reported_counts_as_the_orders_do(
            reports in prop::collection::vec(
                (0_u8..5, 0_usize..3, 0_usize..2, any::<bool>(), any::<bool>(), 0_u128..4), 0..60,
            ),
        ) {
            let changes = [OrderChange::Completed, OrderChange::Updated, OrderChange::Cancelled, OrderChange::Refunded];
            let mut orders = [Order::default(), Order::default()];
            let erased = reports.iter().filter(|report| report.0 == 4).map(|report| Key(report.5));
            let mut reported = Reported::new(erased.collect());
            for (position, (change, refund, order, server, counts, node)) in reports.iter().enumerate() {
                let node = Key(*node);
                let Some(change) = changes.get(usize::from(*change)).copied() else {
                    reported.erase(node);
                    for order in orders.iter_mut().filter(|order| order.has_reporter(node)) {
                        order.reporters.retain(|reporter| reporter.node != node);
                        if order.reporters.is_empty() {
                            *order = Order::default();
                        }
                    }
                    continue;
                };
                let is_refund = change == OrderChange::Refunded;
                // A refund that comes before its order outlives it here.
                if is_refund && orders[*order].reporters.is_empty() {
                    continue;
                }
                let refund_id = if is_refund { ["a", "b", "c"][*refund] } else { "" };
                let fact = OrderFact { order_id: ["1", "2"][*order], ..fact(change, refund_id, 1) };
                let order = &mut orders[*order];
                let counted = is_counted(Some(&fact), *counts, |fact| order.has_counted(fact));
                prop_assert_eq!(reported.take(node, Some(&fact), *server, *counts), counted, "report {}", position);
                order.take(&fact, Report { counts: *counts, node, ..report(*server, position as u64) });
            }
        }

        #[test]
        fn repeats_add_nothing_and_orders_read_back(reports in prop::collection::vec((0_u8..4, 0_usize..3, -5_i64..200, any::<bool>()), 0..12)) {
            let changes = [OrderChange::Completed, OrderChange::Updated, OrderChange::Cancelled, OrderChange::Refunded];
            let refunds = ["a", "b", "c"];
            let (mut once, mut twice) = (Order::default(), Order::default());
            for (position, (change, refund, value, server)) in reports.iter().enumerate() {
                let fact = fact(changes[usize::from(*change)], refunds[*refund], *value);
                once.take(&fact, report(*server, position as u64));
                twice.take(&fact, report(*server, position as u64));
                twice.take(&fact, report(*server, position as u64));
            }
            prop_assert_eq!(&once, &twice);
            let mut bytes = Vec::new();
            once.encode(&mut Encoder(&mut bytes));
            prop_assert_eq!(Order::decode(&mut Decoder::new(&bytes)), Ok(once));
        }
    }
}
