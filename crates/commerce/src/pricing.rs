//! What a cart costs: one function for the view, which shows it, and for the loop, which takes the order.

use crate::command::CodeUses;
use crate::refusal::Refusal;
use crate::terms::Terms;
use model::commerce::cart::Cart;
use model::commerce::discount::{CodeFacts, Discount, folded};
use model::commerce::market::{FixedPrice, Market};
use model::commerce::order::Totals;
use model::commerce::price::{self, LineFacts, PriceTerms};
use model::commerce::product::Product;
use model::id::Timestamp;
use std::sync::Arc;

/// All that a cart's price depends on, wherever it comes from.
pub(crate) struct Pricing<'a> {
    /// The cart.
    pub(crate) cart: &'a Cart,
    /// The product of each line; `None` where it is no longer sold.
    pub(crate) products: &'a [Option<Arc<Product>>],
    /// The fixed price of each line in the market.
    pub(crate) fixed: &'a [Option<FixedPrice>],
    /// Each code that was entered.
    pub(crate) discounts: &'a [Option<Discount>],
    /// How often they were used.
    pub(crate) uses: &'a [CodeUses],
    /// The rest of the terms.
    pub(crate) terms: &'a Terms,
    /// At which time.
    pub(crate) at: Timestamp,
}

/// What a cart costs, and what can be chosen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartPrice {
    /// What it costs, without the lines that are no longer sold.
    pub totals: Totals,
    /// Lines that are no longer sold, by number. A cart that has any cannot be paid for.
    pub gone: Vec<u32>,
    /// Whether anything has to be sent.
    pub requires_shipping: bool,
    /// The ways of sending that are offered.
    pub offers: Vec<ShippingOffer>,
    /// Whether a code makes shipping free, whichever way is chosen.
    pub free_shipping: bool,
    /// The handle of the market.
    pub market: String,
}

/// A way of sending that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShippingOffer {
    /// Its name in carts.
    pub handle: String,
    /// What buyers are shown.
    pub title: String,
    /// What it costs, before discounts.
    pub price_minor: i64,
}

/// The country that a cart's prices are for: of its address, of its buyer, of the shop.
pub(crate) fn country_of(cart: &Cart, terms: &Terms) -> [u8; 2] {
    let stated = cart.address.as_ref().map(|address| address.country).or(cart.buyer.country);
    stated.unwrap_or(terms.settings.country)
}

/// The market of a cart.
pub(crate) fn market_for<'a>(cart: &Cart, terms: &'a Terms) -> Result<&'a Market, Refusal> {
    terms.market_of(country_of(cart, terms)).ok_or(Refusal::NotSoldThere)
}

/// What a cart costs.
pub(crate) fn price(pricing: &Pricing<'_>) -> Result<CartPrice, Refusal> {
    let Pricing { cart, products, fixed, discounts, uses, terms, at } = *pricing;
    let market = market_for(cart, terms)?;
    let (mut lines, mut gone) = (Vec::with_capacity(cart.lines.len()), Vec::new());
    for ((line, product), fixed) in cart.lines.iter().zip(products).zip(fixed) {
        let product = product.as_deref();
        let sold = product.filter(|product| product.published_at.is_some_and(|since| since <= at));
        match sold.and_then(|product| LineFacts::of(product, line.variant, line.number, line.quantity)) {
            Some(facts) => lines.push(facts.fixed(*fixed)),
            None => gone.push(line.number),
        }
    }
    let codes: Vec<CodeFacts<'_>> = cart
        .discount_codes
        .iter()
        .zip(discounts)
        .map(|(code, discount)| {
            let uses = uses.iter().find(|uses| uses.code == folded(code));
            let (in_all, by_buyer) = uses.map_or((0, 0), |uses| (uses.in_all, uses.by_buyer));
            CodeFacts { code, discount: discount.as_ref(), uses: in_all, customer_uses: by_buyer }
        })
        .collect();
    let province = cart.address.as_ref().map(|address| address.province.as_str());
    let quote = price::quote(
        &lines,
        &PriceTerms {
            market,
            rates: &terms.tax_rates,
            zones: &terms.shipping_zones,
            codes: &codes,
            at,
            country: country_of(cart, terms),
            region: province.filter(|province| !province.is_empty()),
            shipping_method: cart.shipping_method.as_deref(),
        },
    )
    .map_err(|error| Refusal::NoPrice(error.to_string()))?;
    let offers = quote.offers.iter().map(|offer| ShippingOffer {
        handle: offer.method.handle.clone(),
        title: offer.method.title.clone(),
        price_minor: offer.price_minor,
    });
    Ok(CartPrice {
        offers: offers.collect(),
        totals: quote.totals,
        gone,
        requires_shipping: quote.requires_shipping,
        free_shipping: quote.free_shipping,
        market: market.handle.clone(),
    })
}
