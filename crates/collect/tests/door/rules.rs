//! What the rules of a write key keep out: pages, names, numbers, shapes.

use crate::support::{Answer, NOW, TestDoor, ask, door, request};
use collect::plan::Plan;
use collect::rules::{KeyRules, Rate};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const PUBLIC: (&str, &str) = ("Authorization", "Basic UFVCTElDOg==");
/// The number of the key `PUBLIC`.
const NUMBER: u32 = 2;

fn ruled(rules: KeyRules) -> TestDoor {
    door(|_, settings| {
        settings.rules.insert(NUMBER, Arc::new(rules));
    })
}

fn send(door: &TestDoor, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = [PUBLIC].iter().chain(headers).copied().collect();
    ask(door, &request("POST", path, &headers, body.as_bytes()))
}

fn track(name: &str, properties: &str) -> String {
    format!(
        r#"{{"type":"track","event":"{name}","userId":"u","messageId":"m-{name}","properties":{properties}}}"#
    )
}

fn batch(items: &[String]) -> String {
    format!(r#"{{"batch":[{}]}}"#, items.join(","))
}

#[test]
fn a_key_is_for_pages_of_its_origins() {
    let origins = ["https://shop.test".to_owned()].into();
    let door = ruled(KeyRules { origins, ..KeyRules::default() });
    let page = r#"{"userId":"u"}"#;
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("Origin", "https://shop.test")], 200),
        (&[("Origin", "https://shop.test.evil.test")], 403),
        (&[("Origin", "http://shop.test")], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", "")], 403),
        (&[("Referer", "https://shop.test/p")], 403),
        (&[], 403),
    ];
    for (headers, status) in table {
        let answer = send(&door, "/v1/page", headers, page);
        assert_eq!(answer.status, *status, "{headers:?} {}", answer.body);
        assert_eq!(door.memory.take_summaries().len(), usize::from(*status == 200));
        if *status != 200 {
            assert_eq!(answer.code(), "origin_not_allowed");
        }
    }
    // Images come without an origin, and often without a page.
    let image = "/pixel/v1/page?writeKey=PUBLIC&userId=u";
    for (headers, status) in [
        (vec![], "200"),
        (vec![("Referer", "https://shop.test/cart?a=b")], "200"),
        (vec![("Referer", "https://shop.test")], "200"),
        (vec![("Referer", "https://shop.test@evil.test/")], "403"),
        (vec![("Referer", "https://evil.test/https://shop.test/")], "403"),
        (vec![("Origin", "https://evil.test"), ("Referer", "https://shop.test/")], "403"),
    ] {
        let headers: Vec<_> = headers.into_iter().chain([("Connection", "close")]).collect();
        let answer = crate::support::ask_head(&door, &request("GET", image, &headers, b""));
        assert_eq!(&answer[9..12], status, "{headers:?}");
    }
    // Another key has its own rules: none.
    assert_eq!(ask(&door, &crate::support::post("/v1/page", page)).status, 200);
}

