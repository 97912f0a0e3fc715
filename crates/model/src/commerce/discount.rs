//! Codes that make a cart cheaper.

use crate::id::Timestamp;
use crate::stored;

stored! {
    /// A code, what it takes off, and for whom.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Discount {
        /// What is typed in. Upper and lower case are the same.
        pub code: String,
        /// What is taken off.
        pub value: DiscountValue,
        /// Only these products; all if empty.
        pub products: Vec<u64>,
        /// Only from this sum of the lines it is for, in minor units of the market's currency.
        pub least_subtotal_minor: i64,
        /// Only for carts in this currency; an amount needs it.
        pub currency: Option<[u8; 3]>,
        /// From when it holds.
        pub from: Timestamp,
        /// Until when, exclusive.
        pub until: Option<Timestamp>,
        /// How often in all.
        pub uses_max: Option<u64>,
        /// How often for one customer, by e-mail address.
        pub uses_per_customer_max: Option<u32>,
        /// Whether others may be used beside it.
        pub combines: bool,
    }

    /// What is taken off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DiscountValue {
        /// So many millionths of each line.
        Percentage(u32) = 1,
        /// So much of the sum, shared among the lines.
        Amount(i64) = 2,
        /// Shipping costs nothing.
        FreeShipping = 3,
    }
}
