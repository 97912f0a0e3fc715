//! Messages of every kind about somebody who is not there, to try templates on.

use super::said::EVENT_KIND;
use engage::Destination;
use serde_json::{Map, Value, json};

/// The instant of samples.
const AT: &str = "2026-01-02T03:04:05.000Z";
/// Their person.
const PROFILE: &str = "prf_00000000000000000000000000000001";
/// Another one.
const OTHER: &str = "prf_00000000000000000000000000000002";

/// A message of a kind as a destination would get it.
pub(super) fn message(kind: &str, destination: &Destination) -> Value {
    let mut data = detail(kind, destination);
    data.insert("profile".to_owned(), Value::from(PROFILE));
    if !destination.identifiers.is_empty() {
        data.insert("identifiers".to_owned(), identifiers(destination));
    }
    let known = destination.kind.person();
    if !known.is_empty() {
        data.insert("person".to_owned(), person(known));
    }
    json!({ "type": kind, "id": "eff_17_0", "timestamp": "2026-01-02T03:04:05.000000Z", "data": data })
}

fn identifiers(destination: &Destination) -> Value {
    let one = |kind: &String| {
        let value = match kind.as_str() {
            "email" => "ann@example.com",
            "phone" => "+4930123456",
            _ => "4711",
        };
        json!({ "type": kind, "value": value })
    };
    destination.identifiers.iter().map(one).collect()
}

fn person(fields: &[String]) -> Value {
    let one = |field: &String| {
        let value = match field.as_str() {
            // What ends a text that somebody forgot to let be escaped.
            "first_name" => "Ann \"Annie\"",
            "last_name" => "O'Hara & Sons",
            "city" => "Berlin",
            "state" => "BE",
            "postcode" => "10115",
            _ => "DE",
        };
        (field.clone(), Value::from(value))
    };
    Value::Object(fields.iter().map(one).collect())
}

fn detail(kind: &str, destination: &Destination) -> Map<String, Value> {
    let audience = destination.audiences.first().map_or("carts", String::as_str);
    let flipped = |holds: bool| json!([{ "term": "count(\"Product Added\", \"7d\") > 0", "holds": holds }]);
    let of_audience = |holds: bool| {
        json!({ "audience": audience, "audience_number": 1, "version": 1, "cause": "event", "since": AT,
            "flipped": flipped(holds) })
    };
    let detail = match kind {
        "audience.entered" => of_audience(true),
        "audience.exited" => of_audience(false),
        "consent.changed" => {
            let category = destination.consent_category.as_deref().unwrap_or("Advertising");
            json!({ "category": category, "agreed_before": true, "agrees": false, "audiences": [audience] })
        }
        "suppression.started" => json!({ "scopes": [{ "scope": "22975915b73a74e3", "until": AT }] }),
        "suppression.ended" => json!({ "scopes": ["22975915b73a74e3"] }),
        "profile.merged" => json!({ "from": OTHER }),
        "profile.unmerged" => json!({ "profiles": [PROFILE, OTHER] }),
        "profile.edge_refused" => json!({ "reason": "shared" }),
        "profile.erased" => json!({ "identifiers": 2 }),
        "profile.many_identifiers" => json!({ "identifiers": 50 }),
        "line" => json!({ "hour": AT, "correction": 0, "counts": { "impressions": 3 } }),
        EVENT_KIND => {
            let name = destination.events.first().map_or("Order Completed", String::as_str);
            json!({ "event": { "name": name, "id": "1001", "occurred_at": AT, "source": "website",
                    "url": "https://shop.example/thanks?a=1&b=2", "order_id": "1001", "value": "49.90", "currency": "EUR",
                    "items": [{ "id": "sku-1", "quantity": 2, "price": "24.95" }] },
                "device": { "ip": "203.0.113.7", "user_agent": "Mozilla/5.0" } })
        }
        _ => json!({}),
    };
    match detail {
        Value::Object(detail) => detail,
        _ => Map::new(),
    }
}
