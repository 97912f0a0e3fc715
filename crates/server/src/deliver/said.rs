//! What a destination is told of an accepted event.

use crate::api::types::IdentifierShown;
use crate::calendar::iso;
use engage::{Destination, DestinationKind};
use model::event::{Event, Product};
use model::feature::{Property, Value as Fact, event_name};
use model::money::exponent;
use model::profile::Traits;
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
    let clicks = clicks(event);
    if !clicks.is_empty() {
        data.insert("click_ids".to_owned(), Value::Object(clicks));
    }
    Value::Object(data)
}

/// What platforms put into links and cookies, as `outbound` reads it.
const CLICK_IDS: [&str; 7] = ["fbc", "fbp", "gclid", "gbraid", "wbraid", "ttclid", "ttp"];
/// The longest of them. Real ones have some hundred bytes.
const CLICK_ID_BYTES_MAX: usize = 512;

/// Identifiers of clicks and browsers that platforms know: stated in `properties`, `context` or `context.clickIds`, or in
/// the address of the page that the shopper landed on.
fn clicks(event: &Event<'_>) -> Map<String, Value> {
    let page = text(event, &["page", "url"]).unwrap_or_default();
    let query = page.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let landed = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).next()
    };
    let mut found = Map::new();
    for name in CLICK_IDS {
        let stated = || {
            let paths: [&[&str]; 3] =
                [&["properties", name], &["context", name], &["context", "clickIds", name]];
            paths.iter().find_map(|path| at(event, path))
        };
        // Meta's click in an address becomes its cookie: version, subdomain index, time in milliseconds, the click.
        let of_meta = || {
            let click = landed("fbclid").filter(|_| name == "fbc")?;
            Some(format!("fb.1.{}.{click}", event.occurred_at.0.div_euclid(1_000)))
        };
        let id = stated().or_else(|| landed(name)).or_else(of_meta);
        let plain = |id: &String| {
            let shaped = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            (1..=CLICK_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(shaped)
        };
        found.extend(id.filter(plain).map(|id| (name.to_owned(), Value::from(id))));
    }
    found
}

/// What an ad platform is told of a person's consent, `None` where nothing was said and nothing is asked for.
pub(super) fn consent(destination: &Destination, choice: Option<bool>) -> Option<Value> {
    let word = match (destination.refusal(choice), choice) {
        (Some(_), _) => "denied",
        (None, Some(_)) => "granted",
        (None, None) => return None,
    };
    Some(json!({ "ad_user_data": word, "ad_personalization": word }))
}

/// Whether a destination keeps lists of people on a platform.
pub(super) fn keeps_lists(destination: &Destination) -> bool {
    let DestinationKind::Platform { settings, .. } = &destination.kind else { return false };
    serde_json::from_str::<Value>(settings).is_ok_and(|settings| settings.get("lists").is_some())
}

/// Identifiers of the types that a destination names, those that find a person now.
pub(super) fn identifiers(all: Vec<IdentifierShown>, types: &[String]) -> Value {
    let wanted = all.into_iter().filter(|one| !one.former_session && types.contains(&one.r#type));
    let shown = wanted.filter_map(|one| Some(json!({ "type": one.r#type, "value": one.value? })));
    shown.collect()
}

/// Whether a message says that there is no consent.
pub(super) fn is_denied(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Message {
        data: Data,
    }
    #[derive(serde::Deserialize)]
    struct Data {
        consent: Consent,
    }
    #[derive(serde::Deserialize)]
    struct Consent {
        ad_user_data: String,
    }
    serde_json::from_slice::<Message>(body).is_ok_and(|message| message.data.consent.ad_user_data == "denied")
}

/// Where traits state what platforms match on: Segment's reserved names, and those of RudderStack.
const PERSON: [(&str, &[&[&str]]); 6] = [
    ("first_name", &[&["firstName"], &["first_name"], &["firstname"]]),
    ("last_name", &[&["lastName"], &["last_name"], &["lastname"]]),
    ("city", &[&["address", "city"], &["city"]]),
    ("state", &[&["address", "state"], &["state"]]),
    (
        "postcode",
        &[&["address", "postalCode"], &["address", "postal_code"], &["address", "zip"], &["postalCode"]],
    ),
    ("country", &[&["address", "country"], &["country"]]),
];

/// The fields that a platform is told of a person, from their traits.
pub(super) fn person(fields: &[String], traits: &Traits) -> Option<Value> {
    let mut said = Map::new();
    for (field, paths) in PERSON.iter().filter(|(field, _)| fields.iter().any(|own| own == field)) {
        let value = paths.iter().find_map(|path| stated(traits, path));
        said.extend(value.map(|value| ((*field).to_owned(), Value::from(value))));
    }
    (!said.is_empty()).then_some(Value::Object(said))
}

/// A text or number of traits.
fn stated(traits: &Traits, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let value: Value = serde_json::from_slice(&traits.get(first)?.value).ok()?;
    let value = rest.iter().try_fold(&value, |value, name| value.get(name))?;
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text of the event's `context`.
fn text(event: &Event<'_>, path: &[&str]) -> Option<String> {
    let path: Vec<&str> = ["context"].iter().chain(path).copied().collect();
    at(event, &path)
}

/// A text of an event.
fn at(event: &Event<'_>, path: &[&str]) -> Option<String> {
    match Property::of_path(path)?.of(event, None) {
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
