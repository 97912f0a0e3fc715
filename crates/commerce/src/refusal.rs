//! Why something was refused. What is refused changed nothing.

use model::stored;
use thiserror::Error;

stored! {
    /// Why a command was refused: a code that programs may rely on, and a sentence.
    #[derive(Clone, Debug, PartialEq, Eq, Error)]
    pub enum Refusal {
        /// The record is not a command of this version.
        #[error("the command cannot be read: send one that this version knows")]
        Malformed = 1,
        /// The idempotency key was used for something else.
        #[error("this idempotency key was used with another body: send a new key")]
        IdempotencyConflict = 2,
        /// A value outside its bounds.
        #[error("{field}: {message}")]
        Invalid { field: String, message: String } = 3,
        /// There is no such thing.
        #[error("there is no such {what}: look it up and send one that exists")]
        Unknown { what: String, field: String } = 4,
        /// Something else has the name.
        #[error("another {what} has this {field}: choose one that is free")]
        Taken { what: String, field: String } = 5,
        /// A bound was reached.
        #[error("there are as many {what} as there may be: remove some first")]
        TooMany { what: String } = 6,

        /// The key of a new cart is in use.
        #[error("there is a cart with this token: make another")]
        CartExists = 10,
        /// A payment is under way.
        #[error("the cart is being paid for: wait for the payment, or give it up")]
        CartPaying = 11,
        /// It is an order.
        #[error("the cart is order {0}: begin another")]
        CartOrdered(u64) = 12,
        /// Nothing is in it.
        #[error("the cart is empty: add something first")]
        CartEmpty = 13,
        /// It was changed since the buyer saw it.
        #[error("the cart was changed: it has revision {0} now, look at it again")]
        CartChanged(u64) = 14,
        /// The e-mail address is missing.
        #[error("the buyer's e-mail address is missing")]
        EmailMissing = 15,
        /// The address is missing or incomplete.
        #[error("the delivery address is missing or incomplete: {0}")]
        AddressMissing(String) = 16,
        /// The way of sending is missing or does not fit.
        #[error("no way of sending is chosen that fits this cart and address")]
        ShippingMissing = 17,
        /// Something in it cannot be bought.
        #[error("variant {0} cannot be bought: take it out of the cart")]
        NotForSale(u64) = 18,
        /// It costs something else now.
        #[error("the cart costs {0} minor units now: show the new total and ask again")]
        PriceChanged(i64) = 19,
        /// There are not so many.
        #[error("there is not enough in stock for {} of the lines", .0.len())]
        NotEnoughStock(Vec<Shortage>) = 20,
        /// The amounts are beyond what is believed.
        #[error("{0}")]
        NoPrice(String) = 21,
        /// Nobody by this name carries out payments.
        #[error("there is no payment provider of this name in the settings")]
        NoSuchProvider = 22,
        /// A cart gets only so many tries.
        #[error("too many payments were tried for this cart: begin another")]
        TooManyAttempts = 23,
        /// The payment's key is in use.
        #[error("there is a payment with this key: make another")]
        PaymentExists = 24,
        /// The country is of no market.
        #[error("nothing is sold to this country: choose another")]
        NotSoldThere = 25,

        /// What was asked for cannot happen in this state.
        #[error("the payment is {0}: this cannot be done now")]
        PaymentState(String) = 30,
        /// An answer that says nothing new.
        #[error("the answer says nothing that is not known")]
        NothingNew = 31,

        /// It was cancelled.
        #[error("the order was cancelled")]
        OrderCancelled = 40,
        /// Everything was sent.
        #[error("everything of the order was sent: refund what comes back")]
        OrderFulfilled = 41,
        /// The money was not taken yet.
        #[error("the order's payment is {0}: wait until the money is taken")]
        NotPaid(String) = 42,
        /// More than there is of a line.
        #[error("line {line} has {left} left")]
        LineExceeded { line: u32, left: u32 } = 43,
        /// More than was taken.
        #[error("{left} minor units can be given back at most")]
        RefundExceeds { left: i64 } = 44,

        /// Units are promised.
        #[error("stock: {0}")]
        Stock(String) = 50,

        /// The password was changed meanwhile.
        #[error("the password was changed: log in again")]
        PasswordChanged = 60,
    }

    /// What is short.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Shortage {
        /// Which variant.
        pub variant: u64,
        /// The lines that want it.
        pub lines: Vec<u32>,
        /// How many can be sold now.
        pub available: i64,
        /// How many are wanted.
        pub wanted: i64,
        /// Whether other checkouts hold units that they may give back.
        pub may_come_back: bool,
    }
}

impl Refusal {
    /// A value outside its bounds.
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), message: message.into() }
    }

    /// There is no such thing.
    pub(crate) fn unknown(what: &str, field: &str) -> Self {
        Self::Unknown { what: what.to_owned(), field: field.to_owned() }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::Invalid { .. } => "invalid",
            Self::Unknown { .. } => "not_found",
            Self::Taken { .. } => "taken",
            Self::TooMany { .. } => "too_many",
            Self::CartExists => "cart_exists",
            Self::CartPaying => "cart_paying",
            Self::CartOrdered(_) => "cart_ordered",
            Self::CartEmpty => "cart_empty",
            Self::CartChanged(_) => "cart_changed",
            Self::EmailMissing => "email_missing",
            Self::AddressMissing(_) => "address_missing",
            Self::ShippingMissing => "shipping_missing",
            Self::NotForSale(_) => "not_for_sale",
            Self::PriceChanged(_) => "price_changed",
            Self::NotEnoughStock(_) => "not_enough_stock",
            Self::NoPrice(_) => "no_price",
            Self::NotSoldThere => "not_sold_there",
            Self::NoSuchProvider => "no_such_provider",
            Self::TooManyAttempts => "too_many_attempts",
            Self::PaymentExists => "payment_exists",
            Self::PaymentState(_) => "payment_state",
            Self::NothingNew => "nothing_new",
            Self::OrderCancelled => "order_cancelled",
            Self::OrderFulfilled => "order_fulfilled",
            Self::NotPaid(_) => "not_paid",
            Self::LineExceeded { .. } => "line_exceeded",
            Self::RefundExceeds { .. } => "refund_exceeds_captured",
            Self::Stock(_) => "stock",
            Self::PasswordChanged => "password_changed",
        }
    }

    /// What of the command it is about, as a path; empty for the whole.
    pub fn field(&self) -> &str {
        match self {
            Self::Invalid { field, .. } | Self::Unknown { field, .. } | Self::Taken { field, .. } => field,
            Self::EmailMissing => "buyer.email",
            Self::AddressMissing(field) => field,
            Self::ShippingMissing => "shipping_method",
            Self::PriceChanged(_) => "expected_total_minor",
            Self::CartChanged(_) => "revision",
            Self::NoSuchProvider => "provider",
            Self::PaymentExists => "payment",
            Self::LineExceeded { .. } | Self::NotEnoughStock(_) => "lines",
            Self::RefundExceeds { .. } => "amount_minor",
            _ => "",
        }
    }
}
