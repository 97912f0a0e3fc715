//! Realistic events of about 500 bytes, from pre-rendered templates, so that making one costs next to nothing.
//!
//! People are numbers. Whoever knows a person's number knows the person's three identifiers: a user id, an e-mail
//! address and a browser's anonymous id.

use crate::calendar;
use env::seeded::Seed;

/// Products there are.
const PRODUCTS: u64 = 50_000;
/// Marks of the places that are filled in; as long as what is filled in.
const MESSAGE: &str = "@MESSAGE-ID-OF-THIRTY-SIX-CHARACTERS";
const ANONYMOUS: &str = "@ANONYMOUS-ID-THIRTY-SIX-CHARACTERS@";
const USER: &str = "@USERNUMBR";
const PRODUCT: &str = "@PRODC";
const CATEGORY: &str = "@C";
const ORDER: &str = "@ORDER-OF-TWENTY-CHR";
const TIME: &str = "@TIME-OF-24-CHARACTERS-@";
const OCCURRED: &str = "@OCCURRED-24-CHARACTERS@";

/// What somebody who is told with a history did, and how long ago in microseconds: it fills every feature of the
/// audiences of the benches that needs no purchase, the windowed ones in several granules.
const HISTORY: [(Kind, i64); 6] = [
    (Kind::Identify, 0),
    (Kind::Viewed, 6 * DAY_US),
    (Kind::Viewed, 2 * DAY_US),
    (Kind::Page, 20 * HOUR_US),
    (Kind::Viewed, 30 * MINUTE_US),
    (Kind::Added, 29 * MINUTE_US),
];
/// Events that a history has.
pub(crate) const HISTORY_EVENTS: u32 = HISTORY.len() as u32;
/// What people with a history looked at is of this category: the one that the benches' filters name.
const HISTORY_CATEGORY: u64 = 7;
const CATEGORIES: u64 = 40;
const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// What stands in most contexts.
const CONTEXT: &str = r#""context":{"library":{"name":"analytics-node","version":"3.1.0"},"page":{"path":"/garden/item","url":"https://shop.example/garden/item"},"locale":"de-DE","timezone":"Europe/Berlin"}"#;

/// What a person may be drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// Everybody.
    pub people: u64,
    /// Percent of draws that take anybody alike; the others prefer few, by Zipf's law with exponent 0.8: of 300,000
    /// people the first has 1.3 % of those draws.
    pub cold_percent: u64,
}

/// Which templates to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Viewed,
    Page,
    Added,
    Identify,
    Ordered,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Message,
    Anonymous,
    User,
    Product,
    Category,
    Order,
    Time,
    Occurred,
}

const SLOTS: [(Slot, &str); 8] = [
    (Slot::Message, MESSAGE),
    (Slot::Anonymous, ANONYMOUS),
    (Slot::User, USER),
    (Slot::Product, PRODUCT),
    (Slot::Category, CATEGORY),
    (Slot::Order, ORDER),
    (Slot::Time, TIME),
    (Slot::Occurred, OCCURRED),
];

struct Template {
    bytes: Vec<u8>,
    /// Where each slot begins.
    slots: Vec<(Slot, usize)>,
}

impl Template {
    fn new(text: &str) -> Self {
        let mut slots = Vec::new();
        for (slot, mark) in SLOTS {
            slots.extend(text.match_indices(mark).map(|(at, _)| (slot, at)));
        }
        Self { bytes: text.as_bytes().to_vec(), slots }
    }
}

/// Makes events. The same seed makes the same people and products; message ids never repeat.
pub struct Generator {
    templates: [Template; 5],
    population: Population,
    /// Of a draw by Zipf's law with exponent 0.8: the fifth root of the population, less one.
    span: f64,
    seed: Seed,
    /// Tells this run's message ids from those of every other.
    nonce: u64,
    messages: u64,
    time: [u8; 24],
    /// When each event of a history occurred.
    history: [[u8; 24]; HISTORY.len()],
}

impl Generator {
    /// A generator. Two that are alive at once need different nonces.
    pub fn new(population: Population, seed: u64, nonce: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a draw needs no last digit")]
        let people = population.people.max(1) as f64;
        Self {
            templates: templates().map(|text| Template::new(&text)),
            population,
            span: (people + 1.0).powf(0.2) - 1.0,
            seed: Seed::new(seed),
            nonce,
            messages: 0,
            time: [b'0'; 24],
            history: [[b'0'; 24]; HISTORY.len()],
        }
    }

    /// Events say from now on that they happened now.
    pub fn set_time_to_now(&mut self) {
        self.time = iso(calendar::now_us());
    }

    /// Histories end now. To be called after [`Self::set_time_to_now`].
    fn set_history_to_now(&mut self) {
        let now_us = calendar::now_us();
        self.history = HISTORY.map(|(_, ago_us)| iso(now_us - ago_us));
    }

