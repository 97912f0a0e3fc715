//! Answers to questions, rows that will be wanted, and what the view is loaded with.

use crate::checkout::order_name;
use crate::command::{Command, Operation};
use crate::customers::email_key;
use crate::query::{Answer, PAGE_MAX, Query};
use crate::state::{
    COLLECTIONS, Customer, DISCOUNTS, DUES, FIXED, LOCATIONS, PRODUCTS, Row, STOCK, State, StockRow, TERMS,
};
use crate::stock::ledger_key;
use crate::view::{Change, View};
use engine::{TableId, Value, Wanted};
use model::codec::DecodeError;
use model::commerce::Kind;
use model::commerce::order::Order;
use model::id::{Key, Timestamp};
use std::sync::Arc;

impl State {
    /// Answers a question.
    pub(crate) fn answer(&mut self, query: Query, now: Timestamp) -> Answer {
        match query {
            Query::Cart(key) => {
                let row = self.carts.get(key).map(|row| row.0.clone());
                Answer::Cart(row.map(|row| Box::new(self.cart_shown(row))))
            }
            Query::Payment(key) => Answer::Payment(self.payments.get(key).map(|row| Box::new(row.0.clone()))),
            Query::Order(number) => Answer::Order(self.order(number).map(Box::new)),
            Query::OrderByKey(key) => {
                let number = self.names.get(order_name(key)).map(|row| row.0);
                Answer::Order(number.and_then(|number| self.order(number)).map(Box::new))
            }
            Query::Orders { before, limit } => {
                let counters = self.counters();
                let last =
                    before.map_or(counters.order, |before| before.saturating_sub(1).min(counters.order));
                let first = counters.first_order.max(1);
                let numbers = (first..=last).rev().take(limit.min(PAGE_MAX));
                Answer::Orders(numbers.filter_map(|number| self.order(number)).collect())
            }
            Query::OrdersOf { customer, before, limit } => {
                let orders = self.customer(customer).map(|one| one.orders).unwrap_or_default();
                let older = orders.into_iter().rev().filter(|one| before.is_none_or(|before| *one < before));
                let page = older.take(limit.min(PAGE_MAX));
                Answer::Orders(page.filter_map(|number| self.order(number)).collect())
            }
            Query::Stock(variant) => Answer::Stock(self.stock_row(variant).map(|row| Box::new(row.clone()))),
            Query::Ledger { variant, before, limit } => {
                let lines = self.stock_row(variant).map_or(0, |row| row.ledger_lines);
                let last = before.map_or(lines, |before| before.min(lines));
                let numbers = (0..last).rev().take(limit.min(PAGE_MAX));
                let row = |number| self.ledger.get(ledger_key(variant, number)).map(|row| row.0.clone());
                Answer::Ledger(numbers.filter_map(row).collect())
            }
            of_customers => self.answer_on_customers(of_customers, now),
        }
    }

    fn answer_on_customers(&mut self, query: Query, now: Timestamp) -> Answer {
        let number = match query {
            Query::Customer(number) => Some(number),
            Query::CustomerByEmail(email) => {
                let number = self.names.get(email_key(&email)).map(|row| row.0);
                // Somebody else's address with the same hash is not theirs.
                let found = number.and_then(|number| self.customer(number));
                let own = found.filter(|one| one.email.to_lowercase() == email.to_lowercase());
                return Answer::Customer(own.map(Box::new));
            }
            Query::CustomerByToken(token) => {
                let row = self.tokens.get(token).map(|row| row.0);
                row.filter(|row| row.until > now).map(|row| row.customer)
            }
            Query::Customers { before, limit } => {
                let last = self.counters().customer;
                let last = before.map_or(last, |before| before.saturating_sub(1).min(last));
                let numbers = (1..=last).rev().filter_map(|number| self.customer(number));
                return Answer::Customers(numbers.take(limit.min(PAGE_MAX)).collect());
            }
            _ => None,
        };
        Answer::Customer(number.and_then(|number| self.customer(number)).map(Box::new))
    }

    fn order(&mut self, number: u64) -> Option<Order> {
        self.orders.get(Kind::Order.key(number)).map(|row| row.0.clone())
    }

    fn customer(&mut self, number: u64) -> Option<Customer> {
        self.customers.get(Kind::Customer.key(number)).map(|row| row.0.clone())
    }

