//! Carts: what is in them, who buys, and what they cost.

use crate::command::CodeUses;
use crate::refusal::Refusal;
use crate::terms::Terms;
use model::commerce::cart::Cart;
use model::commerce::discount::Discount;
use model::commerce::market::FixedPrice;
use model::commerce::order::Totals;
use model::commerce::product::Product;
use model::id::Timestamp;
use std::sync::Arc;

/// All that a cart's totals depend on, wherever it comes from.
pub(crate) struct Pricing<'a> {
    /// The cart.
    pub(crate) cart: &'a Cart,
    /// The product of each line; `None` where it is no longer sold.
    pub(crate) products: &'a [Option<Arc<Product>>],
    /// The fixed price of a variant in a market.
    pub(crate) fixed: &'a dyn Fn(&str, u64) -> Option<FixedPrice>,
    /// A code.
    pub(crate) discount: &'a dyn Fn(&str) -> Option<Discount>,
    /// How often the cart's codes were used.
    pub(crate) uses: &'a [CodeUses],
    /// The rest of the terms.
    pub(crate) terms: &'a Terms,
    /// At which time.
    pub(crate) at: Timestamp,
}

/// What a cart costs.
pub(crate) fn totals(pricing: &Pricing<'_>) -> Result<Totals, Refusal> {
    let Pricing { cart, products, .. } = pricing;
    let _ = (pricing.fixed, pricing.discount, pricing.uses, pricing.at);
    let mut totals = Totals {
        currency: pricing.terms.settings.currency,
        prices_include_tax: true,
        lines: Vec::new(),
        shipping: None,
        subtotal_minor: 0,
        discount_minor: 0,
        shipping_minor: 0,
        tax_minor: 0,
        total_minor: 0,
        codes: Vec::new(),
    };
    for (line, product) in cart.lines.iter().zip(*products) {
        let variant = product.as_deref().and_then(|product| product.variant(line.variant));
        let variant = variant.ok_or(Refusal::NotForSale(line.variant))?;
        let subtotal = variant.price_minor.checked_mul(i64::from(line.quantity));
        let subtotal = subtotal.ok_or(Refusal::SumsTooLarge)?;
        totals.lines.push(model::commerce::order::LineTotal {
            number: line.number,
            variant: line.variant,
            quantity: line.quantity,
            unit_price_minor: variant.price_minor,
            compare_at_minor: variant.compare_at_minor,
            subtotal_minor: subtotal,
            discounts: Vec::new(),
            taxes: Vec::new(),
            total_minor: subtotal,
        });
        totals.subtotal_minor = totals.subtotal_minor.checked_add(subtotal).ok_or(Refusal::SumsTooLarge)?;
    }
    totals.total_minor = totals.subtotal_minor;
    Ok(totals)
}
