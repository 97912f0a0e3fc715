//! Where a shop sells: countries that share currency, languages and prices.

use super::money::{Currency, Rounding};
use crate::stored;

/// ISO 3166-1 alpha-2.
pub type Country = [u8; 2];

stored! {
    /// Countries that share currency, languages and prices.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Market {
        /// Its name in addresses and settings.
        pub handle: String,
        /// Its name.
        pub name: String,
        /// Which countries. One market has a country; the first market that names it.
        pub countries: Vec<Country>,
        /// In what is paid.
        pub currency: Currency,
        /// The first is spoken unless another is asked for.
        pub languages: Vec<String>,
        /// Whether prices hold the tax already.
        pub prices_include_tax: bool,
        /// How a line is rounded.
        pub rounding: Rounding,
        /// What is paid is a multiple of this many minor units: 5 where the smallest coin is 0.05. 1 is no rule. It holds
        /// for payments in cash only.
        pub cash_step_minor: i64,
        /// How prices of the shop's own currency become those of this market.
        pub conversion: Conversion,
    }

    /// How a price of the shop's own currency becomes another's: `price * numerator / denominator` in minor units, which
    /// have to account for the currencies' exponents; then up to the next `ending`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Conversion {
        /// See above; the same as the denominator where nothing changes.
        pub numerator: i64,
        /// See above.
        pub denominator: i64,
        /// Prices end with this, e.g. 99 or 95 of each `ending_of`; 0 and 1 leave them as they are.
        pub ending_minor: i64,
        /// See above, e.g. 100.
        pub ending_of_minor: i64,
    }

    /// The price of one variant in one market, in place of a converted one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FixedPrice {
        /// The variant.
        pub variant: u64,
        /// In minor units of the market's currency.
        pub price_minor: i64,
        /// The price before, if it is to be shown.
        pub compare_at_minor: Option<i64>,
    }
}

impl Conversion {
    /// Nothing changes.
    pub const SAME: Self = Self { numerator: 1, denominator: 1, ending_minor: 0, ending_of_minor: 1 };
}
