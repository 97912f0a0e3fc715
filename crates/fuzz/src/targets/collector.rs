//! The body of a request at the ingest door.

use super::JSON_WORDS;
use crate::Target;
use collect::settings::{DoorSettings, WriteKey, WriteKeyKind};
use collect::wire::{Call, Encoding, Envelope, Sender};
use model::event::{Event, EventKind};
use model::id::{Position, Timestamp};
use model::record::{RecordKind, decode_records};
use model::seal::Keys;
use std::sync::OnceLock;

pub(crate) const TARGET: Target = Target {
    name: "collector",
    promise: "a body is refused with a code and a sentence, or each of its events is stored as JSON that others read",
    check,
    seeds,
    words: JSON_WORDS,
};

const NOW: Timestamp = Timestamp(1_795_304_740_000_000);

/// The first byte says which call it is and whose key; the rest is the body.
const CALLS: [Call; 7] = [
    Call::Batch,
    Call::One(EventKind::Track),
    Call::One(EventKind::Identify),
    Call::One(EventKind::Page),
    Call::One(EventKind::Screen),
    Call::One(EventKind::Group),
    Call::One(EventKind::Alias),
];

fn door() -> &'static (Keys, DoorSettings) {
    static DOOR: OnceLock<(Keys, DoorSettings)> = OnceLock::new();
    DOOR.get_or_init(|| (Keys::derive(&[7; 32]), DoorSettings::default()))
}

fn check(data: &[u8]) -> bool {
    let Some((first, body)) = data.split_first() else { return false };
    let call = CALLS[usize::from(*first) % CALLS.len()];
    let kind = if *first < 128 { WriteKeyKind::Server } else { WriteKeyKind::Browser };
    let (keys, settings) = door();
    let envelope = match Envelope::read(body, call, &settings.limits) {
        Ok(envelope) => envelope,
        Err(error) => return refused(error.problem.code(), &error.to_string()),
    };
    let sender = Sender {
        key: WriteKey { number: 1, kind, enabled: true, value_counts: false },
        received_at: NOW,
        ip: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
        user_agent: Some("Browser \"1\""),
    };
    let encoding = Encoding { keys, settings, fresh: &|| [0xAB; 16] };
    let encoded = match encoding.encode(&envelope, &sender) {
        Ok(encoded) => encoded,
        Err(error) => return refused(error.problem.code(), &error.to_string()),
    };
    assert!(is_json(body), "what is no JSON was accepted");
    let mut count = 0;
    for record in decode_records(&encoded.records, Position(0), NOW) {
        let record = record.expect("a record can be read");
        assert_eq!(record.kind, RecordKind::EVENT);
        let event = Event::decode(record.body).expect("an event can be read");
        assert_eq!(event.from_server, kind == WriteKeyKind::Server);
        for stored in [event.traits, event.properties, event.context] {
            assert!(
                stored.is_empty() || (stored.starts_with(b"{") && is_json(stored)),
                "stored is no JSON object"
            );
        }
        let mut again = Vec::new();
        event.encode(&mut again);
        assert_eq!(again, record.body, "an event has one stored form");
        count += 1;
    }
    assert_eq!(count, encoded.count);
    true
}

fn refused(code: &str, sentence: &str) -> bool {
    assert!(!code.is_empty() && sentence.contains(' '), "{code}: {sentence}");
    false
}

/// JSON by another reader, numbers beyond its range included.
fn is_json(bytes: &[u8]) -> bool {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = <serde::de::IgnoredAny as serde::Deserialize>::deserialize(&mut reader);
    read.is_ok() && reader.end().is_ok()
}

fn seeds() -> Vec<Vec<u8>> {
    let batch = r#"{"batch":[{"type":"track","event":"Order Completed","userId":"u1","anonymousId":null,"messageId":"m1",
        "timestamp":"2026-11-21T23:45:39.150352+00:00","properties":{"order_id":"o","revenue":"19.99","currency":"EUR",
        "products":[{"product_id":"p","quantity":2,"price":9.99}]},"context":{"traits":{"email":"a@b.c"},"consent":
        {"categoryPreferences":{"ads":false}},"externalIds":[{"type":"phone","id":"+491701234567"}],"device":{"id":"d"}},
        "integrations":{"All":true}},{"type":"page","anonymousId":"a","properties":{"path":"/"}}],
        "sentAt":"2026-11-21T23:45:39Z","context":{"library":{"name":"x"}},"writeKey":"WK"}"#;
    let short =
        r#"{"batch":[{"t":"t","e":"Product Viewed","ai":"a1","p":{"sku":"s","price":1e2}}],"s":1795304739}"#;
    let one = |call: u8, body: &str| [&[call], body.as_bytes()].concat();
    vec![
        one(0, batch),
        one(128, batch),
        one(0, short),
        one(
            1,
            r#"{"event":"Ad Click","userId":"u","properties":{"cost":0.2,"currency":"USD","campaign_id":"c"}}"#,
        ),
        one(
            2,
            r#"{"userId":"u1","traits":{"email":"A@b.c","phone":null,"address":{"city":"\u00e4\ud83d\ude00"}},"sentAt":1}"#,
        ),
        one(6, r#"{"userId":"u2","previousId":"u1"}"#),
    ]
}
