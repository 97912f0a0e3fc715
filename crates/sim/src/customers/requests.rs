//! What clients of a shop send, as bytes of HTTP bodies; and what others send to it.

use super::Customers;
use crate::classes::Class;
use collect::settings::{WriteKey, WriteKeyKind};
use collect::wire::{Call, Envelope, Sender};
use engage::{Command, Draft, Operation, Parting, WhoToErase};
use env::seeded::Seed;
use model::audience::{DefinitionId, DefinitionKind};
use model::event::{Event, EventKind, IdentifierKind};
use model::id::{Key, Timestamp};
use model::record::{RecordKind, encode_record};
use model::suppression::SuppressionSettings;
use serde_json::{Value, json};

const DAY_US: i64 = 24 * 3_600 * 1_000_000;
/// How many of each there are.
pub(super) const PEOPLE: u64 = 7;
pub(super) const GOODS: [(&str, &str); 4] =
    [("boots", "shoes"), ("sandals", "shoes"), ("tent", "outdoor"), ("lamp", "outdoor")];

fn pick<'a, T>(seed: &mut Seed, from: &'a [T]) -> Option<&'a T> {
    from.get(seed.below(from.len() as u64) as usize)
}

impl Customers {
    /// Appends one record that a request became.
    pub(super) fn request(&mut self, seed: &mut Seed, now: Timestamp, out: &mut Vec<u8>) {
        if seed.one_in(4) && !self.without.has(Class::Repeats) && !self.sent.is_empty() {
            let back = seed.below(self.sent.len().min(30) as u64) as usize;
            if let Some(body) = self.sent.get(self.sent.len() - 1 - back) {
                encode_record(out, RecordKind::EVENT, body);
                return;
            }
        }
        let body = self.body(seed).to_string();
        if seed.one_in(5) && !self.without.has(Class::Hostile) {
            let bent = bent(body.as_bytes(), seed);
            if let Some(record) = self.encoded(&bent, seed, now) {
                self.send(record, out);
                return;
            }
        }
        if let Some(record) = self.encoded(body.as_bytes(), seed, now) {
            self.send(record, out);
        }
    }

    fn send(&mut self, record: Vec<u8>, out: &mut Vec<u8>) {
        let event = Event::decode(&record).ok();
        if let Some(order) = event.as_ref().and_then(|event| event.order) {
            *self.reports.entry(order.order_id.to_owned()).or_default() += 1;
        }
        encode_record(out, RecordKind::EVENT, &record);
        self.sent.push(record);
    }

    /// The record that a body becomes, or nothing where the door refuses it.
    fn encoded(&mut self, body: &[u8], seed: &mut Seed, now: Timestamp) -> Option<Vec<u8>> {
        let is_server = seed.one_in(2);
        let (number, kind) = if is_server { (1, WriteKeyKind::Server) } else { (2, WriteKeyKind::Browser) };
        let key = WriteKey { number, kind, enabled: true, value_counts: false };
        let sender = Sender { key, received_at: now, ip: None, user_agent: None };
        let kind = EventKind::Track;
        let encoded = Envelope::read(body, Call::Batch, &self.door.limits).and_then(|envelope| {
            let fresh = || *b"a fresh identity";
            let encoding = collect::wire::Encoding { keys: &self.keys, settings: &self.door, fresh: &fresh };
            encoding.encode(&envelope, &sender)
        });
        match encoded {
            // The record without its frame.
            Ok(encoded) if encoded.count == 1 => {
                let records = model::record::decode_records(&encoded.records, model::id::Position(0), now);
                records.flatten().next().map(|record| record.body.to_vec())
            }
            Ok(_) => None,
            Err(error) => {
                let told = error.to_string();
                if error.problem.code().is_empty() || !told.contains(' ') {
                    self.trouble.get_or_insert(format!("promise 10: {kind:?} is refused with {told:?}"));
                }
                self.told.refusals += 1;
                None
            }
        }
    }