#[test]
fn a_key_that_sends_too_fast_is_told_how_long_to_wait() {
    let rate = Some(Rate { events_per_s: 2, burst_events: 5 });
    let door = ruled(KeyRules { rate, ..KeyRules::default() });
    let five = batch(&vec![track("A", "{}"); 5]);
    assert_eq!(send(&door, "/v1/batch", &[], &five).status, 200);
    for (path, body, wait) in [("/v1/batch", five.as_str(), "3"), ("/v1/page", r#"{"userId":"u"}"#, "1")] {
        let answer = send(&door, path, &[("Origin", "http://shop.test")], body);
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
        assert_eq!(answer.header("retry-after"), Some(wait));
        assert_eq!(answer.header("access-control-expose-headers"), Some("Retry-After"));
    }
    assert_eq!(door.memory.take_summaries().len(), 5, "and nothing of the others");
    assert_eq!(door.open.counters().rate_limited_requests.load(Ordering::Relaxed), 2);
    assert_eq!(door.open.counters().deferred_requests.load(Ordering::Relaxed), 2);
    // A change of any setting does not fill the bucket.
    let settings = (*door.settings.load()).clone();
    door.settings.store(settings);
    assert_eq!(send(&door, "/v1/page", &[], r#"{"userId":"u"}"#).status, 429);
}

#[test]
fn events_that_a_key_does_not_list_are_set_aside() {
    let events = ["A".to_owned()].into();
    let door = ruled(KeyRules { events, ..KeyRules::default() });
    let page = r#"{"type":"page","userId":"u","messageId":"p"}"#.to_owned();
    let body = batch(&[track("A", "{}"), track("B", r#"{"email":"jane@example.com"}"#), page]);
    let answer = send(&door, "/v1/batch", &[], &body);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
    assert_eq!(door.memory.take_summaries(), ["track \"A\" user=u", "page user=u"]);
    let kept_out = door.open.kept_out();
    assert_eq!(kept_out.len(), 1);
    assert_eq!((kept_out[0].key_number, kept_out[0].at), (NUMBER, NOW));
    assert_eq!(
        (kept_out[0].event.name.as_str(), kept_out[0].event.message_id.as_str(), kept_out[0].event.code),
        ("B", "m-B", "event_not_listed")
    );
    assert!(!format!("{kept_out:?}").contains("jane"));
    // All of a request may be set aside: there is nothing to store, and nothing to wait for.
    door.memory.say(crate::support::Word::Never);
    assert_eq!(send(&door, "/v1/track", &[], &track("C", "{}")).status, 200);
    // An event that is wrong is refused, wanted or not.
    let answer = send(&door, "/v1/track", &[], r#"{"event":"C"}"#);
    assert_eq!((answer.status, answer.code().as_str()), (400, "missing_identity"));
    assert_eq!(door.open.counters().set_aside_events.load(Ordering::Relaxed), 2);
    assert_eq!(door.open.in_flight_bytes(), 0);
}

#[test]
fn what_is_set_aside_is_remembered_up_to_a_bound() {
    let events = ["A".to_owned()].into();
    let door = ruled(KeyRules { events, ..KeyRules::default() });
    let many: Vec<String> = (0..700).map(|number| track(&format!("N{number}"), "{}")).collect();
    for _ in 0..2 {
        assert_eq!(send(&door, "/v1/batch", &[], &batch(&many)).status, 200);
    }
    let kept_out = door.open.kept_out();
    assert_eq!((kept_out.len(), kept_out[0].event.name.as_str()), (1_000, "N699"), "the newest first");
    assert_eq!(door.open.counters().set_aside_events.load(Ordering::Relaxed), 1_400);
}

#[test]
fn a_plan_blocks_or_counts() {
    let text = |otherwise: &str| {
        format!(
            r#"{{"unplanned":"allow","otherwise":"{otherwise}","events":{{"Order Completed":
                {{"required":["order_id"],"properties":{{"order_id":{{"type":"string"}}}}}}}}}}"#
        )
    };
    for (otherwise, stored, set_aside, off_plan) in [("block", 2, 1, 1), ("allow", 3, 0, 2)] {
        let plan = Some(Arc::new(Plan::read(&text(otherwise)).unwrap()));
        let door = ruled(KeyRules { plan, ..KeyRules::default() });
        let body = batch(&[
            track("Order Completed", r#"{"order_id":"o1"}"#),
            track("Order Completed", r#"{"order_id":5}"#),
            track("Not Planned", "{}"),
        ]);
        let answer = send(&door, "/v1/batch", &[], &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
        assert_eq!(door.memory.take_summaries().len(), stored, "{otherwise}");
        let counters = door.open.counters();
        assert_eq!(counters.set_aside_events.load(Ordering::Relaxed), set_aside, "{otherwise}");
        assert_eq!(counters.off_plan_events.load(Ordering::Relaxed), off_plan, "{otherwise}");
        for kept_out in door.open.kept_out() {
            assert_eq!(kept_out.event.code, "off_plan");
            assert_eq!(kept_out.event.reason, "properties.order_id must be string");
        }
    }
}