    /// Names the rows that a command will touch.
    pub(crate) fn want_command(&self, command: &Command, wanted: &mut Wanted) {
        if let Some(key) = command.idempotency {
            wanted.unless_known(&self.answers, key);
        }
        match &command.operation {
            Operation::CartCreate { cart, input } => {
                wanted.unless_known(&self.carts, *cart);
                input.lines.iter().for_each(|line| self.want_variant(line.variant, wanted));
            }
            Operation::CartLinesAdd { cart, lines } => {
                self.want_cart(*cart, wanted);
                lines.iter().for_each(|line| self.want_variant(line.variant, wanted));
            }
            Operation::CartLinesUpdate { cart, .. }
            | Operation::CartLinesRemove { cart, .. }
            | Operation::CartBuyer { cart, .. }
            | Operation::CartNote { cart, .. }
            | Operation::CartAttributes { cart, .. }
            | Operation::CartDiscountCodes { cart, .. }
            | Operation::CartAddress { cart, .. }
            | Operation::CartShipping { cart, .. }
            | Operation::CartEmpty { cart }
            | Operation::CartVisitor { cart, .. } => self.want_cart(*cart, wanted),
            Operation::Pay(input) => {
                self.want_cart(input.cart, wanted);
                wanted.unless_known(&self.payments, input.payment);
                wanted.unless_known(&self.names, order_name(input.order));
            }
            Operation::PaymentAnswered { payment, .. }
            | Operation::CheckoutGivenUp { payment }
            | Operation::CaptureAgain { payment } => self.want_payment(*payment, wanted),
            Operation::OrderFulfil(input) => self.want_order(input.order, wanted),
            Operation::OrderCancel { order, .. } => self.want_order(*order, wanted),
            Operation::OrderRefund(input) => self.want_order(input.order, wanted),
            Operation::StockAdjust { variant, .. }
            | Operation::StockCount { variant, .. }
            | Operation::StockMove { variant, .. }
            | Operation::StockPolicy { variant, .. }
            | Operation::StockKeepBack { variant, .. } => self.want_variant(*variant, wanted),
            // Rare, or small: read on the spot.
            _ => {}
        }
    }

    fn want_variant(&self, variant: u64, wanted: &mut Wanted) {
        if let Some(Row(row)) = wanted.or_ask(&self.stock, Kind::Variant.key(variant)) {
            wanted.unless_known(&self.products, Kind::Product.key(row.product));
        }
    }

    fn want_cart(&self, cart: Key, wanted: &mut Wanted) {
        if let Some(Row(row)) = wanted.or_ask(&self.carts, cart) {
            row.cart.lines.iter().for_each(|line| self.want_variant(line.variant, wanted));
            if let Some(payment) = row.payment {
                wanted.unless_known(&self.payments, payment);
                wanted.unless_known(&self.checkouts, payment);
            }
        }
    }

    fn want_payment(&self, payment: Key, wanted: &mut Wanted) {
        wanted.unless_known(&self.dues, payment);
        if let Some(Row(row)) = wanted.or_ask(&self.payments, payment) {
            self.want_cart(row.cart, wanted);
            if let Some(order) = row.order {
                wanted.unless_known(&self.orders, Kind::Order.key(order));
            }
        }
        wanted.unless_known(&self.checkouts, payment);
    }

    fn want_order(&self, order: u64, wanted: &mut Wanted) {
        if let Some(Row(order)) = wanted.or_ask(&self.orders, Kind::Order.key(order)) {
            wanted.unless_known(&self.payments, order.payment);
            order.lines.iter().for_each(|line| self.want_variant(line.variant, wanted));
        }
    }

    /// Names the rows that a timer will touch.
    pub(crate) fn want_timer(&self, subject: Key, wanted: &mut Wanted) {
        wanted.unless_known(&self.forgotten, subject);
        wanted.unless_known(&self.checkouts, subject);
        wanted.unless_known(&self.carts, subject);
        wanted.unless_known(&self.tokens, subject);
        self.want_payment(subject, wanted);
    }

    /// Names the rows that a question will touch.
    pub(crate) fn want_query(&self, query: &Query, wanted: &mut Wanted) {
        match query {
            Query::Cart(cart) => self.want_cart(*cart, wanted),
            Query::Payment(payment) => wanted.unless_known(&self.payments, *payment),
            Query::Order(number) => wanted.unless_known(&self.orders, Kind::Order.key(*number)),
            Query::OrderByKey(key) => {
                if let Some(Row(number)) = wanted.or_ask(&self.names, order_name(*key)) {
                    wanted.unless_known(&self.orders, Kind::Order.key(*number));
                }
            }
            Query::Customer(number) | Query::OrdersOf { customer: number, .. } => {
                wanted.unless_known(&self.customers, Kind::Customer.key(*number));
            }
            Query::CustomerByEmail(email) => wanted.unless_known(&self.names, email_key(email)),
            Query::CustomerByToken(token) => wanted.unless_known(&self.tokens, *token),
            Query::Stock(variant) | Query::Ledger { variant, .. } => self.want_variant(*variant, wanted),
            Query::Orders { .. } | Query::Customers { .. } => {}
        }
    }
}

/// Puts a stored row into the view, on start.
pub(crate) fn load(view: &View, table: TableId, row: &[u8]) -> Result<(), DecodeError> {
    let change = match table {
        TERMS => Change::Terms(Row::decode(row)?.0),
        DISCOUNTS => Change::Discount(Row::decode(row)?.0),
        FIXED => Change::Fixed(Row::decode(row)?.0),
        LOCATIONS => Change::Location(Row::decode(row)?.0),
        PRODUCTS => {
            let Row(product) = Row::<Arc<model::commerce::product::Product>>::decode(row)?;
            // What there is of each comes with the rows of stock, which are loaded after.
            let available = vec![0; product.variants.len()];
            Change::Product { product, available, sold: 0 }
        }
        COLLECTIONS => Change::Collection(Row::decode(row)?.0),
        STOCK => {
            let Row(StockRow { variant, item, sold, .. }) = Row::decode(row)?;
            Change::Stock { variant, available: item.available(), sold }
        }
        DUES => Change::Due(Arc::new(Row::decode(row)?.0)),
        _ => return Ok(()),
    };
    view.put(change);
    Ok(())
}