    fn body(&mut self, seed: &mut Seed) -> Value {
        self.messages += 1;
        let mut event = json!({ "messageId": format!("m{}", self.messages) });
        let mut put = |name: &str, value: Value| {
            event
                .as_object_mut()
                .into_iter()
                .for_each(|event| drop(event.insert(name.to_owned(), value.clone())));
        };
        if seed.one_in(2) {
            put("userId", Value::from(format!("u{}", seed.below(PEOPLE))));
        }
        put("anonymousId", Value::from(format!("a{}", seed.below(PEOPLE))));
        let mut context = json!({});
        if seed.one_in(4) {
            context = json!({ "traits": { "email": format!("e{}@example.com", seed.below(PEOPLE)) } });
        }
        if seed.one_in(5) {
            let granted = seed.one_in(2);
            context = json!({ "consent": { "categoryPreferences": { "Advertising": granted } } });
        }
        put("context", context);
        if seed.one_in(6) {
            put("timestamp", Value::from("2023-11-14T22:13:20.000Z"));
        }
        match seed.below(12) {
            0 => {
                put("type", Value::from("identify"));
                let email = format!("e{}@example.com", seed.below(PEOPLE));
                put("traits", json!({ "email": email, "city": "Bonn" }));
            }
            1 => {
                put("type", Value::from("alias"));
                put("userId", Value::from(format!("u{}", seed.below(PEOPLE))));
                put("previousId", Value::from(format!("a{}", seed.below(PEOPLE))));
            }
            2 => put("type", Value::from("page")),
            3 | 4 => {
                put("type", Value::from("track"));
                let refunds = seed.one_in(5) && self.orders > 0;
                let (name, order) = if refunds {
                    (
                        if seed.one_in(2) { "Order Refunded" } else { "Order Cancelled" },
                        seed.below(self.orders),
                    )
                } else {
                    self.orders += 1;
                    ("Order Completed", self.orders - 1)
                };
                if refunds {
                    self.undone.insert(format!("o{order}"));
                }
                put("event", Value::from(name));
                put("properties", goods(seed, &format!("o{order}")));
            }
            _ => {
                put("type", Value::from("track"));
                put("event", Value::from("Product Viewed"));
                put("properties", goods(seed, ""));
            }
        }
        json!({ "batch": [event] })
    }

    /// Appends what an operator, or somebody who would like to be one, asks for.
    pub(super) fn command(&mut self, seed: &mut Seed, out: &mut Vec<u8>) {
        let user = |seed: &mut Seed, keys: &model::seal::Keys| {
            keys.identifier(IdentifierKind::USER_ID, format!("u{}", seed.below(PEOPLE)).as_bytes())
        };
        let good = match seed.below(4) {
            0 => Operation::Erase(WhoToErase::Identifier(user(seed, &self.keys))),
            1 => {
                let email = format!("e{}@example.com", seed.below(PEOPLE));
                let email = self.keys.identifier(IdentifierKind::EMAIL, email.as_bytes());
                Operation::Unmerge(Parting::Pair(user(seed, &self.keys), email))
            }
            _ => Operation::SetSuppression(SuppressionSettings {
                window_us: (1 + seed.below(40) as i64) * DAY_US,
                everything: seed.one_in(3),
                ..SuppressionSettings::default()
            }),
        };
        self.commands_pending += 1;
        let is_hostile = seed.one_in(2);
        let mut body = Vec::new();
        if is_hostile && !self.without.has(Class::Hostile) {
            hostile(seed, &mut body);
            self.hostile.insert(body.clone());
        } else {
            Command { idempotency: Key(0), operation: good }.encode(&mut body);
        }
        encode_record(out, RecordKind::COMMAND, &body);
    }
}

fn goods(seed: &mut Seed, order: &str) -> Value {
    let (product, category) = pick(seed, &GOODS).copied().unwrap_or_default();
    let mut properties = json!({
        "product_id": product,
        "category": category,
        "price": 12.5,
        "currency": "EUR",
    });
    if !order.is_empty() {
        properties = json!({
            "order_id": order,
            "revenue": 12.5,
            "currency": "EUR",
            "products": [{ "product_id": product, "category": category, "quantity": 1, "price": 12.5 }],
        });
    }
    properties
}

/// A body that something happened to on its way, or that somebody bent on purpose.
fn bent(body: &[u8], seed: &mut Seed) -> Vec<u8> {
    let mut bent = body.to_vec();
    for _ in 0..1 + seed.below(3) {
        let at = seed.below(bent.len() as u64 + 1) as usize;
        match seed.below(6) {
            0 => bent.truncate(at),
            1 => bent.insert(at, seed.next_u64() as u8),
            2 => bent.splice(at..at, *b"\"x\":{\"a\":[[[[").for_each(drop),
            3 => bent.splice(at..at, *b"1e999").for_each(drop),
            4 => {
                if let Some(byte) = bent.get_mut(at) {
                    *byte ^= 1 << seed.below(8);
                }
            }
            _ => bent.truncate(at.max(body.len() / 2)),
        }
    }
    bent
}

/// A command that must be refused, whatever the shard holds.
fn hostile(seed: &mut Seed, out: &mut Vec<u8>) {
    let nobody = || Key(0xBAD).with(Key(1));
    let operation = match seed.below(6) {
        0 => Operation::Erase(WhoToErase::Profile(nobody())),
        1 => Operation::Unmerge(Parting::Pair(nobody(), Key(0xBAD))),
        2 => Operation::RemoveDefinition("nothing".to_owned()),
        3 => {
            let rule = "count(\"View\" > && ((".into();
            let kind = DefinitionKind::Audience { rule, suppress: None };
            Operation::Define(Draft { name: "broken".to_owned(), changes: None, kind })
        }
        4 => Operation::Backfilled { definition: DefinitionId(77), chunks: u64::MAX },
        _ => {
            // No version begins like this.
            out.push(0xFF);
            out.extend((0..seed.below(40)).map(|_| seed.next_u64() as u8));
            return;
        }
    };
    Command { idempotency: Key(0), operation }.encode(out);
}
