//! What a parcel's body says, as far as platforms need it.
//!
//! The body is the message of [`crate::render`]. Beside what audiences say already (`audience`, `profile`, `identifiers`)
//! these members of `data` are read where they are there; every one is optional:
//!
//! ```json
//! {
//!   "person": {"first_name": "", "last_name": "", "city": "", "state": "", "postcode": "", "country": "DE"},
//!   "device": {"ip": "", "user_agent": ""},
//!   "click_ids": {"fbc": "", "fbp": "", "gclid": "", "gbraid": "", "wbraid": "", "ttclid": "", "ttp": ""},
//!   "consent": {"ad_user_data": "granted", "ad_personalization": "denied"},
//!   "event": {"name": "Order Completed", "id": "the event's message id", "occurred_at": "2026-11-22T04:51:00.000000Z",
//!             "source": "website", "url": "https://shop.test/thanks", "order_id": "1001", "value": "49.90",
//!             "currency": "EUR", "items": [{"id": "sku-1", "quantity": 2, "price": "24.95"}]}
//! }
//! ```

use super::contact::{ClickIds, Contact, Personal, TEXT_BYTES_MAX, VALUES_MAX};
use model::id::{Key, Timestamp, parse_public_id};
use serde::Deserialize;
use thiserror::Error;

/// The most items of one order that are passed on.
pub const ITEMS_MAX: usize = 100;
/// The longest decimal number, in bytes.
const DECIMAL_BYTES_MAX: usize = 24;

/// Why a body is not a message for a platform. It holds nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a message cannot be used by a platform ({why}): the destination gets kinds of messages it has no use for"
)]
pub struct MessageError {
    /// What is missing or wrong: a stable word, e.g. `no_profile`.
    pub why: &'static str,
}

/// A message about a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonMessage {
    /// What it is, e.g. `audience.entered`.
    pub kind: String,
    /// The effect's id: the same on every replay.
    pub id: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Whom it is about.
    pub person: Key,
    /// The name of the audience, of messages about one.
    pub audience: Option<String>,
    /// The names of the audiences that the person is in, of messages about their consent.
    pub audiences: Vec<String>,
    /// Of a merge: which profile became part of this one.
    pub merged_from: Option<Key>,
    /// What is known of the person.
    pub contact: Contact,
    /// What the person allowed.
    pub consent: Consent,
    /// What the person did, of messages about an event.
    pub event: Option<Event>,
}

/// What a person allowed, where it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Consent {
    /// To send personal data to platforms for advertising.
    pub ad_user_data: Option<Choice>,
    /// To be shown personalised ads.
    pub ad_personalization: Option<Choice>,
}

/// A choice of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Yes.
    Granted,
    /// No.
    Denied,
}

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a browser.
    Website,
    /// In an app.
    App,
    /// In a shop with a door.
    PhysicalStore,
    /// On the phone.
    PhoneCall,
    /// By itself, e.g. a subscription that is renewed.
    SystemGenerated,
}

/// Something that a person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name in the shop's own words, e.g. `Order Completed`.
    pub name: String,
    /// The id by which platforms drop repeats, the shop's own pixel in a browser included.
    pub id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Where it happened.
    pub place: Option<Place>,
    /// The page.
    pub url: Option<String>,
    /// The order.
    pub order_id: Option<String>,
    /// What it was worth.
    pub value: Option<Decimal>,
    /// ISO 4217, upper case.
    pub currency: Option<String>,
    /// What was bought.
    pub items: Vec<Item>,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Item {
    /// The product's id in the catalogue that the platform knows.
    pub id: String,
    /// How many.
    #[serde(default = "one")]
    pub quantity: u32,
    /// What one costs.
    #[serde(default)]
    pub price: Option<Decimal>,
}

fn one() -> u32 {
    1
}

/// A decimal number as text, e.g. `49.90`: money stays exact until the platform reads it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Decimal(String);

impl Decimal {
    /// As a number of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        // The shortest text of the nearest number is the same one: it has at most 15 digits.
        self.0.parse().ok().and_then(serde_json::Number::from_f64).map_or(serde_json::Value::Null, Into::into)
    }
}

impl TryFrom<String> for Decimal {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let fits = text.len() <= DECIMAL_BYTES_MAX && whole.len() + part.len() <= 15;
        if fits && all_digits(whole) && all_digits(part) {
            Ok(Self(text))
        } else {
            Err("is not a decimal number")
        }
    }
}

#[derive(Deserialize)]
struct Written {
    r#type: String,
    id: String,
    timestamp: String,
    data: WrittenData,
}

