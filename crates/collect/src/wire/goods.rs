//! Orders and products of an event, and what they are worth.

use crate::wire::facts::{Properties, Text, WireProduct};
use model::event::{OrderChange, OrderFact, Product};
use model::money;
use model::normalise::trimmed;

/// The longest product, order and refund id that is kept, in bytes.
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
) -> Option<OrderFact<'a>> {
    let (_, change) = ORDER_EVENTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(trimmed(name)))?;
    let order_id = match (id(&properties.order_id), change) {
        (Some(order_id), _) => order_id,
        (None, OrderChange::Completed) => message_id,
        (None, _) => return None,
    };
    let refund_id = match change {
        OrderChange::Refunded => id(&properties.refund_id).unwrap_or(message_id),
        _ => "",
    };
    let amounts = [&properties.revenue, &properties.total, &properties.value];
    let value = amounts.into_iter().find_map(|amount| minor_units(amount, currency));
    Some(OrderFact { change: *change, order_id, refund_id, value_minor: value.unwrap_or(0), currency })
}

/// The products of a `track`: of `products`, or the one that the properties themselves describe.
pub(crate) fn products<'a>(
    name: &str,
    properties: &'a Properties<'_>,
    currency: [u8; 3],
) -> Vec<Product<'a>> {
    match &properties.products {
        Some(products) => products.iter().filter_map(|sent| product(sent, true, currency)).collect(),
        None => {
            let version_1 = PRODUCT_EVENTS_V1.iter().any(|known| known.eq_ignore_ascii_case(trimmed(name)));
            product(&properties.own_product, version_1, currency).into_iter().collect()
        }
    }
}

/// The currency of an event's amounts.
pub(crate) fn currency(properties: &Properties<'_>, default: [u8; 3]) -> [u8; 3] {
    properties.currency.as_deref().and_then(money::currency).unwrap_or(default)
}

fn product<'a>(sent: &'a WireProduct<'_>, bare_id: bool, currency: [u8; 3]) -> Option<Product<'a>> {
    let bare = if bare_id { id(&sent.id) } else { None };
    let product_id = id(&sent.product_id).or_else(|| id(&sent.sku)).or(bare)?;
    let category = sent.category.as_deref().map(trimmed).unwrap_or_default();
    Some(Product {
        product_id,
        category: if category.len() <= MAX_CATEGORY_BYTES { category } else { "" },
        quantity: sent.quantity.as_deref().and_then(quantity).unwrap_or(1),
        price_minor: minor_units(&sent.price, currency).unwrap_or(0),
    })
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

fn id<'a>(text: &'a Option<Text<'_>>) -> Option<&'a str> {
    text.as_deref().map(trimmed).filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)
}
