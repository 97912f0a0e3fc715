//! Rates of tax: data with dates, by country, region and class of product.

use super::market::Country;
use crate::id::Timestamp;
use crate::stored;

stored! {
    /// A rate that holds somewhere for some time. Where several hold, all are due, each on the untaxed price.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct TaxRate {
        /// Where.
        pub country: Country,
        /// Only in this region of it (a code such as `CA` or `BY`).
        pub region: Option<String>,
        /// For products of this class; empty is the standard class.
        pub tax_class: String,
        /// What it is called on a bill, e.g. `VAT`.
        pub name: String,
        /// In millionths: 19 % is 190,000.
        pub rate_ppm: u32,
        /// From when it holds.
        pub from: Timestamp,
        /// Until when, exclusive.
        pub until: Option<Timestamp>,
        /// Whether it is due on shipping too.
        pub on_shipping: bool,
    }
}
