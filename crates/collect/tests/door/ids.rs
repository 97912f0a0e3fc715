//! Ids that would become somebody else's, or would be lost under a success, are refused by name.

use crate::meaning::encode;
use crate::support::settings;
use collect::wire::Call;
use model::event::{Event, EventKind};
use model::id::{Position, Timestamp};
use model::record::decode_records;

/// Where an id stands: the call, a body with `ID` in its place, the field that a refusal names.
const PLACES: [(EventKind, &str, &str); 12] = [
    (EventKind::Page, r#"{"userId":"ID"}"#, "userId"),
    (EventKind::Page, r#"{"anonymousId":"ID"}"#, "anonymousId"),
    (EventKind::Alias, r#"{"userId":"u","previousId":"ID"}"#, "previousId"),
    (EventKind::Group, r#"{"userId":"u","groupId":"ID"}"#, "groupId"),
    (EventKind::Page, r#"{"userId":"u","messageId":"ID"}"#, "messageId"),
    (EventKind::Page, r#"{"userId":"u","context":{"device":{"id":"ID"}}}"#, "context.device.id"),
    (
        EventKind::Page,
        r#"{"anonymousId":"a","context":{"externalIds":[{"type":"user_id","id":"ID"}]}}"#,
        "context.externalIds",
    ),
    (
        EventKind::Track,
        r#"{"event":"Order Completed","userId":"u","properties":{"order_id":"ID"}}"#,
        "properties.order_id",
    ),
    (
        EventKind::Track,
        r#"{"event":"Order Refunded","userId":"u","properties":{"order_id":"o","refund_id":"ID"}}"#,
        "properties.refund_id",
    ),
    (
        EventKind::Track,
        r#"{"event":"Order Completed","userId":"u","properties":{"products":[{"product_id":"p"},{"product_id":"ID"}]}}"#,
        "properties.products[1].product_id",
    ),
    (EventKind::Track, r#"{"event":"E","userId":"u","properties":{"sku":"ID"}}"#, "properties.sku"),
    (
        EventKind::Track,
        r#"{"event":"Viewed Product","userId":"u","properties":{"id":"ID"}}"#,
        "properties.id",
    ),
];

#[test]
fn what_could_be_mistaken_for_another_id_is_refused() {
    for (kind, body, field) in PLACES {
        for id in [
            r"a\ud800",
            r"a\ud801",
            r"\udc00a",
            r"a\ud800\ud800b",
            r"a\u0000b",
            r"a\nb",
            r"a\u0085b",
            "a\u{7f}b",
        ] {
            let body = body.replace("ID", id);
            let error = encode(body.as_bytes(), Call::One(kind), "WK", &settings()).unwrap_err();
            assert_eq!((error.problem.code(), error.field.as_str()), ("unclear_id", field), "{body}");
        }
        // White space around an id, whole pairs and U+FFFD itself are text like any other.
        for id in [r" a\n", r"a\ud83d\ude00", "a\u{fffd}"] {
            let body = body.replace("ID", id);
            assert!(encode(body.as_bytes(), Call::One(kind), "WK", &settings()).is_ok(), "{body}");
        }
    }
}

#[test]
fn an_id_that_is_too_long_is_refused_not_lost() {
    for (kind, body, field) in PLACES {
        let longest = match field {
            "messageId" => 100,
            "groupId" => 1_024,
            _ => 256,
        };
        let with = |length: usize| {
            let body = body.replace("ID", &"x".repeat(length));
            encode(body.as_bytes(), Call::One(kind), "WK", &settings())
        };
        assert!(with(longest).is_ok(), "{field}");
        for length in [longest + 1, 6_000] {
            let error = with(length).unwrap_err();
            assert_eq!((error.problem.code(), error.field.as_str()), ("too_long", field), "{length}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}

#[test]
fn what_is_no_id_is_still_only_left_out() {
    let long = "x".repeat(600);
    for body in [
        r#"{"event":"E\ud800","userId":"u","properties":{"text":"\ud800","id":"\ud800","order_id":"a\u0000"}}"#.to_owned(),
        r#"{"event":"E","userId":"u","context":{"traits":{"email":"a\ud800@shop.test","phone":"\u0000"}}}"#.to_owned(),
        r#"{"event":"E","userId":"u","context":{"externalIds":[{"type":"shoe","id":"\ud800"}]}}"#.to_owned(),
        format!(r#"{{"event":"E","userId":"u","context":{{"traits":{{"email":"{long}@b.c","phone":"{long}"}}}}}}"#),
    ] {
        let encoded = encode(body.as_bytes(), Call::One(EventKind::Track), "WK", &settings()).unwrap();
        let record = decode_records(&encoded.records, Position(0), Timestamp(0)).next().unwrap().unwrap();
        let found = Event::decode(record.body).unwrap().identifiers.as_slice().len();
        assert_eq!(found, 1, "the user id alone: {body}");
    }
}
