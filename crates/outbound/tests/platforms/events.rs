//! Events through real lanes: bad ones cost no other, repeats are the same event, nothing is lost to answers that are.

use crate::checks;
use crate::lanes::{Outbox, egress, fresh, identifiers, run, settled};
use crate::standin::{Manner, StandIn, Take};
use delivery::env::Env;
use model::id::Timestamp;
use outbound::platform::{Keeping, Opened, PlatformConfig};
use outbound::render::format_instant;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

struct Platform {
    name: &'static str,
    take: Take,
    header: (&'static str, &'static str),
    /// What the platform says of a bad event.
    reason: &'static str,
    config: fn(&str) -> Value,
}

const PLATFORMS: &[Platform] = &[
    Platform {
        name: "meta",
        take: checks::meta_events,
        header: ("authorization", "Bearer t0ken"),
        reason: "meta_100_2804003",
        config: |url| {
            json!({ "platform": "meta_conversions", "pixel_id": "12345", "access_token": "t0ken",
            "app_secret": "s3cret", "home_country": "DE", "timeout_ms": 400, "base_url": url })
        },
    },
    Platform {
        name: "google",
        take: checks::google_events,
        header: ("authorization", "Bearer t0ken"),
        reason: "google_INVALID_ARGUMENT",
        config: |url| {
            json!({ "platform": "google_events", "access_token": "t0ken", "conversion_action_id": "777",
            "operating_account": { "account_id": "123" }, "login_account": { "account_id": "456" },
            "home_country": "DE", "timeout_ms": 400, "ask_after_ms": 50, "base_url": url })
        },
    },
    Platform {
        name: "tiktok",
        take: checks::tiktok,
        header: ("access-token", "t0ken"),
        reason: "tiktok_40002",
        config: |url| {
            json!({ "platform": "tiktok_events", "event_source_id": "PIXEL", "access_token": "t0ken",
            "batch_max": 1000, "home_country": "DE", "timeout_ms": 400, "base_url": url })
        },
    },
];

fn open(platform: &Platform, standin: &StandIn) -> Opened {
    let config: PlatformConfig = serde_json::from_value((platform.config)(&standin.url())).unwrap();
    config
        .open(
            platform.name,
            &Env::real(),
            &egress(),
            &Keeping::in_clear(&fresh(&format!("events-{}", platform.name))),
        )
        .unwrap()
}

/// An order of a person, so many days ago.
fn order(outbox: &Outbox, number: u64, id: &str, days_ago: i64, source: &str) {
    let occurred_at = Timestamp(Env::real().clock.now_us() - days_ago * 86_400_000_000);
    let email = format!("ann.{number}@shop.test");
    let data = json!({
        "identifiers": identifiers(&[("email", &email), ("phone", "030 123456"), ("user_id", "u1"), ("cart", "c")]),
        "person": { "first_name": "Ann", "last_name": "Smith", "city": "Berlin", "postcode": "10115", "country": "DE" },
        "device": { "ip": "192.0.2.1", "user_agent": "Mozilla/5.0" },
        "click_ids": { "fbc": "fb.1.2.3", "gclid": "g", "ttclid": "t" },
        "consent": { "ad_user_data": "granted" },
        "event": { "name": "Order Completed", "id": id, "occurred_at": format_instant(occurred_at), "order_id": id,
                   "source": source, "url": "https://shop.test/thanks", "value": "49.90", "currency": "EUR",
                   "items": [{ "id": "sku", "quantity": 2, "price": "24.95" }] },
    });
    outbox.issue("event.accepted", u128::from(number), data);
}

