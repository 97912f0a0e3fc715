//! Orders: made of what was authorised, sent in parts, cancelled, refunded.

use crate::catalogue::take_number;
use crate::check;
use crate::command::{FulfilInput, RefundInput, Reply};
use crate::effect::{ORDER_CANCELLED, ORDER_CREATED, ORDER_FULFILLED, ORDER_REFUNDED, OrderEffect};
use crate::machine::Step;
use crate::payments::state_word;
use crate::refusal::Refusal;
use crate::state::{About, CheckoutRow, Row};
use model::commerce::Kind;
use model::commerce::cart::Standing;
use model::commerce::money::Rounding;
use model::commerce::order::{Fulfilment, Order, OrderLine, Refund, RefundState};
use model::commerce::payment::{Payment, PaymentEvent, PaymentState, next};
use model::commerce::stock::Taken;

/// The most fulfilments, and the most refunds, of an order.
const PARTS_MAX: usize = 1_000;

impl Step<'_> {
    /// Makes the order of a checkout whose money is set aside and whose units are reserved.
    pub(crate) fn make_order(&mut self, payment: &Payment, checkout: CheckoutRow) -> Option<u64> {
        let Row(mut row) = self.state.carts.get(checkout.cart)?.clone();
        let CheckoutRow { cart, order_key, lines, totals, taken, .. } = checkout;
        let number = self.order_number();
        let about = About::Order(number);
        self.ordered(&lines, &taken, &about);
        let mut order = Order {
            number,
            key: order_key,
            cart,
            lines,
            totals,
            buyer: row.cart.buyer.clone(),
            address: row.cart.address.clone(),
            note: row.cart.note.clone(),
            attributes: row.cart.attributes.clone(),
            payment: payment.key,
            taken,
            sent: Vec::new(),
            anonymous_id: row.cart.anonymous_id.clone(),
            fulfilments: Vec::new(),
            refunds: Vec::new(),
            cancelled: None,
            created_at: self.now,
            updated_at: self.now,
        };
        // What needs no sending is handed over at once.
        let at_once: Vec<(u64, u32)> = order
            .lines
            .iter()
            .filter(|line| !line.requires_shipping)
            .map(|line| (line.variant, line.quantity))
            .collect();
        let sold = pull(&mut order.taken, &at_once);
        self.sell(&sold, &about);
        order.sent = sold;
        row.cart.standing = Standing::Ordered(number);
        row.cart.revision += 1;
        row.cart.updated_at = self.now;
        self.state.carts.insert(cart, Row(row));
        self.name_order(order_key, number);
        if let Some(customer) = order.buyer.customer {
            self.customer_ordered(customer, number);
        }
        self.state.orders.insert(Kind::Order.key(number), Row(order));
        self.tell_order(ORDER_CREATED, Some(number), 0);
        Some(number)
    }

    fn order_number(&mut self) -> u64 {
        let mut counters = self.state.counters();
        if counters.first_order == 0 {
            counters.first_order = self.state.terms().settings.first_order.max(1);
            counters.order = counters.first_order - 1;
        }
        let mut number = 0;
        take_number(&mut counters.order, &mut number);
        self.state.set_counters(counters);
        number
    }

    pub(crate) fn order(&mut self, number: u64) -> Result<Order, Refusal> {
        let row = self.state.orders.get(Kind::Order.key(number));
        Ok(row.ok_or_else(|| Refusal::unknown("order", "order"))?.0.clone())
    }

    fn put_order(&mut self, mut order: Order) {
        order.updated_at = self.now;
        self.state.orders.insert(Kind::Order.key(order.number), Row(order));
    }

    pub(crate) fn tell_order(&mut self, kind: u16, number: Option<u64>, part: u32) {
        let Some(number) = number else { return };
        let key = Kind::Order.key(number);
        let Some(Row(order)) = self.state.orders.get(key).cloned() else { return };
        self.tell(kind, key, &OrderEffect { order, part });
    }

    pub(crate) fn fulfil(&mut self, input: FulfilInput) -> Result<Reply, Refusal> {
        let mut order = self.order(input.order)?;
        if order.cancelled.is_some() {
            return Err(Refusal::OrderCancelled);
        }
        let payment = self.payment(order.payment)?;
        if !matches!(payment.state, PaymentState::Captured | PaymentState::Refunding) {
            return Err(Refusal::NotPaid(state_word(payment.state).to_owned()));
        }
        check::count("fulfilments", order.fulfilments.len() + 1, PARTS_MAX)?;
        check::name("carrier", &input.carrier)?;
        check::name("tracking_number", &input.tracking_number)?;
        check::text("tracking_url", &input.tracking_url, 2_048)?;
        let lines = if input.lines.is_empty() { to_send(&order) } else { input.lines };
        if lines.is_empty() {
            return Err(Refusal::OrderFulfilled);
        }
        check_lines(&order, &lines, unsent)?;
        let units = pull(&mut order.taken, &variants_of(&order.lines, &lines));
        self.sell(&units, &About::Order(order.number));
        order.sent.extend(units);
        let number = order.fulfilments.len() as u32 + 1;
        let FulfilInput { carrier, tracking_number, tracking_url, .. } = input;
        let at = self.now;
        order.fulfilments.push(Fulfilment { number, lines, carrier, tracking_number, tracking_url, at });
        let order_number = order.number;
        self.put_order(order);
        self.tell_order(ORDER_FULFILLED, Some(order_number), number);
        Ok(Reply::OrderPart { order: order_number, part: number })
    }

    pub(crate) fn cancel(&mut self, number: u64, reason: String) -> Result<Reply, Refusal> {
        let mut order = self.order(number)?;
        check::text("reason", &reason, check::NOTE_BYTES_MAX)?;
        if order.cancelled.is_some() {
            return Err(Refusal::OrderCancelled);
        }
        if !order.fulfilments.is_empty() {
            return Err(Refusal::OrderFulfilled);
        }
        let mut payment = self.payment(order.payment)?;
        let about = About::Order(number);
        self.release(&std::mem::take(&mut order.taken), &about, false);
        // What needed no sending was sold at once.
        self.restock(&std::mem::take(&mut order.sent), &about);
        order.cancelled = Some((self.now, reason.clone()));
        let lines = left_of(&order, unrefunded);
        let left_minor = if payment.state == PaymentState::CaptureFailed {
            0
        } else {
            payment.amount_minor - payment.refunded_minor
        };
        let unsent = left_of(&order, unsent);
        let refund = Refund {
            number: order.refunds.len() as u32 + 1,
            lines,
            unsent,
            amount_minor: left_minor,
            restock: true,
            reason,
            state: if left_minor > 0 { RefundState::Pending } else { RefundState::Done },
            at: self.now,
        };
        payment.refunded_minor += left_minor;
        order.refunds.push(refund);
        self.put_order(order);
        if payment.state == PaymentState::CaptureFailed
            && let Some(state) = next(payment.state, PaymentEvent::GivenUp)
        {
            payment.state = state;
        }
        self.next_refund(payment);
        self.tell_order(ORDER_CANCELLED, Some(number), 0);
        Ok(Reply::Done)
    }

    pub(crate) fn refund(&mut self, input: RefundInput) -> Result<Reply, Refusal> {
        let RefundInput { order: number, lines, amount_minor, restock, reason } = input;
        let mut order = self.order(number)?;
        check::text("reason", &reason, check::NOTE_BYTES_MAX)?;
        check::count("refunds", order.refunds.len() + 1, PARTS_MAX)?;
        if lines.is_empty() && amount_minor.is_none() {
            return Err(Refusal::invalid("lines", "neither lines nor an amount are given"));
        }
        check_lines(&order, &lines, unrefunded)?;
        let mut payment = self.payment(order.payment)?;
        if !matches!(payment.state, PaymentState::Captured | PaymentState::Refunding) {
            return Err(Refusal::NotPaid(state_word(payment.state).to_owned()));
        }
        let left = payment.captured_minor - payment.refunded_minor;
        // Lines whose money went back by amount already are not paid back again.
        let amount_minor = amount_minor.unwrap_or_else(|| paid_for(&order, &lines).min(left));
        if amount_minor < 0 || (amount_minor == 0 && lines.is_empty()) {
            return Err(Refusal::invalid("amount_minor", "must be above zero"));
        }
        if amount_minor > left {
            return Err(Refusal::RefundExceeds { left });
        }
        let not_sent = self.take_back(&mut order, &lines, restock);
        let part = order.refunds.len() as u32 + 1;
        let state = if amount_minor > 0 { RefundState::Pending } else { RefundState::Done };
        let at = self.now;
        order.refunds.push(Refund {
            number: part,
            lines,
            unsent: not_sent,
            amount_minor,
            restock,
            reason,
            state,
            at,
        });
        self.put_order(order);
        payment.refunded_minor += amount_minor;
        self.next_refund(payment);
        if state == RefundState::Done {
            self.tell_order(ORDER_REFUNDED, Some(number), part);
        }
        Ok(Reply::OrderPart { order: number, part })
    }

    /// The units of refunded lines: what was not sent is not sent any more, the rest came back. Says what was not sent.
    fn take_back(&mut self, order: &mut Order, lines: &[(u32, u32)], restock: bool) -> Vec<(u32, u32)> {
        let about = About::Order(order.number);
        let part = |(number, quantity): &(u32, u32)| {
            let line = order.lines.iter().find(|line| line.number == *number);
            (*number, line.map_or(0, |line| unsent(order, line)).min(*quantity))
        };
        let not_sent: Vec<(u32, u32)> =
            lines.iter().map(part).filter(|(_, quantity)| *quantity > 0).collect();
        let back: Vec<(u32, u32)> = lines
            .iter()
            .map(|(number, quantity)| {
                let own = not_sent.iter().find(|(line, _)| line == number);
                (*number, *quantity - own.map_or(0, |(_, quantity)| *quantity))
            })
            .collect();
        let reserved = pull(&mut order.taken, &variants_of(&order.lines, &not_sent));
        let sent = pull(&mut order.sent, &variants_of(&order.lines, &back));
        if restock {
            self.release(&reserved, &about, false);
            self.restock(&sent, &about);
        } else {
            self.sell(&reserved, &about);
        }
        not_sent
    }
}

