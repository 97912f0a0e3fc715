//! What a cart costs: one function for the page that shows it, the door that answers, and the loop that takes the order.
//!
//! In this order: each line is its unit price in the market times its quantity; codes take off, in the order in which they
//! were entered; then tax is computed on what is left of each line, rate by rate; then shipping is found for the weight and
//! sum, and taxed the same way. Whatever is no whole minor unit is rounded where it arises, by the market's rule, and every
//! total is a sum of such whole parts. Nothing depends on the order of lines: what has to be shared goes by line numbers.

use super::discount::{self, CartFacts, CodeFacts, Discountable};
use super::market::{Country, FixedPrice, Market};
use super::order::{LineTotal, ShippingTotal, TaxLine, Totals};
use super::product::{Product, Variant};
use super::shipping::{Offer, Parcel, ShippingZone};
use super::tax::{self, RatesHere, TaxRate};
use super::{MAX_LINES, MAX_QUANTITY};
use crate::id::Timestamp;
use crate::money::MAX_MINOR;
use thiserror::Error;

/// A line of a cart, and what is known of what is in it.
#[derive(Clone, Copy, Debug)]
pub struct LineFacts<'a> {
    /// The line's number in its cart.
    pub number: u32,
    /// How many.
    pub quantity: u32,
    /// The number of the product.
    pub product: u64,
    /// The product's class of tax.
    pub tax_class: &'a str,
    /// What is bought.
    pub variant: &'a Variant,
    /// Its price in the market, where that is not the converted one.
    pub fixed: Option<FixedPrice>,
}

/// Everything else that a price depends on.
#[derive(Clone, Copy, Debug)]
pub struct PriceTerms<'a> {
    /// Where it is sold.
    pub market: &'a Market,
    /// All rates of tax that the shop knows.
    pub rates: &'a [TaxRate],
    /// All zones that the shop sends to.
    pub zones: &'a [ShippingZone],
    /// The codes that were entered, in that order.
    pub codes: &'a [CodeFacts<'a>],
    /// When: decides which rates and codes hold.
    pub at: Timestamp,
    /// To which country: of the address, or the buyer's as far as known.
    pub country: Country,
    /// To which region of it.
    pub region: Option<&'a str>,
    /// The way of sending that was chosen.
    pub shipping_method: Option<&'a str>,
}

/// What a cart costs, and how it could be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// What it costs.
    pub totals: Totals,
    /// Whether anything has to be sent.
    pub requires_shipping: bool,
    /// The ways that are offered; none where nothing has to be sent.
    pub offers: Vec<Offer<'a>>,
    /// Whether a code makes shipping free, whichever way is chosen.
    pub free_shipping: bool,
}

/// Why a cart has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PriceError {
    /// An amount is beyond what is believed.
    #[error("the cart comes to more than {MAX_MINOR} minor units, or its prices cannot be converted")]
    TooMuch,
    /// Something costs less than nothing.
    #[error("line {0} has a price below zero")]
    BelowZero(u32),
    /// There are too many lines, or too many of one.
    #[error("a cart has at most {MAX_LINES} lines of at most {MAX_QUANTITY} each")]
    TooMany,
}

impl PriceError {
    /// A word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooMuch => "price_too_much",
            Self::BelowZero(_) => "price_below_zero",
            Self::TooMany => "cart_too_large",
        }
    }
}

impl<'a> LineFacts<'a> {
    /// A line of a product's variant. `None` if the product has no such variant.
    pub fn of(product: &'a Product, variant: u64, number: u32, quantity: u32) -> Option<Self> {
        let variant = product.variant(variant)?;
        let tax_class = product.tax_class.as_str();
        Some(Self { number, quantity, product: product.number, tax_class, variant, fixed: None })
    }

    /// The line with a price of its own in the market.
    pub fn fixed(self, fixed: Option<FixedPrice>) -> Self {
        Self { fixed, ..self }
    }
}

/// What a cart costs.
pub fn totals(lines: &[LineFacts<'_>], terms: &PriceTerms<'_>) -> Result<Totals, PriceError> {
    quote(lines, terms).map(|quote| quote.totals)
}

/// What a cart costs, and how it could be sent.
pub fn quote<'a>(lines: &[LineFacts<'_>], terms: &PriceTerms<'a>) -> Result<Quote<'a>, PriceError> {
    let PriceTerms { market, at, .. } = *terms;
    if lines.len() > MAX_LINES || lines.iter().any(|line| line.quantity > MAX_QUANTITY) {
        return Err(PriceError::TooMany);
    }
    let mut totals = lines.iter().map(|line| gross(line, market)).collect::<Result<Vec<_>, _>>()?;
    let subtotal_minor = sum(totals.iter().map(|line| line.subtotal_minor))?;
    let facts = CartFacts { currency: market.currency, rounding: market.rounding, at };
    let discounted = discount_lines(lines, &mut totals, terms.codes, facts)?;
    let rates = RatesHere::of(terms.rates, at, terms.country, terms.region);
    for (line, total) in lines.iter().zip(&mut totals) {
        let due = if line.variant.taxable { rates.on_class(line.tax_class) } else { Vec::new() };
        total.taxes = taxed(total.total_minor, &due, market)?;
        total.total_minor = with_tax(total.total_minor, &total.taxes, market)?;
    }
    let off_lines_minor = sum(totals.iter().flat_map(|line| line.discounts.iter().map(|(_, minor)| *minor)))?;
    let requires_shipping = lines.iter().any(|line| line.variant.requires_shipping && line.quantity > 0);
    let offers = match requires_shipping {
        true => parcel(lines, terms, subtotal_minor - off_lines_minor)?.offers(terms.zones),
        false => Vec::new(),
    };
    let chosen = offers.iter().find(|offer| Some(offer.method.handle.as_str()) == terms.shipping_method);
    let shipping = chosen.map(|offer| sent(offer, discounted.free_shipping, &rates, market)).transpose()?;
    let all_taxes =
        totals.iter().map(|line| &line.taxes).chain(shipping.iter().map(|shipping| &shipping.taxes));
    let totals = Totals {
        currency: market.currency,
        prices_include_tax: market.prices_include_tax,
        subtotal_minor,
        discount_minor: sum(shipping.iter().map(|one| one.discount_minor).chain([off_lines_minor]))?,
        shipping_minor: shipping.as_ref().map_or(0, |one| one.price_minor - one.discount_minor),
        tax_minor: sum(all_taxes.flatten().map(|tax| tax.amount_minor))?,
        total_minor: sum(totals
            .iter()
            .map(|line| line.total_minor)
            .chain(shipping.iter().map(|one| one.total_minor)))?,
        codes: discounted.codes,
        lines: totals,
        shipping,
    };
    Ok(Quote { totals, requires_shipping, offers, free_shipping: discounted.free_shipping })
}