#[derive(Deserialize)]
struct WrittenData {
    profile: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    from: Option<String>,
    #[serde(flatten)]
    known: WrittenKnown,
    #[serde(default)]
    consent: Consent,
    event: Option<WrittenEvent>,
}

/// What is known of the person.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenKnown {
    identifiers: Option<serde_json::Value>,
    person: WrittenPerson,
    device: WrittenDevice,
    click_ids: ClickIds,
}

/// Reads what is known of a person from the members `identifiers` and `person` of a message's data.
pub fn read_contact(data: serde_json::Value) -> Result<Contact, MessageError> {
    let known: WrittenKnown =
        serde_json::from_value(data).map_err(|_| MessageError { why: "message_not_readable" })?;
    known.contact()
}

impl WrittenKnown {
    fn contact(self) -> Result<Contact, MessageError> {
        // Of an erasure `identifiers` is a count.
        let identifiers = match self.identifiers {
            Some(list @ serde_json::Value::Array(_)) => {
                serde_json::from_value(list).map_err(|_| MessageError { why: "identifiers_not_readable" })?
            }
            _ => Vec::new(),
        };
        let mut contact = Contact {
            first_name: self.person.first_name,
            last_name: self.person.last_name,
            city: self.person.city,
            state: self.person.state,
            postcode: self.person.postcode,
            country: self.person.country,
            click_ids: self.click_ids,
            client_ip: self.device.ip,
            user_agent: self.device.user_agent,
            ..Contact::default()
        };
        sort_identifiers(&mut contact, identifiers);
        Ok(contact)
    }
}

