//! Orders and products of an event, and what they are worth.

use crate::wire::facts::{Properties, Text, WireProduct, clear_id};
use crate::wire::problem::WireError;
use model::event::{OrderChange, OrderFact, Product};
use model::money;
use model::normalise::trimmed;

/// The longest product, order and refund id, in bytes.
const MAX_ID_BYTES: usize = 256;
/// The longest category that is kept, in bytes.
const MAX_CATEGORY_BYTES: usize = 1_024;

/// The events that say something about an order: Segment's e-commerce specification, version 2 and version 1, and the
/// American spelling. Compared without regard to ASCII case.
const ORDER_EVENTS: [(&str, OrderChange); 8] = [
    ("Order Completed", OrderChange::Completed),
    ("Completed Order", OrderChange::Completed),
    ("Order Updated", OrderChange::Updated),
    ("Updated Order", OrderChange::Updated),
    ("Order Cancelled", OrderChange::Cancelled),
    ("Order Canceled", OrderChange::Cancelled),
    ("Order Refunded", OrderChange::Refunded),
    ("Refunded Order", OrderChange::Refunded),
];

/// The events of version 1 whose own `id` is a product's.
const PRODUCT_EVENTS_V1: [&str; 4] =
    ["Viewed Product", "Clicked Product", "Added Product", "Removed Product"];

/// What a `track` says about an order.
///
/// A completed order without an order id is still a purchase, so its `messageId` stands in; an update, cancellation
/// or refund of no order changes none. A refund without an id of its own goes by its `messageId`.
pub(crate) fn order<'a>(
    name: &str,
    properties: &'a Properties<'_>,
    message_id: &'a str,
    currency: [u8; 3],
) -> Result<Option<OrderFact<'a>>, WireError> {
    let known = ORDER_EVENTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(trimmed(name)));
    let Some((_, change)) = known else { return Ok(None) };
    let order_id = match (id(&properties.order_id, || "properties.order_id".to_owned())?, change) {
        (Some(order_id), _) => order_id,
        (None, OrderChange::Completed) => message_id,
        (None, _) => return Ok(None),
    };
    let refund_id = match change {
        OrderChange::Refunded => {
            id(&properties.refund_id, || "properties.refund_id".to_owned())?.unwrap_or(message_id)
        }
        _ => "",
    };
    let amounts = [&properties.revenue, &properties.total, &properties.value];
    let value = amounts.into_iter().find_map(|amount| minor_units(amount, currency));
    let value_minor = value.unwrap_or(0);
    Ok(Some(OrderFact { change: *change, order_id, refund_id, value_minor, currency }))
}

/// The products of a `track`: of `products`, or the one that the properties themselves describe.
pub(crate) fn products<'a>(
    name: &str,
    properties: &'a Properties<'_>,
    currency: [u8; 3],
) -> Result<Vec<Product<'a>>, WireError> {
    match &properties.products {
        Some(products) => {
            let place = |index| move || format!("properties.products[{index}]");
            let products = products.iter().enumerate();
            let products = products.map(|(index, sent)| product(sent, true, currency, place(index)));
            products.filter_map(Result::transpose).collect()
        }
        None => {
            let version_1 = PRODUCT_EVENTS_V1.iter().any(|known| known.eq_ignore_ascii_case(trimmed(name)));
            let product = product(&properties.own_product, version_1, currency, || "properties".to_owned())?;
            Ok(product.into_iter().collect())
        }
    }
}

/// The currency of an event's amounts.
pub(crate) fn currency(properties: &Properties<'_>, default: [u8; 3]) -> [u8; 3] {
    properties.currency.as_deref().and_then(money::currency).unwrap_or(default)
}

/// The first of its ids is the product's. `place` names the object, for an error.
fn product<'a>(
    sent: &'a WireProduct<'_>,
    bare_id: bool,
    currency: [u8; 3],
    place: impl Fn() -> String,
) -> Result<Option<Product<'a>>, WireError> {
    let bare = if bare_id { &sent.id } else { &None };
    let mut found = None;
    for (name, value) in [("product_id", &sent.product_id), ("sku", &sent.sku), ("id", bare)] {
        if found.is_none() {
            found = id(value, || format!("{}.{name}", place()))?;
        }
    }
    let Some(product_id) = found else { return Ok(None) };
    let category = sent.category.as_deref().map(trimmed).unwrap_or_default();
    Ok(Some(Product {
        product_id,
        category: if category.len() <= MAX_CATEGORY_BYTES { category } else { "" },
        quantity: sent.quantity.as_deref().and_then(quantity).unwrap_or(1),
        price_minor: minor_units(&sent.price, currency).unwrap_or(0),
    }))
}

/// How many: thousandths cut off; less than nothing is nothing.
fn quantity(text: &str) -> Option<u32> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    // "XXX" has two decimal places, so a hundred of its minor units are one piece.
    let hundredths = money::minor_units(text, money::NO_CURRENCY)?;
    u32::try_from(hundredths.max(0).div_euclid(100)).ok()
}

fn minor_units(amount: &Option<Text<'_>>, currency: [u8; 3]) -> Option<i64> {
    money::minor_units(amount.as_deref()?, currency)
}

/// An id, if there is one. `field` names it, for an error.
fn id<'a>(text: &'a Option<Text<'_>>, field: impl Fn() -> String) -> Result<Option<&'a str>, WireError> {
    let Some(text) = text.as_deref() else { return Ok(None) };
    let id = clear_id(text, MAX_ID_BYTES, "").map_err(|error| WireError { field: field(), ..error })?;
    Ok(Some(id).filter(|id| !id.is_empty()))
}
