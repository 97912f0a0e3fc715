//! How things are sent, and for how much.

use super::market::Country;
use crate::stored;

stored! {
    /// Where things are sent, and the ways of sending there.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ShippingZone {
        /// Its name in settings.
        pub handle: String,
        /// Which countries; every other one if empty.
        pub countries: Vec<Country>,
        /// The ways.
        pub methods: Vec<ShippingMethod>,
    }

    /// A way of sending.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ShippingMethod {
        /// Its name in carts and orders.
        pub handle: String,
        /// What buyers are shown.
        pub title: String,
        /// In which currency the rates are.
        pub currency: [u8; 3],
        /// The first that fits is taken; where none fits, the way is not offered.
        pub rates: Vec<ShippingRate>,
    }

    /// What sending costs for some carts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ShippingRate {
        /// For carts of at least this weight.
        pub least_grams: u64,
        /// And at most this.
        pub most_grams: Option<u64>,
        /// For carts of at least this sum after discounts, in minor units.
        pub least_minor: i64,
        /// What it costs, in minor units. It holds the tax where the market's prices do.
        pub price_minor: i64,
    }
}
