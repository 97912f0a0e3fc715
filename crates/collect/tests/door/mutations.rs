//! Bodies of real SDKs with bytes changed, in the ways that find mistakes in readers: whatever comes of it is refused in
//! words or understood, never a panic, and what is understood can be read again.
//!
//! `THROUGHLINE_SEED` takes another walk, `THROUGHLINE_MUTATIONS` a longer one.

use crate::captured;
use crate::meaning::encode;
use crate::support::{NOW, settings, summaries};
use collect::wire::Call;
use model::event::{Event, EventKind};
use model::id::Position;
use model::record::decode_records;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const MUTATIONS_DEFAULT: u64 = 30_000;

/// What tends to be read wrongly.
const DICTIONARY: [&[u8]; 32] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\\u",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x98",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"-1e-999",
    b"99999999999999999999",
    b"0.1",
    b"\"userId\":\"\"",
    b"\"userId\":{}",
    b"\"type\":\"alias\"",
    b"\"batch\":[]",
    b"\"context\":null",
    b"\"properties\":{\"products\":[{}]}",
    b"\"timestamp\":-1",
    b"\"messageId\":null",
    b"[[[[[[[[",
    b"\"x\":{\"x\":",
];

/// Bodies to begin with where there are none of real SDKs.
const OWN: [(Call, &str); 3] = [
    (
        Call::Batch,
        r#"{"batch":[{"type":"track","event":"Order Completed","userId":"u1","anonymousId":null,"messageId":"m1",
        "timestamp":"2026-11-21T23:45:39.150352+00:00","properties":{"order_id":"o","revenue":"19.99","currency":"EUR",
        "products":[{"product_id":"p","quantity":2,"price":9.99}]},"context":{"traits":{"email":"a@b.c"},"consent":
        {"categoryPreferences":{"ads":false}},"externalIds":[{"type":"phone","id":"+491701234567"}],"device":{"id":"d"}},
        "integrations":{"All":true}}],"sentAt":"2026-11-21T23:45:39Z","context":{"library":{"name":"x"}},"writeKey":"WK"}"#,
    ),
    (Call::One(EventKind::Identify), r#"{"userId":"u1","traits":{"email":"A@b.c","phone":null},"sentAt":1}"#),
    (Call::One(EventKind::Alias), r#"{"userId":"u2","previousId":"u1","anonymousId":"\u00e4\ud83d\ude00"}"#),
];

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn mutate(chance: &mut Chance, body: &mut Vec<u8>, other: &[u8]) {
    let at = chance.below(body.len());
    let until = (at + 1 + chance.below(40)).min(body.len());
    match chance.below(7) {
        0 if !body.is_empty() => body[at] ^= 1 << chance.below(8),
        1 if !body.is_empty() => body[at] = chance.next() as u8,
        2 => drop(body.drain(at..until)),
        3 => {
            let again = body[at..until].to_vec();
            body.splice(at..at, again);
        }
        4 => body.truncate(at),
        5 => {
            let from = chance.below(other.len());
            let to = (from + 1 + chance.below(60)).min(other.len());
            body.splice(at..until, other[from..to].iter().copied());
        }
        _ => {
            let word = DICTIONARY[chance.below(DICTIONARY.len())];
            body.splice(at..at, word.iter().copied());
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn changed_bodies_are_refused_or_understood() {
    let mut bodies: Vec<(Call, Vec<u8>)> =
        OWN.iter().map(|(call, body)| (*call, body.as_bytes().to_vec())).collect();
    bodies.extend(captured::bodies());
    let (seed, count) = (number("THROUGHLINE_SEED", 1), number("THROUGHLINE_MUTATIONS", MUTATIONS_DEFAULT));
    println!("seed {seed}, {count} mutations of {} bodies", bodies.len());
    let (mut chance, settings) = (Chance(seed), settings());
    let mut met: BTreeMap<&'static str, u64> = BTreeMap::new();
    for _ in 0..count {
        let (call, mut body) = bodies[chance.below(bodies.len())].clone();
        let other = bodies[chance.below(bodies.len())].1.clone();
        for _ in 0..=chance.below(3) {
            mutate(&mut chance, &mut body, &other);
        }
        let key = if chance.below(2) == 0 { "WK" } else { "PUBLIC" };
        match encode(&body, call, key, &settings) {
            Ok(encoded) => {
                *met.entry("understood").or_default() += 1;
                assert_eq!(summaries(&encoded.records, encoded.count).len(), encoded.count as usize);
                for record in decode_records(&encoded.records, Position(0), NOW) {
                    let event = Event::decode(record.unwrap().body).unwrap();
                    for stored in [event.traits, event.properties, event.context] {
                        let readable = stored.is_empty() || is_object(stored);
                        assert!(readable, "{:?} of {:?}", text(stored), text(&body));
                    }
                }
            }
            Err(error) => {
                *met.entry(error.problem.code()).or_default() += 1;
                assert!(error.to_string().contains(' '), "{error}");
            }
        }
    }
    println!("{met:?}");
    for outcome in ["understood", "bad_json", "not_utf8", "wrong_type", "missing_field", "missing_identity"] {
        assert!(met.contains_key(outcome), "no change led to {outcome}: the walk is too narrow");
    }
}

/// JSON by another reader. Numbers beyond its range are grammatical all the same.
fn is_object(stored: &[u8]) -> bool {
    serde_json::from_slice::<Map<String, Value>>(stored).is_ok()
        || (stored.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(stored).is_ok())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
