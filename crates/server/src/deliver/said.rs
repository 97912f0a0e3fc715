//! What a destination is told of an accepted event.

use crate::calendar::iso;
use model::event::{Event, Product};
use model::feature::{Property, Value as Fact, event_name};
use model::money::exponent;
use serde_json::{Map, Value, json};

/// The kind of a message about an event. Effects have numbers of their own, none of them this.
pub(super) const EVENT_ACCEPTED: u16 = 0;
/// Its name.
pub(super) const EVENT_KIND: &str = "event.accepted";
/// Where no currency was sent.
const NO_CURRENCY: &[u8; 3] = b"XXX";

/// The members of `data` that say what happened: `event`, and where a browser or an app sent it `device`.
///
/// `event.id` is what platforms drop repeats by: of an order its own id, so that a second report of it, by the shop's
/// server or by the platform's own script in the page, is the same event; of anything else the `messageId`.
pub(super) fn of(event: &Event<'_>) -> Value {
    let mut said = Map::new();
    let order = event.order.filter(|fact| !fact.order_id.is_empty());
    said.insert("name".to_owned(), Value::from(event_name(event)));
    let id = order.map_or(event.message_id, |fact| fact.order_id);
    said.insert("id".to_owned(), Value::from(id));
    said.insert("occurred_at".to_owned(), Value::from(iso(event.occurred_at.0)));
    let page = text(event, &["page", "url"]);
    let app = text(event, &["app", "name"]);
    if let Some(source) = page.as_ref().map(|_| "website").or(app.map(|_| "app")) {
        said.insert("source".to_owned(), Value::from(source));
    }
    said.extend(page.map(|url| ("url".to_owned(), Value::from(url))));
    let currency = order.map_or(*NO_CURRENCY, |fact| fact.currency);
    if let Some(fact) = order {
        said.insert("order_id".to_owned(), Value::from(fact.order_id));
        if currency != *NO_CURRENCY {
            said.insert("value".to_owned(), Value::from(decimal(fact.value_minor, currency)));
            said.insert("currency".to_owned(), Value::from(String::from_utf8_lossy(&currency)));
        }
    }
    if !event.products.is_empty() {
        let item = |product: &Product<'_>| {
            let mut item = json!({ "id": product.product_id, "quantity": product.quantity });
            if currency != *NO_CURRENCY
                && let Some(item) = item.as_object_mut()
            {
                item.insert("price".to_owned(), Value::from(decimal(product.price_minor, currency)));
            }
            item
        };
        said.insert("items".to_owned(), event.products.iter().map(item).collect());
    }
    let mut data = Map::new();
    data.insert("event".to_owned(), Value::Object(said));
    let device = [("ip", text(event, &["ip"])), ("user_agent", text(event, &["userAgent"]))];
    let device: Map<String, Value> =
        device.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect();
    // The door notes where browsers send from; what a server says of a device is the shopper's.
    if !device.is_empty() {
        data.insert("device".to_owned(), Value::Object(device));
    }
    Value::Object(data)
}

/// A text of the event's `context`.
fn text(event: &Event<'_>, path: &[&str]) -> Option<String> {
    let path: Vec<&str> = ["context"].iter().chain(path).copied().collect();
    match Property::of_path(&path)?.of(event, None) {
        Fact::Text(text) if !text.is_empty() => Some(text.into_owned()),
        _ => None,
    }
}

/// Minor units as a decimal number, e.g. 4990 of EUR as `49.90`.
fn decimal(minor: i64, currency: [u8; 3]) -> String {
    let digits = usize::from(exponent(currency));
    let sign = if minor < 0 { "-" } else { "" };
    let plain = format!("{:0width$}", minor.unsigned_abs(), width = digits + 1);
    let (whole, part) = plain.split_at(plain.len() - digits);
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_with_the_digits_of_its_currency() {
        let table = [
            (4_990, *b"EUR", "49.90"),
            (5, *b"EUR", "0.05"),
            (0, *b"EUR", "0.00"),
            (-1_234, *b"USD", "-12.34"),
            (4_990, *b"JPY", "4990"),
            (4_990, *b"KWD", "4.990"),
            (i64::MIN, *b"EUR", "-92233720368547758.08"),
        ];
        for (minor, currency, expected) in table {
            assert_eq!(decimal(minor, currency), expected);
        }
    }
}