    /// Appends an event of the usual mix: of 100, 45 product views, 25 pages, 15 additions to a cart, 10 identifies and
    /// 5 orders.
    pub fn event(&mut self, out: &mut Vec<u8>) {
        let person = self.person();
        let kind = match self.seed.below(100) {
            0..45 => Kind::Viewed,
            45..70 => Kind::Page,
            70..85 => Kind::Added,
            85..95 => Kind::Identify,
            _ => Kind::Ordered,
        };
        self.write(kind, person, out);
    }

    /// Appends a product view.
    pub fn track(&mut self, out: &mut Vec<u8>) {
        let person = self.person();
        self.write(Kind::Viewed, person, out);
    }

    /// Appends the identify that tells all identifiers of a person.
    pub fn introduction(&mut self, person: u64, out: &mut Vec<u8>) {
        self.write(Kind::Identify, person, out);
    }

    /// Histories of so many people, one after the other: [`HISTORY_EVENTS`] each. `between` is called between two events.
    pub(crate) fn histories(
        &mut self,
        people: std::ops::Range<u64>,
        out: &mut Vec<u8>,
        between: impl Fn(&mut Vec<u8>),
    ) {
        self.set_history_to_now();
        let mut first = true;
        for person in people {
            for ((kind, _), occurred) in HISTORY.into_iter().zip(self.history) {
                if !std::mem::take(&mut first) {
                    between(out);
                }
                let product = self.product() / CATEGORIES * CATEGORIES + HISTORY_CATEGORY;
                self.write_at(kind, person, product, occurred, out);
            }
        }
    }

