//! Takes in the order part of an event: value once, evidence for suppression wherever it was reported.

use crate::resolve::Step;
use crate::state::OrderRow;
use model::event::{Event, OrderChange, OrderFact};
use model::id::{Key, Timestamp};
use model::order::{Contribution, Order, Report, order_key};
use model::suppression::Purchase;

impl Step<'_> {
    /// Takes in an order, an update, a cancellation or a refund that was aggregated under `node`.
    pub(crate) fn purchase(&mut self, event: &Event<'_>, fact: &OrderFact<'_>, node: Key, at: Timestamp) {
        if fact.order_id.is_empty() {
            return;
        }
        let key = order_key(fact.order_id);
        let report = Report {
            node,
            from_server: event.from_server,
            is_buyer: fact.change == OrderChange::Cancelled && self.is_buyer(key, node),
            counts: event.value_counts,
            at,
            position: self.position,
        };
        let lifts = self.settings.suppression.refund_lifts;
        let Some(row) = self.state.orders.get_or_insert_with(key, OrderRow::default) else { return };
        let order = &mut row.0;
        let (owner, parts) = (order.owner, order.contributions());
        let (was_undone, known) = (order.is_undone(), order.has_reporter(node));
        let taken = order.take(fact, report);
        let order = order.clone();
        self.move_value(owner, &parts, &order);
        let undone = order.is_undone();
        if matches!(fact.change, OrderChange::Completed | OrderChange::Updated) && order.has_reporter(node) {
            self.note_order(node, key, known);
            if let Some(claimant) = taken.displaced {
                self.forget_claim(claimant, key);
            }
            if taken.decides || taken.first_word {
                self.put_purchase(event, node, key, at, taken.first_word, lifts && undone);
            }
        }
        if was_undone == undone && !(taken.decides && undone) {
            return;
        }
        for reporter in &order.reporters {
            let Some(row) = self.state.nodes.get_mut(reporter.node) else { continue };
            if let Some(aggregate) = row.aggregate.as_mut() {
                aggregate.purchases.set_lifted(key, lifts && undone);
            }
        }
        for reporter in &order.reporters {
            if let Some(profile) = self.profile_of(reporter.node) {
                self.recompute_suppression(profile);
            }
        }
    }

    /// Takes from the former owner what the order contributed and gives to the owner what it contributes.
    fn move_value(&mut self, former: Key, before: &[Contribution], order: &Order) {
        let after = order.contributions();
        if former == order.owner && before == after {
            return;
        }
        for (node, parts, sign) in [(former, before, false), (order.owner, after.as_slice(), true)] {
            let Some(row) = self.state.nodes.get_mut(node) else { continue };
            for part in parts {
                row.aggregate_mut().add_revenue(if sign { *part } else { part.negated() });
            }
        }
    }

    fn note_order(&mut self, node: Key, order: Key, known: bool) {
        if known {
            return;
        }
        if let Some(row) = self.state.nodes.get_mut(node) {
            row.aggregate_mut().add_order(order);
        }
    }

    /// Whether the node belongs to a person who has reported the order as bought.
    fn is_buyer(&mut self, order: Key, node: Key) -> bool {
        let Some(row) = self.state.orders.get(order) else { return false };
        let reporters = row.0.reporters.clone();
        let own = self.profile_of(node);
        reporters
            .iter()
            .any(|reporter| reporter.node == node || (own.is_some() && self.profile_of(reporter.node) == own))
    }

    /// A browser's claim made room for a server's word: nothing is left of it.
    fn forget_claim(&mut self, node: Key, order: Key) {
        let Some(row) = self.state.nodes.get_mut(node) else { return };
        let aggregate = row.aggregate_mut();
        aggregate.orders.retain(|own| *own != order);
        aggregate.purchases.remove(order);
        if let Some(profile) = self.profile_of(node) {
            self.recompute_suppression(profile);
        }
    }

    /// An order that was known at this node changed its products, not when it was bought; one that is over and
    /// forgotten stays so. With the server's first word it is as if no browser had spoken, but for products that the
    /// server does not name.
    fn put_purchase(
        &mut self,
        event: &Event<'_>,
        node: Key,
        order: Key,
        at: Timestamp,
        first_word: bool,
        lifted: bool,
    ) {
        let (now, position) = (self.now, self.position);
        let settings = &self.settings.suppression;
        let scopes = settings.scopes(&event.products);
        let Some(row) = self.state.nodes.get_mut(node) else { return };
        let purchases = &mut row.aggregate_mut().purchases;
        let former = purchases.0.iter().find(|own| own.order == order).cloned();
        if !first_word && former.is_none() {
            return;
        }
        let dated = former.as_ref().filter(|_| !first_word);
        // An update that names no products leaves them as they were.
        let named = former.as_ref().filter(|own| event.products.is_empty() && own.until > now);
        let purchase = Purchase {
            order,
            at: dated.map_or(at, |former| former.at),
            until: dated.map_or(at.plus_us(settings.window_us), |former| former.until),
            position: dated.map_or(position, |former| former.position),
            from_server: named.map_or(event.from_server, |former| former.from_server),
            scopes: named.map_or(scopes, |former| former.scopes.clone()),
            lifted,
        };
        let dropped = purchases.put(purchase.clone(), now);
        let Some(profile) = self.profile_of(node) else { return };
        if former.is_none() {
            self.bought(profile, &purchase, &dropped);
        } else {
            self.recompute_suppression(profile);
        }
    }

    pub(crate) fn profile_of(&mut self, node: Key) -> Option<Key> {
        let pointer = self.state.nodes.get(node)?.profile;
        Some(self.state.follow(pointer))
    }
}