/// How many of a line were neither sent nor refunded before; nothing of what needs no sending.
fn unsent(order: &Order, line: &OrderLine) -> u32 {
    if !line.requires_shipping {
        return 0;
    }
    let sent = order.fulfilments.iter().flat_map(|one| &one.lines);
    let refunded = order.refunds.iter().flat_map(|one| &one.unsent);
    let gone = sent.chain(refunded).filter(|(number, _)| *number == line.number);
    line.quantity.saturating_sub(gone.map(|(_, quantity)| *quantity).sum())
}

/// How many of a line were not refunded. A refund that the provider refused took the units back all the same.
fn unrefunded(order: &Order, line: &OrderLine) -> u32 {
    let lines = order.refunds.iter().flat_map(|one| &one.lines);
    let refunded = lines.filter(|(number, _)| *number == line.number);
    line.quantity.saturating_sub(refunded.map(|(_, quantity)| *quantity).sum())
}

/// What is left of every line.
fn left_of(order: &Order, left: fn(&Order, &OrderLine) -> u32) -> Vec<(u32, u32)> {
    let lines = order.lines.iter().map(|line| (line.number, left(order, line)));
    lines.filter(|(_, quantity)| *quantity > 0).collect()
}

/// What is to be sent of an order: lines, and how many of each.
pub fn to_send(order: &Order) -> Vec<(u32, u32)> {
    if order.cancelled.is_some() { Vec::new() } else { left_of(order, unsent) }
}

