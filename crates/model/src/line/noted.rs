//! What an event tells the line, read from the event's name and properties.

use crate::event::{Event, EventKind};
use crate::feature::{Value, json_value};
use crate::id::{Key, Timestamp};
use crate::line::settings::LineSettings;
use crate::line::trail::{Milestone, Touch, TouchKind, tie};
use crate::normalise::trimmed;
use crate::suppression::Scope;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest name of a campaign, in bytes; a longer one is cut.
pub const MAX_CAMPAIGN_BYTES: usize = 64;
/// The highest cost of one touch that is believed: a million units.
const MAX_COST_MICRO: i64 = 1_000_000 * 1_000_000;
const HALF_HOUR_US: i64 = 1_800 * 1_000_000;

/// The property under which a redacted event says what its message id was good for: see [`tie`].
const TIE: &str = "message_sha256";
const ELSEWHERE: [&str; 4] = ["Ad Impression", "Ad Click", "Email Opened", "Email Link Clicked"];
const CONFIRMATIONS: [&str; 2] = ["Order Confirmation Queued", "Order Confirmation Accepted"];
/// Properties that say that an impression was in vain, and with which value.
const FLAWS: [(&str, bool); 5] = [
    ("invalid", true),
    ("viewable", false),
    ("rendered", false),
    ("in_stock", false),
    ("deliverable", false),
];

/// What an event tells the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted<'a> {
    /// A touch, and the name of its campaign.
    Touch(Touch, Cow<'a, str>),
    /// How far a confirmation came.
    Milestone(Milestone),
}

/// The number of a campaign.
pub fn campaign(name: &str) -> u64 {
    if name.is_empty() { 0 } else { (Key::of_text("campaign", name).0 as u64).max(1) }
}

/// What an event tells the line beside orders and consent. A cost counts where an order's value would: a browser's is
/// a claim.
pub fn noted<'a>(event: &Event<'a>, at: Timestamp, settings: &LineSettings) -> Option<Noted<'a>> {
    let kind = match event.name {
        _ if event.kind != EventKind::Track => return None,
        "Ad Impression" => TouchKind::Impression,
        "Ad Click" => TouchKind::Click,
        "Email Opened" => TouchKind::MailOpen,
        "Email Link Clicked" => TouchKind::MailClick,
        "Product Added" => TouchKind::Cart,
        "Checkout Started" | "Payment Info Entered" => TouchKind::Pay,
        "Order Confirmation Queued" | "Order Confirmation Accepted" => {
            let order = text(event.properties, &["order_id"]).filter(|_| event.from_server)?;
            let accepted = event.name.ends_with("Accepted");
            return Some(Noted::Milestone(Milestone {
                order: crate::order::order_key(&order),
                accepted,
                at,
            }));
        }
        _ => return None,
    };
    if !kind.is_shown() {
        return Some(Noted::Touch(Touch::plain(at, 0, kind), "".into()));
    }
    let mut touch = Touch { source: event.source, ..Touch::plain(at, tie_of(event), kind) };
    let properties = event.properties;
    let named = text(properties, &["campaign_id"]).or_else(|| text(event.context, &["campaign", "name"]));
    let name = shortened(named.unwrap_or_default());
    touch.campaign = campaign(&name);
    // As the door read it, so that the same product is the same here and in an order, sent as `sku` or with blanks.
    match event.products.first() {
        Some(product) => {
            touch.product = Scope::product(product.product_id);
            touch.category = category(product.category);
        }
        None => touch.category = category(&text(properties, &["category"]).unwrap_or_default()),
    }
    touch.invalid = is(properties, "invalid", true)
        || is(properties, "viewable", false)
        || is(properties, "rendered", false);
    touch.unavailable = is(properties, "in_stock", false) || is(properties, "deliverable", false);
    if let Some(cost) = number(properties, "cost").filter(|cost| *cost != 0 && event.value_counts) {
        let currency = text(properties, &["currency"]).and_then(|code| crate::money::currency(&code));
        let micro = currency.and_then(|currency| settings.convert(cost, currency, at));
        touch.unpriced = micro.is_none();
        touch.cost_micro = micro.unwrap_or_default().clamp(0, MAX_COST_MICRO);
    }
    Some(Noted::Touch(touch, name))
}

