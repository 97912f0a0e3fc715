//! What must be true of a shop whatever happened.

use super::setup::{BOOK, SHIRT, SONG};
use super::shard::Shard;
use commerce::cashier::Book;
use commerce::{Answer, LedgerRow, PAGE_MAX, Query, StockRow};
use model::commerce::order::{Order, RefundState};
use model::commerce::payment::{Payment, PaymentState};
use model::id::Key;
use std::collections::{BTreeMap, BTreeSet};

pub fn stock_of(shard: &mut impl Shard, variant: u64) -> StockRow {
    match shard.query(Query::Stock(variant)) {
        Answer::Stock(Some(row)) => *row,
        other => panic!("{other:?}"),
    }
}

pub fn payment(shard: &mut impl Shard, key: Key) -> Option<Payment> {
    match shard.query(Query::Payment(key)) {
        Answer::Payment(payment) => payment.map(|payment| *payment),
        other => panic!("{other:?}"),
    }
}

pub fn ledger(shard: &mut impl Shard, variant: u64) -> Vec<LedgerRow> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let Answer::Ledger(page) = shard.query(Query::Ledger { variant, before, limit: PAGE_MAX }) else {
            panic!("no ledger")
        };
        let Some(last) = page.last() else { return all };
        before = Some(last.sequence);
        all.extend(page);
    }
}

/// Every order, the newest first.
pub fn orders(shard: &mut impl Shard) -> Vec<Order> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let Answer::Orders(page) = shard.query(Query::Orders { before, limit: 7 }) else {
            panic!("no orders")
        };
        let Some(last) = page.last() else { return all };
        before = Some(last.number);
        all.extend(page);
    }
}

/// Lines sum to levels; what is shown is what is there; nothing is promised that is not there.
pub fn check_stock(shard: &mut impl Shard) {
    for variant in [SHIRT, BOOK, SONG] {
        let row = stock_of(shard, variant);
        let lines = ledger(shard, variant);
        let sequences: BTreeSet<u64> = lines.iter().map(|line| line.sequence).collect();
        assert_eq!(sequences.len() as u64, row.ledger_lines, "every line is there once");
        for level in &row.item.levels {
            let own = lines.iter().map(|row| row.line).filter(|line| line.location == level.location);
            let sums = own.fold((0, 0), |(a, b), line| (a + line.on_hand, b + line.reserved));
            assert_eq!(sums, (level.on_hand, level.reserved), "lines of variant {variant} sum to its level");
            assert!(level.reserved >= 0 && level.on_hand >= level.reserved, "{row:?}");
        }
        let view = shard.view();
        let catalogue = view.catalogue();
        let (shown, index) = catalogue.variant(variant).unwrap();
        assert_eq!(
            shown.available(index),
            row.item.available(),
            "what is shown of {variant} is what is there"
        );
        assert_eq!(shown.sold.load(std::sync::atomic::Ordering::Relaxed), row.sold);
    }
}

/// Units that orders have and did not give back.
pub fn units_in_orders(orders: &[Order], variant: u64) -> i64 {
    let all = orders.iter().flat_map(|order| order.taken.iter().chain(&order.sent));
    all.filter(|taken| taken.variant == variant).map(|taken| i64::from(taken.quantity)).sum()
}

/// Every order has the units that it was paid for, less what was taken back.
pub fn check_units(orders: &[Order], variant: u64) {
    for order in orders {
        let lines: Vec<_> = order.lines.iter().filter(|line| line.variant == variant).collect();
        let back = order.refunds.iter().flat_map(|refund| &refund.lines);
        let back = back.filter(|(number, _)| lines.iter().any(|line| line.number == *number));
        let bought: u32 = lines.iter().map(|line| line.quantity).sum();
        let kept = bought - back.map(|(_, quantity)| *quantity).sum::<u32>();
        let units = units_in_orders(std::slice::from_ref(order), variant);
        assert_eq!(units, i64::from(kept), "order {} has the units that were paid for", order.number);
    }
}

/// Numbers have no gaps, no cart is two orders, and a page's token finds its order.
pub fn check_orders(shard: &mut impl Shard) -> Vec<Order> {
    let orders = orders(shard);
    let numbers: Vec<u64> = orders.iter().rev().map(|order| order.number).collect();
    assert_eq!(numbers, (1_001..1_001 + orders.len() as u64).collect::<Vec<_>>(), "numbers without gaps");
    let carts: BTreeSet<Key> = orders.iter().map(|order| order.cart).collect();
    assert_eq!(carts.len(), orders.len(), "no cart is two orders");
    for order in &orders {
        let Answer::Order(Some(found)) = shard.query(Query::OrderByKey(order.key)) else {
            panic!("no order")
        };
        assert_eq!(found.number, order.number);
        let parts = order.totals.lines.iter().map(|line| line.total_minor);
        let shipping = order.totals.shipping.as_ref().map_or(0, |shipping| shipping.total_minor);
        assert_eq!(parts.sum::<i64>() + shipping, order.totals.total_minor, "lines sum to the total");
    }
    orders
}

/// When nothing is due any more: no money without an order or a refund, and both sides say the same of it.
pub fn check_money(shard: &mut impl Shard, book: &Book, orders: &[Order]) {
    assert!(shard.view().due().is_empty(), "nothing is due: {:?}", shard.view().due());
    let by_payment: BTreeMap<Key, &Order> = orders.iter().map(|order| (order.payment, order)).collect();
    for (key, account) in book.accounts() {
        assert_eq!(account.authorised_minor, 0, "nothing stays set aside of {key}: {account:?}");
        let kept = account.captured_minor - account.refunded_minor;
        let order = by_payment.get(&key);
        assert!(kept == 0 || order.is_some(), "money of {key} was taken and there is no order");
        let Some(payment) = payment(shard, key) else {
            assert_eq!(account.captured_minor, 0, "a payment with money is not forgotten");
            continue;
        };
        assert_eq!(payment.captured_minor, account.captured_minor, "{payment:?}");
        assert_eq!(payment.refunded_minor, account.refunded_minor, "{payment:?}");
        assert_eq!(payment.order, order.map(|order| order.number));
    }
    for order in orders {
        let Some(payment) = payment(shard, order.payment) else { panic!("an order keeps its payment") };
        let settled = [PaymentState::Captured, PaymentState::CaptureFailed, PaymentState::Voided];
        assert!(settled.contains(&payment.state), "{payment:?}");
        let refunds = order.refunds.iter().filter(|refund| refund.state == RefundState::Done);
        let refunded: i64 = refunds.map(|refund| refund.amount_minor).sum();
        assert_eq!(refunded, payment.refunded_minor, "refunds of the order sum to the payment's");
        assert!(refunded <= payment.captured_minor, "never more than was taken");
        assert!(order.refunds.iter().all(|refund| refund.state != RefundState::Pending));
        if order.cancelled.is_some() && payment.state == PaymentState::Captured {
            let refused = order.refunds.iter().any(|refund| refund.state == RefundState::Refused);
            assert!(refused || refunded == payment.captured_minor, "who cancels gets the money back");
        }
    }
}