    /// Draws a person.
    pub fn person(&mut self) -> u64 {
        if self.seed.below(100) < self.population.cold_percent {
            return self.seed.below(self.population.people);
        }
        // The inverse of the share that the first ranks have when the density is rank to the power of -0.8.
        #[expect(clippy::cast_precision_loss, reason = "53 bits are a fine enough draw")]
        let even = (self.seed.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let root = 1.0 + even * self.span;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut off on purpose")]
        let rank = (root * root * root * root * root) as u64;
        rank.saturating_sub(1).min(self.population.people.saturating_sub(1))
    }

    /// Draws a product: its number.
    pub fn product(&mut self) -> u64 {
        self.seed.below(PRODUCTS)
    }

    fn write(&mut self, kind: Kind, person: u64, out: &mut Vec<u8>) {
        let product = self.product();
        self.write_at(kind, person, product, self.time, out);
    }

    fn write_at(&mut self, kind: Kind, person: u64, product: u64, occurred: [u8; 24], out: &mut Vec<u8>) {
        self.messages += 1;
        let Some(template) = self.templates.get(kind as usize) else { return };
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        let Some(event) = out.get_mut(start..) else { return };
        for (slot, at) in &template.slots {
            let Some(place) = event.get_mut(*at..) else { continue };
            match slot {
                Slot::Message => message_id(self.nonce, self.messages, place),
                Slot::Anonymous => anonymous_id(person, place),
                Slot::User => decimal(person, first(place, USER.len())),
                Slot::Product => decimal(product, first(place, PRODUCT.len())),
                Slot::Category => decimal(product % CATEGORIES, first(place, CATEGORY.len())),
                Slot::Order => {
                    hexadecimal(self.nonce, first(place, 10));
                    decimal(self.messages, place.get_mut(10..ORDER.len()).unwrap_or_default());
                }
                Slot::Time => first(place, TIME.len()).copy_from_slice(&self.time),
                Slot::Occurred => first(place, OCCURRED.len()).copy_from_slice(&occurred),
            }
        }
    }
}

/// The user id of a person.
pub(crate) fn user_id(person: u64) -> String {
    format!("u-{person:010}")
}

/// The anonymous id of a person's browser.
pub(crate) fn browser_of(person: u64) -> String {
    let mut text = [b'0'; 36];
    anonymous_id(person, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The product id of a product's number.
pub(crate) fn product_id(product: u64) -> String {
    format!("sku-{product:06}")
}

fn templates() -> [String; 5] {
    let track = |event: &str, ids: &str, properties: &str| {
        format!(
            r#"{{"type":"track","event":"{event}","messageId":"{MESSAGE}",{ids},"originalTimestamp":"{OCCURRED}","sentAt":"{TIME}","properties":{{{properties}}},{CONTEXT}}}"#
        )
    };
    let product = format!(
        r#""product_id":"sku-{PRODUCT}","category":"category-{CATEGORY}","name":"Watering can","price":19.99,"quantity":1"#
    );
    let browser = format!(r#""anonymousId":"{ANONYMOUS}""#);
    let known = format!(r#""userId":"u-{USER}","anonymousId":"{ANONYMOUS}""#);
    [
        track("Product Viewed", &browser, &format!(r#"{product},"currency":"EUR""#)),
        format!(
            r#"{{"type":"page","name":"Garden","messageId":"{MESSAGE}",{browser},"originalTimestamp":"{OCCURRED}","sentAt":"{TIME}","properties":{{"title":"Garden","path":"/garden","url":"https://shop.example/garden?page=2","referrer":"https://shop.example/"}},{CONTEXT}}}"#
        ),
        track("Product Added", &known, &format!(r#"{product},"currency":"EUR""#)),
        format!(
            r#"{{"type":"identify","messageId":"{MESSAGE}",{known},"originalTimestamp":"{OCCURRED}","sentAt":"{TIME}","traits":{{"email":"c{USER}@shop.example","plan":"gold","city":"Berlin"}},{CONTEXT}}}"#
        ),
        track(
            "Order Completed",
            &known,
            &format!(r#""order_id":"{ORDER}","revenue":39.98,"currency":"EUR","products":[{{{product}}}]"#),
        ),
    ]
}

/// An instant as events carry it. All zeros for what no calendar has.
fn iso(at_us: i64) -> [u8; 24] {
    <[u8; 24]>::try_from(calendar::iso(at_us).as_bytes()).unwrap_or([b'0'; 24])
}

fn first(place: &mut [u8], bytes: usize) -> &mut [u8] {
    place.get_mut(..bytes).unwrap_or_default()
}

/// 36 characters: the run, a hyphen, the number.
fn message_id(nonce: u64, number: u64, place: &mut [u8]) {
    hexadecimal(nonce, first(place, 16));
    first(place, 17).iter_mut().skip(16).for_each(|byte| *byte = b'-');
    decimal(number, place.get_mut(17..MESSAGE.len()).unwrap_or_default());
}

/// 36 characters in the form of a UUID.
fn anonymous_id(person: u64, place: &mut [u8]) {
    let mixed = person.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for (from, to, value) in [
        (0, 8, mixed >> 32),
        (9, 13, mixed >> 16),
        (14, 18, 0x4000 | (mixed & 0xFFF)),
        (19, 23, 0x8000),
        (24, 36, person),
    ] {
        hexadecimal(value, place.get_mut(from..to).unwrap_or_default());
    }
    for at in [8, 13, 18, 23] {
        place.get_mut(at..at + 1).unwrap_or_default().fill(b'-');
    }
}

/// The lowest digits, from the right.
fn decimal(mut value: u64, place: &mut [u8]) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn hexadecimal(mut value: u64, place: &mut [u8]) {
    for byte in place.iter_mut().rev() {
        let digit = (value & 15) as u8;
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn generator(seed: u64) -> Generator {
        Generator::new(Population { people: 1_000, cold_percent: 10 }, seed, 7)
    }

    #[test]
    fn events_are_whole_and_message_ids_never_repeat() {
        let mut generator = generator(1);
        generator.set_time_to_now();
        let (mut ids, mut kinds, mut bytes) = (BTreeSet::new(), BTreeSet::new(), 0);
        for _ in 0..2_000 {
            let mut event = Vec::new();
            generator.event(&mut event);
            let parsed: Value = serde_json::from_slice(&event).unwrap();
            let text = parsed.to_string();
            assert!(!text.contains('@') || text.contains("@shop.example"), "{text}");
            assert!(ids.insert(parsed["messageId"].as_str().unwrap().to_owned()));
            kinds.insert(parsed["event"].as_str().or(parsed["type"].as_str()).unwrap().to_owned());
            bytes += event.len();
        }
        assert_eq!(kinds.len(), 5, "{kinds:?}");
        assert!((420..560).contains(&(bytes / 2_000)), "{} bytes an event", bytes / 2_000);
    }

    #[test]
    fn a_person_has_the_identifiers_that_the_helpers_say() {
        let mut event = Vec::new();
        generator(1).introduction(123_456, &mut event);
        let parsed: Value = serde_json::from_slice(&event).unwrap();
        assert_eq!(parsed["userId"], user_id(123_456));
        assert_eq!(parsed["anonymousId"], browser_of(123_456));
        assert_ne!(browser_of(1), browser_of(2));
    }

    #[test]
    fn a_history_is_of_the_person_lies_in_the_past_and_keeps_to_one_category() {
        let mut generator = generator(1);
        generator.set_time_to_now();
        let mut lines = Vec::new();
        generator.histories(41..43, &mut lines, |out| out.push(b'\n'));
        let events: Vec<Value> =
            lines.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(events.len(), 2 * HISTORY.len());
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["anonymousId"], browser_of(41 + number as u64 / u64::from(HISTORY_EVENTS)));
            let (occurred, sent) = (event["originalTimestamp"].as_str(), event["sentAt"].as_str());
            assert_eq!(occurred < sent, HISTORY[number % HISTORY.len()].1 > 0, "{event}");
            let category = event["properties"]["category"].as_str();
            assert!(category.is_none_or(|category| category == "category-07"), "{event}");
        }
    }

    #[test]
    fn few_people_are_drawn_often_and_everybody_sometimes() {
        let mut generator = generator(3);
        let mut times = vec![0_u32; 1_000];
        (0..100_000).for_each(|_| times[generator.person() as usize] += 1);
        assert!(times[0] > 3_000 && times[0] < 7_000, "{}", times[0]);
        assert!(times.iter().all(|times| *times > 0));
    }
}
