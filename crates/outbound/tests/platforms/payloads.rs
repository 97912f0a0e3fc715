//! Whole payloads as they are sent, for a few people. They are kept in `clients/platform-payloads/payloads.json`, where the
//! platforms' own libraries read them: `UPDATE_GOLDEN=1` writes the file anew.

#![allow(clippy::disallowed_methods, reason = "a test reads and writes the file that is kept")]

use crate::checks::recorder;
use crate::lanes::{Outbox, egress, identifiers};
use crate::standin::{StandIn, Take};
use delivery::Outcome;
use delivery::env::seeded::World;
use model::id::Position;
use outbound::platform::{Keeping, PlatformConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// 2026-11-22T04:51:00Z.
const NOW_US: i64 = 1_795_323_060_000_000;

fn people() -> Vec<Value> {
    vec![
        json!({
            "identifiers": [["email", "Ann.B+news@Gmail.com"], ["email", "ann@shop.test"], ["phone", "+44 20 7946 0958"],
                            ["user_id", "u-1"]],
            "person": { "first_name": " ÉMILE ", "last_name": "O'Neil", "city": "St. John's 4", "state": "N.S.W.",
                        "postcode": "SW1A 2AA", "country": "gb" },
            "device": { "ip": "192.0.2.7", "user_agent": "Mozilla/5.0 (X11)" },
            "click_ids": { "fbc": "fb.1.2.x", "fbp": "fb.1.3.y", "gclid": "g-1", "ttclid": "t-1", "ttp": "p-1" },
            "consent": { "ad_user_data": "granted", "ad_personalization": "denied" },
            "event": { "name": "Order Completed", "id": "m-1", "occurred_at": "2026-11-22T04:50:59.250000Z",
                       "source": "website", "url": "https://shop.test/thanks?x=1", "order_id": "1001", "value": "49.90",
                       "currency": "EUR", "items": [{ "id": "sku-1", "quantity": 2, "price": "24.95" }] },
        }),
        json!({
            "identifiers": [["phone", "030 123456"], ["phone", "not a number"], ["email", "broken"]],
            "event": { "name": "Checkout Started", "id": "m-2", "occurred_at": "2026-11-21T00:00:00.000000Z",
                       "source": "app" },
        }),
        json!({
            "identifiers": [["email", "ünal@shop.test"]],
            "person": { "country": "Atlantis", "postcode": "94107-1234", "first_name": "" },
            "click_ids": { "wbraid": "w" },
            "event": { "name": "Order Completed", "id": "m-3", "occurred_at": "2026-11-20T12:00:00.000000Z",
                       "source": "physical_store", "value": "1200", "currency": "jpy" },
        }),
    ]
}

fn configs(url: &str) -> Vec<Value> {
    let account = json!({ "account_id": "123" });
    vec![
        json!({ "platform": "meta_conversions", "pixel_id": "12345", "access_token": "t0ken", "app_secret": "s",
                "home_country": "DE", "test_event_code": "TEST1", "base_url": url }),
        json!({ "platform": "meta_audience", "access_token": "t0ken", "home_country": "DE", "lists": { "a": "11" },
                "base_url": url }),
        json!({ "platform": "google_events", "access_token": "t0ken", "operating_account": account,
                "login_account": { "account_id": "9", "account_type": "DATA_PARTNER" }, "conversion_action_id": "7",
                "home_country": "DE", "base_url": url }),
        json!({ "platform": "google_audience", "access_token": "t0ken", "operating_account": account,
                "home_country": "DE", "terms_accepted": true, "lists": { "a": "11" }, "base_url": url }),
        json!({ "platform": "tiktok_events", "event_source_id": "P", "access_token": "t0ken", "home_country": "DE",
                "base_url": url }),
        json!({ "platform": "criteo_audience", "access_token": "t0ken", "lists": { "a": "11" }, "base_url": url }),
    ]
}

/// What one platform is sent: all events in one call, or everybody in, replaced, and everybody out.
async fn sent(config: fn(&str) -> Vec<Value>, number: usize) -> Value {
    let header = if number == 4 { ("access-token", "t0ken") } else { ("authorization", "Bearer t0ken") };
    let standin = StandIn::start(recorder as Take, header).await;
    let config = config(&standin.url()).swap_remove(number);
    let platform = config["platform"].clone();
    let config: PlatformConfig = serde_json::from_value(config).unwrap();
    let world = World::new(number as u64, NOW_US);
    let opened =
        config.open("payloads", &world.env(), &egress(), &Keeping::in_clear(Path::new("/data"))).unwrap();
    let outbox = Outbox::default();
    let is_list = opened.audiences.is_some();
    for (place, person) in people().into_iter().enumerate() {
        let mut data = person.clone();
        let pairs = person["identifiers"].as_array().unwrap().iter();
        let pairs: Vec<(&str, &str)> =
            pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
        data["identifiers"] = identifiers(&pairs);
        data["audience"] = Value::from("a");
        outbox.issue(if is_list { "audience.entered" } else { "event.accepted" }, place as u128 + 1, data);
    }
    let batch = |parcels: Vec<delivery::Parcel>| opened.destination.send(Arc::from(parcels), 5_000);
    let outcome = batch(outbox.parcels()).await;
    // The second person has no address that Criteo could use.
    let expected =
        if number == 5 { Outcome::Refused { reason: "taken_apart".to_owned() } } else { Outcome::Delivered };
    assert_eq!(outcome, expected, "{platform}");
    if is_list {
        let contact = || outbound::platform::contact::Contact {
            emails: vec![outbound::platform::contact::Personal::new("new@shop.test")],
            ..Default::default()
        };
        let mut once = Some((model::id::Key(7), contact()));
        if number != 5 {
            opened
                .audiences
                .as_ref()
                .unwrap()
                .replace("a", 1, Position(0), &mut std::iter::from_fn(|| once.take()))
                .await
                .unwrap();
        }
        let mut nobody = std::iter::empty();
        opened.audiences.as_ref().unwrap().resync("a", false, Position(0), &mut nobody).await.unwrap();
    }
    let calls = standin.held.lock().unwrap().bodies.clone();
    json!({ "platform": platform, "calls": calls })
}

#[tokio::test]
async fn payloads_are_those_that_are_kept() {
    let mut all = Vec::new();
    for number in 0..6 {
        all.push(sent(configs, number).await);
    }
    let actual = serde_json::to_string_pretty(&json!({ "people": people(), "sent": all })).unwrap() + "\n";
    let path =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/platform-payloads/payloads.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == actual,
        "payloads differ from {}: look at the difference, then UPDATE_GOLDEN=1",
        path.display()
    );
}