/// Whether the lines are the order's, each once, and no more than is left of them.
fn check_lines(
    order: &Order,
    lines: &[(u32, u32)],
    left: fn(&Order, &OrderLine) -> u32,
) -> Result<(), Refusal> {
    for (index, (number, quantity)) in lines.iter().enumerate() {
        let line = order.lines.iter().find(|line| line.number == *number);
        let line = line.ok_or_else(|| Refusal::unknown("line", "lines"))?;
        if lines.iter().take(index).any(|(earlier, _)| earlier == number) {
            return Err(Refusal::invalid("lines", format!("names line {number} twice")));
        }
        let left = left(order, line);
        if *quantity > left {
            return Err(Refusal::LineExceeded { line: *number, left });
        }
        if *quantity == 0 {
            return Err(Refusal::invalid("lines", "has a quantity of zero"));
        }
    }
    Ok(())
}

/// What was paid for units of lines: so that all parts of a line sum to the whole, whatever was refunded before.
fn paid_for(order: &Order, lines: &[(u32, u32)]) -> i64 {
    let part = |(number, quantity): &(u32, u32)| {
        let line = order.lines.iter().find(|line| line.number == *number)?;
        let total = order.totals.lines.iter().find(|total| total.number == *number)?.total_minor;
        let before = i64::from(line.quantity - unrefunded(order, line));
        let up_to = |units: i64| Rounding::HalfUp.ratio(total, units, i64::from(line.quantity));
        Some(up_to(before + i64::from(*quantity))? - up_to(before)?)
    };
    lines.iter().filter_map(part).sum()
}

fn variants_of(order: &[OrderLine], lines: &[(u32, u32)]) -> Vec<(u64, u32)> {
    let of = |(number, quantity): &(u32, u32)| {
        let line = order.iter().find(|line| line.number == *number)?;
        Some((line.variant, *quantity))
    };
    lines.iter().filter_map(of).collect()
}

/// Takes units of variants out of a list; fewer where it holds fewer, as of what is not counted.
fn pull(from: &mut Vec<Taken>, wanted: &[(u64, u32)]) -> Vec<Taken> {
    let mut pulled = Vec::new();
    for (variant, quantity) in wanted {
        let mut left = *quantity;
        for taken in from.iter_mut().filter(|taken| taken.variant == *variant) {
            let part = taken.quantity.min(left);
            if part > 0 {
                taken.quantity -= part;
                left -= part;
                pulled.push(Taken { quantity: part, ..*taken });
            }
        }
    }
    from.retain(|taken| taken.quantity > 0);
    pulled
}