/// 2,000 events, some bad, through a platform that is slow, breaks off, takes calls twice and loses answers.
async fn everything_arrives(platform: &Platform) {
    let standin = StandIn::start(platform.take, platform.header).await;
    let opened = open(platform, &standin);
    let outbox = Arc::new(Outbox::default());
    for number in 0..2_000 {
        let id = if matches!(number, 17 | 1_200 | 1_201) {
            format!("bad-{number}")
        } else {
            format!("ev-{number}")
        };
        order(&outbox, number, &id, 1, "website");
    }
    use Manner::{Busy, Hang, TakeAndBabble, TakeAndBreak, TakeAndHang, TakeTwice, Well};
    // Long rows of good ones, so that the halving gets somewhere before the next trouble.
    let (first, then) = ([Busy, Hang, TakeAndHang], [TakeAndBreak, TakeAndBabble, TakeAndHang, TakeAndBreak]);
    standin.script(first);
    for trouble in then {
        standin.script([TakeTwice; 9]);
        standin.script([trouble]);
    }
    standin.script([Well]);
    let runner = run(&format!("events-{}", platform.name), &opened, &outbox);
    settled(&runner, &outbox).await;
    standin.assert_no_complaints();
    let letters = runner.dead_letters(platform.name, None, 100).await.unwrap();
    let reasons: BTreeSet<(&str, u64)> =
        letters.iter().map(|letter| (letter.detail.as_str(), letter.parcel.id.position.0)).collect();
    let expected = [18, 1_201, 1_202].map(|position| (platform.reason, position));
    assert_eq!(reasons, BTreeSet::from(expected), "{}", platform.name);
    runner.stop().await;
    let held = standin.held.lock().unwrap();
    assert_eq!(held.events.len(), 1_997, "{}", platform.name);
    assert!(
        held.events.values().any(|(_, times)| *times > 1),
        "nothing was repeated: the test shows too little"
    );
    // A call for each event would be 2,000.
    assert!(held.calls < 150, "{} calls", held.calls);
    eprintln!("{}: {} calls for 2,000 events", platform.name, held.calls);
}

#[tokio::test]
async fn everything_arrives_at_meta() {
    everything_arrives(&PLATFORMS[0]).await;
}

#[tokio::test]
async fn everything_arrives_at_google() {
    everything_arrives(&PLATFORMS[1]).await;
}

#[tokio::test]
async fn everything_arrives_at_tiktok() {
    everything_arrives(&PLATFORMS[2]).await;
}

/// What would reject a whole call, or what nobody may see, is refused before it, and costs no call.
#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_any_call() {
    for platform in PLATFORMS {
        let standin = StandIn::start(platform.take, platform.header).await;
        let opened = open(platform, &standin);
        let outbox = Arc::new(Outbox::default());
        let event = |more: Value| {
            let mut event =
                json!({ "name": "Order Completed", "id": "e", "occurred_at": "2026-11-22T00:00:00Z" });
            event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            event
        };
        let ann = identifiers(&[("email", "ann@shop.test")]);
        let now = format_instant(Timestamp(Env::real().clock.now_us()));
        let table = [
            (json!({ "identifiers": ann }), "no_event"),
            (
                json!({ "identifiers": ann, "event": event(json!({ "name": "Nap Taken" })) }),
                "event_not_mapped",
            ),
            (json!({ "event": event(json!({ "occurred_at": now })) }), "nothing_to_match"),
            (
                json!({ "identifiers": ann, "consent": { "ad_user_data": "denied" }, "event": event(json!({})) }),
                "consent_denied",
            ),
        ];
        for (number, (data, _)) in table.iter().enumerate() {
            outbox.issue("event.accepted", number as u128, data.clone());
        }
        let runner = run(&format!("refused-{}", platform.name), &opened, &outbox);
        settled(&runner, &outbox).await;
        let letters = runner.dead_letters(platform.name, None, 100).await.unwrap();
        let reasons: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
        assert_eq!(reasons, table.map(|(_, reason)| reason), "{}", platform.name);
        assert_eq!(standin.held.lock().unwrap().calls, 0, "{}", platform.name);
        runner.stop().await;
    }
}

/// Meta rejects a call for one event that is too old: 7 days, 62 for a shop with a door.
#[tokio::test]
async fn old_events_never_reach_meta() {
    let platform = &PLATFORMS[0];
    let standin = StandIn::start(platform.take, platform.header).await;
    let opened = open(platform, &standin);
    let outbox = Arc::new(Outbox::default());
    let table = [
        ("fresh", 6, "website", None),
        ("old", 8, "website", Some("event_too_old")),
        ("store", 61, "physical_store", None),
        ("old-store", 63, "physical_store", Some("event_too_old")),
    ];
    for (number, (id, days_ago, source, _)) in table.iter().enumerate() {
        order(&outbox, number as u64, id, *days_ago, source);
    }
    let runner = run("old-meta", &opened, &outbox);
    settled(&runner, &outbox).await;
    standin.assert_no_complaints();
    let letters = runner.dead_letters("meta", None, 100).await.unwrap();
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    let expected: Vec<&str> = table.iter().filter_map(|(_, _, _, reason)| *reason).collect();
    assert_eq!(reasons, expected);
    runner.stop().await;
    let held = standin.held.lock().unwrap();
    assert_eq!((held.calls, held.events.len()), (1, 2));
}
