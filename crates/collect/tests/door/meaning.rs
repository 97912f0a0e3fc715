//! What bodies mean.

use crate::support::{NOW, keys, settings, summaries};
use collect::settings::{DoorSettings, WriteKey, WriteKeyKind};
use collect::wire::{Call, Encoded, Encoding, Envelope, Sender, WireError};
use model::event::{Event, EventKind, IdentifierKind};
use model::id::{Position, Timestamp};
use model::normalise::PhoneCountry;
use model::record::decode_records;
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) fn encode(
    body: &[u8],
    call: Call,
    key: &str,
    settings: &DoorSettings,
) -> Result<Encoded, WireError> {
    let envelope = Envelope::read(body, call, &settings.limits)?;
    let sender = Sender {
        key: settings.write_keys[key],
        received_at: NOW,
        ip: Some("192.0.2.1".parse().unwrap()),
        user_agent: Some("Browser \"1\""),
    };
    Encoding { keys: &keys(), settings, fresh: &|| [0xAB; 16] }.encode(&envelope, &sender)
}

fn special_settings() -> DoorSettings {
    let mut settings = settings();
    settings.default_country = PhoneCountry::find("DE");
    settings.default_currency.0 = *b"EUR";
    settings.identity.external_kinds.insert("loyalty".into(), IdentifierKind(32));
    settings
}

/// One event through the door; what does it mean?
pub(crate) fn check(item: Value, expected: &str) {
    let body = json!({ "batch": [item] }).to_string();
    let encoded = encode(body.as_bytes(), Call::Batch, "WK", &special_settings());
    let meant = encoded.map(|encoded| summaries(&encoded.records, encoded.count).join("\n"));
    assert_eq!(
        meant.unwrap_or_else(|error| format!("! {} {error}", error.problem.code())),
        expected,
        "{body}"
    );
}

