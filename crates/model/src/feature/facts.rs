//! What a filter, or an aggregation, can see of an event.

use crate::event::{Event, EventKind};
use crate::feature::json;
use crate::feature::value::{MICRO, Value};
use crate::money;
use std::borrow::Cow;
use std::fmt;

/// A property of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// `product_id`: the product's id, or its `sku` where it has none.
    ProductId,
    /// `category`: the product's, or the event's own where the product has none.
    Category,
    /// `price` of one piece, in units of the event's currency.
    Price,
    /// `quantity`.
    Quantity,
    /// `order_id`.
    OrderId,
    /// `value`: what the order is worth, in units of its currency; of an event that is no order its `value`.
    OrderValue,
    /// `currency` of the order, or as sent.
    Currency,
    /// `name`: of a page, screen or group the one that the call has; else the product's, as sent.
    Name,
    /// A member of `properties`.
    Sent(Box<[Box<str>]>),
    /// A member of `context`.
    Context(Box<[Box<str>]>),
}

/// What can be named in a filter without `properties.` or `context.` before it: the members that Segment's
/// e-commerce specification (version 2) and its page call name.
pub const KNOWN_PROPERTIES: [&str; 46] = [
    "affiliation",
    "brand",
    "campaign",
    "cart_id",
    "category",
    "checkout_id",
    "coupon",
    "coupon_id",
    "coupon_name",
    "creative",
    "currency",
    "discount",
    "image_url",
    "list_id",
    "name",
    "order_id",
    "path",
    "payment_method",
    "position",
    "price",
    "product_id",
    "promotion_id",
    "quantity",
    "query",
    "rating",
    "reason",
    "recipient",
    "referrer",
    "revenue",
    "review_body",
    "review_id",
    "search",
    "share_message",
    "share_via",
    "shipping",
    "shipping_method",
    "sku",
    "step",
    "subtotal",
    "tax",
    "title",
    "total",
    "url",
    "value",
    "variant",
    "wishlist_id",
];

/// The events of version 2 of the e-commerce specification that version 1 called otherwise: (version 2, version 1).
/// A feature over the one counts the other too.
pub const EVENT_ALIASES: [(&str, &str); 12] = [
    ("Product List Viewed", "Viewed Product Category"),
    ("Promotion Viewed", "Viewed Promotion"),
    ("Promotion Clicked", "Clicked Promotion"),
    ("Product Clicked", "Clicked Product"),
    ("Product Viewed", "Viewed Product"),
    ("Product Added", "Added Product"),
    ("Product Removed", "Removed Product"),
    ("Checkout Started", "Started Order"),
    ("Checkout Step Viewed", "Viewed Checkout Step"),
    ("Checkout Step Completed", "Completed Checkout Step"),
    ("Order Updated", "Updated Order"),
    ("Order Completed", "Completed Order"),
];

/// The name that features know an event by: of a `track` its own, of any other call the call's (`page`, `identify`).
pub fn event_name<'a>(event: &Event<'a>) -> &'a str {
    if event.kind == EventKind::Track { event.name } else { event.kind.name() }
}

impl Property {
    /// Reads `price`, `properties.a.b`, `context.page.path`, `campaign.source`. `None` if the first name is not one of
    /// [`KNOWN_PROPERTIES`], or a name is missing.
    pub fn of_path(path: &[&str]) -> Option<Self> {
        let (first, rest) = path.split_first()?;
        if path.iter().any(|name| name.is_empty()) {
            return None;
        }
        let boxed = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        match (*first, rest) {
            ("properties" | "context", []) => None,
            ("properties", rest) => Some(Self::Sent(boxed(rest))),
            ("context", rest) => Some(Self::Context(boxed(rest))),
            ("campaign", []) => Some(Self::Context(boxed(&["campaign", "name"]))),
            ("campaign", _) => Some(Self::Context(boxed(path))),
            ("product_id", []) => Some(Self::ProductId),
            ("category", []) => Some(Self::Category),
            ("price", []) => Some(Self::Price),
            ("quantity", []) => Some(Self::Quantity),
            ("order_id", []) => Some(Self::OrderId),
            ("value", []) => Some(Self::OrderValue),
            ("currency", []) => Some(Self::Currency),
            ("name", []) => Some(Self::Name),
            (known, []) if KNOWN_PROPERTIES.contains(&known) => Some(Self::Sent(boxed(path))),
            _ => None,
        }
    }

    /// Whether each product of an event has its own.
    pub fn is_of_product(&self) -> bool {
        matches!(self, Self::ProductId | Self::Category | Self::Price | Self::Quantity)
    }

    /// Its value in an event; of its product number `product` if that is said and the product has one.
    pub fn of<'a>(&self, event: &'a Event<'_>, product: Option<usize>) -> Value<'a> {
        let item = product.and_then(|index| event.products.get(index));
        match (self, item, &event.order) {
            (Self::ProductId, Some(item), _) => Value::Text(Cow::Borrowed(item.product_id)),
            (Self::Category, Some(item), _) if !item.category.is_empty() => {
                Value::Text(Cow::Borrowed(item.category))
            }
            (Self::Price, Some(item), _) => units(item.price_minor, currency(event)),
            (Self::Quantity, Some(item), _) => Value::Number(i64::from(item.quantity) * MICRO),
            (Self::OrderId, _, Some(order)) => Value::Text(Cow::Borrowed(order.order_id)),
            (Self::OrderValue, _, Some(order)) => units(order.value_minor, order.currency),
            (Self::Currency, _, Some(order)) => std::str::from_utf8(&order.currency)
                .map_or(Value::Absent, |code| Value::Text(Cow::Borrowed(code))),
            (Self::Name, _, _) if event.kind != EventKind::Track && !event.name.is_empty() => {
                Value::Text(Cow::Borrowed(event.name))
            }
            (Self::Context(path), _, _) => sent(event.context, path),
            (Self::Sent(path), _, _) => sent(event.properties, path),
            _ => {
                let value = sent(event.properties, &[Box::from(self.bare_name())]);
                let is_number = matches!(self, Self::Price | Self::Quantity | Self::OrderValue);
                if is_number { value.to_number() } else { value }
            }
        }
    }

    fn bare_name(&self) -> &str {
        match self {
            Self::ProductId => "product_id",
            Self::Category => "category",
            Self::Price => "price",
            Self::Quantity => "quantity",
            Self::OrderId => "order_id",
            Self::OrderValue => "value",
            Self::Currency => "currency",
            Self::Name => "name",
            Self::Sent(_) => "properties",
            Self::Context(_) => "context",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.bare_name())?;
        if let Self::Sent(path) | Self::Context(path) = self {
            for name in path {
                write!(formatter, ".{name}")?;
            }
        }
        Ok(())
    }
}

fn sent<'a>(object: &'a [u8], path: &[Box<str>]) -> Value<'a> {
    json::find(object, path).map_or(Value::Absent, Value::from_json)
}

fn currency(event: &Event<'_>) -> [u8; 3] {
    if let Some(order) = &event.order {
        return order.currency;
    }
    match sent(event.properties, &[Box::from("currency")]) {
        Value::Text(code) => money::currency(&code).unwrap_or(money::NO_CURRENCY),
        _ => money::NO_CURRENCY,
    }
}

/// Minor units of a currency as a number of its units.
fn units(minor: i64, currency: [u8; 3]) -> Value<'static> {
    let places = u32::from(money::exponent(currency)).min(6);
    let scale = 10_i64.pow(6 - places);
    minor.checked_mul(scale).map_or(Value::Absent, Value::Number)
}
