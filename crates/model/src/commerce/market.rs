//! Where a shop sells: countries that share currency, languages and prices.

use super::money::{Currency, Rounding};
use super::product::Variant;
use crate::money::{MAX_MINOR, exponent};
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
        /// Which countries; every one that no market names, if empty. One market has a country: the first that names it.
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
        /// Prices end with this, e.g. 99 or 95 of each `ending_of`; 0 of 1 leaves them as they are.
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

/// What one of a variant costs in a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPrice {
    /// In minor units of the market's currency.
    pub price_minor: i64,
    /// The price before, if it is to be shown.
    pub compare_at_minor: Option<i64>,
}

/// What is paid in coins and notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CashAmount {
    /// A multiple of the market's step.
    pub payable_minor: i64,
    /// What it is more than the total, which is to be shown as a line of its own; below zero if it is less.
    pub difference_minor: i64,
}

/// The market of a country: the first that names it, else the first that names no country. `None` where nothing is sold.
pub fn market_of(markets: &[Market], country: Country) -> Option<&Market> {
    let named = markets.iter().find(|market| market.countries.contains(&country));
    named.or_else(|| markets.iter().find(|market| market.countries.is_empty()))
}

impl Market {
    /// What one of a variant costs here: the fixed price if there is one, else the shop's own, converted. `None` beyond
    /// what amounts may be.
    pub fn unit_price(&self, variant: &Variant, fixed: Option<FixedPrice>) -> Option<UnitPrice> {
        if let Some(fixed) = fixed {
            let FixedPrice { price_minor, compare_at_minor, .. } = fixed;
            return Some(UnitPrice { price_minor, compare_at_minor });
        }
        let convert = |minor: i64| self.conversion.convert(minor, self.rounding);
        let compare_at_minor = match variant.compare_at_minor {
            Some(minor) => Some(convert(minor)?),
            None => None,
        };
        Some(UnitPrice { price_minor: convert(variant.price_minor)?, compare_at_minor })
    }

    /// What is paid in cash for a total, where the smallest coins are gone.
    pub fn in_cash(&self, total_minor: i64) -> Option<CashAmount> {
        let payable_minor = self.rounding.to_step(total_minor, self.cash_step_minor)?;
        Some(CashAmount { payable_minor, difference_minor: payable_minor.checked_sub(total_minor)? })
    }
}

impl Conversion {
    /// Nothing changes.
    pub const SAME: Self = Self { numerator: 1, denominator: 1, ending_minor: 0, ending_of_minor: 1 };

    /// By a rate as it is spoken: one whole unit of `from` is `numerator / denominator` whole units of `to`. `None` for
    /// rates that are not above zero, or too fine.
    pub fn of_rate(numerator: i64, denominator: i64, from: Currency, to: Currency) -> Option<Self> {
        let scaled = |value: i64, currency: Currency| {
            10_i64.checked_pow(u32::from(exponent(currency))).and_then(|scale| value.checked_mul(scale))
        };
        let (numerator, denominator) = (scaled(numerator, to)?, scaled(denominator, from)?);
        (numerator > 0 && denominator > 0).then_some(Self { numerator, denominator, ..Self::SAME })
    }

