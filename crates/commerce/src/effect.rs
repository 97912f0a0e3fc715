//! What the shop tells others: kinds and bodies of its effects. Webhooks and the customer's line are fed from these.

use crate::state::About;
use model::commerce::order::Order;
use model::commerce::stock::LedgerLine;
use model::id::Key;
use model::stored;

/// An order came to be. Body: [`OrderEffect`].
pub const ORDER_CREATED: u16 = 1;
/// Its money was taken. Body: [`OrderEffect`].
pub const ORDER_PAID: u16 = 2;
/// Something of it was sent. Body: [`OrderEffect`].
pub const ORDER_FULFILLED: u16 = 3;
/// It was cancelled. Body: [`OrderEffect`].
pub const ORDER_CANCELLED: u16 = 4;
/// Money of it went back. Body: [`OrderEffect`].
pub const ORDER_REFUNDED: u16 = 5;
/// Stock of a variant changed. Body: [`StockEffect`].
pub const STOCK_CHANGED: u16 = 6;
/// A product changed, its price among it. Body: [`ProductEffect`].
pub const PRODUCT_CHANGED: u16 = 7;
/// A cart changed. Body: [`CartEffect`].
pub const CART_CHANGED: u16 = 8;

/// The version in front of a body.
pub const BODY_VERSION: u8 = 1;

stored! {
    /// Something happened to an order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OrderEffect {
        /// The order after it.
        pub order: Order,
        /// The number of the fulfilment or the refund that it is about; 0 for the whole.
        pub part: u32,
    }

    /// Stock changed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StockEffect {
        /// The product of the variant; 0 where it is no longer sold.
        pub product: u64,
        /// What can be sold of the variant now; [`i64::MAX`] where units are not counted.
        pub available: i64,
        /// What changed.
        pub line: LedgerLine,
        /// On whose account.
        pub about: About,
    }

    /// A product changed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProductEffect {
        /// Its number.
        pub product: u64,
        /// Whether it is gone.
        pub deleted: bool,
    }

    /// A cart changed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CartEffect {
        /// The cart.
        pub cart: Key,
        /// How often it was changed.
        pub revision: u64,
        /// The visitor to the shop's own analytics, if known.
        pub anonymous_id: Option<String>,
        /// The buyer's e-mail address, if known.
        pub email: Option<String>,
        /// What happened.
        pub what: CartHappening,
        /// Which variants, and how many more (or fewer) of each.
        pub lines: Vec<(u64, i64)>,
    }

    /// What happened to a cart.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CartHappening {
        /// It was made.
        Created = 1,
        /// What is in it changed.
        Lines = 2,
        /// Something else of it changed.
        Details = 3,
        /// It is being paid for.
        Paying = 4,
        /// It is open again.
        Reopened = 5,
    }
}
