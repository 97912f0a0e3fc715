//! Reads that need the whole state. Carts, orders and customers are many, so the view does not hold them.

use crate::command::CartShown;
use crate::state::{Customer, LedgerRow, StockRow};
use model::commerce::order::Order;
use model::commerce::payment::Payment;
use model::id::Key;

/// The most rows of a page.
pub const PAGE_MAX: usize = 250;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A cart, by the hash of its token.
    Cart(Key),
    /// A payment.
    Payment(Key),
    /// An order, by number.
    Order(u64),
    /// An order, by the hash of its page's token.
    OrderByKey(Key),
    /// Orders, the newest first.
    Orders {
        /// Only older ones than this.
        before: Option<u64>,
        /// How many; at most [`PAGE_MAX`].
        limit: usize,
    },
    /// A customer's orders, the newest first.
    OrdersOf {
        /// Whose.
        customer: u64,
        /// Only older ones than this.
        before: Option<u64>,
        /// How many; at most [`PAGE_MAX`].
        limit: usize,
    },
    /// A customer, by number.
    Customer(u64),
    /// A customer, by e-mail address.
    CustomerByEmail(String),
    /// The customer whose token this is the hash of, while it holds.
    CustomerByToken(Key),
    /// Customers, the newest first.
    Customers {
        /// Only older ones than this.
        before: Option<u64>,
        /// How many; at most [`PAGE_MAX`].
        limit: usize,
    },
    /// The stock of a variant.
    Stock(u64),
    /// The ledger of a variant, the newest line first.
    Ledger {
        /// The variant.
        variant: u64,
        /// Only lines before this number.
        before: Option<u64>,
        /// How many; at most [`PAGE_MAX`].
        limit: usize,
    },
}

/// An answer. Its variant is that of the question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Query::Cart`].
    Cart(Option<Box<CartShown>>),
    /// To [`Query::Payment`].
    Payment(Option<Box<Payment>>),
    /// To all that ask for one order.
    Order(Option<Box<Order>>),
    /// To all that ask for orders.
    Orders(Vec<Order>),
    /// To all that ask for one customer.
    Customer(Option<Box<Customer>>),
    /// To [`Query::Customers`].
    Customers(Vec<Customer>),
    /// To [`Query::Stock`].
    Stock(Option<Box<StockRow>>),
    /// To [`Query::Ledger`].
    Ledger(Vec<LedgerRow>),
}