#[derive(Deserialize)]
struct WrittenIdentifier {
    r#type: String,
    value: Personal,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenPerson {
    first_name: Option<Personal>,
    last_name: Option<Personal>,
    city: Option<Personal>,
    state: Option<Personal>,
    postcode: Option<Personal>,
    country: Option<Personal>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenDevice {
    ip: Option<Personal>,
    user_agent: Option<Personal>,
}

#[derive(Deserialize)]
struct WrittenEvent {
    name: String,
    id: String,
    occurred_at: String,
    source: Option<Place>,
    url: Option<String>,
    order_id: Option<String>,
    value: Option<Decimal>,
    currency: Option<String>,
    #[serde(default)]
    items: Vec<Item>,
}

impl PersonMessage {
    /// Reads a parcel's body.
    pub fn read(body: &[u8]) -> Result<Self, MessageError> {
        let bad = |why| MessageError { why };
        let written: Written = serde_json::from_slice(body).map_err(|_| bad("message_not_readable"))?;
        let data = written.data;
        let key = |text: &str| parse_public_id("prf", text);
        let person = data.profile.as_deref().and_then(key).ok_or(bad("no_profile"))?;
        let contact = data.known.contact()?;
        let event = data.event.map(read_event).transpose()?;
        Ok(Self {
            kind: written.r#type,
            id: written.id,
            issued_at: read_instant(&written.timestamp).ok_or(bad("no_timestamp"))?,
            person,
            audience: data.audience,
            audiences: data.audiences,
            merged_from: data.from.as_deref().and_then(key),
            contact,
            consent: data.consent,
            event,
        })
    }
}

/// Puts identifiers where platforms look for them. Types that no platform knows are left out.
fn sort_identifiers(contact: &mut Contact, identifiers: Vec<WrittenIdentifier>) {
    for one in identifiers {
        if one.value.expose().len() > TEXT_BYTES_MAX {
            continue;
        }
        let list = match one.r#type.as_str() {
            "email" => &mut contact.emails,
            "phone" => &mut contact.phones,
            "user_id" => &mut contact.external_ids,
            _ => continue,
        };
        if list.len() < VALUES_MAX {
            list.push(one.value);
        }
    }
}

fn read_event(written: WrittenEvent) -> Result<Event, MessageError> {
    let bad = |why| MessageError { why };
    let currency = written.currency.map(|text| text.trim().to_ascii_uppercase());
    if currency.as_ref().is_some_and(|text| model::money::currency(text).is_none()) {
        return Err(bad("currency_not_iso_4217"));
    }
    if written.value.is_some() && currency.is_none() {
        return Err(bad("value_without_currency"));
    }
    if written.name.is_empty() || written.id.is_empty() || written.id.len() > TEXT_BYTES_MAX {
        return Err(bad("event_without_name_or_id"));
    }
    let mut items = written.items;
    items.truncate(ITEMS_MAX);
    Ok(Event {
        name: written.name,
        id: written.id,
        occurred_at: read_instant(&written.occurred_at).ok_or(bad("event_without_time"))?,
        place: written.source,
        url: written.url,
        order_id: written.order_id,
        value: written.value,
        currency,
        items,
    })
}

/// `2026-11-22T04:51:00.000000Z`, with or without the part of a second; only UTC, as [`crate::render`] writes it.
///
/// Days from a date by Hinnant's `days_from_civil` ("chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn read_instant(text: &str) -> Option<Timestamp> {
    let rest = text.strip_suffix('Z')?;
    let (date, time) = rest.split_once('T')?;
    let number = |text: Option<&str>, digits: usize| {
        let text =
            text.filter(|text| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse::<i64>().ok()
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next(), 4)?, number(parts.next(), 2)?, number(parts.next(), 2)?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next(), 2)?, number(parts.next(), 2)?, number(parts.next(), 2)?);
    let fits =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let plain = (1..=6).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !fits || !plain {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(Timestamp((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::format_instant;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn instants_read_back(us in -62_167_219_200_000_000_i64..253_402_300_799_999_999) {
            prop_assert_eq!(read_instant(&format_instant(Timestamp(us))), Some(Timestamp(us)));
        }
    }

    #[test]
    fn a_message_is_read_and_shows_nobody() {
        let body = br#"{"type": "audience.entered", "id": "eff_1_0", "timestamp": "2026-11-22T04:51:00.5Z", "data": {
            "audience": "buyers", "profile": "prf_000000000000000000000000deadbeef", "version": 3, "flipped": [],
            "identifiers": [{"type": "email", "value": "ann@shop.test"}, {"type": "phone", "value": "+4930123456"},
                            {"type": "user_id", "value": "u1"}, {"type": "anonymous_id", "value": "a1"}],
            "person": {"first_name": "Ann"}, "click_ids": {"gclid": "g"}, "consent": {"ad_user_data": "granted"},
            "event": {"name": "Order Completed", "id": "m1", "occurred_at": "2026-11-22T04:50:59Z", "value": "49.90",
                      "currency": "eur", "items": [{"id": "sku"}]}}}"#;
        let message = PersonMessage::read(body).unwrap();
        assert_eq!((message.person, message.audience.as_deref()), (Key(0xdead_beef), Some("buyers")));
        assert_eq!((message.contact.emails.len(), message.contact.external_ids.len()), (1, 1));
        assert_eq!(message.consent.ad_user_data, Some(Choice::Granted));
        let event = message.event.clone().unwrap();
        assert_eq!((event.currency.as_deref(), event.items[0].quantity), (Some("EUR"), 1));
        assert_eq!(event.value.map(|value| value.to_json().to_string()).as_deref(), Some("49.9"));
        let shown = format!("{message:?}");
        assert!(!shown.contains("ann@") && !shown.contains("4930") && !shown.contains("Ann"), "{shown}");
    }

    #[test]
    fn what_is_no_message_for_a_platform_is_refused_with_a_word() {
        let with = |data: &str| {
            let body = format!(
                "{{\"type\":\"x\",\"id\":\"eff_1_0\",\"timestamp\":\"2026-11-22T04:51:00Z\",\"data\":{data}}}"
            );
            PersonMessage::read(body.as_bytes()).map(|_| ()).map_err(|error| error.why)
        };
        let profile = "\"profile\":\"prf_000000000000000000000000deadbeef\"";
        let event = |more: &str| {
            let text = "\"name\":\"x\",\"id\":\"m\",\"occurred_at\":\"2026-11-22T04:51:00Z\"";
            format!("{{{profile},\"event\":{{{text}{more}}}}}")
        };
        assert_eq!(with("{}"), Err("no_profile"));
        assert_eq!(with(&format!("{{{profile}}}")), Ok(()));
        assert_eq!(with(&format!("{{{profile},\"identifiers\":3}}")), Ok(()));
        assert_eq!(with(&format!("{{{profile},\"identifiers\":[3]}}")), Err("identifiers_not_readable"));
        assert_eq!(with(&event("")), Ok(()));
        assert_eq!(with(&event(",\"value\":\"1\"")), Err("value_without_currency"));
        assert_eq!(with(&event(",\"value\":\"1\",\"currency\":\"EURO\"")), Err("currency_not_iso_4217"));
        for number in ["1e5", "1,5", "", ".5", "--1", "NaN", "1234567890123456", "1.", "0x1"] {
            let text = event(&format!(",\"currency\":\"EUR\",\"value\":\"{number}\""));
            assert_eq!(with(&text), Err("message_not_readable"), "{number}");
        }
        assert_eq!(
            PersonMessage::read(b"{").map_err(|error| error.why),
            Err(MessageError { why: "message_not_readable" }.why)
        );
    }
}