/// The number of an event among others at its instant. A redacted event has no message id, and says the number itself.
fn tie_of(event: &Event<'_>) -> u64 {
    if !event.message_id.is_empty() {
        return tie(event.message_id);
    }
    let said = text(event.properties, &[TIE]);
    said.and_then(|digits| u64::from_str_radix(&digits, 16).ok()).unwrap_or_default()
}

/// What of an event the line reads, as properties: what remains of them when the event is redacted, so that a replay comes
/// to the same figures. A campaign, a cost, an order's id and the number of a message name nobody. Empty for events that
/// the line reads nothing of.
pub fn kept_properties(event: &Event<'_>) -> String {
    if event.kind != EventKind::Track
        || !(ELSEWHERE.contains(&event.name) || CONFIRMATIONS.contains(&event.name))
    {
        return String::new();
    }
    let named = |path: &[&str]| text(event.properties, path);
    let campaign = named(&["campaign_id"]).or_else(|| text(event.context, &["campaign", "name"]));
    let texts = [
        ("campaign_id", campaign),
        ("category", named(&["category"])),
        ("order_id", named(&["order_id"])),
        ("cost", named(&["cost"])),
        ("currency", named(&["currency"])),
    ];
    let tie = ELSEWHERE.contains(&event.name).then(|| format!("{:016x}", tie_of(event)).into());
    let mut kept = String::new();
    for (name, text) in texts.into_iter().chain([(TIE, tie)]) {
        if let Some(text) = text {
            let _ = write!(kept, "{}\"{name}\":", if kept.is_empty() { '{' } else { ',' });
            quote(&text, &mut kept);
        }
    }
    for (name, flaw) in FLAWS {
        if is(event.properties, name, flaw) {
            let _ = write!(kept, "{}\"{name}\":{flaw}", if kept.is_empty() { '{' } else { ',' });
        }
    }
    if !kept.is_empty() {
        kept.push('}');
    }
    kept
}

/// Writes text as a JSON string (RFC 8259, section 7).
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

fn category(name: &str) -> Scope {
    let name = trimmed(name);
    if name.is_empty() { Scope::EVERYTHING } else { Scope::category(name) }
}

/// The half hour that an event is a sign of, where those count: somebody did something in a browser or an app. What
/// ads and mails report happens elsewhere.
pub fn session(event: &Event<'_>, at: Timestamp, settings: &LineSettings) -> Option<Touch> {
    let here = matches!(event.kind, EventKind::Track | EventKind::Page | EventKind::Screen);
    let elsewhere = event.kind == EventKind::Track && ELSEWHERE.contains(&event.name);
    if !settings.at(at).sessions || event.from_server || !here || elsewhere {
        return None;
    }
    let slot = at.0.div_euclid(HALF_HOUR_US);
    let at = Timestamp(slot.saturating_mul(HALF_HOUR_US));
    Some(Touch::plain(at, slot.unsigned_abs(), TouchKind::Session))
}

fn text<'a>(object: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    match json_value(object, path)? {
        Value::Text(text) => Some(text),
        // Shops have campaigns called 42.
        number @ Value::Number(_) => Some(number.to_string().into()),
        _ => None,
    }
}

fn number(object: &[u8], name: &str) -> Option<i64> {
    match json_value(object, &[name])?.to_number() {
        Value::Number(micro) => Some(micro),
        _ => None,
    }
}

fn is(properties: &[u8], name: &str, value: bool) -> bool {
    json_value(properties, &[name]) == Some(Value::Bool(value))
}

fn shortened(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= MAX_CAMPAIGN_BYTES {
        return name;
    }
    let end = (0..=MAX_CAMPAIGN_BYTES).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or_default().to_owned().into()
}
