//! How things are sent, and for how much.

use super::market::Country;
use super::money::Currency;
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

/// A way of sending that is offered, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The way.
    pub method: &'a ShippingMethod,
    /// What it costs, before discounts, in minor units.
    pub price_minor: i64,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// To where.
    pub country: Country,
    /// In which currency it is paid.
    pub currency: Currency,
    /// What it weighs.
    pub weight_grams: u64,
    /// What the whole cart costs after discounts, as its prices are: with tax where they hold it.
    pub sum_minor: i64,
}

impl Parcel {
    /// The ways that are offered, in the zone's order: of the first zone that names the country, else of the first that
    /// names none. What is not offered cannot be chosen.
    pub fn offers<'a>(&self, zones: &'a [ShippingZone]) -> Vec<Offer<'a>> {
        let named = zones.iter().find(|zone| zone.countries.contains(&self.country));
        let Some(zone) = named.or_else(|| zones.iter().find(|zone| zone.countries.is_empty())) else {
            return Vec::new();
        };
        let own = zone.methods.iter().filter(|method| method.currency == self.currency);
        own.filter_map(|method| {
            let rate = method.rates.iter().find(|rate| rate.fits(self))?;
            Some(Offer { method, price_minor: rate.price_minor })
        })
        .collect()
    }
}

impl ShippingRate {
    fn fits(&self, parcel: &Parcel) -> bool {
        self.least_grams <= parcel.weight_grams
            && self.most_grams.is_none_or(|most| parcel.weight_grams <= most)
            && self.least_minor <= parcel.sum_minor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(least_grams: u64, most_grams: Option<u64>, least_minor: i64, price_minor: i64) -> ShippingRate {
        ShippingRate { least_grams, most_grams, least_minor, price_minor }
    }

    fn method(handle: &str, currency: &Currency, rates: &[ShippingRate]) -> ShippingMethod {
        let (handle, title) = (handle.to_owned(), handle.to_uppercase());
        ShippingMethod { handle, title, currency: *currency, rates: rates.to_vec() }
    }

    #[test]
    fn ways_are_offered_by_zone_currency_weight_and_sum() {
        let standard =
            [rate(0, None, 50_00, 0), rate(0, Some(1_000), 0, 3_90), rate(1_001, Some(30_000), 0, 6_90)];
        let express = [rate(0, Some(5_000), 0, 12_00)];
        let german = vec![
            method("standard", b"EUR", &standard),
            method("express", b"EUR", &express),
            method("francs", b"CHF", &express),
        ];
        let world = vec![method("air", b"EUR", &[rate(0, None, 0, 25_00)])];
        let zone = |handle: &str, countries: &[&Country], methods| {
            let countries = countries.iter().map(|country| **country).collect();
            ShippingZone { handle: handle.to_owned(), countries, methods }
        };
        let zones =
            [zone("world", &[], world), zone("german", &[b"DE"], german), zone("late", &[b"DE"], Vec::new())];
        type Case<'a> = (&'a Country, u64, i64, &'a [(&'a str, i64)]);
        let table: &[Case<'_>] = &[
            (b"DE", 0, 0, &[("standard", 3_90), ("express", 12_00)]),
            (b"DE", 1_000, 49_99, &[("standard", 3_90), ("express", 12_00)]),
            (b"DE", 1_001, 49_99, &[("standard", 6_90), ("express", 12_00)]),
            (b"DE", 5_001, 50_00, &[("standard", 0)]),
            (b"DE", 30_001, 49_99, &[]),
            (b"JP", 30_001, 49_99, &[("air", 25_00)]),
        ];
        for (country, weight_grams, sum_minor, expected) in table {
            let (weight_grams, sum_minor) = (*weight_grams, *sum_minor);
            let parcel = Parcel { country: **country, currency: *b"EUR", weight_grams, sum_minor };
            let offers = parcel.offers(&zones);
            let offers: Vec<_> =
                offers.iter().map(|offer| (offer.method.handle.as_str(), offer.price_minor)).collect();
            assert_eq!(offers, *expected, "{weight_grams} g, {sum_minor}");
            assert_eq!(parcel.offers(&zones[1..]).is_empty(), *country == b"JP" || offers.is_empty());
        }
    }
}