/// A line before discounts and tax; `total_minor` is what is left of it so far.
fn gross(line: &LineFacts<'_>, market: &Market) -> Result<LineTotal, PriceError> {
    let price = market.unit_price(line.variant, line.fixed).ok_or(PriceError::TooMuch)?;
    if price.price_minor < 0 {
        return Err(PriceError::BelowZero(line.number));
    }
    let subtotal_minor = price.price_minor.checked_mul(i64::from(line.quantity));
    let subtotal_minor = subtotal_minor.and_then(believed).ok_or(PriceError::TooMuch)?;
    Ok(LineTotal {
        number: line.number,
        variant: line.variant.number,
        quantity: line.quantity,
        unit_price_minor: price.price_minor,
        compare_at_minor: price.compare_at_minor,
        subtotal_minor,
        discounts: Vec::new(),
        taxes: Vec::new(),
        total_minor: subtotal_minor,
    })
}

/// Applies the codes, to the lines in the order of their numbers.
fn discount_lines(
    lines: &[LineFacts<'_>],
    totals: &mut [LineTotal],
    codes: &[CodeFacts<'_>],
    facts: CartFacts,
) -> Result<discount::Discounted, PriceError> {
    let mut ordered: Vec<(&LineFacts<'_>, &mut LineTotal)> = lines.iter().zip(totals).collect();
    ordered.sort_by_key(|(line, _)| (line.number, line.variant.number));
    let discountable = |(line, total): &(&LineFacts<'_>, &mut LineTotal)| Discountable {
        product: line.product,
        requires_shipping: line.variant.requires_shipping,
        subtotal_minor: total.subtotal_minor,
        left_minor: total.subtotal_minor,
        taken: Vec::new(),
    };
    let mut left: Vec<Discountable> = ordered.iter().map(discountable).collect();
    let outcome = discount::apply(&mut left, codes, facts).ok_or(PriceError::TooMuch)?;
    for ((_, total), left) in ordered.into_iter().zip(left) {
        total.discounts = left.taken;
        total.total_minor = left.left_minor;
    }
    Ok(outcome)
}

fn parcel(lines: &[LineFacts<'_>], terms: &PriceTerms<'_>, sum_minor: i64) -> Result<Parcel, PriceError> {
    let sent = lines.iter().filter(|line| line.variant.requires_shipping);
    // Lines, quantities and weights are bounded: their product fits by far.
    let weight_grams = sent.map(|line| u64::from(line.variant.weight_grams) * u64::from(line.quantity)).sum();
    Ok(Parcel { country: terms.country, currency: terms.market.currency, weight_grams, sum_minor })
}

fn sent(
    offer: &Offer<'_>,
    free: bool,
    rates: &RatesHere<'_>,
    market: &Market,
) -> Result<ShippingTotal, PriceError> {
    let price_minor = believed(offer.price_minor.max(0)).ok_or(PriceError::TooMuch)?;
    let discount_minor = if free { price_minor } else { 0 };
    let left_minor = price_minor - discount_minor;
    let taxes = taxed(left_minor, &rates.on_shipping(), market)?;
    Ok(ShippingTotal {
        handle: offer.method.handle.clone(),
        title: offer.method.title.clone(),
        price_minor,
        discount_minor,
        total_minor: with_tax(left_minor, &taxes, market)?,
        taxes,
    })
}

fn taxed(minor: i64, due: &[&TaxRate], market: &Market) -> Result<Vec<TaxLine>, PriceError> {
    tax::taxes(minor, due, market.prices_include_tax, market.rounding).ok_or(PriceError::TooMuch)
}

fn with_tax(minor: i64, taxes: &[TaxLine], market: &Market) -> Result<i64, PriceError> {
    let on_top = taxes.iter().map(|tax| tax.amount_minor).filter(|_| !market.prices_include_tax);
    sum(on_top.chain([minor]))
}

fn believed(minor: i64) -> Option<i64> {
    (minor.abs() <= MAX_MINOR).then_some(minor)
}

fn sum(mut parts: impl Iterator<Item = i64>) -> Result<i64, PriceError> {
    parts.try_fold(0_i64, |sum, part| sum.checked_add(part).and_then(believed)).ok_or(PriceError::TooMuch)
}
