//! Rates of tax: data with dates, by country, region and class of product.
//!
//! Which rates are due is asked twice, for the country and for the region: each answers with its rates for the class, or,
//! if it has none for it, with those of the standard class. So a class that pays nothing somewhere has a rate of zero
//! there, and a class that a country does not know pays what everything pays.

use super::market::Country;
use super::money::{PPM, Rounding};
use super::order::TaxLine;
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

/// The rates that hold at a place and time, whatever they are for. Found once for a cart.
#[derive(Clone, Debug)]
pub struct RatesHere<'a> {
    country: Vec<&'a TaxRate>,
    region: Vec<&'a TaxRate>,
}

impl<'a> RatesHere<'a> {
    /// The rates that hold in a country, and in a region of it if one is named.
    pub fn of(rates: &'a [TaxRate], at: Timestamp, country: Country, region: Option<&str>) -> Self {
        let mut here = Self { country: Vec::new(), region: Vec::new() };
        for rate in rates.iter().filter(|rate| rate.country == country && rate.holds_at(at)) {
            match &rate.region {
                None => here.country.push(rate),
                Some(own) if region.is_some_and(|named| named.eq_ignore_ascii_case(own)) => {
                    here.region.push(rate)
                }
                Some(_) => {}
            }
        }
        here
    }

    /// The rates that are due on a class of products.
    pub fn on_class(&self, class: &str) -> Vec<&'a TaxRate> {
        let mut due = Self::due(&self.country, class);
        due.extend(Self::due(&self.region, class));
        due
    }

    /// The rates that are due on shipping: of the standard class, where they say so.
    pub fn on_shipping(&self) -> Vec<&'a TaxRate> {
        let mut due = self.on_class("");
        due.retain(|rate| rate.on_shipping);
        due
    }

    fn due(rates: &[&'a TaxRate], class: &str) -> Vec<&'a TaxRate> {
        let known = rates.iter().any(|rate| rate.tax_class == class);
        let class = if known { class } else { "" };
        rates.iter().filter(|rate| rate.tax_class == class).copied().collect()
    }
}

impl TaxRate {
    /// Whether it holds at a time.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

/// The tax on an amount, a line for each rate, each rounded by itself. Where the amount holds the tax, what is rounded is
/// what the exact untaxed price leaves of it; the untaxed price is then the amount less these lines, so that nothing is
/// lost or made between them. `None` beyond what amounts may be.
pub fn taxes(
    amount_minor: i64,
    rates: &[&TaxRate],
    included: bool,
    rounding: Rounding,
) -> Option<Vec<TaxLine>> {
    let all_ppm: i64 = rates.iter().map(|rate| i64::from(rate.rate_ppm)).sum();
    let denominator = if included { PPM.checked_add(all_ppm)? } else { PPM };
    let line = |rate: &&TaxRate| {
        let amount_minor = rounding.ratio(amount_minor, i64::from(rate.rate_ppm), denominator)?;
        Some(TaxLine { name: rate.name.clone(), rate_ppm: rate.rate_ppm, amount_minor })
    };
    rates.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(country: &Country, region: &str, class: &str, rate_ppm: u32) -> TaxRate {
        TaxRate {
            country: *country,
            region: (!region.is_empty()).then(|| region.to_owned()),
            tax_class: class.to_owned(),
            name: format!("{region}{class}"),
            rate_ppm,
            from: Timestamp(0),
            until: None,
            on_shipping: true,
        }
    }

    fn due(rates: &[TaxRate], at: i64, country: &Country, region: Option<&str>, class: &str) -> Vec<u32> {
        let here = RatesHere::of(rates, Timestamp(at), *country, region);
        here.on_class(class).iter().map(|rate| rate.rate_ppm).collect()
    }

    #[test]
    fn rates_hold_by_place_time_and_class() {
        let mut old = rate(b"DE", "", "", 160_000);
        old.until = Some(Timestamp(1_000));
        let mut new = rate(b"DE", "", "", 190_000);
        new.from = Timestamp(1_000);
        let rates = [
            old,
            new,
            rate(b"DE", "", "books", 70_000),
            rate(b"US", "NY", "", 40_000),
            rate(b"CA", "", "", 50_000),
            rate(b"CA", "BC", "", 70_000),
            rate(b"CA", "BC", "books", 0),
            rate(b"CA", "ON", "", 80_000),
        ];
        type Case<'a> = (i64, &'a Country, Option<&'a str>, &'a str, &'a [u32]);
        let table: &[Case<'_>] = &[
            (-1, b"DE", None, "", &[]),
            (999, b"DE", None, "", &[160_000]),
            (1_000, b"DE", Some("BY"), "", &[190_000]),
            (1_000, b"DE", None, "books", &[70_000]),
            (1_000, b"DE", None, "toys", &[190_000]),
            (1_000, b"US", None, "", &[]),
            (1_000, b"US", Some("ny"), "", &[40_000]),
            (1_000, b"US", Some("NJ"), "", &[]),
            (1_000, b"CA", Some("BC"), "", &[50_000, 70_000]),
            (1_000, b"CA", Some("BC"), "books", &[50_000, 0]),
            (1_000, b"CA", Some("ON"), "books", &[50_000, 80_000]),
            (1_000, b"FR", None, "", &[]),
        ];
        for (at, country, region, class, expected) in table {
            assert_eq!(due(&rates, *at, country, *region, class), *expected, "{at} {region:?} {class:?}");
        }
    }

    #[test]
    fn shipping_pays_the_standard_rates_that_say_so() {
        let mut goods_only = rate(b"US", "CA", "", 72_500);
        goods_only.on_shipping = false;
        let rates = [goods_only, rate(b"US", "CA", "", 10_000), rate(b"US", "CA", "books", 0)];
        let here = RatesHere::of(&rates, Timestamp(0), *b"US", Some("CA"));
        assert_eq!(here.on_shipping().iter().map(|rate| rate.rate_ppm).collect::<Vec<_>>(), [10_000]);
    }

    #[test]
    fn tax_is_rounded_line_by_line() {
        let rates = [rate(b"US", "", "", 62_500), rate(b"US", "NY", "", 22_500)];
        let all: Vec<&TaxRate> = rates.iter().collect();
        let amounts = |minor, rates: &[&TaxRate], included, rounding| {
            let lines = taxes(minor, rates, included, rounding)?;
            Some(lines.iter().map(|line| line.amount_minor).collect::<Vec<_>>())
        };
        // 0.22875 and 0.08235.
        assert_eq!(amounts(3_66, &all, false, Rounding::HalfUp), Some(vec![23, 8]));
        assert_eq!(amounts(10_00, &all[..1], false, Rounding::HalfUp), Some(vec![63]));
        assert_eq!(amounts(10_00, &all[..1], false, Rounding::HalfEven), Some(vec![62]));
        assert_eq!(
            amounts(11_900, &[&rate(b"DE", "", "", 190_000)], true, Rounding::HalfUp),
            Some(vec![19_00])
        );
        assert_eq!(amounts(10_85, &all, true, Rounding::HalfUp), Some(vec![63, 23])); // 0.625 and 0.225
        assert_eq!(amounts(10_85, &all, true, Rounding::HalfEven), Some(vec![62, 22]));
        assert_eq!(
            amounts(crate::money::MAX_MINOR, &[&rate(b"DE", "", "", 2_000_000)], false, Rounding::HalfUp),
            None
        );
    }
}