    /// A price of the shop's own currency in the market's. What is free stays free.
    pub fn convert(&self, minor: i64, rounding: Rounding) -> Option<i64> {
        let converted = rounding.ratio(minor, self.numerator, self.denominator)?;
        if self.ending_of_minor <= 1 || converted == 0 {
            return Some(converted);
        }
        let ending = self.ending_minor.rem_euclid(self.ending_of_minor);
        let missing = ending.checked_sub(converted)?.rem_euclid(self.ending_of_minor);
        converted.checked_add(missing).filter(|price| *price <= MAX_MINOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn market(handle: &str, countries: &[&Country]) -> Market {
        Market {
            handle: handle.to_owned(),
            name: handle.to_owned(),
            countries: countries.iter().map(|country| **country).collect(),
            currency: *b"EUR",
            languages: vec!["en".to_owned()],
            prices_include_tax: true,
            rounding: Rounding::HalfUp,
            cash_step_minor: 1,
            conversion: Conversion::SAME,
        }
    }

    #[test]
    fn a_country_has_the_first_market_that_names_it() {
        let markets = [
            market("dach", &[b"DE", b"AT", b"CH"]),
            market("world", &[]),
            market("swiss", &[b"CH"]),
            market("other", &[]),
        ];
        let named = |country| market_of(&markets, country).map(|market| market.handle.as_str());
        for (country, expected) in [(b"DE", "dach"), (b"CH", "dach"), (b"US", "world")] {
            assert_eq!(named(*country), Some(expected));
        }
        assert_eq!(market_of(&markets[..1], *b"US"), None);
        assert_eq!(market_of(&[], *b"US"), None);
    }

    #[test]
    fn prices_become_those_of_another_currency() {
        let rate =
            |numerator, denominator, from, to| Conversion::of_rate(numerator, denominator, from, to).unwrap();
        let ending = |conversion, ending_minor, ending_of_minor| Conversion {
            ending_minor,
            ending_of_minor,
            ..conversion
        };
        let dollars = rate(108, 100, *b"EUR", *b"USD");
        let table = [
            (Conversion::SAME, 19_99, 19_99),
            (dollars, 10_00, 10_80),
            (dollars, 19_99, 21_59), // 21.5892
            (ending(dollars, 99, 100), 10_00, 10_99),
            (ending(dollars, 99, 100), 10_18, 10_99), // 10.9944: already there
            (ending(dollars, 99, 100), 10_19, 11_99), // 11.0052
            (ending(dollars, 95, 100), 9_26, 10_95),  // 10.0008
            (ending(dollars, 0, 100), 10_00, 11_00),
            (ending(dollars, 5, 10), 0, 0),
            (rate(163, 1, *b"EUR", *b"JPY"), 19_99, 3_258), // 3258.37
            (ending(rate(163, 1, *b"EUR", *b"JPY"), 80, 100), 19_99, 3_280),
            (rate(33, 100, *b"EUR", *b"KWD"), 10_00, 3_300),
            (rate(3, 1, *b"KWD", *b"JPY"), 1_500, 5),  // 4.5
            (rate(1, 1, *b"CLF", *b"JPY"), 25_000, 3), // 2.5
        ];
        for (conversion, own, expected) in table {
            assert_eq!(conversion.convert(own, Rounding::HalfUp), Some(expected), "{conversion:?} of {own}");
        }
        assert_eq!(rate(1, 1, *b"CLF", *b"JPY").convert(25_000, Rounding::HalfEven), Some(2));
        assert_eq!(Conversion::of_rate(0, 1, *b"EUR", *b"USD"), None);
        assert_eq!(Conversion::of_rate(i64::MAX, 1, *b"EUR", *b"USD"), None);
        assert_eq!(rate(i64::MAX / 100, 1, *b"USD", *b"EUR").convert(1_000, Rounding::HalfUp), None);
        assert_eq!(ending(Conversion::SAME, 99, 100).convert(MAX_MINOR, Rounding::HalfUp), None);
    }

    #[test]
    fn cash_is_paid_in_the_coins_that_there_are() {
        for (currency, step, total, payable) in [
            (b"CHF", 5, 19_92, 19_90),
            (b"CHF", 5, 19_93, 19_95),
            (b"CHF", 5, 19_95, 19_95),
            (b"DKK", 50, 10_25, 10_50),
            (b"DKK", 50, 10_24, 10_00),
            (b"HUF", 500, 123_700, 123_500),
            (b"EUR", 1, 19_92, 19_92),
        ] {
            let market = Market { currency: *currency, cash_step_minor: step, ..market("cash", &[]) };
            let difference_minor = payable - total;
            assert_eq!(market.in_cash(total), Some(CashAmount { payable_minor: payable, difference_minor }));
        }
    }
}
