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
            counts: event.value_counts,
            at,
            position: self.position,
        };
        let lifts = self.settings.suppression.refund_lifts;
        let Some(row) = self.state.orders.get_or_insert_with(key, OrderRow::default) else { return };
        let order = &mut row.0;
        let (owner, parts) = (order.owner, order.contributions());
        let (was_undone, known) = (order.is_undone(), order.reporters.contains(&node));
        let taken = order.take(fact, report);
        let order = order.clone();
        self.move_value(owner, &parts, &order);
        let undone = order.is_undone();
        if matches!(fact.change, OrderChange::Completed | OrderChange::Updated)
            && order.reporters.contains(&node)
        {
            self.note_order(node, key, known);
            if taken.decides || !known {
                self.put_purchase(event, node, key, at, known, lifts && undone);
            }
        }
        if was_undone == undone && !(taken.decides && undone) {
            return;
        }
        for reporter in &order.reporters {
            let Some(row) = self.state.nodes.get_mut(*reporter) else { continue };
            if let Some(aggregate) = row.aggregate.as_mut() {
                aggregate.purchases.set_lifted(key, lifts && undone);
            }
        }
        for reporter in &order.reporters {
            if let Some(profile) = self.profile_of(*reporter) {
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

    /// An order that was known at this node changed its products, not when it was bought; one that is over and
    /// forgotten stays so.
    fn put_purchase(
        &mut self,
        event: &Event<'_>,
        node: Key,
        order: Key,
        at: Timestamp,
        known: bool,
        lifted: bool,
    ) {
        let (now, position) = (self.now, self.position);
        let settings = &self.settings.suppression;
        let scopes = settings.scopes(&event.products);
        let Some(row) = self.state.nodes.get_mut(node) else { return };
        let purchases = &mut row.aggregate_mut().purchases;
        let former = purchases.0.iter().find(|own| own.order == order).cloned();
        if known && former.is_none() {
            return;
        }
        let purchase = Purchase {
            order,
            at: former.as_ref().map_or(at, |former| former.at),
            until: former.as_ref().map_or(at.plus_us(settings.window_us), |former| former.until),
            position: former.as_ref().map_or(position, |former| former.position),
            // An update that names no products leaves them as they were.
            scopes: former
                .as_ref()
                .filter(|_| event.products.is_empty())
                .map_or(scopes, |own| own.scopes.clone()),
            lifted,
        };
        let first = former.is_none() && !lifted;
        purchases.put(purchase.clone(), now);
        let Some(profile) = self.profile_of(node) else { return };
        if first {
            self.suppress(profile, |active| active.add_purchase(&purchase, now));
        } else {
            self.recompute_suppression(profile);
        }
    }

    pub(crate) fn profile_of(&mut self, node: Key) -> Option<Key> {
        let pointer = self.state.nodes.get(node)?.profile;
        Some(self.state.follow(pointer))
    }
}