fn with_event<T>(body: &Value, key: &str, look: impl FnOnce(&Event<'_>) -> T) -> T {
    let encoded = encode(body.to_string().as_bytes(), Call::Batch, key, &special_settings()).unwrap();
    let record = decode_records(&encoded.records, Position(0), NOW).next().unwrap().unwrap();
    look(&Event::decode(record.body).unwrap())
}

#[test]
fn who() {
    check(json!({"type":"page","userId":"u1","anonymousId":null}), "page user=u1");
    check(json!({"type":"page","userId":"","anonymousId":"a1"}), "page anonymous=a1");
    check(json!({"type":"page","userId":17}), "page user=17");
    check(json!({"type":"page","userId":" u1 "}), "page user=u1");
    check(json!({"type":"page","userId":"null","anonymousId":"000"}), "page");
    check(json!({"type":"page","userId":"caf\u{e9}\"\\\u{1f600}"}), "page user=caf\u{e9}\"\\\u{1f600}");
    check(
        json!({"type":"identify","userId":"u1","anonymousId":"a1","traits":{"email":" Ann@Shop.Test ","phone":"030 123456"},
               "context":{"device":{"id":"d1"},"traits":{"email":"other@b.c"}}}),
        "identify user=u1 email=ann@shop.test phone=+4930123456 anonymous=a1 device=d1",
    );
    check(
        json!({"type":"track","event":"E","userId":"u1","properties":{"email":"friend@b.c","phone":"0049 30 1234567"},
               "context":{"traits":{"email":"ann@b.c"}}}),
        "track \"E\" user=u1 email=ann@b.c phone=+49301234567",
    );
    check(
        json!({"type":"track","event":"E","userId":"u1","properties":{"email":"x@b.c"},"context":{"traits":{"email":"nobody"}}}),
        "track \"E\" user=u1 email=x@b.c",
    );
    check(
        json!({"type":"group","groupId":"g1","userId":"u1","traits":{"email":"office@firm.test"}}),
        "group \"g1\" user=u1",
    );
    check(
        json!({"type":"page","anonymousId":"a1","context":{"externalIds":[
            {"id":"L9","type":"loyalty","collection":"users"}, {"id":"x","type":"ga_client_id"}, 7, {"id":"u7","type":"user_id"},
            {"id":"A@b.c","type":"email"}, {"id":"second@b.c","type":"email"}]}}),
        "page kind32=L9 user=u7 email=a@b.c anonymous=a1",
    );
    let many: Vec<Value> =
        (0..20).map(|number| json!({"id": format!("L{number}"), "type": "loyalty"})).collect();
    check(
        json!({"type":"page","userId":"u","anonymousId":"a1","context":{"externalIds":many,"device":{"id":"d"}}}),
        "page user=u kind32=L0 kind32=L1 kind32=L2 kind32=L3 kind32=L4 anonymous=a1 device=d",
    );
}

#[test]
fn aliases() {
    let uuid = "9080e0f4-955f-49c6-a6ba-a287633146bd";
    check(json!({"type":"alias","userId":"u2","previousId":"u1"}), "alias user=u2 user=u1");
    check(
        json!({"type":"alias","userId":"u1","previousId":"u1","anonymousId":"a"}),
        "alias user=u1 anonymous=a",
    );
    check(
        json!({"type":"alias","userId":"u1","previousId":"a","anonymousId":"a"}),
        "alias user=u1 anonymous=a",
    );
    check(
        json!({"type":"alias","userId":"u1","previousId":uuid}),
        &format!("alias user=u1 anonymous={uuid}"),
    );
    let other = uuid.replace('9', "8");
    check(
        json!({"type":"alias","userId":other,"previousId":uuid}),
        &format!("alias user={other} user={uuid}"),
    );
    check(
        json!({"type":"alias","userId":"u2","previousId":null}),
        "! missing_field batch[0].previousId is missing or blank; name the id that userId replaces",
    );
}

#[test]
fn goods() {
    let order = |name: &str, properties: Value, expected: &str| {
        let item = json!({"type":"track","event":name,"messageId":"m1","userId":"u","properties":properties});
        check(item, &format!("track {name:?} user=u{expected}"));
    };
    order(
        "Order Completed",
        json!({"order_id":"o1","revenue":"25.00","total":27.5,"value":30,"currency":"usd",
               "products":[{"product_id":"p1","price":"$19","quantity":"2","category":"Home"},{"sku":7,"price":5.5},{"name":"no id"},3]}),
        " Completed:o1:2500USD 2xp1(Home)@1900 1x7@550",
    );
    order("Completed Order", json!({"orderId":17,"total":"1.234,50"}), " Completed:17:123450EUR");
    order("order completed", json!({"revenue":1}), " Completed:m1:100EUR");
    order(
        "Order Completed",
        json!({"order_id":"o","revenue":null,"total":"n/a","value":1500,"currency":"JPY"}),
        " Completed:o:1500JPY",
    );
    order("Order Completed", json!({"order_id":"o","revenue":true}), " Completed:o:0EUR");
    order("Order Updated", json!({"order_id":"o","revenue":0.1,"currency":"nonsense"}), " Updated:o:10EUR");
    order("Order Cancelled", json!({"order_id":"o"}), " Cancelled:o:0EUR");
    order("Order Refunded", json!({"order_id":"o","total":5}), " Refunded:o/m1:500EUR");
    order("Order Refunded", json!({"order_id":"o","refund_id":"r","total":5}), " Refunded:o/r:500EUR");
    order("Order Refunded", json!({"total":5}), "");
    order(
        "Product Viewed",
        json!({"product_id":"p","category":"c","price":3,"currency":"KWD"}),
        " 1xp(c)@3000",
    );
    order("Product Added", json!({"sku":"s","quantity":2.9}), " 2xs@0");
    order("Viewed Product", json!({"id":"p9"}), " 1xp9@0");
    order("Anything", json!({"id":"p9"}), "");
    order("Anything", json!({"products":{"product_id":"p"}}), "");
    order("Product Added", json!({"product_id":"p","quantity":-3}), " 0xp@0");
    order("Product Added", json!({"product_id":"p","quantity":"many"}), " 1xp@0");
    check(json!({"type":"identify","userId":"u","properties":{"product_id":"p"}}), "identify user=u");
}

#[test]
fn consent_and_objects() {
    check(
        json!({"type":"page","userId":"u","context":{"consent":{"categoryPreferences":{"Advertising":false,"Analytics":true,"Odd":"yes"}}}}),
        "page user=u -Advertising +Analytics",
    );
    check(json!({"type":"page","userId":"u","properties":[],"traits":null,"context":[]}), "page user=u");
    check(
        json!({"type":"page","userId":"u","properties":[1]}),
        "! wrong_type batch[0].properties must be an object",
    );
    check(json!({"type":"page","name":"Home","userId":"u"}), "page \"Home\" user=u");
    check(json!({"type":"screen","properties":{"name":"Main"},"userId":"u"}), "screen \"Main\" user=u");
}

#[test]
fn stored_objects_are_as_they_were_spelled() {
    let body =
        br#"{"batch":[{"type":"identify","userId":"u","context":{ "a" : 1.50,"traits":{"plan":"x"} }}]}"#;
    let encoded = encode(body, Call::Batch, "WK", &settings()).unwrap();
    let record = decode_records(&encoded.records, Position(0), NOW).next().unwrap().unwrap();
    let event = Event::decode(record.body).unwrap();
    assert_eq!(event.context, br#"{ "a" : 1.50,"traits":{"plan":"x"} }"#);
    assert_eq!(event.traits, br#"{"plan":"x"}"#, "an identify's traits may be in its context");
    assert_eq!(event.properties, b"");
}

#[test]
fn sender_and_message() {
    let body = json!({"batch":[{"type":"page","userId":"u","messageId":"m"}]});
    with_event(&body, "WK", |event| {
        assert!(event.from_server && event.value_counts && event.source == 1 && event.context.is_empty());
        assert_eq!(event.dedup_key, keys().message(1, "m"));
    });
    with_event(&body, "PUBLIC", |event| {
        assert!(!event.from_server && !event.value_counts && event.source == 2);
        assert_eq!(event.dedup_key, keys().message(2, "m"), "messages are told apart by key");
        let context: Value = serde_json::from_slice(event.context).unwrap();
        assert_eq!(context, json!({"ip":"192.0.2.1","userAgent":"Browser \"1\""}));
    });
    let body = json!({"batch":[{"type":"page","userId":"u"}]});
    with_event(&body, "WK", |event| assert_eq!(event.message_id, format!("door-{}", "ab".repeat(16))));
    let mut trusting = special_settings();
    let key = WriteKey { number: 9, kind: WriteKeyKind::Browser, enabled: true, value_counts: true };
    trusting.write_keys.insert("T".into(), key);
    let encoded = encode(body.to_string().as_bytes(), Call::Batch, "T", &trusting).unwrap();
    let record = decode_records(&encoded.records, Position(0), NOW).next().unwrap().unwrap();
    let event = Event::decode(record.body).unwrap();
    assert!(event.value_counts && !event.from_server);
}

#[test]
fn when() {
    let at = |item: Value, sent_at: Value, expected: i64| {
        let mut item = item;
        item["type"] = "page".into();
        item["userId"] = "u".into();
        let body = json!({"batch":[item],"sentAt":sent_at});
        with_event(&body, "WK", |event| assert_eq!(event.occurred_at, Timestamp(NOW.0 + expected), "{body}"));
    };
    let original = "2026-11-21T20:00:00Z";
    at(json!({"timestamp":original}), json!("2026-11-21T20:00:03Z"), -3_000_000);
    at(
        json!({"timestamp":original,"sentAt":"2026-11-21T20:00:01.5+00:00"}),
        json!("2026-11-21T20:00:03Z"),
        -1_500_000,
    );
    at(
        json!({"timestamp":"2026-11-21T19:00:00Z","originalTimestamp":original}),
        json!("2026-11-21T20:00:03Z"),
        -3_000_000,
    );
    at(json!({"timestamp":"2026-11-21T23:45:30Z"}), Value::Null, -10_000_000);
    at(json!({}), json!(original), 0);
    at(json!({"timestamp":"soon"}), json!(original), 0);
    at(json!({"timestamp":{}}), json!([]), 0);
}

#[test]
fn wrong_bodies() {
    let table: &[(Value, &str, &str)] = &[
        (json!([]), "wrong_type", "body"),
        (json!({}), "missing_field", "batch"),
        (json!({"batch":{}}), "wrong_type", "batch"),
        (json!({"batch":[]}), "empty_batch", "batch"),
        (json!({"batch":[7]}), "wrong_type", "batch[0]"),
        (json!({"batch":[{"type":"page"}]}), "missing_identity", "batch[0]"),
        (json!({"batch":[{"type":"page","userId":" ","anonymousId":null}]}), "missing_identity", "batch[0]"),
        (json!({"batch":[{"type":"page","userId":{}}]}), "wrong_type", "batch[0].userId"),
        (json!({"batch":[{"userId":"u"}]}), "missing_field", "batch[0].type"),
        (json!({"batch":[{"type":"fly","userId":"u"}]}), "unknown_type", "batch[0].type"),
        (json!({"batch":[{"type":"track","userId":"u"}]}), "missing_field", "batch[0].event"),
        (json!({"batch":[{"type":"group","userId":"u"}]}), "missing_field", "batch[0].groupId"),
        (
            json!({"batch":[{"type":"page","userId":"u","messageId":"m".repeat(101)}]}),
            "too_long",
            "batch[0].messageId",
        ),
        (
            json!({"batch":[{"type":"track","event":"e".repeat(1_025),"userId":"u"}]}),
            "too_long",
            "batch[0].event",
        ),
        (
            json!({"batch":[{"type":"page","userId":"u"},{"type":"page","userId":"u","context":3}]}),
            "wrong_type",
            "batch[1].context",
        ),
        (
            json!({"batch":[{"type":"page","userId":"u","context":{"traits":"x"}}]}),
            "wrong_type",
            "batch[0].context.traits",
        ),
        (
            json!({"batch":[{"type":"track","event":"e","userId":"u","properties":{"products":vec![json!({}); 1_001]}}]}),
            "too_many",
            "batch[0].properties.products",
        ),
        (
            json!({"context":{"a":"x".repeat(20_000)},"batch":[{"type":"page","userId":"u"}]}),
            "event_too_large",
            "context",
        ),
        (
            json!({"writeKey":"WK","batch":[{"type":"page","userId":"u","x":"x".repeat(33_000)}]}),
            "event_too_large",
            "batch[0]",
        ),
        (
            json!({"writeKey":"WK","batch":vec![json!({"type":"page","userId":"u"}); 2_501]}),
            "too_many",
            "batch",
        ),
        (json!({"batch":vec![json!({"type":"page","userId":"u"}); 10_001]}), "too_many", "batch"),
    ];
    for (body, code, field) in table {
        let error = encode(body.to_string().as_bytes(), Call::Batch, "WK", &settings()).unwrap_err();
        let shown: String = body.to_string().chars().take(120).collect();
        assert_eq!((error.problem.code(), error.field.as_str()), (*code, *field), "{shown}");
        assert!(error.to_string().contains(field), "{error}");
    }
    for (body, code) in [
        (&b"\xff"[..], "not_utf8"),
        (b"", "bad_json"),
        (b"{\"batch\":[}", "bad_json"),
        (b"{\"batch\":[{\"type\":\"page\",\"userId\":\"u\"}]} x", "bad_json"),
        ("[".repeat(100_000).as_bytes(), "bad_json"),
        (format!("{{\"a\":{}1{}}}", "[".repeat(70), "]".repeat(70)).as_bytes(), "bad_json"),
    ] {
        assert_eq!(encode(body, Call::Batch, "WK", &settings()).unwrap_err().problem.code(), code);
    }
    let large =
        json!({"batch":vec![json!({"type":"page","userId":"u","x":"x".repeat(20_000)}); 150]}).to_string();
    assert!(
        encode(large.as_bytes(), Call::Batch, "WK", &settings()).is_ok(),
        "RudderStack's batches may be 4 MiB"
    );
    let large = large.replacen('{', "{\"writeKey\":\"WK\",", 1);
    let error = encode(large.as_bytes(), Call::Batch, "WK", &settings()).unwrap_err();
    assert_eq!(error.problem.code(), "body_too_large", "Segment's may not");
}

#[test]
fn an_envelope_cannot_blow_up_a_batch() {
    let items = vec![json!({"type":"page","userId":"u"}); 9_000];
    let body = json!({"context":{"a":"x".repeat(10_000)},"batch":items}).to_string();
    let error = encode(body.as_bytes(), Call::Batch, "WK", &settings()).unwrap_err();
    assert_eq!(error.problem.code(), "body_too_large");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        "[a-z\"\\\\\u{0}-\u{1f}é]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Names that the door looks at, and others.
fn name() -> impl Strategy<Value = String> {
    let known = vec![
        "type",
        "event",
        "userId",
        "anonymousId",
        "previousId",
        "groupId",
        "messageId",
        "properties",
        "traits",
        "context",
        "integrations",
        "timestamp",
        "sentAt",
        "products",
        "product_id",
        "price",
        "quantity",
        "revenue",
        "currency",
        "order_id",
        "email",
        "phone",
        "device",
        "id",
        "externalIds",
        "consent",
        "categoryPreferences",
        "consentManagement",
        "deniedConsentIds",
        "ip",
        "userAgent",
        "batch",
        "writeKey",
        "name",
        "All",
    ];
    prop_oneof![4 => prop::sample::select(known).prop_map(str::to_owned), 1 => "[a-z\"\\\\é]{0,5}"]
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(name(), value(), 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn event() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["identify", "track", "page", "screen", "group", "alias"]);
    let event = prop::sample::select(vec!["Order Completed", "Order Refunded", "Product Added", "X"]);
    (kind, event, object(), object(), object(), object()).prop_map(
        |(kind, event, rest, properties, traits, context)| {
            let mut item = rest;
            for (name, value) in
                [("type", kind), ("event", event), ("groupId", "g"), ("previousId", "p"), ("userId", "u")]
            {
                item[name] = value.into();
            }
            item["messageId"] = Value::Null;
            item["properties"] = properties;
            item["traits"] = traits;
            item["context"] = context;
            item["context"].as_object_mut().unwrap().remove("traits");
            item
        },
    )
}

fn all_calls() -> Vec<Call> {
    let kinds = [
        EventKind::Identify,
        EventKind::Track,
        EventKind::Page,
        EventKind::Screen,
        EventKind::Group,
        EventKind::Alias,
    ];
    kinds.into_iter().map(Call::One).chain([Call::Batch]).collect()
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_understood(bytes: Vec<u8>, call in prop::sample::select(all_calls())) {
        let _ = encode(&bytes, call, "PUBLIC", &special_settings());
    }

    /// Whatever is accepted decodes again, and what is stored as JSON is JSON, also after damage to the body.
    #[test]
    fn what_is_accepted_can_be_read(
        items in prop::collection::vec(event(), 1..4), envelope in object(), public: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), whole: bool,
    ) {
        let count = items.len();
        let mut body = json!({"batch": items, "context": envelope}).to_string().into_bytes();
        for (at, byte) in damage.iter().filter(|_| !whole) {
            let at = at.index(body.len());
            body[at] = *byte;
        }
        let encoded = encode(&body, Call::Batch, if public { "PUBLIC" } else { "WK" }, &special_settings());
        if whole && let Err(error) = &encoded {
            prop_assert_ne!(error.problem.code(), "bad_json", "{}", error);
        }
        let Ok(encoded) = encoded else { return Ok(()) };
        prop_assert!(!whole || encoded.count as usize == count);
        prop_assert_eq!(summaries(&encoded.records, encoded.count).len(), encoded.count as usize);
        for record in decode_records(&encoded.records, Position(0), NOW) {
            let event = Event::decode(record.unwrap().body).unwrap();
            for stored in [event.traits, event.properties, event.context] {
                prop_assert!(stored.is_empty() || serde_json::from_slice::<serde_json::Map<String, Value>>(stored).is_ok());
            }
        }
    }

    /// The stored context is what an independent merge gives.
    #[test]
    fn envelopes_merge(
        item in object(), envelope in object(), item_says in prop::option::of(object()),
        envelope_says in prop::option::of(object()), public: bool,
    ) {
        let mut item = item;
        let mut envelope = envelope;
        item.as_object_mut().unwrap().remove("traits");
        envelope.as_object_mut().unwrap().remove("traits");
        let body = json!({"batch":[{"type":"page","userId":"u","context":item,"integrations":item_says}],
            "context":envelope,"integrations":envelope_says});
        let mut expected = envelope.as_object().unwrap().clone();
        expected.extend(item.as_object().unwrap().clone());
        let blank = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.trim().is_empty(),
            Some(Value::Number(_)) => false,
            _ => true,
        };
        for (name, seen) in [("ip", "192.0.2.1"), ("userAgent", "Browser \"1\"")] {
            if public && blank(expected.get(name)) {
                expected.insert(name.into(), seen.into());
            }
        }
        let says_something = |value: &Option<Value>| {
            value.clone().filter(|value| value.as_object().unwrap().values().any(|allowed| allowed != true))
        };
        if let Some(integrations) = says_something(&item_says).or(says_something(&envelope_says)) {
            expected.entry("integrations").or_insert(integrations);
        }
        let stored = with_event(&body, if public { "PUBLIC" } else { "WK" }, |event| event.context.to_vec());
        let stored: Value = if stored.is_empty() { json!({}) } else { serde_json::from_slice(&stored).unwrap() };
        prop_assert_eq!(stored, Value::Object(expected));
    }
}
